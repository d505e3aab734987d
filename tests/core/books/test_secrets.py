"""Providers' sealed keys, over every database."""

from turnout.core.books.changes import latest
from turnout.core.books.secrets import SealedKey, kept, put, remove

FIRST = SealedKey("stub", "https://a:443", b"\x01\x00sealed", 1_800_000_000_000, "anna")
SECOND = SealedKey("stub", "https://b:443", b"\x01other", 1_800_000_000_001, "bo")
OTHER = SealedKey("alpha", "https://a:443", b"\x01third", 1_800_000_000_002, "' OR 1=1 --")


async def test_a_key_is_kept_replaced_and_forgotten(database):
    """One for each name; whoever changes it is told for which origin the one before was."""
    assert [] == await database.read(kept)
    assert "" == await database.write(lambda: put(FIRST))
    assert "" == await database.write(lambda: put(OTHER))
    assert [OTHER, FIRST] == await database.read(kept)
    assert "https://a:443" == await database.write(lambda: put(SECOND))
    assert [OTHER, SECOND] == await database.read(kept)
    assert "https://b:443" == await database.write(lambda: remove("stub"))
    assert "" == await database.write(lambda: remove("stub"))
    assert [OTHER] == await database.read(kept)


async def test_every_change_moves_the_number_that_gateways_follow(database):
    """A replacement and a removal too."""
    numbers = [await database.read(latest)]
    for change in (lambda: put(FIRST), lambda: put(SECOND), lambda: remove("stub")):
        await database.write(change)
        numbers.append(await database.read(latest))
    assert [numbers[0] + step for step in range(4)] == numbers
