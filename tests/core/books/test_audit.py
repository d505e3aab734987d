"""The audit trail, over a database of its own in memory."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.books.trails import Trail, record
from turnout.core.books.audit import (
    COLUMNS,
    Chain,
    Head,
    Record,
    Wanted,
    append,
    append_all,
    latest,
    link,
    pages,
    recorded,
)
from turnout.core.books.statements import Sql
from turnout.errors import StoreError


@pytest.fixture
def trail():
    """An empty trail."""
    made = Trail()
    yield made
    made.rows.close()


def test_rows_come_back_newest_first_as_they_were_written(trail):
    """With all that they tell, and their numbers."""
    told = record(2, outcome="refused", reason="permission_denied", times=3, before='{"a":1}', after='{"a":2}')
    first = trail.run(append(record(1)))
    second = trail.run(append(told))
    assert (1, 2) == (first.seq, second.seq)
    assert [(2, told), (1, record(1))] == trail.run(latest(Wanted(), 10))
    assert [(2, told)] == trail.run(latest(Wanted(), 1))
    assert [(1, record(1))] == trail.run(latest(Wanted(), 10, below=2))


def test_several_rows_are_written_in_their_order(trail):
    """As one transaction."""
    trail.run(append_all([record(1), record(2)]))
    assert [record(2), record(1)] == [one for _, one in trail.run(latest(Wanted(), 10))]


@pytest.mark.parametrize(
    ("wanted", "targets"),
    [
        (Wanted(), ["d", "c", "b", "a"]),
        (Wanted(actor="anna"), ["d", "a"]),
        (Wanted(action="key"), ["b", "a"]),
        (Wanted(action="key.create"), ["a"]),
        (Wanted(action="ke"), []),
        (Wanted(action="%"), []),
        (Wanted(target="c"), ["c"]),
        (Wanted(outcome="refused"), ["d"]),
        (Wanted(since_ms=3), ["d", "c"]),
        (Wanted(actor="anna", outcome="done"), ["a"]),
    ],
)
def test_only_the_rows_that_are_wanted(trail, wanted, targets):
    """By who, what, of what, how it ended, and since when; nothing in a name has a meaning of its own."""
    rows = [
        Record(1, "anna", "owner", "", "key.create", "a"),
        Record(2, "bo", "admin", "", "key.revoke", "b"),
        Record(3, "bo", "admin", "", "keys", "c"),
        Record(4, "anna", "viewer", "", "rollout.set", "d", outcome="refused"),
    ]
    trail.run(append_all(rows))
    assert targets == [one.target for _, one in trail.run(latest(wanted, 10))]


def test_a_change_and_its_row_are_one(trail):
    """The row is made from what the change returned; without the change there is no row, and the other way round."""
    trail.rows.execute("CREATE TABLE thing (name TEXT CHECK (name <> ''))")

    def change(name):
        yield Sql("INSERT INTO thing VALUES (?)", (name,))
        return name

    assert "a" == trail.run(recorded(change("a"), lambda name: record(1, after=name)))
    assert [(1, record(1, after="a"))] == trail.run(latest(Wanted(), 10))
    with pytest.raises(sqlite3.IntegrityError):
        trail.run(recorded(change(""), lambda name: record(2)))
    trail.rows.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.IntegrityError):
        trail.run(recorded(change("b"), lambda name: record(3)))
    assert [("a",)] == trail.rows.execute("SELECT name FROM thing").fetchall()
    assert 1 == len(trail.run(latest(Wanted(), 10)))


ANOTHER = (
    "INSERT OR REPLACE INTO audit SELECT NEW, at_ms, 'x', role, address, action, target, outcome, reason, times, before,"
    " after, hash FROM audit WHERE seq = OLD"
)


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE audit SET actor = 'x' WHERE seq = 2",
        "UPDATE audit SET times = times",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
        *(ANOTHER.replace("NEW", new).replace("OLD", old) for new, old in (("2", "2"), ("3", "3"), ("9", "3"))),
        "UPDATE audit_head SET seq = 1",
        "DELETE FROM audit_head",
    ],
)
def test_the_database_refuses_to_change_the_trail(trail, text):
    """Neither UPDATE nor DELETE, nor an INSERT anywhere but at the end."""
    trail.fill(3)
    with pytest.raises(sqlite3.IntegrityError, match="the audit trail is append-only"):
        trail.rows.execute(text)
    assert "" == trail.verified()


def test_a_trail_as_it_was_written_is_right(trail):
    """Empty, with rows, and however many are read at a time."""
    assert "" == trail.verified()
    trail.fill(7)
    assert ["", "", ""] == [trail.verified(page=page) for page in (1, 7, 100)]


@pytest.mark.parametrize("column", [*COLUMNS[1:], "hash"])
def test_a_changed_value_is_found(trail, column):
    """Whatever of the row it is."""
    trail.fill(5)
    trail.tamper(f"UPDATE audit SET {column} = {column} || '0' WHERE seq = 3")  # noqa: S608 - a column of ours
    assert "row 3 is not as it was written, or not where it was written" == trail.verified()


@pytest.mark.parametrize(
    ("statements", "wrong"),
    [
        (["DELETE FROM audit WHERE seq = 3"], "row 3 is missing: row 4 comes after row 2"),
        (["DELETE FROM audit WHERE seq < 3"], "row 1 is missing: row 3 comes after row 0"),
        (["DELETE FROM audit WHERE seq > 3"], "row 4 is missing: the trail ends at row 3, and 5 were written"),
        (["DELETE FROM audit"], "row 1 is missing: the trail ends at row 0, and 5 were written"),
        (["DELETE FROM audit_head"], "row 1 was not written by a gateway"),
        (
            ["DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = seq - 1 WHERE seq > 3"],
            "row 3 is not as it was written, or not where it was written",
        ),
        (
            ["UPDATE audit SET seq = 9 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 4",
             "UPDATE audit SET seq = 4 WHERE seq = 9"],
            "row 2 is not as it was written, or not where it was written",
        ),
        (
            [ANOTHER.replace("NEW", "6").replace("OLD", "5")],
            "row 6 is not as it was written, or not where it was written",
        ),
        (["UPDATE audit_head SET hash = 'x'"], "row 5 is not the last that was written"),
    ],
)  # fmt: skip
def test_rows_taken_out_put_in_or_moved_are_found(trail, statements, wrong):
    """And the first bad one is named."""
    trail.fill(5)
    trail.tamper(*statements)
    assert wrong == trail.verified()


@pytest.mark.parametrize(
    ("seq", "wrong"),
    [
        (3, "row 4 is not as it was written, or not where it was written"),
        (5, "row 5 is not the last that was written"),
    ],
)
def test_a_row_written_anew_with_its_own_hash_is_found_by_what_follows(trail, seq, wrong):
    """Each hash holds the one before: the next row does not fit any more, and behind the last there is the head."""
    trail.fill(5)
    trail.tamper()
    before, row = (trail.rows.execute("SELECT * FROM audit WHERE seq = ?", (at,)).fetchone() for at in (seq - 1, seq))
    forged = (*row[:2], "somebody else", *row[3:-1])
    trail.rows.execute("UPDATE audit SET actor = ?, hash = ? WHERE seq = ?", (forged[2], link(before[-1], forged), seq))
    assert wrong == trail.verified()


def test_a_row_put_in_that_fits_is_found_by_the_head(trail):
    """Somebody who can reckon a hash can write a row that fits; the head does not know of it."""
    trail.fill(2)
    last = trail.rows.execute("SELECT * FROM audit WHERE seq = 2").fetchone()
    forged = (3, *last[1:-1])
    values = (*forged, link(last[-1], forged))
    trail.tamper()
    trail.rows.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    assert "row 3 was not written by a gateway" == trail.verified()


def test_a_trail_written_anew_is_found_by_a_head_that_was_noted(trail):
    """Rows and head fit each other, but not what stands elsewhere; a beginning of the hash is enough."""
    trail.fill(4)
    head = trail.run(pages(4, 1))[1]
    noted = Head(head.seq, head.hash[:12])
    assert ("", "") == (trail.verified(head), trail.verified(noted))
    other = Trail()
    other.run(append_all([record(number, reason="anew") for number in range(4)]))
    assert "" == other.verified()
    wrong = f"row 4 is another than when {noted.hash} was noted for it: the trail was written anew"
    assert wrong == other.verified(noted)
    shorter = Trail()
    shorter.fill(3)
    assert "row 4 is missing: the trail ends at row 3, and row 4 was noted" == shorter.verified(noted)
    other.rows.close()
    shorter.rows.close()


@given(st.lists(st.text(), min_size=12, max_size=12), st.integers(0, 11), st.text())
def test_no_value_can_stand_for_another(values, at, other):
    """Two rows have one hash only if they are equal: nothing in a text looks like the end of it."""
    changed = [*values]
    changed[at] = other
    is_sendable = all(text.isprintable() for text in (*values, other))
    if is_sendable:
        assert (values == changed) == (link("", tuple(values)) == link("", tuple(changed)))


# ── over every database ──


async def changed_by(database, text):
    """Run one statement."""

    def steps():
        yield Sql(text)

    await database.write(steps)


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE audit SET actor = 'x' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit",
        "UPDATE audit_head SET seq = 1",
        "DELETE FROM audit_head",
        ANOTHER.removeprefix("INSERT OR REPLACE ").join(["INSERT ", ""]).replace("NEW", "9").replace("OLD", "2"),
    ],
)
async def test_every_database_refuses_to_change_the_trail(database, text):
    """By triggers, whoever asks; and what was tried left nothing behind."""
    await database.write(lambda: append_all([record(1), record(2)]))
    with pytest.raises(StoreError, match="the audit trail is append-only"):
        await changed_by(database, text)
    rows, head = await database.read(lambda: pages(0, 10))
    chain = Chain()
    assert ("", "", 2) == (chain.follow(rows), chain.end(head), len(rows))


async def test_every_database_gives_back_what_was_written(database):
    """Text that a database cannot hold is written as what it can hold, so that its hash is that of what is read."""
    odd = record(1, before="NUL \x00 and half a pair \ud800", after="smørrebrød 漢字 \U0001f600 ' \" % _ \\")
    await database.write(lambda: append(odd))
    rows, head = await database.read(lambda: pages(0, 10))
    chain = Chain()
    assert ("", "") == (chain.follow(rows), chain.end(head))
    ((_, found),) = await database.read(lambda: latest(Wanted(), 10))
    assert ("NUL \ufffd and half a pair \ufffd", odd.after) == (found.before, found.after)
