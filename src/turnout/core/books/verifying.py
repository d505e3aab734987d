"""Checks the ledger: every attempt once, every chain whole, and every sum that was made from the entries still their sum.

What is archived is trusted: a chain goes on from its mark, and sums of time that is archived in part are not made again.
Sources: RELIABILITY C1, C2, T100.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, cast

import msgspec

from turnout.core.books.entry import Charge
from turnout.core.books.ledger import HOUR_S, genesis, link
from turnout.core.books.statements import Row, Sql, Steps
from turnout.core.pricing import format_usd

PAGE_ROWS: Final = 2_000
"""How many rows are read at a time: about 3 MB of them."""

FAULTS: Final = 20
"""How many faults are told; more of them are counted."""

PAGE: Final = """
SELECT attempt_id, request_id, at_ms, key_id, user_id, workspace, team, session, task, model, provider, vendor_model, arm,
    outcome, basis, input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens,
    reasoning_output_tokens, cost_nano_usd, charges, corrects, writer, number, chain, seq
FROM entry
WHERE seq > ?
ORDER BY seq
LIMIT ?
"""

MARKS: Final = "SELECT writer, entries, chain, last_at_ms FROM entry_archived ORDER BY writer"

HEADS: Final = "SELECT writer, entries, chain FROM entry_head ORDER BY writer"

CORRECTS_NOTHING: Final = """
SELECT attempt_id, corrects FROM entry AS correction
WHERE corrects <> '' AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.attempt_id = correction.corrects)
ORDER BY seq
"""

ROLLUP_WITHOUT_ENTRIES: Final = """
SELECT hour_s, key_id, user_id, workspace, team, task, model, provider, vendor_model, arm, attempts, failed, inexact,
    unpriced, input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens, reasoning_output_tokens,
    cost_nano_usd, inexact_nano_usd
FROM rollup WHERE hour_s > ?
EXCEPT
SELECT at_ms / 3600000 * 3600, key_id, user_id, workspace, team, task, model, provider, vendor_model, arm,
    SUM(CASE WHEN corrects = '' THEN 1 ELSE 0 END),
    SUM(CASE WHEN corrects = '' AND outcome <> 'ok' THEN 1 ELSE 0 END),
    SUM(CASE WHEN corrects = '' AND basis <> 'exact' THEN 1 ELSE 0 END),
    SUM(CASE WHEN corrects = '' AND cost_nano_usd IS NULL THEN 1 ELSE 0 END),
    SUM(input_tokens), SUM(output_tokens), SUM(cache_read_input_tokens), SUM(cache_write_input_tokens),
    SUM(reasoning_output_tokens), SUM(COALESCE(cost_nano_usd, 0)),
    SUM(CASE WHEN basis <> 'exact' THEN COALESCE(cost_nano_usd, 0) ELSE 0 END)
FROM entry WHERE at_ms >= ?
GROUP BY at_ms / 3600000 * 3600, key_id, user_id, workspace, team, task, model, provider, vendor_model, arm
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""

ENTRIES_WITHOUT_ROLLUP: Final = """
SELECT hour_s, key_id, user_id, workspace, team, task, model, provider, vendor_model, arm
FROM (
    SELECT DISTINCT at_ms / 3600000 * 3600 AS hour_s, key_id, user_id, workspace, team, task, model, provider,
        vendor_model, arm
    FROM entry WHERE at_ms >= ?
) AS booked
EXCEPT
SELECT hour_s, key_id, user_id, workspace, team, task, model, provider, vendor_model, arm FROM rollup WHERE hour_s > ?
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""

PERIODS: Final = """
SELECT budget, starts_at, spent_nano_usd, seeded_nano_usd FROM budget_period WHERE starts_at * 1000 > ?
ORDER BY budget, starts_at
"""


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong. where: an attempt_id, or the name of what does not add up. what: in words."""

    where: str
    what: str


class Head(msgspec.Struct, frozen=True):
    """Where a writer's chain ends. chain: in hexadecimal digits: note it elsewhere to be sure of everything before it."""

    writer: str
    entries: int
    chain: str


