"""`turnout serve`: starts the gateway and says, in a line each, what it found and where it listens.

Three ways to come by the listening socket: open it, take it over from the gateway that runs (`--take-over`), or get it
from the supervisor (`--worker`, which only cli/supervisor.py gives). With `--workers` it is the supervisor that starts.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from turnout import __version__
from turnout.api.app import App
from turnout.api.descriptors import raise_descriptor_limit
from turnout.api.hand_over import Succession, door_of, knock, receive
from turnout.api.serving import Server, listen, make_server
from turnout.config.environment import Environment
from turnout.config.load import Loaded, find_config, load
from turnout.core.catalog import Snapshot
from turnout.errors import ConfigError, GatewayError
from turnout.gateway.clock import SystemClock
from turnout.gateway.collecting import Collector
from turnout.gateway.keys import open_ring
from turnout.gateway.logs import Form, log_to_stderr
from turnout.gateway.ollama import is_answering
from turnout.gateway.service import Service
from turnout.gateway.vault import root_key
from turnout.stores.sqlite import SqliteStateStore

BLOCK_BYTES = 512 * 1024
"""Twice the longest read of a socket, which is better served from the heap."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def _serve(service: Service, listener: socket.socket, succession: Succession, on_ready: Callable[[], object]) -> None:
    """Serve in this process until told to stop."""

    def begin() -> None:
        succession.begin(server.stop)
        on_ready()

    server = make_server(service, App(service), on_started=begin)
    _no_core_dumps()
    _calm_allocator()
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_run(service, server, listener, succession))


async def _run(service: Service, server: Server, listener: socket.socket, succession: Succession) -> None:
    collector = Collector(lambda: service.admission.in_flight)
    with server.capture_signals():
        try:
            if await server.get_ready():
                collector.start()
                await server.serve(sockets=[listener])
        finally:
            collector.stop()
            await succession.close()
            await service.stop()


def _supervise(
    listener: socket.socket, arguments: list[str], workers: int, succession: Succession, on_ready: Callable[[], object]
) -> None:
    """Keep workers that serve until told to stop. arguments: of a worker."""
    from turnout.cli.supervisor import TURNOUT, Supervisor

    _no_core_dumps()

    def begin() -> None:
        succession.begin(lambda: supervisor.stop(signal.SIGINT))  # of the signals the one without a lame duck
        on_ready()

    async def run() -> None:
        try:
            await supervisor.run()
        finally:
            await succession.close()

    supervisor = Supervisor(listener, [*TURNOUT, *arguments], workers, on_ready=begin)
    asyncio.run(run())


def _calm_allocator() -> None:
    """Let glibc keep blocks of BLOCK_BYTES and more apart: such a block grows without a copy and goes back when it is freed.

    Left to itself glibc does so only until the first one was freed. From then on large bodies grow in the heap, where they are
    copied as they grow and leave holes: twelve uploads of 5 to 25 MiB left 48 MiB behind, and 24 MiB took 40 (mallopt(3)).
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, BLOCK_BYTES)
            mallopt(_M_TRIM_THRESHOLD, 2 * BLOCK_BYTES)  # as glibc has it; setting one ends its care for both


def _no_core_dumps() -> None:
    """Leave no copy of the memory on a disk should the process crash: every key in use is in it. Workers inherit it."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _listener(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}:{port}: {error.strerror}. Is another gateway running? Try --port."
        ) from error


def _listening(
    host: str, port: int, *, door: Path | None, is_worker: bool
) -> tuple[socket.socket, socket.socket | None]:
    """Return the listening socket, and the connection that it came over, if it came from another process.

    door: where the gateway to take over from is met, None if none is.
    """
    holder = socket.socket(fileno=sys.stdin.fileno()) if is_worker else knock(door) if door else None
    if holder is not None:
        listener = receive(holder)
        if listener is not None:
            return listener, holder
        holder.close()
    return _listener(host, port), None


