"""Following the books: what changes in them is known here, and an older state never comes back."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.gateway.lab import StillClock
from turnout.core.books import keys, people
from turnout.core.books.keys import Key, Proof
from turnout.core.books.people import Rules
from turnout.core.books.reading import RulesRead
from turnout.core.books.statements import Sql
from turnout.core.principal import MASTER, Grant
from turnout.core.rules import Limit, Rates
from turnout.errors import ConfigError, StoreError, Unauthenticated
from turnout.gateway.clock import SystemClock
from turnout.gateway.following import Following
from turnout.gateway.keys import KeyRing, Master, key_hash

PEPPER = b"pepper"
SOON_S = 5.0


class Books:
    """A Database of one answer after the other; an error is raised. wait: never tells of a change."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.reads = 0
        self.exhausted = asyncio.Event()

    async def read(self, _steps):
        self.reads += 1
        answer = self.answers.pop(0)
        if not self.answers:
            self.exhausted.set()
            self.answers.append(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait(self, _since):
        await asyncio.sleep(0.001)
        return 1


def ring(clock):
    """A ring that holds no key yet."""
    return KeyRing(PEPPER, Master(b"own", b"none"), clock)


def wanted(id_="k_1", user=""):
    """A virtual key."""
    return Key(id_, "", user, "", "", "", Grant(), "xxxx", 0, 1, "me", None)


async def make_key(database, id_="k_1", rules=None, user=""):
    """Make one whose text is its id."""
    proof = Proof(key_hash(id_.encode(), PEPPER), "xxxx")
    await database.write(lambda: keys.add_key(wanted(id_, user), proof, rules or Rules(), MASTER))


async def until(condition):
    """Wait until something is so."""
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.005)


def opens(ring, text):
    """Whether a key is let in."""
    try:
        return bool(ring.check(text).key_id)
    except Unauthenticated:
        return False


async def test_what_one_gateway_changes_another_knows(databases):
    """Made, revoked; and the limits that were given."""
    ours, theirs = await databases(), await databases()
    clock, told = SystemClock(), []
    held = ring(clock)
    await make_key(theirs, "k_0")
    following = Following(ours, held, clock, told.append)
    await following.start()
    assert (opens(held, b"k_0"), told) == (True, [([], [])])
    await make_key(theirs, rules=Rules(Limit("key", "k_1", Rates(9))))
    await until(lambda: opens(held, b"k_1"))
    await until(lambda: told[-1] == ([Limit("key", "k_1", Rates(9))], []))
    await theirs.write(lambda: keys.revoke_key("k_1", 5, MASTER))
    await until(lambda: not opens(held, b"k_1"))
    await until(lambda: told[-1] == ([], []))
    await theirs.write(lambda: people.put_team("sales", 1, "me"))
    assert opens(held, b"k_0")
    await following.stop()


async def test_nothing_new_is_nothing_told(databases):
    """The rules are read where something has changed."""
    database, told = await databases(), []
    following = Following(database, ring(SystemClock()), SystemClock(), told.append)
    await make_key(database)
    await following.read()
    await following.read()
    assert [([], [])] == told


async def test_books_that_come_late_are_followed_when_they_do(caplog):
    """The start does not wait for them; what cannot be known is not said to be unknown meanwhile."""
    clock = StillClock()
    gone = StoreError("gone")
    books = Books(gone, gone, gone, (3, [], RulesRead([], [], [])))
    held = ring(clock)
    following = Following(books, held, clock)
    with caplog.at_level(logging.WARNING, "turnout.following"):
        await following.start()
        with pytest.raises(StoreError):
            held.check(b"k_1")
        async with asyncio.timeout(SOON_S):
            await books.exhausted.wait()
        await until(lambda: held.followed_at == clock.now())
        await until(lambda: len(caplog.records) == 2)
    assert not opens(held, b"k_1")
    assert ["the books cannot be reached; known keys go on: gone", "the books are followed again"] == [
        record.getMessage() for record in caplog.records
    ]
    await following.stop()


