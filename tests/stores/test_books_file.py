"""Backups as files: filled table by table, guarded at the end, read again in pages."""

from __future__ import annotations

import sqlite3

import pytest

from turnout.errors import StoreError
from turnout.stores.books_file import PAGE_ROWS, BooksFile, Contents
from turnout.stores.migrations import shipped

ENTRY = {
    "seq": 5,
    "number": 1,
    "at_ms": 7,
    "chain": b"x",
    "input_tokens": 1,
    "output_tokens": 1,
    "cache_read_input_tokens": 0,
    "cache_write_input_tokens": 0,
    "reasoning_output_tokens": 0,
    "cost_nano_usd": 9,
}


@pytest.fixture
def file(tmp_path):
    """A file with all tables and one entry."""
    path = tmp_path / "backup"
    with BooksFile(path) as made:
        triggers = made.begin(shipped("sqlite"))
        columns = made.columns("entry")
        made.fill("entry", columns, [tuple(ENTRY.get(name, name) for name in columns)])
        made.fill(
            "team", ("name", "created_at", "created_by"), [(f"t{n:05d}", n, "x") for n in range(2 * PAGE_ROWS + 1)]
        )
        made.finish(triggers)
    return path


def test_it_holds_what_was_put_in_and_nothing_that_a_new_database_has(file):
    """Rows that migrations make are not there twice: they come with the others."""
    with BooksFile(file) as given:
        assert Contents(1, 9, file.stat().st_size) == given.check()
        assert {"entry", "team", "change", "books", "audit_head"} <= set(given.tables())
        assert "migration" not in given.tables()
        assert [] == list(given.pages("change", ("id", "number")))
        pages = list(given.pages("team", ("name",)))
    assert [PAGE_ROWS, PAGE_ROWS, 1] == [len(page) for page in pages]
    assert [f"t{n:05d}" for n in range(2 * PAGE_ROWS + 1)] == [name for page in pages for (name,) in page]


def test_its_tables_are_guarded_as_those_in_use(file):
    """Nothing in it can be changed by accident either."""
    plain = sqlite3.connect(file)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        plain.execute("UPDATE entry SET at_ms = 1")
    plain.close()


def test_one_that_was_not_finished_is_none(tmp_path):
    """A kill in the middle leaves a file that is refused."""
    path = tmp_path / "torn"
    with BooksFile(path) as made:
        made.begin(shipped("sqlite"))
    with BooksFile(path) as given, pytest.raises(StoreError, match=r"is no backup of Turnout's|malformed|damaged"):
        given.check()


def test_what_cannot_be_read_or_written_is_a_store_error(tmp_path, file):
    """With its name."""
    with pytest.raises(StoreError, match="nowhere"):
        BooksFile(tmp_path / "nowhere" / "backup")
    file.write_bytes(file.read_bytes()[:9_000])
    with BooksFile(file) as given, pytest.raises(StoreError, match="backup"):
        given.check()
