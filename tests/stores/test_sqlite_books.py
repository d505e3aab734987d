"""The books in a SQLite file: what is in the file's own nature. What every database promises is in tests/contracts."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
import threading

import pytest

from turnout.core.books.statements import Load, Sql
from turnout.errors import StoreError
from turnout.stores.migrations import Migration
from turnout.stores.sqlite_books import ROWS_AT_ONCE, TOGETHER, SqliteBooks

STEPS = (
    Migration(
        1,
        "thing",
        """
        CREATE TABLE thing (name TEXT PRIMARY KEY, size INTEGER NOT NULL) STRICT; -- a; b
        CREATE TRIGGER small BEFORE INSERT ON thing WHEN NEW.size > 100 BEGIN
            SELECT RAISE(ROLLBACK, 'too large for all');
        END
        """,
        "aa",
    ),
)


def put(name, size=1):
    yield Sql("INSERT INTO thing (name, size) VALUES (?, ?)", (name, size))
    return name


def count():
    ((rows,),) = yield Sql("SELECT count(*) FROM thing")
    return rows


def opened(path, **options):
    return SqliteBooks(path, **{"migrations": STEPS, **options})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "books.sqlite3"


@pytest.fixture
async def books(path):
    database = opened(path)
    await database.open()
    yield database
    await database.close()


async def test_the_files_are_their_owners_alone(books, path):
    """Also the folder, which it makes."""
    await books.write(lambda: put("a"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert dict.fromkeys((f"{path.name}{ending}" for ending in ("", "-id", "-shm", "-wal")), 0o600) == modes
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)


async def test_what_is_committed_is_on_the_disk_and_a_closed_file_is_whole(books, path):
    """`synchronous=FULL`; after the end there is one file that any SQLite reads."""
    assert 2 == await books.write(lambda: _one("PRAGMA synchronous"))
    await books.write(lambda: put("a"))
    await books.close()
    assert not path.with_name(f"{path.name}-wal").exists()
    with sqlite3.connect(path) as plain:
        assert [("ok",)] == plain.execute("PRAGMA integrity_check").fetchall()
        assert [("a",)] == plain.execute("SELECT name FROM thing").fetchall()
    plain.close()


def _one(text):
    ((value,),) = yield Sql(text)
    return value


async def test_many_that_wait_are_written_with_few_commits(books, path):
    """While one goes to the disk the others gather. WAL frames of one page each show how often it was written."""
    await asyncio.gather(*(books.write(lambda n=n: put(str(n))) for n in range(4 * TOGETHER)))
    assert 4 * TOGETHER == await books.read(count)


async def test_transactions_are_made_in_the_order_in_which_they_were_asked_for(books):
    """Whoever asks first is first."""
    names = [f"{n}" for n in range(3 * TOGETHER)]
    await asyncio.gather(*(books.write(lambda name=name: put(name)) for name in names))
    rows = await books.read(lambda: (yield Sql("SELECT name FROM thing ORDER BY rowid")))
    assert names == [name for (name,) in rows]


async def test_what_undoes_the_whole_group_fails_for_all_of_it(books):
    """SQLite ends the transaction by itself when a disk is full, or a trigger says so; then nothing of it is there."""
    before = asyncio.get_running_loop().create_task(books.write(lambda: put("before")))
    await before
    hold = threading.Event()

    def holding():
        yield Sql("SELECT 1")
        hold.wait(5)

    held = asyncio.get_running_loop().create_task(books.write(holding))
    await asyncio.sleep(0)
    asked = [asyncio.get_running_loop().create_task(books.write(lambda n=n: put(f"{n}", n))) for n in (1, 101, 2)]
    await asyncio.sleep(0)
    hold.set()
    told = await asyncio.gather(held, *asked, return_exceptions=True)
    assert all(isinstance(one, StoreError) and "too large for all" in one.message for one in told[1:]), told
    assert 1 == await books.read(count)
    assert "after" == await books.write(lambda: put("after"))


async def test_a_load_of_any_length_is_whole(books):
    """Full chunks, and the rest."""
    for size in (1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 5 * ROWS_AT_ONCE - 1):
        rows = [(f"{size}/{n}", 1) for n in range(size)]
        new = await books.write(lambda rows=rows: (yield Load("thing", ("name", "size"), rows, "name")))
        assert [(name,) for name, _ in rows] == list(new)


async def test_a_locked_file_is_waited_for_and_no_longer_than_that(path):
    """Another process writes: what is asked for meanwhile waits; past the limit it is a StoreError, and nothing is lost."""
    database = opened(path, locked_s=0.2)
    await database.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"locked.*Another process holds it"):
        await database.write(lambda: put("a"))
    assert 0 == await database.read(count), "reading waits for no writer"
    waiting = asyncio.get_running_loop().create_task(database.write(lambda: put("b")))
    await asyncio.sleep(0.02)
    other.execute("ROLLBACK")
    other.close()
    assert "b" == await waiting
    await database.close()


async def test_one_that_was_cancelled_while_it_waited_is_not_begun(books):
    """Nobody would learn what came of it."""
    hold = threading.Event()

    def holding():
        yield Sql("SELECT 1")
        hold.wait(5)

    first = asyncio.get_running_loop().create_task(books.write(holding))
    second = asyncio.get_running_loop().create_task(books.write(lambda: put("a")))
    await asyncio.sleep(0.05)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    hold.set()
    await first
    assert 0 == await books.read(count)


@pytest.mark.parametrize("ending", ["", "-wal"])
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_file_that_is_gone_takes_nothing_any_more(books, path, ending, is_replaced):
    """It has no name, so what is written into it is lost: reading and writing say so from then on."""
    await books.write(lambda: put("a"))
    file = path.with_name(f"{path.name}{ending}")
    shutil.copy(file, path.with_name("aside"))
    file.unlink()
    if is_replaced:
        shutil.copy(path.with_name("aside"), file)
    for ask in (books.write(lambda: put("b")), books.read(count), books.write(lambda: put("c"))):
        with pytest.raises(StoreError, match=r"was deleted or replaced.*put the file back"):
            await ask


async def test_lost_books_are_never_begun_anew_without_a_word(books, path):
    """The mark beside the file says which books belong here; without it they are new."""
    await books.write(lambda: put("a"))
    await books.close()
    for lose in (path.unlink, lambda: path.write_bytes(b"")):
        lose()
        with pytest.raises(StoreError, match=r"is gone.*Restore it from a backup.*delete"):
            await opened(path).open()
    path.with_name(f"{path.name}-id").unlink()
    fresh = opened(path)
    await fresh.open()
    assert 0 == await fresh.read(count)
    await fresh.close()


async def test_other_books_in_the_place_of_ours_are_refused(books, path, tmp_path):
    """A copy of ours, such as a backup, is not other books."""
    await books.write(lambda: put("a"))
    await books.close()
    shutil.copy(path, tmp_path / "backup")
    other = opened(tmp_path / "other.sqlite3")
    await other.open()
    await other.close()
    shutil.copy(tmp_path / "other.sqlite3", path)
    with pytest.raises(StoreError, match="holds other books"):
        await opened(path).open()
    shutil.copy(tmp_path / "backup", path)
    again = opened(path)
    await again.open()
    assert 1 == await again.read(count)
    await again.close()


async def test_a_log_that_was_lost_while_nobody_had_the_file_open_is_found(books, path, tmp_path):
    """After a kill the last commits are in it alone; SQLite itself would go on without them."""
    await books.write(lambda: put("a"))
    killed = tmp_path / "killed"
    shutil.copytree(path.parent, killed)
    (killed / f"{path.name}-wal").unlink()
    with pytest.raises(StoreError, match="-wal is gone"):
        await opened(killed / path.name).open()
    (killed / f"{path.name}-shm").unlink()
    without = opened(killed / path.name)
    await without.open()
    await without.close()


async def test_a_file_that_is_no_database_is_refused(path):
    """With what to do; and it stays as it was."""
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but long enough to be one" * 50)
    with pytest.raises(StoreError, match=r"not a database.*restore a backup"):
        await opened(path).open()
    assert path.read_bytes().startswith(b"no database")


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    """A file stands where the folder would be."""
    (tmp_path / "home").write_text("a file")
    with pytest.raises(StoreError, match="not ours to write"):
        await opened(tmp_path / "home" / "books.sqlite3").open()


async def test_several_processes_may_begin_the_same_new_books_at_once(path):
    """Each opens them, and they are the same."""
    many = [opened(path) for _ in range(8)]
    await asyncio.gather(*(one.open() for one in many))
    await asyncio.gather(*(one.write(lambda n=n: put(f"{n}")) for n, one in enumerate(many)))
    assert [8] * 8 == [await one.read(count) for one in many]
    await asyncio.gather(*(one.close() for one in many))


async def test_a_mistake_of_ours_says_that_it_is_one(books):
    """A statement that the database does not know."""
    with pytest.raises(StoreError, match="please report it"):
        await books.write(lambda: (yield Sql("SELEKT 1")))
