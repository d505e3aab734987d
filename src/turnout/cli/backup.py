"""`turnout backup` and `turnout restore`: the books into a file while the gateway runs, and back.

`backup` works on the books themselves, with or without a running gateway; `restore` only where there are none yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from turnout.cli.opened import giving_way, in_books, loaded_config
from turnout.gateway.backup import back_up, draft_of
from turnout.gateway.backup import restore as restore_books
from turnout.gateway.clock import SystemClock
from turnout.gateway.database import database_of
from turnout.gateway.tasks import Tasks
from turnout.stores import Database
from turnout.stores.books_file import Contents

SHOWN_S: Final = 0.5
"""Between two lines of progress, on a terminal."""

NANO: Final = 1_000_000_000

_config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--fast", is_flag=True, help="As fast as can be; requests wait longer meanwhile, if a gateway runs here.")
@_config
@_json
def backup(*, file: Path, fast: bool, path: Path | None, as_json: bool) -> None:
    """Write the books into the new file FILE: ledger, budgets, people, keys (as hashes), audit trail, sealed secrets.

    The gateway may run meanwhile, and goes first: the file has everything as it was at one moment. It is a SQLite file,
    whichever database the books are in, and only its owner may read it. If FILE is a folder, a file named for the time is
    made in it.
    """
    if file.is_dir():
        at = datetime.fromtimestamp(SystemClock().wall(), UTC)
        file /= f"turnout-books-{at:%Y%m%dT%H%M%SZ}.sqlite3"

    async def work(_loaded: object, database: Database) -> Contents:
        tasks = Tasks()
        tasks.start(_show(draft_of(file)), "show how much is written")
        try:
            return await back_up(database, file, is_gentle=not fast)
        finally:
            await tasks.stop()

    with contextlib.nullcontext() if fast else giving_way():
        contents = in_books(path, work)
    _tell(contents, file, "backed up to", as_json=as_json)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_config
@_json
def restore(*, file: Path, path: Path | None, as_json: bool) -> None:
    """Make the books in FILE, which `turnout backup` wrote, the books of this configuration.

    Nothing is written over: where books are already, move them aside first, with the gateway stopped; in PostgreSQL, name
    an empty database in ledger.url. The file may come from the other kind of database.
    """

    async def work() -> Contents:
        database = database_of(loaded_config(path).snapshot)
        try:
            return await restore_books(database, file)
        finally:
            await database.close()

    _tell(asyncio.run(work()), file, "restored from", as_json=as_json)


def _tell(contents: Contents, file: Path, done: str, *, as_json: bool) -> None:
    if as_json:
        told = {"file": str(file), "entries": contents.entries, "cost_nano_usd": contents.cost_nano_usd}
        click.echo(json.dumps({**told, "size_bytes": contents.size_bytes}))
        return
    cost, size = contents.cost_nano_usd / NANO, contents.size_bytes / 1_000_000
    click.echo(f"{contents.entries:,} entries (${cost:,.6f} together) {done} {file}, {size:,.1f} MB")


async def _show(draft: Path) -> None:
    """Say on a terminal how much is written."""
    while sys.stderr.isatty():
        await asyncio.sleep(SHOWN_S)
        click.echo(f"\r{_size_bytes(draft) / 1_000_000:,.0f} MB ", err=True, nl=False)


def _size_bytes(file: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_size
    return 0
