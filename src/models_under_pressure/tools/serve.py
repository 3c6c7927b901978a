"""Serve a model under watch: an OpenAI-compatible API whose tokens carry scores, and a page to talk to it."""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.tools.score import Device, find_probe


def command(
    probe: Annotated[list[str], typer.Option("--probe", help="Name, folder or hf:// address; repeatable.")],
    stop: Annotated[bool, typer.Option("--stop", help="End a reply at the token where a probe flags.")] = False,
    fpr: Annotated[float, typer.Option(help="False positive rate whose stored threshold flags.")] = 0.01,
    log: Annotated[Path | None, typer.Option(help="Add a JSON line per reply to this file.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free one.")] = 8000,
    no_key: Annotated[bool, typer.Option("--no-key", help="Let other machines in without MUP_SERVE_KEY.")] = False,
    at_once: Annotated[int, typer.Option(min=1, help="Requests that are worked on in turn.")] = 8,
    waiting: Annotated[int, typer.Option(min=0, help="Requests that wait; more are told to come again.")] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply, in tokens.")] = 1024,
    max_body: Annotated[int, typer.Option(min=1, help="Largest request, in bytes.")] = 1 << 20,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds in which a client must send or read.")] = 30.0,
    grace: Annotated[int, typer.Option(min=0, help="Seconds that replies have to end at a shutdown.")] = 30,
    device: Device = "auto",
) -> None:
    """Serve a model under watch, to this machine only unless told.

    Clients present the key that stands in MUP_SERVE_KEY, if there is one; listening at another address than this
    machine's own needs one, or --no-key.

    Example: mup serve --probe attention --log talk.jsonl
    """
    from models_under_pressure.core.display import notice
    from models_under_pressure.core.errors import UserError

    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        remedy = "`pip install 'models-under-pressure[serve]'`."
        raise UserError("`mup serve` needs FastAPI and uvicorn, which are not installed.", remedy=remedy)
    from models_under_pressure.monitor.live import load_monitor
    from models_under_pressure.monitor.log import Log
    from models_under_pressure.monitor.serving.app import create_app
    from models_under_pressure.monitor.serving.engine import Engine
    from models_under_pressure.monitor.serving.guard import Limits
    from models_under_pressure.monitor.serving.run import is_loopback, listen, read_key, server_of
    from models_under_pressure.probes.probe import load_probe

    key, is_local = read_key(), is_loopback(host)
    if key is None and not (is_local or no_key):
        remedy = "set MUP_SERVE_KEY to a secret of your own, or say --no-key."
        raise UserError("other machines would reach the model without a key.", where=f"--host {host}", remedy=remedy)
    place = listen(host, port)
    opened = None if log is None else Log(log)
    monitor = load_monitor({name: load_probe(find_probe(name)) for name in probe}, device=device, fpr=fpr)
    name = Path(monitor.model.name).name if Path(monitor.model.name).is_dir() else monitor.model.name
    hosts = frozenset({"localhost", "127.0.0.1", "::1", host}) if key is None and is_local else None
    limits = Limits(key=key, hosts=hosts, most_bytes=max_body, most_tokens=max_new_tokens, seconds=timeout)
    engine = Engine(at_once=at_once, waiting=waiting)
    app = create_app(monitor, engine, name=name, limits=limits, stops=stop, log=opened)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises the signal once more when all is shut down
        signal.signal(number, _end)
    shown = f"http://{f'[{host}]' if ':' in host else host}:{place.getsockname()[1]}"
    notice(f"mup serve: {name} at {shown} (page: /, API: /v1, {'with a key' if key else 'no key'})")
    server_of(app, seconds=timeout, grace=grace).run(sockets=[place])


def _end(*_: object) -> None:
    sys.exit(0)
