"""Which numbered SQL files there are, which a database still needs, and which databases are refused."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from turnout.errors import StoreError
from turnout.stores.migrations import Migration, missing, shipped

FIRST = Migration(1, "first", "CREATE TABLE a (x BIGINT)", "aa")
SECOND = Migration(2, "second", "CREATE TABLE b (x BIGINT)", "bb")


def test_both_databases_have_the_same_steps():
    """By number and name, each number once."""
    names = {
        dialect: [(one.version, one.name) for one in shipped(dialect)]  # type: ignore[arg-type]
        for dialect in ("sqlite", "postgres")
    }
    assert names["sqlite"] == names["postgres"]
    numbers = [version for version, _ in names["sqlite"]]
    assert sorted(set(numbers)) == numbers
    assert numbers


def test_steps_are_read_from_their_files_in_the_order_of_their_numbers(tmp_path):
    """With the hash of what is in them; other files are none."""
    for name, text in (("0010_b.sqlite.sql", "B"), ("0002_a_c.sqlite.sql", "A"), ("0003_x.postgres.sql", "X")):
        (tmp_path / name).write_text(text)
    (tmp_path / "notes.txt").write_text("no step")
    assert (
        Migration(2, "a_c", "A", sha256(b"A").hexdigest()),
        Migration(10, "b", "B", sha256(b"B").hexdigest()),
    ) == shipped("sqlite", tmp_path)


def test_what_is_applied_is_not_needed_again():
    """Nothing, a part or everything may be there, also a later one before an earlier."""
    assert (FIRST, SECOND) == missing((FIRST, SECOND), [], "x")
    assert (SECOND,) == missing((FIRST, SECOND), [(1, "first", "aa")], "x")
    assert (FIRST,) == missing((FIRST, SECOND), [(2, "second", "bb")], "x")
    assert () == missing((FIRST, SECOND), [(1, "first", "aa"), (2, "second", "bb")], "x")


def test_books_of_a_newer_turnout_are_refused():
    """With which version they have, which we know, and what to do."""
    with pytest.raises(
        StoreError, match=r"x was brought to version 2 \(second\) by a newer Turnout.* up to 1\. Nothing"
    ):
        missing((FIRST,), [(1, "first", "aa"), (2, "second", "bb")], "x")
    with pytest.raises(StoreError, match="up to 0"):
        missing((), [(1, "first", "aa")], "x")


def test_a_step_that_was_published_with_another_text_is_refused():
    """Its tables may be other than ours are."""
    with pytest.raises(StoreError, match="another text of migration 0001_first"):
        missing((FIRST, SECOND), [(1, "first", "ab")], "x")


@pytest.fixture
def opening(databases):
    """Opens the test's books with steps of its own."""

    async def open_(*steps):
        return await databases(migrations=steps)

    return open_


async def test_tables_are_brought_to_the_version_of_whoever_opens_them(opening):
    """Once, in order; a failing step leaves nothing of itself, and what was before it stays."""
    broken = msgspec.structs.replace(SECOND, text="CREATE TABLE b (x BIGINT); CREATE TABLE a (x BIGINT)")
    await opening(FIRST)
    with pytest.raises(StoreError, match="already exists"):
        await opening(FIRST, broken)
    database = await opening(FIRST, SECOND)
    assert database
    again = await opening(FIRST, SECOND)
    assert again
    with pytest.raises(StoreError, match="newer Turnout"):
        await opening(FIRST)
