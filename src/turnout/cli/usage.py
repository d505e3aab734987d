"""`turnout usage`: tells what was used and what it cost; `turnout reconcile`: compares that with what a provider says.

Both read the books themselves, with or without a running gateway.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec

from turnout.cli.opened import in_books
from turnout.cli.tables import called, print_table
from turnout.config.amounts import day
from turnout.config.load import Loaded
from turnout.config.prices import price_list
from turnout.core.books.usage import ALL_NAMES, BY, Report, Sums, Wanted, asked, between, report_told
from turnout.core.books.usage import usage as usage_of
from turnout.core.pricing import format_usd
from turnout.core.reconciling import Difference, Export, compare, plain_name, read_export
from turnout.gateway.clock import SystemClock
from turnout.stores import Database

MOST_BYTES: Final = 200_000_000
"""Of an export: a million calls, a row each."""

_HEADS: Final = ("calls", "failed", "input", "cached", "output", "reasoning", "cost")
_CSV: Final = (*Sums.__struct_fields__, "cost_usd")

_config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.option("--by", default="day", show_default=True, help=f"Names with commas, of: {', '.join(BY)}.")
@click.option("--from", "since", default="", help="First day: 2026-11-01, or 7d for the last seven. Default: 30 days.")
@click.option("--to", "until", default="", help="Last day, included. Default: today.")
@click.option("--zone", default="UTC", show_default=True, help="Whose days: a time zone such as Europe/Copenhagen.")
@click.option(
    "--only", multiple=True, metavar="NAME=VALUE", help="Only this: user=anna, task=chat; more than once for more."
)
@click.option("--session", default="", help="Only this session; 31 days at most, as it reads every entry of the time.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@_json
@_config
def usage(
    by: str,
    since: str,
    until: str,
    zone: str,
    only: Sequence[str],
    session: str,
    as_csv: bool,
    as_json: bool,
    path: Path | None,
) -> None:
    """Show what was used and what it cost: calls of vendors, tokens, dollars.

    Every call counts, also one that failed or was made again elsewhere. A cost with ~ is in part made from estimated
    tokens, because the vendor did not say (a stream that was cut off).

    Sums are kept by the hour, but not by session: --session and --by session read every entry of the time instead. That costs
    more (a million entries take some seconds), goes back 31 days at most, and leaves out what is archived.
    """
    if as_csv and as_json:
        raise click.UsageError("Choose one of --csv and --json.")
    try:
        wanted = asked(by, since, until, zone, _only(only, session), SystemClock().wall())
    except ValueError as error:
        name, _, what = str(error).partition(": ")
        raise click.BadParameter(what, param_hint=f"--{name}") from None

    def read(_loaded: Loaded, database: Database) -> Awaitable[Report]:
        return database.read(lambda: usage_of(wanted))

    report = in_books(path, read)
    if as_json:
        click.echo(json.dumps(report_told(wanted, report)))
    elif as_csv:
        _print_csv(wanted, report)
    else:
        _print_report(wanted, report)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--provider", default="", help="Whose: a provider of the config. Default: as the file's form says.")
@click.option("--from", "since", default="", help="First day (UTC) to look at in the books; default: as in the file.")
@click.option("--to", "until", default="", help="Last day (UTC), included; default: as in the file.")
@click.option("--tolerance", default=1.0, show_default=True, type=click.FloatRange(0, 100), help="Percent.")
@_json
@_config
def reconcile(
    file: Path, provider: str, since: str, until: str, tolerance: float, as_json: bool, path: Path | None
) -> int:
    """Compare a provider's usage export with the books, model by model; exit with 1 if they differ beyond --tolerance.

    FILE is a CSV: OpenAI's usage export, Anthropic's usage or cost export, OpenRouter's activity, or any with the columns
    model, date, input_tokens, output_tokens and cost_usd (those that there are).
    """
    export = _export(file)
    start_s, end_s = _time(export, since, until)

    async def read(loaded: Loaded, database: Database) -> tuple[list[str], list[dict[str, Sums]]]:
        accounts = loaded.snapshot.accounts
        vendor = export.vendor or None
        names = [provider] if provider else [one.name for one in accounts.values() if one.vendor == vendor]
        if not names:
            known = ", ".join(accounts)
            raise click.BadParameter(f"say whose export it is, one of: {known}", param_hint="--provider")
        return names, [await database.read(partial(between, start_s, end_s, name)) for name in names]

    names, found = in_books(path, read)
    ours: dict[str, Sums] = {}
    for one in found:
        for model, sums in one.items():
            ours[model] = _added(ours.get(model, Sums()), sums)
    vendor = export.vendor or names[0]  # an account's name is its vendor's, mostly
    differences = compare(export.models, ours, tolerance / 100, lambda model: _name_of(vendor, model))
    is_off = any(one.off for one in differences)
    if as_json:
        click.echo(
            json.dumps(
                {**_told(export, names, start_s, end_s), "ok": not is_off, "models": list(map(_model, differences))}
            )
        )
    else:
        _print_differences(export, names, (start_s, end_s), differences, tolerance)
    return int(is_off)


def _only(written: Sequence[str], session: str) -> dict[str, str]:
    only = {"session": session} if session else {}
    for one in written:
        name, equals, value = one.partition("=")
        if not equals or not value or name.replace("-", "_") not in ALL_NAMES:
            raise click.BadParameter(f"write NAME=VALUE with one of {', '.join(ALL_NAMES)}", param_hint="--only")
        only[name.replace("-", "_")] = value
    return only


def _print_csv(wanted: Wanted, report: Report) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    columns = [column for name in wanted.by for column in ((name, "key_name") if name == "key" else (name,))]
    table.writerow((*columns, *_CSV))
    told = report_told(wanted, report)["lines"]
    assert isinstance(told, list)
    table.writerows([line[name] for name in (*columns, *_CSV)] for line in told)


def _print_report(wanted: Wanted, report: Report) -> None:
    if not report.lines:
        click.echo(f"Nothing was used from {wanted.first} to {wanted.last} ({wanted.zone}).")
        return
    heads = tuple(name.replace("_", " ") for name in wanted.by)
    names = {"key": report.key_names}
    lines = [
        (*(called(line.names[name], names.get(name, {})) for name in wanted.by), *_cells(line.sums))
        for line in report.lines
    ]
    total = ("total", *("" for _ in wanted.by[1:]), *_cells(report.total))
    print_table([(*heads, *_HEADS), *lines, total], left=len(heads))
    if report.is_cut:
        click.echo(
            f"More than {len(report.lines):,} lines: the dearest are shown, the total counts all. Narrow it: --only."
        )
    if report.archived_until_s:
        click.echo(f"Entries up to {_instant(report.archived_until_s)} may be in the archive: those are not counted.")
    if report.total.unpriced:
        click.echo(f"{report.total.unpriced:,} calls had no known price and are in no sum: `turnout prices check`.")


def _cells(sums: Sums) -> tuple[str, ...]:
    counts = (
        *(sums.attempts, sums.failed, sums.input_tokens, sums.cache_read_input_tokens),
        *(sums.output_tokens, sums.reasoning_output_tokens),
    )
    return (
        *(f"{count:,}" for count in counts),
        ("~" if sums.inexact_nano_usd else "") + format_usd(sums.cost_nano_usd),
    )


def _export(file: Path) -> Export:
    if file.stat().st_size > MOST_BYTES:
        raise click.BadParameter(f"is larger than {MOST_BYTES:,} bytes, export less at a time", param_hint="FILE")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return read_export(lines)
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file} is no text in UTF-8", param_hint="FILE") from None
    except ValueError as error:
        raise click.BadParameter(f"{file}: {error}", param_hint="FILE") from None


def _time(export: Export, since: str, until: str) -> tuple[int, int]:
    try:
        start_s = _midnight(since) if since else export.start_s
        end_s = _midnight(until, days=1) if until else export.end_s
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--from or --to") from None
    if not start_s or start_s >= end_s:
        raise click.UsageError("The file does not say what time it is about: say --from and --to.")
    return start_s, end_s


def _midnight(written: str, days: int = 0) -> int:
    found = day(written) + timedelta(days=days)
    return int(datetime(found.year, found.month, found.day, tzinfo=UTC).timestamp())


def _name_of(vendor: str, model: str) -> str:
    """Under which name a model is compared: as the price list knows it, else without its version's date."""
    listed = price_list().find(vendor, model)
    return plain_name(model) if listed is None else listed.id


