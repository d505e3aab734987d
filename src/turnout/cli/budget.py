"""`turnout budget`: shows what budgets have spent, what is left, when they begin anew, and which alerts were raised.

Reads the books themselves, with or without a running gateway.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from turnout.cli.opened import in_books
from turnout.cli.tables import print_table
from turnout.config.load import Loaded
from turnout.core.books.alerts import Sent, alert_told, latest
from turnout.core.books.budgets import Standing, standing_told, standings
from turnout.core.books.people import rules
from turnout.core.books.statements import Steps
from turnout.core.pricing import format_usd
from turnout.gateway.clock import SystemClock
from turnout.stores import Database

_HEADS: Final = ("budget", "period", "limit", "spent", "held", "left", "used", "begins anew at")
_ALERT_HEADS: Final = ("at", "budget", "mark", "spent", "limit", "told by", "taken at", "tries", "problem")

_config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_most = click.option("--most", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Lines at most.")


@click.group()
def budget() -> None:
    """Show what budgets have spent, and which alerts were raised.

    Budgets are given in turnout.yaml (`budgets:`, and each tier's), and to keys, users, workspaces and teams by their own
    commands (`--budget 10/month`).
    """


@budget.command()
@_most
@_json
@_config
def status(*, most: int, as_json: bool, path: Path | None) -> None:
    """Show how every budget stands in its present period, the most used first.

    held: set aside by gateways for requests under way, or about to be given back; it counts as spent until then.
    left: what is neither spent nor held. Sums are rounded here, to a hundredth of a cent; --json has them exactly.
    """

    def read(loaded: Loaded, database: Database) -> Awaitable[list[Standing]]:
        return database.read(lambda: _standings(loaded, most))

    found = in_books(path, read)
    if as_json:
        click.echo(json.dumps({"budgets": [standing_told(one) for one in found]}))
        return
    if not found:
        click.echo(
            "No budget is used yet. Give one under `budgets:` in turnout.yaml, or with `turnout keys create --budget`."
        )
        return
    print_table([_HEADS, *map(_row, found)], left=2)
    if len(found) == most:
        click.echo(f"The first {most} of more; see --most.")


@budget.command()
@_most
@_json
@_config
def alerts(*, most: int, as_json: bool, path: Path | None) -> None:
    """Show which budgets reached which mark, the youngest first, and how telling it went.

    Who is told is said under `alerts:` in turnout.yaml.
    """

    def read(_loaded: Loaded, database: Database) -> Awaitable[list[Sent]]:
        return database.read(lambda: latest(most))

    found = in_books(path, read)
    if as_json:
        click.echo(json.dumps({"alerts": [alert_told(one) for one in found]}))
    elif found:
        print_table([_ALERT_HEADS, *map(_alert_row, found)])
    else:
        click.echo("No budget has reached a mark yet.")


def _standings(loaded: Loaded, most: int) -> Steps[list[Standing]]:
    given = yield from rules()
    snapshot = loaded.snapshot
    return (yield from standings((*snapshot.budgets, *given.budgets), snapshot.tiers, SystemClock().wall(), most))


def _row(one: Standing) -> tuple[str, ...]:
    used = (one.spent_nano_usd + one.leased_nano_usd) / one.limit_nano_usd if one.limit_nano_usd else 1.0
    amounts = (one.limit_nano_usd, one.spent_nano_usd, one.leased_nano_usd, one.left_nano_usd)
    return (
        one.budget,
        one.period if one.is_hard else f"{one.period}, soft",
        *map(_rounded, amounts),
        f"{used:.0%}",
        _moment(one.ends_at) or "never",
    )


def _rounded(nano_usd: int) -> str:
    """Dollars with two decimals, or four where cents do not say it; --json has them exactly."""
    hundredths = (abs(nano_usd) + 50_000) // 100_000
    places = 2 if hundredths % 100 == 0 else 4
    return f"{'-' if nano_usd < 0 and hundredths else ''}${hundredths / 10_000:.{places}f}"


def _alert_row(one: Sent) -> tuple[str, ...]:
    alert = one.alert
    return (
        *(_moment(alert.raised_at), alert.budget, alert.mark),
        *(format_usd(alert.spent_nano_usd), format_usd(alert.limit_nano_usd), one.channel or "nobody"),
        *(_moment(one.taken_at), str(one.tries or ""), one.problem),
    )


def _moment(at: int | None) -> str:
    """An instant by this machine's clock and zone, "" for none."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M %Z")
