"""A backup holds all of the books as they were at one moment, can be looked at, and becomes the books again."""

from __future__ import annotations

import asyncio
import sqlite3
import stat

import pytest

from tests.entries import AT_MS, entry
from turnout.core.books.entry import Charge
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import verify
from turnout.errors import StoreError
from turnout.gateway.backup import back_up, draft_of, restore
from turnout.stores.books_file import BooksFile
from turnout.stores.postgres_books import PostgresBooks
from turnout.stores.sqlite_books import SqliteBooks


async def fill(database, count, writer="w1"):
    entries = [
        entry(attempt_id=f"{writer}-{n}", at_ms=AT_MS + n, cost_nano_usd=n or None, charges=(Charge("all", 5),))
        for n in range(count)
    ]
    await database.write(lambda: append(writer, entries))


async def rows(database, text):
    found = await database.read(lambda: (yield Sql(text)))
    return [tuple(row) for row in found]


ENTRIES = "SELECT seq, attempt_id, cost_nano_usd, charges, chain FROM entry ORDER BY seq"
PEOPLE = "SELECT name, is_blocked FROM person ORDER BY name"


@pytest.fixture
async def filled(database):
    """Two writers' entries, a user, some changes."""
    await fill(database, 30)
    await fill(database, 20, writer="w2")
    await database.write(lambda: (yield Sql("INSERT INTO person VALUES ('anna', '', 1, 5, 'carl')")))
    await database.write(lambda: (yield Sql("UPDATE change SET number = 41")))
    return database


async def test_a_backup_says_what_is_in_it_and_is_its_owners_alone(filled, tmp_path):
    """Entries, cost and size; nothing is left of how it was made."""
    file = tmp_path / "backup.sqlite3"
    contents = await back_up(filled, file)
    assert (50, sum(range(30)) + sum(range(20)), file.stat().st_size) == (
        contents.entries,
        contents.cost_nano_usd,
        contents.size_bytes,
    )
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert not draft_of(file).exists()


async def test_a_backup_of_either_database_becomes_the_books_of_either(filled, databases, tmp_path):
    """Row by row; the ledger is whole, guarded as before, and goes on where it ended."""
    file = tmp_path / "backup.sqlite3"
    await back_up(filled, file)
    there = SqliteBooks(tmp_path / "elsewhere" / "books.sqlite3")
    contents = await restore(there, file)
    assert 50 == contents.entries
    await there.open()
    for text in (
        ENTRIES,
        PEOPLE,
        "SELECT number FROM change",
        "SELECT writer, entries FROM entry_head ORDER BY writer",
    ):
        assert await rows(filled, text) == await rows(there, text)
    await fill(there, 35)
    assert (await there.read(verify)).is_whole
    with pytest.raises(StoreError, match="append-only"):
        await there.write(lambda: (yield Sql("DELETE FROM entry")))
    await there.close()


async def test_a_backup_is_taken_over_by_an_empty_postgres(filled, postgres_server, tmp_path):
    """From SQLite and from PostgreSQL; new entries get numbers after the old ones."""
    file = tmp_path / "backup.sqlite3"
    await back_up(filled, file)
    there = PostgresBooks(postgres_server.new_database())
    await restore(there, file)
    assert await rows(filled, ENTRIES) == await rows(there, ENTRIES)
    assert await rows(filled, PEOPLE) == await rows(there, PEOPLE)
    assert await rows(filled, "SELECT number FROM change") == await rows(there, "SELECT number FROM change")
    await fill(there, 35)
    assert 55 == len(await rows(there, ENTRIES))
    assert (await there.read(verify)).is_whole
    with pytest.raises(StoreError, match="append-only"):
        await there.write(lambda: (yield Sql("DELETE FROM entry")))
    with pytest.raises(StoreError, match="nothing is written over"):
        await restore(there, file)
    await there.close()


