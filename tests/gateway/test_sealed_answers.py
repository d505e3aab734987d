"""Kept answers are sealed: the file holds nothing of them, and what was changed or moved does not open."""

import sqlite3

import pytest

from tests.gateway.lab import StillClock
from turnout.errors import StoreError
from turnout.gateway.sealed_answers import SealedAnswers
from turnout.stores.sqlite import SqliteAnswerStore

ROOT = b"r" * 32
HEAD, PIECES = b"head of anna@example.dk", [b"hej anna@example.dk", memoryview(b"og farvel, 0101701234")]


@pytest.fixture
def path(tmp_path):
    """Where the answers are."""
    return tmp_path / "answers.sqlite3"


@pytest.fixture
def answers(path):
    """A store under ROOT."""
    store = opened(path)
    yield store
    store.close()


def opened(path, root=ROOT):
    return SealedAnswers(SqliteAnswerStore(path), root, StillClock())


def keep(answers):
    """Keep an answer of three pieces; return its id."""
    mine = answers.claim(b"slot", b"request", 1.0, 1000.0)
    assert "mine" == mine.state
    answers.renew([mine.id], 2.0)
    answers.add(mine.id, 0, PIECES)
    answers.finish(mine.id, 2, [b""], HEAD, 1001.0)
    return mine.id


def test_what_was_kept_comes_back(answers):
    """Head and pieces, in their order; a free slot is free again."""
    id_ = keep(answers)
    found = answers.claim(b"slot", b"request", 3.0, 1002.0)
    assert ("kept", HEAD, 3) == (found.state, found.head, found.pieces)
    assert [*map(bytes, PIECES), b"", None] == [answers.piece(id_, number) for number in range(4)]
    assert "other" == answers.claim(b"slot", b"another", 3.0, 1002.0).state
    answers.release(id_)
    assert "mine" == answers.claim(b"slot", b"request", 3.0, 1002.0).state


def test_the_file_holds_nothing_of_it(answers, path):
    """Not in the log beside it either."""
    keep(answers)
    written = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"anna" not in written
    assert b"0101701234" not in written


def test_what_was_moved_does_not_open(answers, path):
    """A piece stands for its place in its answer alone."""
    id_ = keep(answers)
    with sqlite3.connect(path) as file:
        file.execute("DELETE FROM piece WHERE number = 0")
        file.execute("UPDATE piece SET number = 0 WHERE number = 1")
    file.close()
    with pytest.raises(StoreError, match="cannot be opened: it was changed"):
        answers.piece(id_, 0)


def test_under_another_root_key_it_is_not_served_anew(answers, path):
    """Who repeats a request is not billed twice."""
    keep(answers)
    other = opened(path, b"o" * 32)
    with pytest.raises(StoreError, match=r"another root key.*Use another key to ask anew"):
        other.claim(b"slot", b"request", 3.0, 1002.0)
    other.close()
