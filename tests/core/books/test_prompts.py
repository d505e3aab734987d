"""Prompts are found by their request while their time lasts, and are deleted in batches after it."""

from turnout.core.books.prompts import EXPIRED_AT_ONCE, SealedPrompt, add, expire, find, has_any


def prompts(count, start=0):
    """So many, a millisecond apart."""
    return [SealedPrompt(f"req_{at:06}", at, b"\x00\xff sealed %d" % at) for at in range(start, start + count)]


async def test_a_prompt_is_found_by_its_request_and_only_while_its_time_lasts(database):
    """Bytes come back as they were; one that is known already is left as it is."""
    assert not await database.read(has_any)
    assert 2 == await database.write(lambda: add(prompts(2)))
    assert 1 == await database.write(lambda: add([SealedPrompt("req_000001", 9, b"other"), *prompts(1, 2)]))
    assert SealedPrompt("req_000001", 1, b"\x00\xff sealed 1") == await database.read(lambda: find("req_000001", 1))
    assert await database.read(lambda: find("req_000001", 2)) is None
    assert await database.read(lambda: find("req_none", 0)) is None
    assert await database.read(has_any)


async def test_the_oldest_are_deleted_first_and_no_more_than_a_batch_at_once(database):
    """Those whose time is not over stay."""
    await database.write(lambda: add(prompts(EXPIRED_AT_ONCE + 5)))
    before_ms = EXPIRED_AT_ONCE + 3
    assert EXPIRED_AT_ONCE == await database.write(lambda: expire(before_ms))
    assert await database.read(lambda: find("req_000999", 0)) is None
    assert await database.read(lambda: find("req_001000", 0)) is not None
    assert 3 == await database.write(lambda: expire(before_ms))
    assert 0 == await database.write(lambda: expire(before_ms))
    assert await database.read(has_any)
    assert 2 == await database.write(lambda: expire(10**12))
    assert not await database.read(has_any)
