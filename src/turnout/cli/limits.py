"""`turnout limits`: shows what callers may ask, what of it is used, and when there is room again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from turnout.cli.remote import ask, options
from turnout.cli.tables import print_table
from turnout.core.limit_view import LimitGauge, LimitView

_WHAT: Final = {
    "requests_minute": "requests in 60 seconds",
    "tokens_minute": "tokens in 60 seconds",
    "at_once": "requests at once",
}
_HEADS: Final = ("limit", "of", "limit", "used", "elsewhere", "left", "more at")


class _Told(msgspec.Struct):
    limits: list[LimitView]
    cut: bool
    sharers: int


@click.command()
@options
def limits(*, url: str | None, path: Path | None, as_json: bool) -> None:
    """Show where the limits of callers stand in the running gateway, those with the least left first.

    used: in the last 60 seconds, or under way, through the gateway that answers. elsewhere: what other workers and gateways
    hold. Asks with TURNOUT_MASTER_KEY.
    """
    answer = ask("GET", "/admin/limits", url=url, path=path)
    if as_json:
        click.echo(json.dumps(answer))
        return
    told = msgspec.convert(answer, _Told)
    if not told.limits:
        click.echo(
            "Nobody is limited now. Give a limit under `limits:` in turnout.yaml, or with `turnout keys create --limit`."
        )
        return
    print_table([_HEADS, *(_row(view, gauge) for view in told.limits for gauge in view.gauges)], left=2)
    if told.cut:
        click.echo(f"The {len(told.limits):,} with the least left of more.")


def _row(view: LimitView, gauge: LimitGauge) -> tuple[str, ...]:
    name = f"{view.scope}:{view.who}" if view.who else view.scope
    counts = (gauge.limit, gauge.used, gauge.elsewhere, gauge.left)
    return (name, _WHAT[gauge.what], *(f"{count:,}" for count in counts), _moment(gauge.room_at))


def _moment(at: float | None) -> str:
    """An instant by this machine's clock and zone, "" for none."""
    return "" if at is None else datetime.fromtimestamp(round(at), UTC).astimezone().strftime("%H:%M:%S %Z")
