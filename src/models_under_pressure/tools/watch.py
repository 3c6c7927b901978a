"""Talk to a model while probes watch it."""

import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from models_under_pressure.tools.score import Device, find_probe

if TYPE_CHECKING:
    from models_under_pressure.monitor.live import Monitor, Reply
    from models_under_pressure.monitor.running import Judge, Outcome, Step

_FULL_SHADE = 5.0
"""Logit of a token alone, on either side, that has the full shade."""
_API = "api:"
"""What stands before the name of a model behind an API."""


def command(
    probe: Annotated[list[str], typer.Option("--probe", help="Name, folder or hf:// address; repeatable.")],
    stop: Annotated[bool, typer.Option("--stop", help="End a reply at the token where a probe flags.")] = False,
    escalate: Annotated[
        str | None,
        typer.Option(help="Ask a judge where a probe flags, which may end the reply: a second probe, or api:MODEL."),
    ] = None,
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

    A model behind an API is asked, and paid, at the endpoint of params.yaml (`llm`); its replies are recorded.

    Example: mup watch --probe attention --escalate api:gpt-4o --log talk.jsonl
    """
    from models_under_pressure.core.conversation import Message
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.monitor.live import load_monitor
    from models_under_pressure.monitor.log import Log
    from models_under_pressure.probes.probe import load_probe

    if stop and escalate is not None:
        raise UserError("--stop and --escalate both decide what a flag does.", remedy="give one of them.")
    monitor = load_monitor({name: load_probe(find_probe(name)) for name in probe}, device=device, fpr=fpr)
    sampling: dict[str, Any] = {"do_sample": True, "temperature": temperature} if temperature else {}
    talk = uuid4().hex[:8]  # a log may hold many
    said: tuple[Message, ...] = ()
    with ExitStack() as stack:
        judge = None if escalate is None else stack.enter_context(_judge(escalate, monitor, log, fpr))
        book = None if log is None else stack.enter_context(closing(Log(log)))
        for turn, line in enumerate(_lines(), start=1):
            reply = monitor.generate(
                (*said, Message("user", line)),
                name=f"{talk}-{turn}",
                max_new_tokens=max_new_tokens,
                on_flag=(lambda step: False) if stop else None,
                judge=judge,
                seed=seed + turn,
                **sampling,
            )
            outcome = _say(reply)
            print("\n" + "\n".join(_verdicts(outcome, monitor)), flush=True)
            if book is not None:
                book.add(outcome)
            said = outcome.record.messages


def _say(reply: "Reply") -> "Outcome":
    """Print a reply while it is written."""
    # colours go past what makes the rest of the output harmless
    show, stream = (_shaded, sys.__stdout__) if sys.stdout.isatty() else (_plain, None)
    for step in reply:
        print(show(step), end="", flush=True, file=stream)
    if reply.outcome is None:
        raise RuntimeError("the reply ended without an outcome")
    return reply.outcome


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


@contextmanager
def _judge(name: str, monitor: "Monitor", log: Path | None, fpr: float) -> "Generator[Judge]":
    """A second probe, or a model behind an API."""
    from models_under_pressure.core.concept import chosen_concept
    from models_under_pressure.core.section import PARAMS, read
    from models_under_pressure.llm.config import LLMConfig
    from models_under_pressure.monitor.judging import asking, model_judge, probe_judge
    from models_under_pressure.monitor.live import Monitor, load_monitor
    from models_under_pressure.probes.probe import load_probe

    model = name.removeprefix(_API)
    if model != name:
        llm = read("llm", LLMConfig) if PARAMS.exists() else LLMConfig(model=model)
        with asking(llm.model_copy(update={"model": model, "mode": "record"}), log) as ask:
            yield model_judge(model, chosen_concept(), ask)
        return
    probe = load_probe(find_probe(name))
    reads_same = probe.provenance.get("model") == monitor.model.name
    yield probe_judge(
        name,
        Monitor({name: probe}, monitor.model, fpr=fpr)
        if reads_same
        else load_monitor({name: probe}, device=monitor.model.device, fpr=fpr),
    )


def _verdicts(outcome: "Outcome", monitor: "Monitor") -> "Iterator[str]":
    """A line for each judge's verdict, and one for what each probe says, and why the reply ended."""
    for one in outcome.escalations:
        verdict = one.verdict
        shown = "no answer" if verdict.probability is None else f"{verdict.probability:.3f}"
        act = "stops" if verdict.stops else "lets it go on"
        because = f": {verdict.reasons}" if verdict.reasons else ""
        line = f"[judge {verdict.judge} after {one.tokens} tokens: {shown}, {act}{because}]"
        yield " ".join(line.splitlines())
    told: list[str] = []
    for name, probability in outcome.probabilities.items():
        limit = monitor.thresholds[name]
        flagged = "flagged" if name in outcome.flagged else "not flagged"
        shown = "no token seen" if probability is None else f"{probability:.3f}"
        least = "no threshold" if limit is None else f"from logit {limit:.2f}"
        told.append(f"{name} {shown} ({flagged}, {least})")
    yield f"[{'; '.join(told)}; {outcome.action} after {outcome.tokens} tokens]"
