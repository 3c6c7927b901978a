"""Talk to a model while probes watch it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from models_under_pressure.tools.score import Device, find_probe

if TYPE_CHECKING:
    from models_under_pressure.monitor.live import Monitor
    from models_under_pressure.monitor.running import Outcome, Step

_FULL_SHADE = 5.0
"""Logit of a token alone, on either side, that has the full shade."""


def command(
    probe: Annotated[list[str], typer.Option("--probe", help="Name, folder or hf:// address; repeatable.")],
    stop: Annotated[bool, typer.Option("--stop", help="End a reply at the token where a probe flags.")] = False,
    fpr: Annotated[float, typer.Option(help="False positive rate whose stored threshold flags.")] = 0.01,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    log: Annotated[Path | None, typer.Option(help="Add a JSON line per reply to this file.")] = None,
    device: Device = "auto",
) -> None:
    """Talk to a model while probes watch it: one line is one turn; the end of the input ends the conversation.

    Tokens are shaded by their own logit, orange towards the positive class. Without a terminal, each reply is one
    plain line.

    Example: mup watch --probe attention --stop
    """
    from models_under_pressure.core.conversation import Message
    from models_under_pressure.monitor.live import load_monitor
    from models_under_pressure.probes.probe import load_probe

    monitor = load_monitor({name: load_probe(find_probe(name)) for name in probe}, device=device, fpr=fpr)
    sampling: dict[str, Any] = {"do_sample": True, "temperature": temperature} if temperature else {}
    talk = uuid4().hex[:8]  # a log may hold many
    said: tuple[Message, ...] = ()
    for turn, line in enumerate(_lines(), start=1):
        reply = monitor.generate(
            (*said, Message("user", line)),
            name=f"{talk}-{turn}",
            max_new_tokens=max_new_tokens,
            on_flag=(lambda step: False) if stop else None,
            seed=seed + turn,
            **sampling,
        )
        # colours go past what makes the rest of the output harmless
        show, stream = (_shaded, sys.__stdout__) if sys.stdout.isatty() else (_plain, None)
        for step in reply:
            print(show(step), end="", flush=True, file=stream)
        outcome = reply.outcome
        if outcome is None:
            raise RuntimeError("the reply ended without an outcome")
        print("\n" + _verdict(outcome, monitor), flush=True)
        if log is not None:
            _append(log, outcome)
        said = outcome.record.messages


def _lines() -> Iterator[str]:
    """The user's turns; blank lines say nothing."""
    is_terminal = sys.stdin.isatty()
    while True:
        if is_terminal:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _plain(step: "Step") -> str:
    from models_under_pressure.core.display import printable

    return printable(step.text)


def _shaded(step: "Step") -> str:
    from models_under_pressure.monitor.explain import shaded

    seen = [logit for logit in step.alone.values() if logit is not None]
    strongest = max(seen, key=abs, default=0.0)
    return shaded(step.text, strongest / _FULL_SHADE)


def _verdict(outcome: "Outcome", monitor: "Monitor") -> str:
    """One line: what each probe says, and why the reply ended."""
    told: list[str] = []
    for name, probability in outcome.probabilities.items():
        limit = monitor.thresholds[name]
        flagged = "flagged" if name in outcome.flagged else "not flagged"
        shown = "no token seen" if probability is None else f"{probability:.3f}"
        least = "no threshold" if limit is None else f"from logit {limit:.2f}"
        told.append(f"{name} {shown} ({flagged}, {least})")
    return f"[{'; '.join(told)}; {outcome.action} after {outcome.tokens} tokens]"


def _append(path: Path, outcome: "Outcome") -> None:
    """A whole line at once, on disk before the next turn."""
    import os

    from models_under_pressure.core.files import json_line

    with path.open("a", encoding="utf-8") as stream:
        stream.write(json_line(outcome.row) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
