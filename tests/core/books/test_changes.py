"""The number of the latest change to who may ask."""

from __future__ import annotations

from turnout.core.books.changes import latest
from turnout.core.books.statements import Sql


async def test_the_number_is_what_whoever_changes_something_made_it(database):
    """It begins at 0."""
    assert 0 == await database.read(latest)
    await database.write(lambda: (yield Sql("UPDATE change SET number = number + 3")))
    assert 3 == await database.read(latest)
