"""The invariants themselves: each is broken once here, and says so."""

import logging
import sys

import pytest

from tests.invariants import Books, Kept, broken, dispatched, kept, unexpected
from turnout.core.trace import AttemptTrace, Trace


def attempt(outcome="ok"):
    return AttemptTrace("first", "stub", "control", 0.0, outcome=outcome)


def trace(name="r1", *attempts, outcome="ok"):
    return Trace(name, 0.0, "rev", attempts=list(attempts), outcome=outcome)


def books(*traces, seen=(), **more):
    return Books(list(traces), list(seen), frozenset({"stub"}), **more)


ENTRIES = {"r1-1": ("stub", "upstream_fault"), "r1-2": ("stub", "ok")}
SOUND = books(trace("r1", attempt("upstream_fault"), attempt()), seen=["r1-1", "r1-2"], kept=Kept(ENTRIES))
BROKEN = {
    "I1: r1-1 arrived 2 times": books(trace("r1", attempt()), seen=["r1-1", "r1-1"]),
    "I1: 1 calls at the vendor are in no trace": books(trace("r1", attempt()), seen=["r1-1", "r9-1"]),
    "I1: 1 attempts that went well never": books(trace("r1", attempt())),
    "I1: 1 calls at the vendor are not in the ledger": books(trace("r1", attempt()), seen=["r1-1"], kept=Kept()),
    "I1: 1 entries that went well never": books(kept=Kept({"r1-1": ("stub", "ok")})),
    "I1: the ledger is not whole: a-1 is other": books(kept=Kept(faults=["a-1 is other"])),
    "I2: left in the journal": books(kept=Kept(left=["w-1.log"])),
    "I2: 5 nano-dollars of budgets": books(kept=Kept(leased=5)),
    "I9: more was spent than there was of ['all']": books(kept=Kept(overspent=["all"])),
    "I2: 1 exchanges": books(in_flight=1),
    "I2: 2 attempts still": books(loads=2),
    "I3: more than one outcome": books(trace(), trace()),
    "I3: no outcome of": books(trace(outcome="")),
    "I5: a secret was written": books(texts=["the key is sk-canary-1"]),
    "I5: a secret": books(metrics="label=sk-turnout-1", master_key="sk-turnout-1"),
    "I6: 5 upstream calls for 1": books(
        trace("r1", *[attempt("upstream_fault")] * 5), seen=[f"r1-{number}" for number in range(1, 6)]
    ),
}


def test_sound_books_break_nothing():
    """Two attempts, both at the vendor, one outcome."""
    assert broken(SOUND, may_amplify=False) == []


@pytest.mark.parametrize("said", BROKEN)
def test_each_invariant_says_what_is_wrong(said):
    """One problem each, and the right one."""
    assert [problem[: len(said)] for problem in broken(BROKEN[said], may_amplify=False)] == [said]


def test_more_may_be_spent_where_a_test_says_so():
    """As by a vendor that ignores max_tokens."""
    assert broken(books(kept=Kept(overspent=["all"])), may_amplify=False, may_overspend=True) == []


def test_a_home_without_books_is_not_asked_for_them(tmp_path):
    """They may be in PostgreSQL."""
    assert kept(tmp_path) is None


def test_a_failed_attempt_need_not_have_reached_the_vendor():
    """The connection may have been refused."""
    assert broken(books(trace("r1", attempt("upstream_unreachable"))), may_amplify=False) == []


def test_a_traceback_in_the_log_and_an_exception_nobody_took_are_told():
    """I7, from both of its sources."""
    try:
        raise ValueError("boom")
    except ValueError:
        record = logging.LogRecord("turnout", logging.ERROR, "x.py", 1, "a bug", None, sys.exc_info())
    plain = logging.LogRecord("turnout", logging.ERROR, "x.py", 1, "config not taken", None, None)
    assert unexpected([record, plain], ["Task exception was never retrieved"]) == [
        "I7: logged with a traceback: a bug",
        "I7: Task exception was never retrieved",
    ]


def test_what_was_reset_without_a_byte_may_come_again_once():
    """The vendor had read it; only an answered one counts twice."""
    assert sorted(dispatched([("a-1", True), ("a-1", False), ("b-1", True), ("", False)])) == ["a-1", "b-1"]
    assert dispatched([("a-1", False), ("a-1", False)]) == ["a-1", "a-1"]
