"""`turnout ledger`: lists what attempts cost, corrects one, and checks that the books are whole.

Works on the books themselves, with or without a running gateway; what was settled in the last tenth of a second may not be
in them yet.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from turnout.cli.opened import giving_way, in_books, this_person, trail_of
from turnout.cli.tables import called, print_table
from turnout.config.load import Loaded
from turnout.core.books import audit
from turnout.core.books.entry import Entry
from turnout.core.books.ledger import Amounts, Wanted, correct, latest
from turnout.core.books.statements import Sql, Steps
from turnout.core.books.usage import key_names
from turnout.core.books.verifying import Verdict, verify
from turnout.core.pricing import LIMIT_NANO_USD, NANO_PER_USD, format_usd
from turnout.core.usage import LIMIT_TOKENS
from turnout.gateway.audit import Trail
from turnout.gateway.clock import SystemClock
from turnout.stores import Database

_HEADS: Final = ("when (UTC)", "attempt", "user", "key", "task", "model", "outcome", "basis", "in", "out", "cost")
_config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_tokens = click.IntRange(0, LIMIT_TOKENS)
_when = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"])


@click.group()
def ledger() -> None:
    """Show, correct and check the ledger: one entry for each attempt at a vendor."""


@ledger.command("list")
@click.option("--request", default="", help="Only of this request: its x-request-id.")
@click.option("--key", default="", help="Only of this key: its id, `k_…`.")
@click.option("--user", default="", help="Only of this user.")
@click.option("--session", default="", help="Only of this session: the x-turnout-session of its requests.")
@click.option("--task", default="", help="Only for this task.")
@click.option("--model", default="", help="Only by this model.")
@click.option("--outcome", default="", help="Only those that ended so: `ok`, an error's code, `orphaned`, `corrected`.")
@click.option("--from", "since", type=_when, help="Only from then on, UTC: 2026-11-21 or 2026-11-21T15:04.")
@click.option("--to", "until", type=_when, help="Only before then.")
@click.option("--count", type=click.IntRange(1, 100_000), default=50, show_default=True, help="So many, the newest.")
@_config
@_json
def list_(  # one parameter an option
    request: str,
    key: str,
    user: str,
    session: str,
    task: str,
    model: str,
    outcome: str,
    since: datetime | None,
    until: datetime | None,
    count: int,
    path: Path | None,
    as_json: bool,
) -> None:
    """List entries, the newest first."""
    times = {name: _unix_ms(at) for name, at in (("since_ms", since), ("until_ms", until)) if at is not None}
    wanted = Wanted(
        request_id=request, key_id=key, user=user, session=session, task=task, model=model, outcome=outcome, **times
    )

    def read(_loaded: object, database: Database) -> Awaitable[tuple[list[Entry], dict[str, str]]]:
        return database.read(lambda: _listed(wanted, count))

    entries, names = in_books(path, read)
    if as_json:
        told = [{**_described(one), "key_name": names.get(one.key_id, "")} for one in entries]
        click.echo(json.dumps({"entries": told}))
        return
    if not entries:
        click.echo("No entry of the ledger is about that.")
        return
    print_table([_HEADS, *(_cells(one, names) for one in entries)], left=8)


@ledger.command("verify")
@_config
@_json
def verify_(*, path: Path | None, as_json: bool) -> int:
    """Check that every attempt is there once, that no entry was changed, taken out, put in or moved, and that the sums of
    hours and budgets are those of their entries. Name the first that is wrong, and exit with 1.

    Note the heads that --json prints in another place: then a ledger that somebody wrote anew as a whole is found too.
    """
    with giving_way():
        verdict = in_books(path, lambda _loaded, database: _verified(database, shows=not as_json))
    if as_json:
        click.echo(msgspec.json.encode({"whole": verdict.is_whole, **msgspec.structs.asdict(verdict)}))
        return 0 if verdict.is_whole else 1
    if not verdict.is_whole:
        click.echo(f"The ledger is not whole. What is wrong ({verdict.fault_count}):", err=True)
        for fault in verdict.faults:
            click.echo(f"  {fault.where}: {fault.what}", err=True)
        if verdict.fault_count > len(verdict.faults):
            click.echo(f"  … and {verdict.fault_count - len(verdict.faults)} more", err=True)
        return 1
    click.echo(
        f"The ledger is whole: {_counted(verdict.entries, 'entry', 'entries')} of {_counted(verdict.writers, 'writer')} "
        f"({_counted(verdict.corrections, 'correction')}), {_usd(verdict.cost_nano_usd)}"
    )
    if verdict.archived_until_ms:
        click.echo(f"Sums up to {_moment(verdict.archived_until_ms)} UTC are in the archive and were not made again.")
    return 0


@ledger.command("correct")
@click.argument("attempt_id")
@click.option("--cost", help="What it cost in US dollars, such as 0.0123.")
@click.option("--input", "input_tokens", type=_tokens, help="Input tokens, the cached ones included.")
@click.option("--output", "output_tokens", type=_tokens, help="Output tokens.")
@click.option("--because", required=True, help="Why: for the audit trail.")
@_config
@_json
def correct_(
    attempt_id: str,
    cost: str | None,
    input_tokens: int | None,
    output_tokens: int | None,
    because: str,
    path: Path | None,
    as_json: bool,
) -> None:
    """Say what an attempt really came to. Adds an entry with the difference, and books it to the same budgets; nothing is
    ever changed. ATTEMPT_ID: as `turnout ledger list` shows it.
    """
    right = Amounts(None if cost is None else _nano_usd(cost), input_tokens, output_tokens)
    if right == Amounts():
        raise click.UsageError("Say what it came to: --cost, --input or --output.")
    at_ms = int(SystemClock().wall() * 1000)

    async def work(loaded: Loaded, database: Database) -> Entry | None:
        trail = trail_of(loaded, database)
        return await database.write(lambda: _corrected(trail, attempt_id, right, at_ms, because))

    made = in_books(path, work)
    if made is None:
        raise click.ClickException(f"{attempt_id} is no attempt in the ledger. `turnout ledger list` shows them.")
    if as_json:
        click.echo(json.dumps(_described(made)))
    elif _is_nothing(made):
        click.echo(f"{attempt_id} is right already: nothing was added.")
    else:
        click.echo(
            f"{made.attempt_id}: {_usd(made.cost_nano_usd)}, {made.input_tokens:+} input and {made.output_tokens:+} output "
            f"tokens, added to what {attempt_id} says"
        )


async def _verified(database: Database, *, shows: bool) -> Verdict:
    """Check, and show how far it is."""
    ((count,),) = await database.read(_count)
    with click.progressbar(length=int(str(count)), label="checking", file=sys.stderr, hidden=not shows) as bar:
        return await database.read(lambda: verify(lambda done: bar.update(done - bar.pos)))


def _count() -> Steps[Any]:
    return (yield Sql("SELECT COUNT(*) FROM entry"))


def _corrected(trail: Trail, attempt_id: str, right: Amounts, at_ms: int, because: str) -> Steps[Entry | None]:
    """The correction and its row of the audit trail, in one transaction."""
    made = yield from correct(attempt_id, right, at_ms)
    if made is not None and not _is_nothing(made):
        difference = {"cost_nano_usd": made.cost_nano_usd, "input": made.input_tokens, "output": made.output_tokens}
        after = {"entry": made.attempt_id, "difference": difference, "because": because}
        yield from audit.append(trail.record(this_person(), "ledger.correct", attempt_id, after=after))
    return made


def _is_nothing(made: Entry) -> bool:
    return not (made.cost_nano_usd or made.input_tokens or made.output_tokens)


def _nano_usd(written: str) -> int:
    try:
        nano_usd = Decimal(written.removeprefix("$")) * NANO_PER_USD
        if nano_usd == int(nano_usd) and 0 <= nano_usd <= LIMIT_NANO_USD:
            return int(nano_usd)
    except (InvalidOperation, OverflowError, ValueError):
        pass
    raise click.BadParameter(
        "is no sum, write US dollars with at most nine decimals, such as 0.0123", param_hint="--cost"
    )


def _listed(wanted: Wanted, count: int) -> Steps[tuple[list[Entry], dict[str, str]]]:
    """The entries, and what keys are called."""
    entries = yield from latest(wanted, count)
    return entries, ((yield from key_names()) if entries else {})


def _cells(one: Entry, names: Mapping[str, str]) -> tuple[str, ...]:
    outcome = f"corrects {one.corrects}" if one.corrects else one.outcome
    return (
        *(_moment(one.at_ms), one.attempt_id, one.user or "-", called(one.key_id, names, "master"), one.task or "-"),
        one.model,
        *(outcome, one.basis, f"{one.input_tokens:,}", f"{one.output_tokens:,}", _usd(one.cost_nano_usd)),
    )


def _described(one: Entry) -> dict[str, Any]:
    told = msgspec.structs.asdict(one)
    told["charges"] = [msgspec.structs.asdict(charge) for charge in one.charges]
    return told


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _usd(nano_usd: int | None) -> str:
    if nano_usd is None:
        return "unpriced"
    return format_usd(nano_usd) if nano_usd >= 0 else f"-{format_usd(-nano_usd)}"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _unix_ms(at: datetime) -> int:
    return int(at.replace(tzinfo=UTC).timestamp() * 1000)
