"""Who shares limits and who holds what of them, over every database that we have."""

from __future__ import annotations

from functools import partial

import pytest

from tests.entries import entry
from turnout.core.books.grants import FORGET_S, GONE, RECENT_S, Other, Wish, beat, gone, hear, leave, publish, turn
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.core.leasing import Held, Need
from turnout.core.rules import Rates

WALL = 1_795_392_000
ONE = Need(1, 0, 0)
NOBODY = {}


class Books:
    """A database, asked in words."""

    def __init__(self, database):
        self.database = database

    async def beat(self, writer, silent=NOBODY, wall=WALL):
        return await self.database.write(partial(beat, writer, silent, wall))

    async def hear(self, writer):
        return await self.database.read(partial(hear, writer))

    async def publish(self, writer, **held):
        return await self.database.write(partial(publish, writer, held))

    async def turn(self, writer, *wishes, rows=()):
        return await self.database.write(partial(turn, writer, rows, wishes))

    async def wish(self, writer, requests=10, used=0, held=0, need=ONE):
        got = await self.turn(writer, Wish("all", Rates(requests), Rates(used), Rates(held), need))
        return None if got is None else got["all"]

    async def leave(self, writer, wall=WALL, **used):
        await self.database.write(partial(leave, writer, used, wall))

    async def gone(self, writer):
        await self.database.write(partial(gone, writer))

    async def rows(self):
        """(writer, name, requests, tokens, at once, wants) of each grant."""

        def steps():
            return (
                yield Sql(
                    "SELECT writer, name, requests, tokens, at_once, wants FROM limit_grant ORDER BY writer, name"
                )
            )

        return [tuple(row) for row in await self.database.read(steps)]

    async def writers(self):
        """The names of all writers."""

        def steps():
            return (yield Sql("SELECT name FROM writer ORDER BY name"))

        return [name for (name,) in await self.database.read(steps)]


@pytest.fixture
def books(database):
    return Books(database)


async def both(books):
    """Two gateways that share limits."""
    await books.beat("a")
    await books.beat("b")
    await books.publish("a")


# ── who is there ──


async def test_the_first_one_is_alone(books):
    """All of every limit is his, and he says so."""
    assert not (await books.hear("a")).is_known
    first = await books.beat("a")
    assert (False, False, True, ()) == (first.was_known, first.was_alone, first.is_alone, first.others)
    again = await books.beat("a")
    assert (True, True, True) == (again.was_known, again.was_alone, again.is_alone)
    heard = await books.hear("a")
    assert (True, True, (), {}) == (heard.is_known, heard.is_alone, heard.others, heard.rivals)


async def test_a_second_one_waits_for_the_first(books):
    """Whoever claims everything gives it up himself; until then nobody takes anything."""
    await books.beat("a")
    second = await books.beat("b")
    assert (False, (Other("a", WALL, True),)) == (second.is_alone, second.others)
    assert await books.wish("b") is None
    assert (Other("b", WALL, False),) == (await books.hear("a")).others
    assert await books.publish("a", all=Rates(9))
    assert not (await books.hear("a")).is_alone
    assert [("a", "all", 9, 0, 0, 0)] == await books.rows()
    assert Rates(1) == (await books.wish("b")).rates


async def test_who_left_is_inherited_from(books):
    """What he used within the last minute counts as the heir's, who is alone then and needs no rows."""
    await both(books)
    await books.leave("b", all=Rates(4, 400))
    assert (Other("b", GONE, False),) == (await books.hear("a")).others
    heir = await books.beat("a")
    assert (True, {"all": Rates(4, 400)}) == (heir.is_alone, heir.inherited)
    assert [] == await books.rows()
    assert ["a"] == await books.writers()


async def test_with_others_the_heir_holds_it(books):
    """On top of his own; places at once are free."""
    await both(books)
    await books.beat("c")
    await books.turn("a", rows=[("all", Rates(2, 20, 1), True)])
    await books.turn("b", rows=[("all", Rates(3, 30, 5), False), ("key:k", Rates(1, 10, 1), False)])
    await books.gone("b")
    heir = await books.beat("a")
    assert {"all": Rates(3, 30), "key:k": Rates(1, 10)} == heir.inherited
    assert [("a", "all", 5, 50, 1, 1), ("a", "key:k", 1, 10, 0, 0)] == await books.rows()
    assert ["a", "c"] == await books.writers()


async def test_several_are_inherited_from_at_once(books):
    """Their sums."""
    await both(books)
    await books.beat("c")
    await books.leave("b", all=Rates(4))
    await books.leave("c", all=Rates(3))
    assert {"all": Rates(7)} == (await books.beat("a")).inherited


async def test_who_is_silent_is_taken_for_gone(books):
    """Unless he has moved since he was last looked at."""
    await both(books)
    (b,) = (await books.hear("a")).others
    await books.beat("b")
    assert 1 == len((await books.beat("a", {"b": b.beat})).others)
    assert () == (await books.beat("a", {"b": b.beat + 1})).others


