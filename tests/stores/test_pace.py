"""A file that is written gently takes its time, in pieces; one that is not is left alone."""

import sqlite3
import time

import pytest

from turnout.stores.pace import BYTES_PER_S, PIECE_BYTES, Pace, vacuum


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "draft"
    path.touch()
    return path


def took_s(file, pieces, *, is_gentle=True):
    """How long it takes to write so many pieces and two thirds of one more."""
    began = time.perf_counter()
    with Pace(file, is_gentle=is_gentle) as pace, file.open("ab", buffering=0) as written:
        for _ in range(3 * pieces + 2):
            written.write(bytes(PIECE_BYTES // 3 + 1))
            pace.rest()
    return time.perf_counter() - began


@pytest.mark.parametrize("pieces", [1, 8])
def test_it_rests_for_what_was_written(file, pieces):
    """In proportion; the beginning of a next piece waits for the rest of it."""
    assert took_s(file, pieces) >= pieces * PIECE_BYTES / BYTES_PER_S


def test_in_a_hurry_it_does_not_rest(file):
    """A second's worth of rest is left out."""
    pieces = BYTES_PER_S // PIECE_BYTES
    assert took_s(file, pieces, is_gentle=False) < 0.5


@pytest.mark.parametrize("is_gentle", [True, False])
def test_a_database_is_written_whole(tmp_path, file, is_gentle):
    """Forty pieces of it, most of them more than what SQLite keeps before it writes."""
    rows = 40 * PIECE_BYTES // 1_000
    with sqlite3.connect(tmp_path / "from", isolation_level=None) as database:
        database.execute("CREATE TABLE t AS SELECT zeroblob(0) AS data WHERE false")
        database.execute("BEGIN")
        database.executemany("INSERT INTO t VALUES (zeroblob(?))", [(1_000,)] * rows)
        database.execute("COMMIT")
        began = time.perf_counter()
        vacuum(database, file, is_gentle=is_gentle)
        took = time.perf_counter() - began
    with sqlite3.connect(file) as made:
        assert made.execute("SELECT count(*), sum(length(data)) FROM t").fetchone() == (rows, 1_000 * rows)
    assert not is_gentle or took >= 20 * PIECE_BYTES / BYTES_PER_S