async def test_what_is_written_meanwhile_is_in_it_whole_or_not_at_all(database, tmp_path):
    """One state: its entries are the first so many, and its sums are theirs."""
    await fill(database, 500, writer="w0")

    async def write():
        for n in range(30):
            await fill(database, 20, writer=f"w{n + 1}")

    writing = asyncio.get_running_loop().create_task(write())
    await asyncio.sleep(0.05)
    contents = await back_up(database, tmp_path / "backup")
    await writing
    there = SqliteBooks(tmp_path / "elsewhere.sqlite3")
    await restore(there, tmp_path / "backup")
    await there.open()
    verdict = await there.read(verify)
    assert (True, contents.entries, contents.cost_nano_usd) == (
        verdict.is_whole,
        verdict.entries,
        verdict.cost_nano_usd,
    )
    assert 0 == (contents.entries - 500) % 20
    await there.close()


async def test_nothing_is_written_over(filled, tmp_path):
    """Neither a file by a backup nor books by a restored one."""
    file = tmp_path / "backup.sqlite3"
    file.write_text("precious")
    with pytest.raises(StoreError, match="there already"):
        await back_up(filled, file)
    assert "precious" == file.read_text()
    await back_up(filled, tmp_path / "second")
    (tmp_path / "books.sqlite3-wal").touch()
    with pytest.raises(StoreError, match=r"there already.*Stop the gateway, move books.sqlite3"):
        await restore(SqliteBooks(tmp_path / "books.sqlite3"), tmp_path / "second")


async def test_a_file_that_is_no_whole_backup_is_refused(filled, tmp_path):
    """Before anything is changed: missing, of something else, damaged, or of a newer Turnout."""
    good = tmp_path / "good"
    await back_up(filled, good)
    there = SqliteBooks(tmp_path / "there.sqlite3")
    (tmp_path / "text").write_text("no database" * 100)
    (tmp_path / "torn").write_bytes(good.read_bytes()[:20_000])
    with sqlite3.connect(tmp_path / "others") as file:
        file.execute("CREATE TABLE history (url TEXT)")
    file.close()
    newer = tmp_path / "newer"
    newer.write_bytes(good.read_bytes())
    with sqlite3.connect(newer) as file:
        file.execute("INSERT INTO migration (version, name, sha256) VALUES (9999, 'later', 'x')")
    file.close()
    for name, said in (
        ("nowhere", "no file"),
        ("text", "text is no backup of Turnout's: `turnout backup FILE` makes one"),
        ("others", "others is no backup of Turnout's"),
        ("torn", "damaged|malformed"),
        ("newer", "newer Turnout"),
    ):
        with pytest.raises(StoreError, match=said):
            await restore(there, tmp_path / name)
    assert not (tmp_path / "there.sqlite3").exists()


async def test_a_folder_that_is_not_there_is_said(filled, tmp_path):
    """With the file's name."""
    with pytest.raises(StoreError, match=r"nowhere/backup.*No such file"):
        await back_up(filled, tmp_path / "nowhere" / "backup")


async def test_both_databases_have_the_same_tables_and_columns(database, tmp_path):
    """A backup takes them over by their names, and this fails where one is missing."""
    file = tmp_path / "backup"
    await back_up(database, file)
    with BooksFile(file) as made:
        backed_up = {(table, column) for table in made.tables() for column in made.columns(table)}
    memory = SqliteBooks(tmp_path / "fresh.sqlite3")
    await memory.open()
    text = (
        "SELECT sqlite_master.name, info.name FROM sqlite_master, pragma_table_info(sqlite_master.name) AS info "
        "WHERE sqlite_master.type = 'table' AND sqlite_master.name NOT IN ('sqlite_sequence', 'migration')"
    )
    assert set(await rows(memory, text)) == backed_up
    await memory.close()
    if isinstance(database, PostgresBooks):
        text = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        assert backed_up == {row for row in await rows(database, text) if row[0] != "migration"}
