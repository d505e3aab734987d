"""Holds what a gateway leaves behind when it ends (its Books), and the invariants I1 to I7 that must be true of them.

The witness, which is the simulated vendor's own record, is the second book. What each invariant means is in RELIABILITY
§4.2; here is how far each is checked:

I1  every dispatch at the witness has its attempt in a trace, once, and its entry in the ledger, once; every attempt and
    every entry that went well has its dispatch; the ledger is whole, as `turnout ledger verify` finds it. (An attempt that
    failed need not have reached the vendor. A dispatch that the vendor reset on a kept connection before it answered a
    byte may be there a second time: RFC 9112 §9.3.1, promise B3.)
I2  nothing is in flight: no exchange, no candidate's load, no attempt without its entry, no budget's lease.
I3  every exchange has one trace with one outcome.
I4  descriptors, tasks and threads are as before (checked in the fixture, which knows the baseline).
I5  no canary and no master key in logs, metrics or traces.
I6  upstream calls <= 1.2 x requests + 3; a test that provokes more by design says so (`amplifies`).
I7  no unhandled exception, no traceback in the log.
I8  the event loop of a gateway in its own process was never held up for more than 100 ms (in `make prove` only: the
    tests of `make test` share the machine with each other).
I9  no budget has spent more than its limit; a test whose vendor costs more than it may by design says so (`overspends`).
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from turnout.core.books.verifying import verify
from turnout.core.trace import Trace

CANARY = "canary"
LONGEST_LAG_S = 0.1


@dataclass
class Kept:
    """What is in a gateway's database once it has ended.

    entries: each attempt's outcome. faults: what is wrong with it. leased: nano-dollars of budgets that are held by nobody
    who lives. overspent: budgets that are above their limit. left: what was not taken out of its journals.
    """

    entries: dict[str, tuple[str, str]] = field(default_factory=dict)
    faults: Sequence[str] = ()
    leased: int = 0
    overspent: Sequence[str] = ()
    left: Sequence[str] = ()


def kept(home: Path) -> Kept | None:
    """Read the books in `home`, its TURNOUT_HOME; None if they are not there, or elsewhere."""
    path = home / "books.sqlite3"
    if not path.exists():
        return None
    with closing(sqlite3.connect(path)) as database:
        entries = database.execute("SELECT attempt_id, provider, outcome FROM entry WHERE corrects = ''").fetchall()
        (leased,) = database.execute("SELECT coalesce(sum(amount_nano_usd), 0) FROM lease").fetchone()
        over = database.execute(
            "SELECT budget FROM budget_period WHERE is_open = 1 AND spent_nano_usd > limit_nano_usd"
        ).fetchall()
        checking, rows = verify(), None
        try:
            while True:
                statement = checking.send(rows)  # type: ignore[arg-type]
                rows = database.execute(statement.text, statement.values).fetchall()
        except StopIteration as end:
            verdict = end.value
    return Kept(
        entries={name: (provider, outcome) for name, provider, outcome in entries},
        faults=[f"{fault.where} {fault.what}" for fault in verdict.faults],
        leased=leased,
        overspent=[name for (name,) in over],
        left=[one.name for one in sorted((home / "journal").glob("*")) if not _is_alive(one)],
    )


def _is_alive(file: Path) -> bool:
    """Whether the writer of a journal's file holds its lock: another gateway of the same home, which has not ended yet."""
    writer = file.stem if file.suffix == ".lock" else file.stem.rpartition("-")[0]
    try:
        with (file.parent / f"{writer}.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@dataclass
class Books:
    """What one gateway and its simulated vendor wrote down. ours: the accounts that lead to that vendor.

    kept: what is in its database, None for a gateway that has none, or whose end was not its own.
    """

    traces: Sequence[Trace]
    dispatched: Sequence[str]
    ours: frozenset[str]
    in_flight: int = 0
    loads: int = 0
    metrics: str = ""
    texts: Sequence[str] = field(default_factory=list)
    master_key: str = ""
    kept: Kept | None = None


def dispatched(received: Iterable[tuple[str, bool]]) -> list[str]:
    """Return the names of the dispatches at the vendor. received: each name, and whether it was reset without a byte."""
    records = [record for record in received if record[0]]
    answered = {name for name, was_reset in records if not was_reset}
    silent = {name for name, was_reset in records if was_reset} - answered
    return [*(name for name, was_reset in records if not was_reset), *silent]


def broken(books: Books, *, may_amplify: bool, may_overspend: bool = False) -> list[str]:
    """Return every invariant that does not hold, in words."""
    money = [] if books.kept is None else [*_booked(books, books.kept, may_overspend=may_overspend)]
    return [*_reconciled(books), *money, *_quiet(books), *_silent(books), *_calm(books, may_amplify=may_amplify)]


def _booked(books: Books, kept: Kept, *, may_overspend: bool) -> Iterable[str]:
    seen = set(books.dispatched)
    if lost := seen - kept.entries.keys():
        yield f"I1: {len(lost)} calls at the vendor are not in the ledger: {sorted(lost)[:3]}"
    well = {name for name, (provider, outcome) in kept.entries.items() if outcome == "ok" and provider in books.ours}
    if extra := well - seen:
        yield f"I1: {len(extra)} entries that went well never reached the vendor: {sorted(extra)[:3]}"
    for fault in kept.faults:
        yield f"I1: the ledger is not whole: {fault}"
    if kept.left:
        yield f"I2: left in the journal: {kept.left[:3]}"
    if kept.leased:
        yield f"I2: {kept.leased} nano-dollars of budgets are still held"
    if kept.overspent and not may_overspend:
        yield f"I9: more was spent than there was of {kept.overspent[:3]}"


def _reconciled(books: Books) -> Iterable[str]:
    attempts = {
        f"{trace.request_id}-{number}": attempt
        for trace in books.traces
        for number, attempt in enumerate(trace.attempts, 1)
        if attempt.provider in books.ours
    }
    seen = Counter(books.dispatched)
    for name, times in seen.items():
        if times > 1:
            yield f"I1: {name} arrived {times} times at the vendor"
    if extra := seen.keys() - attempts.keys():
        yield f"I1: {len(extra)} calls at the vendor are in no trace: {sorted(extra)[:3]}"
    well = {name for name, attempt in attempts.items() if attempt.outcome == "ok"}
    if lost := well - seen.keys():
        yield f"I1: {len(lost)} attempts that went well never reached the vendor: {sorted(lost)[:3]}"


def _quiet(books: Books) -> Iterable[str]:
    if books.in_flight:
        yield f"I2: {books.in_flight} exchanges are still counted as in flight"
    if books.loads:
        yield f"I2: {books.loads} attempts still load their candidates"
    names = Counter(trace.request_id for trace in books.traces)
    if twice := [name for name, times in names.items() if times > 1]:
        yield f"I3: more than one outcome of {twice[:3]}"
    if silent := [trace.request_id for trace in books.traces if not trace.outcome]:
        yield f"I3: no outcome of {silent[:3]}"


def _silent(books: Books) -> Iterable[str]:
    for text in (books.metrics, *books.texts):
        for secret in (CANARY, books.master_key):
            if secret and secret in text:
                at = text.index(secret)
                yield f"I5: a secret was written: …{text[max(0, at - 60) : at + 20]}…"


def _calm(books: Books, *, may_amplify: bool) -> Iterable[str]:
    calls, requests = len(books.dispatched), len(books.traces)
    if not may_amplify and calls > 1.2 * requests + 3:
        yield f"I6: {calls} upstream calls for {requests} requests"


def unexpected(records: Iterable[logging.LogRecord], problems: Iterable[str]) -> list[str]:
    """Return what I7 forbids: exceptions in the log, and what the event loop could not give to anybody."""
    tracebacks = [f"I7: logged with a traceback: {record.getMessage()}" for record in records if record.exc_info]
    return tracebacks + [f"I7: {problem}" for problem in problems]