async def test_who_was_taken_for_gone_and_is_not_begins_again(books):
    """He finds that the books do not know him; what he says then is what he used."""
    await both(books)
    await books.turn("b", rows=[("all", Rates(3), False)])
    await books.gone("b")
    assert not (await books.hear("b")).is_known
    assert await books.turn("b", rows=[("all", Rates(5), False)]) is None
    assert not await books.publish("b", all=Rates(5))
    await books.beat("a")
    assert not await books.publish("b", all=Rates(5))
    assert not (await books.beat("b", wall=WALL + 9)).was_known
    assert await books.publish("a")
    assert await books.publish("b", all=Rates(3))
    assert [("b", "all", 3, 0, 0, 0)] == await books.rows()


async def test_a_claim_of_somebody_gone_holds_nobody_up(books):
    """Killed while it was alone: its successor is alone."""
    await books.beat("a")
    (a,) = (await books.beat("b")).others
    after = await books.beat("b", {"a": a.beat})
    assert (True, True) == (after.was_known, after.is_alone)
    assert ["b"] == await books.writers()


async def test_of_one_that_was_killed_alone_the_ledger_tells(books):
    """What reached a vendor within the last minute, of every name; a request with two attempts is one, a correction none."""
    at = {
        "at_ms": (WALL - 5) * 1000,
        "model": "m",
        "user": "anna",
        "workspace": "",
        "team": "t",
        "key_id": "k",
        "task": "",
    }
    lines = [
        entry("r1-1", request_id="r1", input_tokens=100, output_tokens=20, **at),
        entry("r1-2", request_id="r1", input_tokens=100, output_tokens=30, **at),
        entry("r2-1", request_id="r2", input_tokens=10, output_tokens=0, **{**at, "user": "bo"}),
        entry(
            "r3-1", request_id="r3", input_tokens=10, output_tokens=0, **{**at, "at_ms": (WALL - RECENT_S) * 1000 - 1}
        ),
        entry("r1-1c", request_id="r1", input_tokens=-50, output_tokens=0, corrects="r1-1", **at),
    ]
    await books.beat("a")
    await books.database.write(partial(append, "a", lines))
    await books.gone("a")
    heir = await books.beat("b")
    assert heir.is_alone
    assert heir.inherited == {
        "all": Rates(2, 260),
        "team:t": Rates(2, 260),
        "key:k": Rates(2, 260),
        "model:m": Rates(2, 260),
        "user:anna": Rates(1, 250),
        "user:bo": Rates(1, 10),
    }


async def test_what_was_used_long_ago_is_forgotten(books):
    """A gateway that was stopped yesterday leaves nothing."""
    await books.leave("a", all=Rates(4))
    assert {} == (await books.beat("b", wall=WALL + FORGET_S)).inherited
    await books.leave("b", all=Rates(4))
    assert {"all": Rates(4)} == (await books.beat("c", wall=WALL + FORGET_S - 1)).inherited


async def test_somebody_whom_nobody_knows_is_gone(books):
    """Nothing happens."""
    await books.gone("a")
    assert [] == await books.writers()


# ── who holds what ──


async def test_all_together_never_hold_more_than_the_limit(books):
    """One takes what is left, the other is told that he lacks something."""
    await both(books)
    assert Held(Rates(9), Rates(), 0, wants=False, is_sure=True) == await books.wish("a", need=Need(9, 0, 0))
    assert Held(Rates(1), Rates(9), 0, wants=True, is_sure=True) == await books.wish("b", need=Need(3, 0, 0))
    assert [("a", "all", 9, 0, 0, 0), ("b", "all", 1, 0, 0, 1)] == await books.rows()
    assert {"all": 1} == (await books.hear("a")).rivals
    assert {} == (await books.hear("b")).rivals


async def test_what_is_given_back_is_there_for_others(books):
    """What is nothing leaves no row."""
    await both(books)
    await books.wish("a", need=Need(10, 0, 0))
    assert Rates() == (await books.wish("b", need=Need(3, 0, 0))).rates
    assert {} == await books.turn("a", rows=[("all", Rates(4), False), ("key:k", Rates(), False)])
    assert Held(Rates(3), Rates(4), 0, wants=False, is_sure=True) == await books.wish("b", need=Need(3, 0, 0))
    assert [("a", "all", 4, 0, 0, 0), ("b", "all", 3, 0, 0, 0)] == await books.rows()
    await books.turn("a", rows=[("all", Rates(), False)])
    assert [("b", "all", 3, 0, 0, 0)] == await books.rows()


async def test_several_names_are_asked_for_together(books):
    """Each with its own limit; tokens and places too."""
    await both(books)
    need = Need(2, 200, 100)
    wishes = [Wish(name, Rates(0, 1000, 4), Rates(), Rates(), need) for name in ("user:b", "all", "user:ø")]
    got = await books.turn("a", *wishes)
    assert {"all", "user:b", "user:ø"} == set(got)
    assert Rates(0, 250, 2) == got["all"].rates


async def test_many_names_are_published_together(books):
    """A gateway that was alone for long knows many; names may be anything."""
    await books.beat("a")
    held = {f"user:{number} ' \" % ø": Rates(number, 1, 1) for number in range(1000)}
    assert await books.database.write(partial(publish, "a", held))
    rows = await books.rows()
    assert sorted((name, one.requests_minute) for name, one in held.items()) == sorted(row[1:3] for row in rows)
    assert await books.publish("a")
    assert [] == await books.rows()