def _key_for_workers(snapshot: Snapshot, *, renew: bool) -> str:
    """Make the master key that the workers find, if there is none. Return its text if it was made now, else ""."""
    home, clock = Path(snapshot.server.home), SystemClock()
    state = SqliteStateStore(home / "state.sqlite3")
    try:
        root = root_key(home, Environment.of_process(), clock)
        return open_ring(state, clock, snapshot.server.master_key, root, renew=renew)[1]
    finally:
        state.close()


def _told(loaded: Loaded, path: Path | None, key: str) -> Iterator[str]:
    """What a person should know at the start, line by line."""
    yield f"Turnout {__version__}, config {path or 'defaults'} (revision {loaded.snapshot.revision})"
    for notice in loaded.notices:
        yield f"  {notice}"
    if key:
        yield "\n  Your master key, shown this once (kept as a hash; lose it and --new-master-key makes another):"
        yield f"\n      {key}\n"


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="The YAML file; default: $TURNOUT_CONFIG, ./turnout.yaml, or none.",
)
@click.option("--host", help="Where to listen; default: what the config says, else 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Where to listen; default: what the config says, else 4000."
)
@click.option("--new-master-key", is_flag=True, help="Make a new master key and show it; the old one is refused.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that serve on the port; one a core.",
)
@click.option(
    "--take-over", is_flag=True, help="Take the port over from the gateway that runs there, without refusing anybody."
)
@click.option("--worker", "is_worker", is_flag=True, hidden=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="warning", show_default=True
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="Default: text on a terminal, else a JSON object a line."
)
def serve(
    path: Path | None,
    host: str | None,
    port: int | None,
    new_master_key: bool,
    workers: int,
    take_over: bool,
    is_worker: bool,
    log_level: str,
    log_format: Form | None,
) -> None:
    """Start the gateway."""
    form = log_format or ("text" if sys.stderr.isatty() else "json")
    log = click.get_current_context().with_resource(log_to_stderr(form, log_level))

    def say(text: str) -> None:
        if not is_worker:
            click.echo(log.plain(text), err=True)

    if sys.platform == "win32" and (workers > 1 or take_over):
        raise click.UsageError("--workers and --take-over pass a socket between processes: not on Windows.")
    environment = Environment.of_process()
    path = find_config(path, environment)
    loaded = load(path, environment, ollama=path is None and is_answering())
    snapshot = loaded.snapshot
    if new_master_key and snapshot.server.master_key:
        origin = snapshot.origins["server.master_key"]
        raise click.UsageError(f"--new-master-key makes no key while {origin} sets one: that alone holds.")
    home, port = Path(snapshot.server.home), snapshot.server.port if port is None else port
    try:
        # Listen first: a master key that is made is shown only once, so nothing may fail between making and showing it.
        listener, holder = _listening(
            host or snapshot.server.host, port, door=door_of(home, port) if take_over else None, is_worker=is_worker
        )
        with ExitStack() as undo:
            undo.callback(listener.close)
            service = None
            if workers == 1:
                service = Service(loaded, environment, SystemClock(), config=path, renew_key=new_master_key)
                log.secrets, key = service.secrets, service.new_master_key
            else:
                key = _key_for_workers(snapshot, renew=new_master_key)
            undo.pop_all()
    except ConfigError:
        raise
    except GatewayError as error:
        raise click.ClickException(error.message) from error
    for line in _told(loaded, path, key):
        say(line)
    address, port = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    line = f"  Listening on http://{shown}:{port}/v1   (models: GET /v1/models, health: /health)"
    succession = Succession(listener, holder=holder, door=None if is_worker else door_of(home, port))
    if service is None:
        arguments = ["serve", "--worker", "--log-level", log_level, "--log-format", form]
        if path is not None:
            arguments += ["--config", str(path)]
        _supervise(listener, arguments, workers, succession, functools.partial(say, line))
    else:
        _serve(service, listener, succession, functools.partial(say, line))
