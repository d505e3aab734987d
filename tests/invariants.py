"""Holds what a gateway leaves behind when it ends (its Books), and the invariants I1 to I7 that must be true of them.

The witness, which is the simulated vendor's own record, is the second book. What each invariant means is in RELIABILITY
§4.2; here is how far each is checked:

I1  every dispatch at the witness has its attempt in a trace, once; every attempt that went well has its dispatch. (An
    attempt that failed need not have reached the vendor. A dispatch that the vendor reset on a kept connection before it
    answered a byte may be there a second time: RFC 9112 §9.3.1, promise B3.)
I2  nothing is in flight: no exchange, no candidate's load.
I3  every exchange has one trace with one outcome.
I4  descriptors, tasks and threads are as before (checked in the fixture, which knows the baseline).
I5  no canary and no master key in logs, metrics or traces.
I6  upstream calls <= 1.2 x requests + 3; a test that provokes more by design says so (`amplifies`).
I7  no unhandled exception, no traceback in the log.
I8  the event loop of a gateway in its own process was never held up for more than 100 ms (in `make prove` only: the
    tests of `make test` share the machine with each other).
I9  budgets: there are none yet.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from turnout.core.trace import Trace

CANARY = "canary"
LONGEST_LAG_S = 0.1


@dataclass
class Books:
    """What one gateway and its simulated vendor wrote down. ours: the accounts that lead to that vendor."""

    traces: Sequence[Trace]
    dispatched: Sequence[str]
    ours: frozenset[str]
    in_flight: int = 0
    loads: int = 0
    metrics: str = ""
    texts: Sequence[str] = field(default_factory=list)
    master_key: str = ""


def dispatched(received: Iterable[tuple[str, bool]]) -> list[str]:
    """Return the names of the dispatches at the vendor. received: each name, and whether it was reset without a byte."""
    records = [record for record in received if record[0]]
    answered = {name for name, was_reset in records if not was_reset}
    silent = {name for name, was_reset in records if was_reset} - answered
    return [*(name for name, was_reset in records if not was_reset), *silent]


def broken(books: Books, *, may_amplify: bool) -> list[str]:
    """Return every invariant that does not hold, in words."""
    return [*_reconciled(books), *_quiet(books), *_silent(books), *_calm(books, may_amplify=may_amplify)]


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