class Verdict(msgspec.Struct, frozen=True):
    """What was found. faults: the first FAULTS of `fault_count`, those of entries first, in the ledger's order.

    archived_until_ms: time up to which sums could not be made again, 0 if all could.
    """

    entries: int
    corrections: int
    cost_nano_usd: int
    writers: int
    archived_until_ms: int
    fault_count: int
    faults: tuple[Fault, ...]
    heads: tuple[Head, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.fault_count


class _Tally:
    """What the pages add up to, and how far each chain was followed."""

    def __init__(self, marks: Mapping[str, tuple[int, bytes]]) -> None:
        self.at = dict(marks)
        self.entries = 0
        self.corrections = 0
        self.cost_nano_usd = 0
        self.spent: dict[Charge, int] = {}
        self.faults: list[Fault] = []
        self.fault_count = 0

    def add(self, row: Row) -> None:
        """Check one row against the one before it in its chain; after a fault, go on from what the row says itself."""
        *said, writer, number, chain, _seq = row
        attempt_id, corrects = str(said[0]), said[-1]
        writer, number, chain = str(writer), cast("int", number), cast("bytes", chain)
        last, before = self.at.get(writer) or (0, genesis(writer))
        if number != last + 1:
            told = f"entries {last + 1} to {number - 1} of {writer} are missing before this one"
            self.fault(attempt_id, told if number > last else f"number {number} of {writer} stands after number {last}")
        elif link(before, number, tuple(said)) != chain:
            self.fault(attempt_id, f"is not what {writer} wrote as its number {number}, or follows another entry")
        self.at[writer] = (number, chain)
        self.entries += 1
        self.corrections += bool(corrects)
        cost = cast("int | None", said[-3]) or 0
        self.cost_nano_usd += cost
        if cost:
            for charge in _charges(str(said[-2])):
                self.spent[charge] = self.spent.get(charge, 0) + cost

    def fault(self, where: str, what: str) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS:
            self.faults.append(Fault(where, what))


_charges = msgspec.json.Decoder(tuple[Charge, ...]).decode


def verify(told: Callable[[int], object] = lambda _rows: None) -> Steps[Verdict]:
    """Check everything, in one look at the books. told: called with how many entries were checked so far.

    About 15 s a million entries. Changes nothing.
    """
    marks = yield Sql(MARKS)
    tally = _Tally({str(writer): (cast("int", number), cast("bytes", chain)) for writer, number, chain, _at in marks})
    archived_ms = max((cast("int", at) for *_, at in marks), default=0)
    seq: int = 0
    while rows := (yield Sql(PAGE, (seq, PAGE_ROWS))):
        for row in rows:
            tally.add(row)
        seq = cast("int", rows[-1][-1])
        told(tally.entries)
    heads = {str(w): (cast("int", n), cast("bytes", c)) for w, n, c in (yield Sql(HEADS))}
    for where, what in _ends(tally.at, heads):
        tally.fault(where, what)
    if not archived_ms:
        for attempt_id, corrects in (yield Sql(CORRECTS_NOTHING)):
            tally.fault(str(attempt_id), f"corrects {corrects!s}, which is not in the ledger")
    hour_s = archived_ms // (HOUR_S * 1000) * HOUR_S if archived_ms else -1
    since_ms = (hour_s + HOUR_S) * 1000 if archived_ms else 0
    for row in (yield Sql(ROLLUP_WITHOUT_ENTRIES, (hour_s, since_ms))):
        tally.fault(_names(row), "the sums of this hour are not those of its entries")
    for row in (yield Sql(ENTRIES_WITHOUT_ROLLUP, (since_ms, hour_s))):
        tally.fault(_names(row), "the sums of this hour are missing")
    for row in (yield Sql(PERIODS, (archived_ms or -(2**62),))):
        budget, starts_at, spent, seeded = cast("tuple[str, int, int, int]", tuple(row))
        booked = tally.spent.pop(Charge(budget, starts_at), 0)
        if spent != seeded + booked:
            tally.fault(
                f"budget {budget} from {_moment(starts_at)}",
                f"{format_usd(spent)} are spent, but its entries make {format_usd(booked)}, and it began with {format_usd(seeded)}",
            )
    for charge in tally.spent:
        if charge.starts_at * 1000 > archived_ms:
            tally.fault(f"budget {charge.budget} from {_moment(charge.starts_at)}", "has entries, but is missing")
    return Verdict(
        entries=tally.entries,
        corrections=tally.corrections,
        cost_nano_usd=tally.cost_nano_usd,
        writers=len(heads),
        archived_until_ms=archived_ms,
        fault_count=tally.fault_count,
        faults=tuple(tally.faults),
        heads=tuple(Head(writer, number, chain.hex()) for writer, (number, chain) in heads.items()),
    )


def _ends(found: Mapping[str, tuple[int, bytes]], heads: Mapping[str, tuple[int, bytes]]) -> Iterator[tuple[str, str]]:
    """Yield where a chain's end is not what was noted of it."""
    for writer in sorted(found.keys() | heads.keys()):
        number, chain = found.get(writer) or (0, genesis(writer))
        noted = heads.get(writer)
        if noted is None:
            yield f"writer {writer}", "has entries, but where its chain ends is not noted"
        elif number < noted[0]:
            yield f"writer {writer}", f"entries {number + 1} to {noted[0]} are missing at the end"
        elif noted != (number, chain):
            yield f"writer {writer}", f"its chain ends at number {number}, otherwise than was noted"


def _names(row: Row) -> str:
    """Name a row of the roll-up."""
    hour_s, *names = row[:10]
    return f"hour of {_moment(cast('int', hour_s))}, {'/'.join(str(name) or '-' for name in names)}"


def _moment(at_s: int) -> str:
    """An instant for a person. Whatever was written there by force has a name too."""
    try:
        return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"second {at_s}"
