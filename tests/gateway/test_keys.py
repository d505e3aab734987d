"""The door: who is let in."""

import tracemalloc

import pytest

from turnout.core.secret import Secret
from turnout.gateway.clock import SystemClock
from turnout.gateway.keys import MASTER, PREFIX, open_ring
from turnout.stores.sqlite import SqliteStateStore


@pytest.fixture
def store(tmp_path):
    opened = SqliteStateStore(tmp_path / "state.sqlite3")
    yield opened
    opened.close()


def test_the_first_start_makes_a_key_and_only_it_opens(store):
    """Shown once: the second start has nothing to show, and the key still opens."""
    ring, text = open_ring(store, SystemClock(), None)
    assert text.startswith(PREFIX)
    assert ring.check(text.encode()) is MASTER
    again, nothing = open_ring(store, SystemClock(), None)
    assert nothing == ""
    assert again.check(text.encode()) is MASTER


@pytest.mark.parametrize("wrong", [b"", b"sk-1234", b"x" * 1000, b"sk-turnout-"])
def test_nothing_else_opens(store, wrong):
    """No verifier accepts an empty key (RELIABILITY T96)."""
    ring, _ = open_ring(store, SystemClock(), None)
    assert ring.check(wrong) is None


def test_the_key_itself_is_nowhere_in_the_file(store, tmp_path):
    """Kept as a keyed hash."""
    _, text = open_ring(store, SystemClock(), None)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert text.encode() not in kept
    assert text.encode()[len(PREFIX) :] not in kept


def test_a_given_key_holds_alone_while_it_is_given(store):
    """TURNOUT_MASTER_KEY replaces the kept one, and is not kept itself."""
    _, made = open_ring(store, SystemClock(), None)
    ring, text = open_ring(store, SystemClock(), Secret("given-key-0123456789"))
    assert text == ""
    assert ring.check(b"given-key-0123456789") is MASTER
    assert ring.check(made.encode()) is None
    back, _ = open_ring(store, SystemClock(), None)
    assert back.check(made.encode()) is MASTER


def test_a_renewed_key_shuts_the_old_one_out(store):
    """--new-master-key."""
    _, old = open_ring(store, SystemClock(), None)
    ring, new = open_ring(store, SystemClock(), None, renew=True)
    assert old != new
    assert ring.check(old.encode()) is None
    assert ring.check(new.encode()) is MASTER


def test_no_key_is_looked_up_in_the_store(store):
    """Right or wrong, a key is hashed and compared in memory: a flood of bad ones asks no database and leaves nothing (T47)."""
    ring, text = open_ring(store, SystemClock(), None)
    store.close()
    tracemalloc.start()
    for number in range(2000):
        assert ring.check(b"sk-turnout-%d" % number) is None
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ring.check(text.encode()) is MASTER
    assert kept < 2000