async def test_books_that_are_not_for_us_are_no_start_and_later_they_are_said_once(caplog):
    """Found when they come late: no key of theirs is known or unknown, and all is well once they are for us."""
    clock, nothing = StillClock(), (3, [], RulesRead([], [], []))
    problems = [StoreError("gone"), ConfigError(("root.key: another",)), ConfigError(("root.key: another",))]

    async def check():
        if problems:
            raise problems.pop(0)

    held = ring(clock)
    following = Following(Books(nothing), held, clock, check=check)
    with caplog.at_level(logging.WARNING, "turnout.following"):
        await following.start()
        await until(lambda: len(problems) == 1)
        with pytest.raises(StoreError, match="are not this gateway's"):
            held.check(b"k_1")
        assert not following.has_read
        await until(lambda: following.has_read)
        await until(lambda: len(caplog.records) == 2)
    assert not opens(held, b"k_1")
    assert ["no key in the books is known: root.key: another", "the books are followed again"] == [
        record.getMessage() for record in caplog.records
    ]
    await following.stop()
    problems.append(ConfigError(("root.key: another",)))
    with pytest.raises(ConfigError):
        await Following(Books(nothing), held, clock, check=check).start()


async def test_rows_that_cannot_be_read_refuse_whom_they_are_about_and_hold_up_nobody(databases, caplog):
    """One key's own, one key's limit, a user's budget: each is named once, and what comes later is followed."""
    database, told = await databases(), []
    held = ring(SystemClock())
    following = Following(database, held, SystemClock(), told.append)
    for id_ in ("k_0", "k_1", "k_2"):
        await make_key(database, id_, Rules(Limit("key", id_, Rates(9))))
    await make_key(database, "k_3", user="anna")
    await following.start()
    assert all(opens(held, id_) for id_ in (b"k_0", b"k_1", b"k_2", b"k_3"))

    def broken():
        yield Sql("UPDATE virtual_key SET narrowed = ? WHERE id = ?", ("{", "k_1"))
        yield Sql("UPDATE rule SET body = ? WHERE name = ?", ("", "k_2"))
        yield Sql(
            "INSERT INTO rule (scope, name, kind, body) VALUES (?, ?, ?, ?)", ("user", "anna", "budget/day", "[]")
        )
        yield Sql("UPDATE virtual_key SET revision = revision + 10")
        yield Sql("UPDATE change SET number = number + 10")

    with caplog.at_level(logging.ERROR, "turnout.following"):
        await database.write(broken)
        await until(lambda: not opens(held, b"k_1"))
        await make_key(database, "k_4")
        await until(lambda: opens(held, b"k_4"))
    assert [True, False, False, False] == [opens(held, id_) for id_ in (b"k_0", b"k_1", b"k_2", b"k_3")]
    with pytest.raises(Unauthenticated, match="the limits or budgets of user anna cannot be read"):
        held.check(b"k_3")
    rows = ("virtual_key k_1", "rule (key, k_2, limit)", "rule (user, anna, budget/day)")
    ending = "cannot be read; whom it is about is refused, all others go on"
    assert [f"books: row {row} {ending}" for row in rows] == [record.getMessage() for record in caplog.records]
    assert ([Limit("key", id_, Rates(9)) for id_ in ("k_0", "k_1")], []) == told[-1]
    await database.write(lambda: keys.change_key(wanted("k_2"), Rules(Limit("key", "k_2", Rates(8))), MASTER))
    await until(lambda: opens(held, b"k_2"))
    await following.stop()


async def test_the_books_are_known_to_be_there_as_of_when_they_were_asked():
    """Not of when they answered: an answer that took long tells of the past."""
    clock = StillClock()

    class Slow(Books):
        async def read(self, steps):
            clock.at += 3
            return await super().read(steps)

    held = ring(clock)
    await Following(Slow((1, [], None)), held, clock).read()
    assert clock.now() - 3 == held.followed_at
