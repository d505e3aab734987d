"""`turnout audit`: lists who changed or tried what, checks that the trail is whole, and writes it out.

Works on the books themselves, with or without a running gateway.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import click

from turnout.api.audit import describe_row
from turnout.cli.opened import in_books
from turnout.cli.tables import print_table
from turnout.core.books.audit import COLUMNS, Chain, Head, Record, Wanted, latest, pages
from turnout.core.books.statements import Row
from turnout.gateway.clock import SystemClock
from turnout.stores import Database

PAGE: Final = 5_000
"""Rows that are read at a time: about 2 MB."""

_HEADS: Final = ("row", "when (UTC)", "who", "role", "from", "what", "of", "outcome", "times")

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def audit() -> None:
    """Show and check the audit trail: every change, and every refused attempt."""


_config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@audit.command("list")
@click.option("--who", default="", help="Only this key or admin, or `master`.")
@click.option("--what", default="", help="Only this: `key.create`, or `key` for all about keys.")
@click.option("--of", "target", default="", help="Only what is about this name.")
@click.option("--outcome", type=click.Choice(["done", "refused", "failed"]), help="Only what ended so.")
@click.option("--since", default="", help="Only from then on: `24h`, `7d`, or `2026-11-21`, or with `T15:04` (UTC).")
@click.option("--count", type=click.IntRange(1, 100_000), default=50, show_default=True, help="So many, the newest.")
@click.option("--below", type=click.IntRange(0), default=0, help="Only rows before this one: to read on.")
@_config
@_json
def list_(  # one parameter an option
    who: str,
    what: str,
    target: str,
    outcome: str | None,
    since: str,
    count: int,
    below: int,
    path: Path | None,
    as_json: bool,
) -> None:
    """List what was done or refused, the newest first."""
    wanted = Wanted(who, what, target, outcome or "", _since(since))

    def read(_loaded: object, database: Database) -> Awaitable[list[tuple[int, Record]]]:
        return database.read(lambda: latest(wanted, count, below))

    rows = in_books(path, read)
    if as_json:
        click.echo(json.dumps({"rows": [describe_row(seq, record) for seq, record in rows]}))
        return
    if not rows:
        click.echo("No row of the audit trail is about that.")
        return
    print_table([_HEADS, *(_cells(seq, record) for seq, record in rows)])
    if len(rows) == count:
        click.echo(f"Older ones: --below {rows[-1][0]}")


@audit.command()
@click.option("--head", default="", help="Where the trail ended when it was noted: ROW:HASH, as this prints it.")
@_config
@_json
def verify(*, head: str, path: Path | None, as_json: bool) -> int:
    """Check that no row was changed, taken out, put in or moved; name the first that was, and exit with 1.

    Note the head that this prints in another place, and give it back with --head later: then a trail that somebody wrote
    anew as a whole is found too.
    """
    chain = Chain(_head(head))
    wrong = in_books(path, lambda _loaded, database: _follow(database, chain, lambda _rows: None, shows=not as_json))
    told = {
        "intact": not wrong,
        "rows": chain.head.seq,
        "head": f"{chain.head.seq}:{chain.head.hash}",
        "problem": wrong,
    }
    if as_json:
        click.echo(json.dumps(told))
    elif wrong:
        click.echo(f"The audit trail is not whole: {wrong}. The {chain.head.seq} rows before are right.", err=True)
    else:
        click.echo(f"The audit trail is whole: {chain.head.seq} rows, head {told['head']}")
    return 1 if wrong else 0


@audit.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@_config
def export(file: Path, form: str, path: Path | None) -> None:
    """Write the whole trail into FILE (- for the output), checked on the way, with the hash of each row.

    Each hash is SHA-256 over the JSON array of the hash before ("" for the first) and the row's values in their order.
    """
    if str(file) == "-":
        _export(sys.stdout, form, path)
        return
    draft = file.with_name(f"{file.name}.part")
    with draft.open("w", encoding="utf-8", newline="") as out:
        count = _export(out, form, path)
    draft.replace(file)
    click.echo(f"{count} rows in {file}", err=True)


def _export(out: IO[str], form: str, path: Path | None) -> int:
    names = (*COLUMNS, "hash")
    table = csv.writer(out)
    if form == "csv":
        table.writerow(names)

    def write(rows: Sequence[Row]) -> None:
        if form == "csv":
            table.writerows(rows)
        else:
            out.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)

    chain = Chain()
    wrong = in_books(path, lambda _loaded, database: _follow(database, chain, write, shows=out is not sys.stdout))
    if wrong:
        raise click.ClickException(f"The audit trail is not whole: {wrong}. Nothing after it was written.")
    return chain.head.seq


async def _follow(database: Database, chain: Chain, on_rows: Callable[[Sequence[Row]], None], *, shows: bool) -> str:
    """Read the trail from its beginning to its end as it stands when that is reached. Return "" or what is wrong."""
    _, head = await database.read(lambda: pages(0, 0))
    is_quiet = not (shows and sys.stderr.isatty())
    with click.progressbar(length=head.seq, label="checking", file=sys.stderr, hidden=is_quiet) as bar:
        while True:
            rows, head = await database.read(lambda: pages(chain.head.seq, PAGE))
            if wrong := chain.follow(rows):
                return wrong
            on_rows(rows)
            bar.update(len(rows))
            if len(rows) < PAGE:
                return chain.end(head)


def _cells(seq: int, record: Record) -> tuple[str, ...]:
    at = datetime.fromtimestamp(record.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    outcome = f"{record.outcome} ({record.reason})" if record.reason else record.outcome
    who = record.actor or "nobody known"
    return (
        *(str(seq), at, who, record.role, record.address, record.action, record.target, outcome),
        str(record.times) if record.times > 1 else "",
    )


def _since(written: str) -> int:
    """Unix milliseconds."""
    if not written:
        return 0
    if found := re.fullmatch(r"(\d{1,5})([hd])", written):
        ago = timedelta(hours=int(found[1])) if found[2] == "h" else timedelta(days=int(found[1]))
        return int((SystemClock().wall() - ago.total_seconds()) * 1000)
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise click.BadParameter(
            "is no time, write 24h, 7d, 2026-11-21 or 2026-11-21T15:04", param_hint="--since"
        ) from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _head(written: str) -> Head | None:
    if not written:
        return None
    found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{8,64})", written)
    if found is None:
        raise click.BadParameter("is no head, write ROW:HASH as `turnout audit verify` prints it", param_hint="--head")
    return Head(int(found[1]), found[2])
