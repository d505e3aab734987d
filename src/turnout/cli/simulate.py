"""`turnout simulate`: a simulated vendor on a port of its own, to try, test and drill with no account.

With `--wire` a proxy stands before it that does to every connection what networks do; with `--before` the proxy stands
before another server, and nothing is simulated.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, closing, nullcontext
from pathlib import Path

import click

from turnout.api.fault_proxy import FaultProxy
from turnout.api.simulator import SimulatorServer, WitnessLog
from turnout.core.simulation.faults import KINDS
from turnout.core.simulation.profiles import DEFAULT, INSTANT
from turnout.core.simulation.wire_faults import KINDS as WIRE_KINDS
from turnout.core.simulation.wire_faults import Plan, read
from turnout.core.simulation.world import World


def _list_faults(context: click.Context, _option: click.Parameter, is_wanted: bool) -> None:
    """Print every fault and leave."""
    if is_wanted:
        click.echo("What a vendor does (--fault, --fault-for):")
        for name, kind in KINDS.items():
            click.echo(f"  {name + ('=' + kind.arg if kind.arg else ''):28} {kind.what}")
        click.echo("\nWhat a network does (--wire); up: to the server, down: to the client:")
        for name, wire in WIRE_KINDS.items():
            click.echo(f"  {wire.way + ':' + name + ('=' + wire.arg if wire.arg else ''):28} {wire.what}")
        context.exit()


def _address(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, int] | None:
    """Read HOST:PORT; [HOST]:PORT for IPv6."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def _run(world: World, host: str, port: int, plan: Plan | None, *, seed: int, as_json: bool) -> None:
    """Serve the world until a signal comes, behind a proxy if there is a plan. Raises OSError if it cannot listen."""
    stopped = _signalled()
    async with AsyncExitStack() as stack:
        server = SimulatorServer(world) if plan else SimulatorServer(world, host, port)
        base_url = (await stack.enter_async_context(server)).base_url
        if plan:
            proxy = FaultProxy(server.host, server.port, plan, seed=seed, listen_host=host, listen_port=port)
            base_url = f"http://{_joined(host, (await stack.enter_async_context(proxy)).port)}/v1"
        if as_json:
            click.echo(json.dumps({"base_url": base_url, "witness": f"{server.origin}/witness"}))
        else:
            click.echo(f"Simulated provider at {base_url}")
            click.echo(f"  providers: {{stub: {{kind: compatible, base_url: {base_url}, api_key: any}}}}")
            click.echo(
                f"  What it saw: {server.origin}/witness   Faults: turnout simulate --list-faults   Ctrl-C ends it."
            )
        await stopped.wait()
    if not as_json:
        click.echo(f"Ended after {world.witness.count} model calls.")


async def _run_before(proxy: FaultProxy, *, as_json: bool) -> None:
    """Stand before another server until a signal comes. Raises OSError if it cannot listen."""
    stopped = _signalled()
    async with proxy:
        here, there = _joined(proxy.host, proxy.port), _joined(*proxy.target)
        if as_json:
            click.echo(json.dumps({"address": here, "before": there}))
        else:
            click.echo(f"Wire faults before {there} at {here}. Ctrl-C ends it.")
        await stopped.wait()
    if not as_json:
        click.echo(f"Ended after {proxy.accepted} connections.")


def _signalled() -> asyncio.Event:
    """Return what is set by the first signal that asks to end."""
    stopped = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    return stopped


def _joined(host: str, port: int) -> str:
    """Return HOST:PORT, [HOST]:PORT for IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=9100, show_default=True, help="0 takes a free one.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed and requests give the same answers."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Times faster than life.",
)
@click.option(
    "--free-per-minute",
    type=click.IntRange(0),
    default=16,
    show_default=True,
    help="Attempts at free models; 0: no limit.",
)
@click.option(
    "--free-per-day",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="Attempts at free models; 0: no limit.",
)
@click.option(
    "--failure-rate", type=click.FloatRange(0, 1), default=0.08, show_default=True, help="429s of free models."
)
@click.option("--instant", is_flag=True, help="No latency, no quota, no failures.")
@click.option("--fault", "faults", multiple=True, metavar="FAULT", help="For the next request; may be given again.")
@click.option(
    "--fault-for", nargs=2, multiple=True, metavar="MODEL FAULT", help="For every request to MODEL (a pattern)."
)
@click.option(
    "--wire", "wires", multiple=True, metavar="PLAN", help="Faults of every connection, such as `delay=50ms`."
)
@click.option(
    "--before", callback=_address, metavar="HOST:PORT", help="Put the wire faults before this server; simulate nothing."
)
@click.option(
    "--log", type=click.Path(path_type=Path, dir_okay=False), help="Write the witness's records to this file."
)
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as JSON.")
@click.option(
    "--list-faults", is_flag=True, is_eager=True, expose_value=False, callback=_list_faults, help="Show every fault."
)
def simulate(
    *,
    host: str,
    port: int,
    seed: int,
    speed: float,
    free_per_minute: int,
    free_per_day: int,
    failure_rate: float,
    instant: bool,
    faults: tuple[str, ...],
    fault_for: tuple[tuple[str, str], ...],
    wires: tuple[str, ...],
    before: tuple[str, int] | None,
    log: Path | None,
    as_json: bool,
) -> None:
    """Start a simulated vendor that speaks the OpenAI and the Anthropic API."""
    plan = _plan(wires)
    if before:
        if faults or fault_for or log:
            raise click.UsageError("--before simulates nothing: leave --fault, --fault-for and --log out.")
        proxy = FaultProxy(*before, plan, seed=seed, listen_host=host, listen_port=port)
        _serve(_run_before(proxy, as_json=as_json), host, port)
        return
    try:
        witness_log = WitnessLog(log) if log else None
    except OSError as error:
        raise click.ClickException(f"Cannot write {log}: {error.strerror}.") from error
    with closing(witness_log) if witness_log else nullcontext():
        try:
            world = World(
                seed,
                {"*": INSTANT} if instant else DEFAULT,
                speed=speed,
                free_per_minute=0 if instant else free_per_minute,
                free_per_day=0 if instant else free_per_day,
                failure_rate=failure_rate,
                observe=witness_log,
            )
            world.set_faults(faults, dict(fault_for))
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        _serve(_run(world, host, port, plan if wires else None, seed=seed, as_json=as_json), host, port)


def _plan(wires: Sequence[str]) -> Plan:
    """Read the plans of `--wire` as one."""
    try:
        return read("; ".join(wires))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _serve(work: Coroutine[None, None, None], host: str, port: int) -> None:
    """Run `work` to its end; say so if it cannot listen."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work)
    except OSError as error:
        raise click.ClickException(f"Cannot listen on {host}:{port}: {error.strerror}. Try another --port.") from error


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where there is one (everywhere but on Windows)."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop
