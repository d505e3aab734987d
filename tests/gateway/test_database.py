"""Where the books are."""

from pathlib import Path

import msgspec

from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.rules import LedgerRule
from turnout.core.secret import Secret
from turnout.gateway.database import database_of
from turnout.stores.postgres_books import PostgresBooks
from turnout.stores.sqlite_books import SqliteBooks


async def test_a_file_unless_the_config_names_a_server(tmp_path):
    """The file is made in TURNOUT_HOME when it is opened; a server is not asked before."""
    snapshot = load(None, Environment({"TURNOUT_HOME": str(tmp_path)})).snapshot
    database = database_of(snapshot)
    assert isinstance(database, SqliteBooks)
    await database.open()
    await database.close()
    assert Path(tmp_path / "books.sqlite3").exists()
    rule = LedgerRule(url=Secret("postgresql://turnout@127.0.0.1:1/books"))
    assert isinstance(database_of(msgspec.structs.replace(snapshot, ledger=rule)), PostgresBooks)
