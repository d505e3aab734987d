"""`turnout quota`: shows what the vendors allow, what is used of it, and when there will be more."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from turnout.cli.remote import ask, options
from turnout.cli.tables import print_table
from turnout.core.quota_view import Gauge, QuotaView

_WHAT: Final = (
    ("requests_minute", "requests a minute"),
    ("tokens_minute", "tokens a minute"),
    ("requests_day", "requests a day"),
    ("tokens_day", "tokens a day"),
    ("at_once", "at once"),
)
_HEADS: Final = ("quota", "of", "used", "limit", "left", "reserved", "resets at", "runs out at")


class _Told(msgspec.Struct):
    quotas: list[QuotaView]


@click.command()
@options
def quota(*, url: str | None, path: Path | None, as_json: bool) -> None:
    """Show where every quota of the running gateway stands.

    limit: the vendor's number less our margin. left: for high priority; reserved: how much of it is for high priority alone.
    runs out at: if the day goes on as the last days did. Asks with TURNOUT_MASTER_KEY.
    """
    told = ask("GET", "/admin/quotas", url=url, path=path)
    if as_json:
        click.echo(json.dumps(told))
        return
    views = msgspec.convert(told, _Told).quotas
    if not views:
        click.echo("No quota is known. Add one under `quota:` of a provider or a model in turnout.yaml.")
        return
    print_table([_HEADS, *(row for view in views for row in _rows(view))], left=2)
    for view in views:
        if view.closed_until is not None:
            click.echo(f"{view.name}: its vendor wants nothing before {_moment(view.closed_until)}.")
        if not view.gauges:
            click.echo(f"{view.name}: its vendor has told no limit yet.")


def _rows(view: QuotaView) -> list[tuple[str, ...]]:
    by_what = {gauge.what: gauge for gauge in view.gauges}
    return [(view.name, words, *_cells(by_what[what])) for what, words in _WHAT if what in by_what]


def _cells(gauge: Gauge) -> tuple[str, ...]:
    """Return the cells from `used` to `runs out at`."""
    limit = f"{gauge.limit:,}" if gauge.limit == gauge.vendor else f"{gauge.limit:,} of {gauge.vendor:,}"
    return (
        f"{gauge.used:,}",
        limit + (" (learned)" if gauge.is_learned else ""),
        f"{gauge.left:,}",
        f"{gauge.reserved:,}" if gauge.reserved else "",
        _moment(gauge.resets_at),
        _moment(gauge.runs_out_at),
    )


def _moment(at: float | None) -> str:
    """An instant by this machine's clock and zone, "" for none."""
    return "" if at is None else datetime.fromtimestamp(round(at), UTC).astimezone().strftime("%m-%d %H:%M:%S %Z")
