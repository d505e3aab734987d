"""`turnout simulate`: a simulated vendor on a port of its own, to try, test and drill with no account."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import click

from turnout.api.simulator import SimulatorServer, WitnessLog
from turnout.core.simulation.faults import KINDS
from turnout.core.simulation.profiles import DEFAULT, INSTANT
from turnout.core.simulation.world import World


def _list_faults(context: click.Context, _option: click.Parameter, is_wanted: bool) -> None:
    """Print every fault and leave."""
    if is_wanted:
        for name, kind in KINDS.items():
            click.echo(f"{name + ('=' + kind.arg if kind.arg else ''):28} {kind.what}")
        context.exit()


async def _run(world: World, host: str, port: int, *, as_json: bool) -> None:
    stopped = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    try:
        async with SimulatorServer(world, host, port) as server:
            if as_json:
                click.echo(json.dumps({"base_url": server.base_url, "witness": f"{server.origin}/witness"}))
            else:
                click.echo(f"Simulated provider at {server.base_url}")
                click.echo(f"  providers: {{stub: {{kind: compatible, base_url: {server.base_url}, api_key: any}}}}")
                click.echo(
                    f"  What it saw: {server.origin}/witness   Faults: turnout simulate --list-faults   Ctrl-C ends it."
                )
            await stopped.wait()
    except OSError as error:
        raise click.ClickException(f"Cannot listen on {host}:{port}: {error.strerror}. Try another --port.") from error
    if not as_json:
        click.echo(f"Ended after {world.witness.count} model calls.")


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
    log: Path | None,
    as_json: bool,
) -> None:
    """Start a simulated vendor that speaks the OpenAI and the Anthropic API."""
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
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(world, host, port, as_json=as_json))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where there is one (everywhere but on Windows)."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop
