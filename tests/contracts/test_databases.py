"""Every database of the books keeps the same promises: all or nothing, one after the other, the same rows and values."""

from __future__ import annotations

import asyncio

import pytest

from turnout.core.books.statements import Load, Sql
from turnout.errors import BudgetExceeded, StoreError

MANY = 1_000


def made():
    yield Sql("CREATE TABLE thing (name TEXT PRIMARY KEY, size BIGINT NOT NULL)")
    yield Sql("CREATE TABLE odd (whole BIGINT, part DOUBLE PRECISION, body BYTEA, words TEXT)")


def put(name, size):
    yield Sql("INSERT INTO thing (name, size) VALUES (?, ?)", (name, size))
    return size


def things():
    rows = yield Sql("SELECT name, size FROM thing ORDER BY name")
    return list(rows)


def grown(name):
    ((size,),) = yield Sql("SELECT size FROM thing WHERE name = ?", (name,))
    yield Sql("UPDATE thing SET size = ? WHERE name = ?", (size + 1, name))
    return size + 1


def one(text, *values):
    ((value,),) = yield Sql(text, values)
    return value


def moved():
    yield Sql("UPDATE change SET number = number + 1")


@pytest.fixture
async def books(database):
    """With two tables of the test's own."""
    await database.write(made)
    return database


async def test_a_transaction_returns_what_its_generator_returns(books):
    """And what it wrote is there for the next."""
    assert 5 == await books.write(lambda: put("a", 5))
    assert [("a", 5)] == await books.read(things)


async def test_a_refusal_inside_a_transaction_undoes_it_and_reaches_whoever_asked(books):
    """As it is, whatever kind it is."""

    def refused():
        yield from put("a", 1)
        raise BudgetExceeded("no more")

    with pytest.raises(BudgetExceeded, match="no more"):
        await books.write(refused)
    assert [] == await books.read(things)
    assert 2 == await books.write(lambda: put("a", 2)), "the books go on"


async def test_what_the_database_refuses_is_a_store_error_and_undone(books):
    """With the statement's own words."""

    def twice():
        yield from put("a", 1)
        yield from put("a", 2)

    with pytest.raises(StoreError, match=r"(?i)unique"):
        await books.write(twice)
    assert [] == await books.read(things)


async def test_one_that_fails_among_many_fails_alone(books):
    """Whatever is written together."""

    def broken():
        yield from put("broken", 1)
        yield Sql("INSERT INTO nowhere VALUES (1)")

    asked = [books.write(lambda n=n: put(f"{n:02d}", n)) for n in range(20)]
    asked.insert(7, books.write(broken))
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(told.pop(7), StoreError)
    assert list(range(20)) == told
    assert [(f"{n:02d}", n) for n in range(20)] == await books.read(things)


async def test_transactions_of_two_gateways_run_as_if_each_were_alone(databases):
    """Nothing that one of them read is changed by another before it is done: 60 increments are 60."""
    first, second = await databases(), await databases()
    await first.write(made)
    await first.write(lambda: put("a", 0))
    sizes = await asyncio.gather(*((first, second)[n % 2].write(lambda: grown("a")) for n in range(60)))
    assert list(range(1, 61)) == sorted(sizes)
    assert [("a", 60)] == await second.read(things)


async def test_two_that_read_what_the_other_writes_do_not_both_win(databases):
    """Write skew, which a weaker isolation lets through: of two that each see an empty table, one comes first."""
    first, second = await databases(), await databases()
    await first.write(made)

    def alone(name):
        rows = yield Sql("SELECT count(*) FROM thing")
        if rows[0][0]:
            return False
        yield from put(name, 1)
        return True

    assert 1 == sum(await asyncio.gather(*((first, second)[n % 2].write(lambda n=n: alone(str(n))) for n in range(12))))


async def test_a_read_sees_one_state_and_changes_nothing(books):
    """Also over several statements, and a write in it is refused."""
    await books.write(lambda: put("a", 1))
    looked, changed = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def twice():
        before = yield Sql("SELECT name, size FROM thing")
        loop.call_soon_threadsafe(looked.set)
        while not changed.is_set():
            yield Sql("SELECT 1")
        after = yield Sql("SELECT name, size FROM thing")
        return before == after

    reading = loop.create_task(books.read(twice))
    await looked.wait()
    await books.write(lambda: put("b", 2))
    changed.set()
    assert await reading
    with pytest.raises(StoreError, match=r"(?i)read.?only"):
        await books.read(lambda: put("c", 3))


async def test_a_load_returns_what_was_new(books):
    """What is there already is left out and stays as it was; so a batch may come twice, or in part."""

    def load(start, size):
        rows = [(f"{n:05d}", size) for n in range(start, start + MANY)]
        return (yield Load("thing", ("name", "size"), rows, "name"))

    assert MANY == len(await books.write(lambda: load(0, 1)))
    assert [] == await books.write(lambda: load(0, 2))
    again = await books.write(lambda: load(MANY // 2 + 1, 3))
    assert {(f"{n:05d}",) for n in range(MANY, MANY + MANY // 2 + 1)} == set(again)
    rows = await books.read(things)
    assert [1] * MANY + [3] * (MANY // 2 + 1) == [size for _, size in rows]


async def test_two_loads_in_one_transaction_and_none_at_all(books):
    """The second does not bring the first's rows again."""

    def loads():
        first = yield Load("thing", ("name", "size"), [("a", 1)], "name")
        second = yield Load("thing", ("name", "size"), [("b", 2), ("a", 3)], "name")
        return list(first), list(second), list((yield Load("thing", ("name", "size"), [], "name")))

    assert ([("a",)], [("b",)], []) == await books.write(loads)
    assert [("a", 1), ("b", 2)] == await books.read(things)


@pytest.mark.parametrize("name", ["thing; DROP TABLE thing", 'thing"', "Thing", "", "a-b"])
async def test_a_load_takes_plain_names_only(books, name):
    """They are the one part of a statement that is not bound."""

    def load(table, column):
        return (yield Load(table, (column, "size"), [("a", 1)], column))

    for table, column in ((name, "name"), ("thing", name)):
        with pytest.raises(ValueError, match="no name"):
            await books.write(lambda table=table, column=column: load(table, column))
    assert [] == await books.read(things)


async def test_values_come_back_as_they_went(books):
    """Whole numbers to 64 bits, parts, bytes, text and nothing."""
    row = (-(2**63), 0.1, b"\x00\xff", "Ærø ? '' \U0001f600")
    empty = (None, None, None, None)
    for values in (row, empty):
        await books.write(lambda values=values: (yield Sql("INSERT INTO odd VALUES (?, ?, ?, ?)", values)))
    rows = await books.read(lambda: (yield Sql("SELECT whole, part, body, words FROM odd")))
    assert [row, empty] == [tuple(one) for one in rows]
    with pytest.raises(StoreError):
        await books.write(lambda: (yield Sql("INSERT INTO odd (whole) VALUES (?)", (2**63,))))


async def test_what_is_counted_is_a_whole_number(books):
    """Sums, counts and comparisons are the same kind of number in each database."""
    await books.write(lambda: put("a", 2**40))
    await books.write(lambda: put("b", 3))
    for text, value in (
        ("SELECT sum(size) FROM thing", 2**40 + 3),
        ("SELECT count(*) FROM thing", 2),
        ("SELECT coalesce(sum(size), 0) FROM thing WHERE size < 0", 0),
        ("SELECT max(size) > 5 FROM thing", 1),
        ("SELECT min(size) > 5 FROM thing", 0),
    ):
        found = await books.read(lambda text=text: one(text))
        assert (value, int) == (found, type(found)), text


async def test_text_that_no_database_can_hold_is_made_storable(books):
    """A caller's JSON may have NUL and half of a surrogate pair; a row that can never be written would stop all others."""
    await books.write(lambda: put("a\x00b\ud800c", 1))
    await books.write(lambda: (yield Load("thing", ("name", "size"), [("d\udfffe", 2)], "name")))
    assert [("a\ufffdb\ufffdc", 1), ("d\ufffde", 2)] == await books.read(things)
    assert 1 == await books.read(lambda: one("SELECT size FROM thing WHERE name = ?", "a\x00b\ud800c"))


async def test_a_question_mark_inside_quotes_is_text(books):
    """Only those outside take values."""
    assert "a?b ?'?" == await books.read(lambda: one("SELECT 'a?b ?''?' WHERE 1 = ?", 1))


async def test_waiting_ends_when_any_gateway_moves_the_number(databases):
    """At once if it has moved already, else when it does."""
    first, second = await databases(), await databases()
    number = await first.wait(-1)
    waiting = asyncio.get_running_loop().create_task(first.wait(number))
    await second.write(moved)
    async with asyncio.timeout(5):
        assert number + 1 == await waiting
        assert number + 1 == await second.wait(number)


async def test_one_that_was_cancelled_leaves_the_books_usable(books):
    """Whether it was made or not, it is whole."""

    def pair(n):
        yield from put(f"{n}a", n)
        yield from put(f"{n}b", n)

    for n in range(10):
        task = asyncio.get_running_loop().create_task(books.write(lambda n=n: pair(n)))
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert 1 == await books.write(lambda: put("z", 1))
    names = {name for name, _ in await books.read(things)} - {"z"}
    assert all(f"{name[0]}{other}" in names for name in names for other in "ab")


async def test_closed_books_take_nothing(databases):
    """Closing waits for what is under way, may be done twice, and before opening; and they open again."""
    database = await databases()
    await database.write(made)
    last = asyncio.get_running_loop().create_task(database.write(lambda: put("a", 1)))
    await asyncio.sleep(0)
    await database.close()
    assert 1 == await last
    await database.close()
    for ask in (database.write, database.read):
        with pytest.raises(StoreError, match="not open"):
            await ask(things)
    await database.open()
    await database.open()
    assert [("a", 1)] == await database.read(things)
