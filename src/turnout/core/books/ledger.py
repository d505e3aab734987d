"""Keeps the ledger: one row for each attempt at a vendor, once; sums by hour beside it; all of it checkable.

Rows are only added: a correction is a row of its own that holds the difference. They come in batches, which may come again,
in part or in another order: what is there already is left out. In one transaction with its row, each entry goes into its
hour's sums and is taken from its budgets' leases, so neither can drift from the rows.

Each writer's rows are a chain. A row's `chain` is SHA-256 over the 32 bytes of the row before it (for the first: SHA-256 of
"turnout ledger " and the writer's name), its number in the chain (8 bytes, big-endian) and the MessagePack array of what it
says, in the order of SAID. Where each chain ends is kept apart. So a row that was changed, taken out, put in or moved is found, and named. Who
may write to the database could write all of it anew, though: against that, note the heads that `turnout ledger verify`
prints elsewhere. Source: RELIABILITY C1, C2, T30, T32, T100.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar, cast

import msgspec

from turnout.core.books.budgets import consume
from turnout.core.books.entry import Charge, Entry, Intent
from turnout.core.books.loading import clean
from turnout.core.books.statements import Load, Row, Sql, Steps, Value
from turnout.core.resolving import resolve

CORRECTING: Final = "corrections"
"""The writer of corrections, whoever makes them."""

HOUR_S: Final = 3600

SAID: Final = (
    *("attempt_id", "request_id", "at_ms", "key_id", "user_id", "workspace", "team", "session", "task"),
    *("model", "provider", "vendor_model", "arm", "outcome", "basis", "input_tokens", "output_tokens"),
    *("cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens", "cost_nano_usd"),
    *("charges", "corrects"),
)
"""The columns that an Entry becomes, in its order; `charges` as JSON."""

COLUMNS: Final = (*SAID, "writer", "number", "chain")

LOCK_HEAD: Final = """
INSERT INTO entry_head (writer, entries, chain) VALUES (?, 0, ?)
ON CONFLICT (writer) DO UPDATE SET entries = entry_head.entries
RETURNING entries, chain
"""

SET_HEAD: Final = "UPDATE entry_head SET entries = ?, chain = ? WHERE writer = ?"

ADD_UP: Final = """
INSERT INTO rollup (
    hour_s, id, key_id, user_id, workspace, team, task, model, provider, vendor_model, arm,
    attempts, failed, inexact, unpriced,
    input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens, reasoning_output_tokens,
    cost_nano_usd, inexact_nano_usd
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (hour_s, id) DO UPDATE SET
    attempts = rollup.attempts + excluded.attempts,
    failed = rollup.failed + excluded.failed,
    inexact = rollup.inexact + excluded.inexact,
    unpriced = rollup.unpriced + excluded.unpriced,
    input_tokens = rollup.input_tokens + excluded.input_tokens,
    output_tokens = rollup.output_tokens + excluded.output_tokens,
    cache_read_input_tokens = rollup.cache_read_input_tokens + excluded.cache_read_input_tokens,
    cache_write_input_tokens = rollup.cache_write_input_tokens + excluded.cache_write_input_tokens,
    reasoning_output_tokens = rollup.reasoning_output_tokens + excluded.reasoning_output_tokens,
    cost_nano_usd = rollup.cost_nano_usd + excluded.cost_nano_usd,
    inexact_nano_usd = rollup.inexact_nano_usd + excluded.inexact_nano_usd
"""

Told = TypeVar("Told", bound=Intent | Entry)

_encode = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


def genesis(writer: str) -> bytes:
    """Return what a writer's first row is chained to."""
    return hashlib.sha256(b"turnout ledger " + writer.encode()).digest()


def link(before: bytes, number: int, said: Row) -> bytes:
    """Return the `chain` of the row that says `said` and stands at `number`, after `before`. 2 µs."""
    return hashlib.sha256(before + number.to_bytes(8, "big") + _encode(said)).digest()


# ── adding ──


def append(writer: str, entries: Sequence[Entry]) -> Steps[int]:
    """Add the entries that are not there yet, in their order, to the writer's chain; return how many those were.

    Books them to their budgets in the same transaction. About 12 µs an entry in SQLite.
    """
    ours = list({one.attempt_id: one for one in map(storable, entries)}.values())
    if not ours:
        return 0
    (number, chain), *_ = cast("Sequence[tuple[int, bytes]]", (yield Sql(LOCK_HEAD, (writer, genesis(writer)))))
    # Each row's link needs the one before it, so it must be known which rows are new. Nearly always all are: they are
    # loaded as if so, and if some were there already, the others are loaded again.
    yield Sql("SAVEPOINT entries")
    rows = list(_rows(writer, number, chain, ours))
    new = yield Load("entry", COLUMNS, rows, "attempt_id")
    if len(new) < len(ours):
        yield Sql("ROLLBACK TO SAVEPOINT entries")
        names = {name for (name,) in new}
        ours = [one for one in ours if one.attempt_id in names]
        if not ours:
            return 0
        rows = list(_rows(writer, number, chain, ours))
        yield Load("entry", COLUMNS, rows, "attempt_id")
    yield Sql("RELEASE SAVEPOINT entries")
    yield Sql(SET_HEAD, (*rows[-1][-2:], writer))
    for sums in sorted(_sums(ours)):  # in one order everywhere, so that two writers never wait for each other in a ring
        yield Sql(ADD_UP, sums)
    yield from consume(writer, ours)
    return len(ours)


def storable(record: Told) -> Told:
    """Return a record whose texts every database can hold, and a journal: what is chained is what is read again.

    Some texts are a client's words. The same object if it is so already, as nearly always; 1.5 µs.
    """
    values = msgspec.structs.astuple(record)
    charges = tuple(Charge(*clean(msgspec.structs.astuple(one))) for one in record.charges)  # type: ignore[arg-type]
    cleaned = clean(values)
    if cleaned is values and charges == record.charges:
        return record
    return msgspec.structs.replace(
        record, **dict(zip(record.__struct_fields__, cleaned, strict=True)) | {"charges": charges}
    )


def _rows(writer: str, number: int, chain: bytes, entries: Iterable[Entry]) -> Iterator[Row]:
    for one in entries:
        said = _said(one)
        number += 1
        chain = link(chain, number, said)
        yield (*said, writer, number, chain)


def _said(one: Entry) -> Row:
    """Return the values of SAID."""
    return (
        *(one.attempt_id, one.request_id, one.at_ms, one.key_id, one.user, one.workspace, one.team, one.session),
        *(one.task, one.model, one.provider, one.vendor_model, one.arm, one.outcome, one.basis),
        *(one.input_tokens, one.output_tokens, one.cache_read_input_tokens, one.cache_write_input_tokens),
        *(one.reasoning_output_tokens, one.cost_nano_usd, _json(one.charges).decode(), one.corrects),
    )


def _sums(entries: Iterable[Entry]) -> Iterator[tuple[Value, ...]]:
    """Yield a row of `rollup` for each hour and set of names."""
    summed: dict[tuple[int, tuple[str, ...]], list[int]] = {}
    for one in entries:
        group = (
            *(one.key_id, one.user, one.workspace, one.team, one.task),
            *(one.model, one.provider, one.vendor_model, one.arm),
        )
        hour_s = one.at_ms // (HOUR_S * 1000) * HOUR_S
        is_own = not one.corrects
        cost = one.cost_nano_usd or 0
        is_inexact = one.basis != "exact"
        amounts = (
            is_own,
            is_own and one.outcome != "ok",
            is_own and is_inexact,
            is_own and one.cost_nano_usd is None,
            one.input_tokens,
            one.output_tokens,
            one.cache_read_input_tokens,
            one.cache_write_input_tokens,
            one.reasoning_output_tokens,
            cost,
            cost if is_inexact else 0,
        )
        sums = summed.setdefault((hour_s, group), [0] * len(amounts))
        for at, amount in enumerate(amounts):
            sums[at] += amount
    for (hour_s, names), sums in summed.items():
        yield (hour_s, hashlib.sha256(_encode(names)).digest()[:16], *names, *sums)


def orphaned(intent: Intent) -> Entry:
    """Return what is booked for an attempt whose gateway ended before it could say: all that it may have cost."""
    return Entry(
        **{name: getattr(intent, name) for name in Entry.__struct_fields__ if name in Intent.__struct_fields__},
        outcome="orphaned",
        basis="estimated",
        output_tokens=intent.max_output_tokens,
        cache_read_input_tokens=0,
        cache_write_input_tokens=0,
        reasoning_output_tokens=0,
        cost_nano_usd=intent.reserved_nano_usd,
    )


# ── reading ──

LATEST: Final = """
SELECT attempt_id, request_id, at_ms, key_id, user_id, workspace, team, session, task, model, provider, vendor_model, arm,
    outcome, basis, input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens,
    reasoning_output_tokens, cost_nano_usd, charges, corrects
FROM entry
WHERE at_ms >= ? AND at_ms < ?
    AND (? = '' OR request_id = ?) AND (? = '' OR key_id = ?) AND (? = '' OR user_id = ?)
    AND (? = '' OR session = ?) AND (? = '' OR task = ?) AND (? = '' OR model = ?) AND (? = '' OR outcome = ?)
ORDER BY at_ms DESC, seq DESC
LIMIT ?
"""

ABOUT: Final = """
SELECT attempt_id, request_id, at_ms, key_id, user_id, workspace, team, session, task, model, provider, vendor_model, arm,
    outcome, basis, input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens,
    reasoning_output_tokens, cost_nano_usd, charges, corrects
FROM entry
WHERE attempt_id = ? OR corrects = ?
ORDER BY seq
"""


class Wanted(msgspec.Struct, frozen=True):
    """Which entries to list. since_ms, until_ms: Unix milliseconds, half open. "": any."""

    since_ms: int = 0
    until_ms: int = 2**62
    request_id: str = ""
    key_id: str = ""
    user: str = ""
    session: str = ""
    task: str = ""
    model: str = ""
    outcome: str = ""


def latest(wanted: Wanted, count: int) -> Steps[list[Entry]]:
    """Return the newest entries that are wanted, newest first. O(what the time spans)."""
    names = (wanted.request_id, wanted.key_id, wanted.user, wanted.session, wanted.task, wanted.model, wanted.outcome)
    twice = (name for name in names for _ in range(2))
    rows = yield Sql(LATEST, (wanted.since_ms, wanted.until_ms, *twice, count))
    return [entry_of(row) for row in rows]


def entry_of(row: Row) -> Entry:
    """Return the Entry of a row of SAID."""
    *told, charges, corrects = row
    return msgspec.convert((*told, msgspec.json.decode(str(charges)), corrects), Entry)


class Amounts(msgspec.Struct, frozen=True):
    """What an attempt used, and what it cost. None: as it stands."""

    cost_nano_usd: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None


def correct(attempt_id: str, right: Amounts, at_ms: int) -> Steps[Entry | None]:
    """Add an entry that makes an attempt's sum `right`. Return it, with the differences; None if there is no such attempt.

    at_ms: Unix milliseconds of the correction, which is in its own hour's sums; the budgets are those of the attempt. A
    difference of nothing adds nothing.
    """
    found = [entry_of(row) for row in (yield Sql(ABOUT, (attempt_id, attempt_id)))]
    own = [one for one in found if not one.corrects]
    if not own:
        return None
    differences = {
        name: 0 if wanted is None else wanted - sum(getattr(one, name) or 0 for one in found)
        for name, wanted in msgspec.structs.asdict(right).items()
    }
    correction = msgspec.structs.replace(
        own[0],
        attempt_id=f"{attempt_id}~{len(found)}",
        at_ms=at_ms,
        outcome="corrected",
        basis="exact",
        corrects=attempt_id,
        **differences,
    )
    if any(differences.values()):
        yield from append(CORRECTING, [correction])
    return correction


resolve(Entry)
