"""`turnout serve`: starts the gateway and says, in a line each, what it found and where it listens."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from pathlib import Path

import click

from turnout import __version__
from turnout.api.app import App
from turnout.api.serving import Server, listen, make_server
from turnout.config.environment import Environment
from turnout.config.load import find_config, load
from turnout.errors import GatewayError
from turnout.gateway.clock import SystemClock
from turnout.gateway.ollama import is_answering
from turnout.gateway.service import Service


async def _run(service: Service, server: Server, listener: socket.socket) -> None:
    try:
        await service.start()
        await server.serve(sockets=[listener])
    finally:
        await service.stop()


def _calm_collector() -> None:
    """Let the cycle collector leave alone what stands for good, and look at the rest less often.

    Requests leave no cycles behind, so each look finds next to nothing; with the default thresholds the looks cost about
    a tenth of the CPU of a request (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _listener(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}:{port}: {error.strerror}. Is another gateway running? Try --port."
        ) from error


def _say(text: str) -> None:
    click.echo(text, err=True)


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
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="warning", show_default=True
)
def serve(path: Path | None, host: str | None, port: int | None, new_master_key: bool, log_level: str) -> None:
    """Start the gateway."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    environment = Environment.of_process()
    path = find_config(path, environment)
    loaded = load(path, environment, ollama=path is None and is_answering())
    snapshot = loaded.snapshot
    if new_master_key and snapshot.server.master_key:
        origin = snapshot.origins["server.master_key"]
        raise click.UsageError(f"--new-master-key makes no key while {origin} sets one: that alone holds.")
    # Listen first: a master key that is made is shown only once, so nothing may fail between making and showing it.
    listener = _listener(host or snapshot.server.host, snapshot.server.port if port is None else port)
    try:
        service = Service(loaded, environment, SystemClock(), config=path, renew_key=new_master_key)
    except GatewayError as error:
        listener.close()
        raise click.ClickException(error.message) from error
    address, bound_port = listener.getsockname()[:2]
    _say(f"Turnout {__version__}, config {path or 'defaults'} (revision {snapshot.revision})")
    for notice in loaded.notices:
        _say(f"  {notice}")
    if service.new_master_key:
        _say("\n  Your master key, shown this once (kept as a hash; lose it and --new-master-key makes another):")
        _say(f"\n      {service.new_master_key}\n")
    shown = f"[{address}]" if ":" in address else address
    _say(f"  Listening on http://{shown}:{bound_port}/v1   (models: GET /v1/models, health: /health)")
    server = make_server(service, App(service))
    _calm_collector()
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_run(service, server, listener))
