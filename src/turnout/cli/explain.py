"""`turnout explain`: tells a person why a request went where it went, or where one would go.

Reads the trace store and the state under TURNOUT_HOME; no gateway needs to run, and no call is made.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import msgspec

from turnout import policies
from turnout.cli.opened import opened_state
from turnout.config.environment import Environment
from turnout.core.health import Health
from turnout.core.plan import Ask, Index, plan
from turnout.core.redact import printable
from turnout.core.trace import Trace, plan_told, render, render_plan
from turnout.errors import GatewayError, StoreError
from turnout.gateway.clock import SystemClock
from turnout.gateway.overlay import overlaid
from turnout.stores.sqlite import SqliteTraceStore

PATIENCE_S = 2.0
"""How long a trace that is not there yet is waited for: the gateway writes them four times a second."""


@click.command()
@click.argument("request_id", required=False)
@click.option("--task", default="", help="What a request for this task would do.")
@click.option("--model", default="", help="What a request for this model, route or alias would do.")
@click.option("--user", default="", help="For this user (rollouts).")
@click.option("--session", default="", help="For this session (rollouts).")
@click.option("--needs", multiple=True, type=click.Choice(["tools", "vision", "json"]), help="What it asks for.")
@click.option("--stream", is_flag=True, help="It wants a stream.")
@click.option("--tokens", default=0, help="How long its prompt is.")
@click.option("--last", type=click.IntRange(1, 1000), help="The newest N requests, a line each.")
@click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    request_id: str | None,
    task: str,
    model: str,
    user: str,
    session: str,
    needs: tuple[str, ...],
    stream: bool,
    tokens: int,
    last: int | None,
    path: Path | None,
    as_json: bool,
) -> None:
    """Explain REQUEST_ID (the x-request-id of an answer), or what WOULD happen: --task, --model, --user."""
    if last is not None:
        _tell_last(last, as_json=as_json)
    elif request_id:
        _tell(request_id, as_json=as_json)
    elif task or model:
        ask = Ask(
            name=model,
            task=task,
            user=user,
            session=session,
            needs=frozenset(needs),
            stream=stream,
            input_tokens=tokens,
        )
        _tell_plan(path, ask, as_json=as_json)
    else:
        raise click.UsageError("Give a request's id, or --task or --model for what would happen, or --last N.")


def _traces() -> SqliteTraceStore:
    """The traces, whatever state the config is in: it may be broken, which is when one wants to know."""
    home = Environment.of_process().home
    if not (home / "traces.sqlite3").exists():
        raise click.ClickException(f"No gateway has run with TURNOUT_HOME={home}: there are no traces.")
    try:
        return SqliteTraceStore(home / "traces.sqlite3")
    except StoreError as error:
        raise click.ClickException(error.message) from error


def _tell(request_id: str, *, as_json: bool) -> None:
    traces = _traces()
    until = time.perf_counter() + PATIENCE_S
    while (body := traces.get(request_id)) is None and time.perf_counter() < until:
        time.sleep(0.1)
    if body is None:
        raise click.ClickException(
            f"No trace of {request_id!r} is kept. The oldest go first; --last 20 lists the newest."
        )
    told = (
        json.dumps(msgspec.json.decode(body)) if as_json else "\n".join(render(msgspec.json.decode(body, type=Trace)))
    )
    click.echo(told)


def _tell_last(count: int, *, as_json: bool) -> None:
    bodies = _traces().latest(count)
    if as_json:
        click.echo(json.dumps([msgspec.json.decode(body) for body in bodies]))
        return
    if not bodies:
        click.echo("No request has been made yet.", err=True)
    for body in bodies:
        trace = msgspec.json.decode(body, type=Trace)
        who = trace.attempts[-1].model if trace.attempts else "-"
        asked = trace.target or trace.asked_name
        line = f"{trace.request_id}  {trace.status}  {trace.total_s:7.3f} s  {asked}  → {who}"
        click.echo(printable(line))


def _tell_plan(path: Path | None, ask: Ask, *, as_json: bool) -> None:
    with opened_state(path) as (loaded, state):
        snapshot = overlaid(loaded.snapshot, state.rollout_changes())
    clock = SystemClock()
    planned = plan(ask, Index.of(snapshot), policies.installed(), Health(snapshot.breaker), clock.draw(), clock.now())
    if isinstance(planned, GatewayError):
        raise click.ClickException(planned.message)
    click.echo(json.dumps(plan_told(planned), indent=2) if as_json else "\n".join(render_plan(planned)))
