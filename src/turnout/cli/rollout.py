"""`turnout rollout`: shows and sets how many users are on the candidate arm, with or without a running gateway.

Works on the state file under TURNOUT_HOME: a gateway on this machine sees the change within a second, and after a
restart it still holds. For a gateway elsewhere there is the admin API (docs/rollouts.md).
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from turnout.api.admin import describe_rollout, describe_rollouts
from turnout.cli.opened import in_books, opened_state, this_person, trail_of, user_name
from turnout.config.load import Loaded
from turnout.core.catalog import Rollout
from turnout.errors import StoreError
from turnout.gateway.clock import SystemClock
from turnout.gateway.overlay import overlaid, set_rollout
from turnout.stores import Database


@click.group()
def rollout() -> None:
    """Show and change gradual rollouts."""


_config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")


@rollout.command("set")
@click.argument("name")
@click.argument("percent", type=click.FloatRange(0, 100))
@_config
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def set_percent(name: str, percent: float, path: Path | None, as_json: bool) -> None:
    """Send PERCENT of the users by the candidate arm of rollout NAME. 0 is off; it holds within a second."""
    with opened_state(path) as (loaded, state):
        before = overlaid(loaded.snapshot, state.rollout_changes()).rollouts.get(name)
        try:
            set_rollout(
                state, loaded.snapshot, name, percent, at=SystemClock().wall(), by=f"turnout rollout set, {user_name()}"
            )
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        now = overlaid(loaded.snapshot, state.rollout_changes()).rollouts[name]
    _write_down(path, before, now)
    if as_json:
        click.echo(json.dumps(describe_rollout(now)))
    else:
        click.echo(f"{name}: {percent:g} % (a running gateway takes it within a second; 0 is off)")


@rollout.command("status")
@click.argument("name", required=False)
@_config
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(name: str | None, path: Path | None, as_json: bool) -> None:
    """Show the rollouts, or the one named NAME."""
    with opened_state(path) as (loaded, state):
        told = describe_rollouts(overlaid(loaded.snapshot, state.rollout_changes()))
    if name is not None:
        told = [one for one in told if one["name"] == name]
        if not told:
            known = ", ".join(loaded.snapshot.rollouts) or "none is configured"
            raise click.ClickException(f"There is no rollout named {name!r} ({known}).")
    if as_json:
        click.echo(json.dumps({"rollouts": told}))
        return
    if not told:
        click.echo("No rollout is configured. Add one under `rollouts:` in turnout.yaml.")
    for one in told:
        tasks = one["tasks"] if isinstance(one["tasks"], str) else ", ".join(one["tasks"])  # type: ignore[arg-type]
        click.echo(f"{one['name']}: {one['percent']:g} %  tasks: {tasks}  candidate: {_arm(one)}")
        click.echo(f"    from {one['from']}")
        for key in ("include", "exclude"):
            if one[key]:
                click.echo(f"    {key}: {', '.join(one[key])}")  # type: ignore[arg-type]


def _write_down(path: Path | None, before: Rollout | None, now: Rollout) -> None:
    """Write the change into the audit trail. It holds already: an emergency 0 waits for no database."""

    async def written(loaded: Loaded, database: Database) -> None:
        was = None if before is None else {"percent": before.percent}
        trail = trail_of(loaded, database)
        await trail.write(
            trail.record(this_person(), "rollout.set", now.name, before=was, after={"percent": now.percent})
        )

    try:
        in_books(path, written)
    except StoreError as error:
        click.echo(f"It holds, but the audit trail could not be written: {error.message}", err=True)


def _arm(told: dict[str, object]) -> str:
    candidate = told["candidate"]
    assert isinstance(candidate, dict)
    if "provider" in candidate:
        return f"the same models by {candidate['provider']}"
    return ", ".join(candidate["models"])