def _added(one: Sums, other: Sums) -> Sums:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Sums(*(a + b for a, b in pairs))


def _told(export: Export, names: Sequence[str], start_s: int, end_s: int) -> dict[str, object]:
    return {"form": export.form, "providers": list(names), "from": _instant(start_s), "to": _instant(end_s)}


def _instant(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _model(one: Difference) -> dict[str, object]:
    said = None if one.said is None else msgspec.structs.asdict(one.said)
    return {"model": one.model, "provider_says": said, "books": msgspec.structs.asdict(one.ours), "off": list(one.off)}


def _print_differences(
    export: Export, names: Sequence[str], time: tuple[int, int], differences: Sequence[Difference], tolerance: float
) -> None:
    click.echo(f"{export.form} beside the books of {', '.join(names)}, {_instant(time[0])} to {_instant(time[1])}")
    heads = ("model", "differs in", "input", "in books", "output", "in books", "cost", "in books")
    print_table([heads, *(_row(one) for one in differences)], left=2)
    off = [one for one in differences if one.off]
    if off:
        click.echo(f"{len(off)} of {len(differences)} models differ by more than {tolerance:g} %.")
    else:
        click.echo(f"All {len(differences)} models agree within {tolerance:g} %.")


def _row(one: Difference) -> tuple[str, ...]:
    said, ours = one.said, one.ours
    given, made, cost = (
        (None, None, None) if said is None else (said.input_tokens, said.output_tokens, said.cost_nano_usd)
    )
    return (
        *(one.model, ", ".join(one.off)),
        *("-" if given is None else f"{given:,}", f"{ours.input_tokens:,}"),
        *("-" if made is None else f"{made:,}", f"{ours.output_tokens:,}"),
        *("-" if cost is None else format_usd(cost), format_usd(ours.cost_nano_usd)),
    )
