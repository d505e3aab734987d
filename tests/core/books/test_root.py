"""core/books/root.py: which root key the books go by."""

from __future__ import annotations

import asyncio

from turnout.core.books.root import MARK_BYTES, known, leave, mark_of, renew

OURS, THEIRS = b"a root key of thirty-two bytes..", b"b root key of thirty-two bytes.."


def test_a_mark_is_a_root_keys_own_and_tells_nothing_of_it():
    """The same each time."""
    assert mark_of(OURS) == mark_of(OURS) != mark_of(THEIRS)
    assert MARK_BYTES == len(mark_of(OURS))
    assert mark_of(OURS) not in OURS


async def test_who_comes_first_leaves_the_mark_and_only_a_renewal_changes_it(databases):
    """Of many who come at once, one; the others find it."""
    one, other = await databases(), await databases()
    assert await one.read(known) is None
    marks = [mark_of(OURS), mark_of(THEIRS)] * 4
    found = await asyncio.gather(
        *[database.write(lambda mark=mark: leave(mark)) for mark, database in zip(marks, [one, other] * 4, strict=True)]
    )
    assert {await one.read(known)} == set(found)
    await one.write(lambda: renew(mark_of(THEIRS)))
    assert mark_of(THEIRS) == await other.read(known) == await other.write(lambda: leave(mark_of(OURS)))
