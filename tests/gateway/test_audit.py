"""gateway/audit.py: what a running gateway writes into the trail, and what it costs when somebody provokes it."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest

from tests.gateway.lab import StillClock
from turnout.core.books.audit import Chain, Record, Wanted, latest, pages
from turnout.core.books.statements import Sql
from turnout.core.redact import redact
from turnout.core.secret import Secret
from turnout.errors import StoreError
from turnout.gateway.audit import KEYS_S, KINDS, LONGEST, LONGEST_VALUE, ROWS_A_MINUTE, SOON, Actor, Trail

ANNA = Actor("admin:anna", "admin", "192.0.2.7")
AT_MS = 1_800_001_000_000


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def trail(database, clock):
    return Trail(database, clock, lambda text: redact(text, ["a-known-secret"]))


async def rows(database, count=10_000):
    """The rows, oldest first."""
    return [record for _, record in reversed(await database.read(lambda: latest(Wanted(), count)))]


async def whole(database):
    """What `verify` says."""
    chain = Chain()
    found, head = await database.read(lambda: pages(0, 100_000))
    return chain.follow(found) or chain.end(head)


def without(table):
    yield Sql(
        {"audit": "ALTER TABLE audit RENAME TO audit_away", "away": "ALTER TABLE audit_away RENAME TO audit"}[table]
    )


async def test_a_change_is_written_with_who_when_where_and_what(trail, database):
    """Before and after are JSON of whatever the handler gave."""
    head = await trail.write(
        trail.record(ANNA, "rollout.set", "litellm", before={"percent": 5}, after={"percent": 25, "tasks": ("a", "b")})
    )
    assert 1 == head.seq
    told = Record(
        AT_MS, "admin:anna", "admin", "192.0.2.7", "rollout.set", "litellm",
        before='{"percent":5}', after='{"percent":25,"tasks":["a","b"]}',
    )  # fmt: skip
    assert [told] == await rows(database)


async def test_no_row_means_no_change(trail, database):
    """Where the trail cannot be written, whoever asks is told so, and does not go on."""
    await database.write(lambda: without("audit"))
    with pytest.raises(StoreError):
        await trail.write(trail.record(ANNA, "rollout.set", "litellm"))
    await database.write(lambda: without("away"))
    assert [] == await rows(database)


class Given(msgspec.Struct):
    name: str
    key: Secret


async def test_no_secret_and_no_control_character_is_written(trail):
    """In no text of a row, at whatever depth; and what is very long is cut."""
    record = trail.record(
        Actor("a\x1b[2J", "admin", "sk-canary-12345678"),
        "key.create",
        "a-known-secret",
        before={"deep": [{"sk-canary-in-a-name-1": "Bearer canary-canary-1"}], "n": 1, "b": True, "x": None},
        after=Given("line\nbreak \u2028 \ud800", Secret("canary-canary-2")),
    )
    text = repr(record)
    assert "canary" not in text
    assert "a-known-secret" not in text
    assert (record.actor, record.address, record.target) == ("a\\x1b[2J", "sk-***", "***")
    assert record.before == '{"deep":[{"sk-***":"Bearer ***"}],"n":1,"b":true,"x":null}'
    assert record.after == '{"name":"line\\\\nbreak \\\\u2028 \\\\ud800","key":"***"}'
    assert len(trail.record(ANNA, "x", "y" * 10_000).target) == LONGEST
    long = trail.record(ANNA, "x", after=["a " * LONGEST_VALUE]).after
    assert len(long) < 2 * LONGEST
    assert msgspec.json.decode(long)["characters"] > LONGEST_VALUE


async def test_a_refusal_is_written_and_equal_ones_are_counted(trail, database, clock):
    """One row with their number and the time of the latest."""
    for _ in range(3):
        trail.refused(ANNA, "PUT /admin/rollouts/x", "", "permission_denied")
        clock.at += 0.1
    trail.refused(Actor(address="192.0.2.8"), "GET /admin/config", "", "unauthenticated")
    trail.refused(ANNA, "PUT /admin/rollouts/x", "", "invalid_request", "failed")
    await trail.flush()
    found = await rows(database)
    assert [
        ("admin:anna", "refused", 3, AT_MS + 200),
        ("", "refused", 1, AT_MS + 300),
        ("admin:anna", "failed", 1, AT_MS + 300),
    ] == [(one.actor, one.outcome, one.times, one.at_ms) for one in found]
    assert ["permission_denied", "unauthenticated", "invalid_request"] == [one.reason for one in found]
    await trail.flush()
    assert 3 == len(await rows(database))


async def test_somebody_who_provokes_refusals_fills_neither_memory_nor_disk(trail, database):
    """100,000 different attempts are so many rows a minute, and their number is whole in the end."""
    for number in range(100_000):
        trail.refused(
            Actor(address=f"192.0.{number % 256}.{number // 256}"), "GET /admin/config", "", "unauthenticated"
        )
    await trail.flush()
    assert ROWS_A_MINUTE == len(await rows(database))
    await trail.flush()
    assert ROWS_A_MINUTE == len(await rows(database))
    await trail.stop()
    found = await rows(database)
    assert KINDS + 1 == len(found)
    assert 100_000 == sum(one.times for one in found)
    assert "(others)" in {one.actor for one in found}
    assert "" == await whole(database)


async def test_keys_that_the_data_plane_refused_are_counted_a_minute(trail, database, clock):
    """By address: a row each, whatever their number."""
    for number in range(5_000):
        trail.refused_key(Actor(address=f"192.0.2.{number % 2}"), "unauthenticated")
    await trail.flush()
    assert [] == await rows(database)
    clock.at += KEYS_S
    await trail.flush()
    told = [(one.address, one.action, one.outcome, one.times) for one in await rows(database)]
    assert [("192.0.2.0", "data.ask", "refused", 2500), ("192.0.2.1", "data.ask", "refused", 2500)] == told
    trail.refused_key(Actor(address="192.0.2.1"), "unauthenticated")
    await trail.flush()
    assert 2 == len(await rows(database))
    await trail.stop()
    assert 3 == len(await rows(database))


async def test_whoever_asks_for_names_without_end_crowds_out_nobody(trail, database):
    """What was asked for is told apart while there is room; whose key it was, beyond that."""
    for number in range(10_000):
        trail.refused_key(ANNA, "permission_denied", f"model {number}")
    trail.refused_key(Actor("k_other", "key"), "permission_denied", "model x")
    await trail.stop()
    found = await rows(database)
    assert 10_001 == sum(one.times for one in found)
    assert {ANNA.name, "k_other"} == {one.actor for one in found}
    assert [1, 10_000 - KINDS // 2] == sorted(one.times for one in found if one.target == "")


async def test_a_database_that_is_away_loses_no_row(trail, database, clock, caplog):
    """They wait in their order, their numbers grow, and the log says it twice: once lost, once found."""
    caplog.set_level(logging.WARNING, "turnout.audit")
    await database.write(lambda: without("audit"))
    for _ in range(3):
        trail.soon(trail.record(Actor("config"), "config.reload", after={"revision": "a"}))
        trail.refused(ANNA, "GET /admin/config", "", "permission_denied")
        trail.refused_key(Actor(address="192.0.2.1"), "unauthenticated")
        clock.at += KEYS_S
        await trail.flush()
    await database.write(lambda: without("away"))
    await trail.stop()
    told = [(one.action, one.times) for one in await rows(database)]
    assert [*[("config.reload", 1)] * 3, ("GET /admin/config", 3), ("data.ask", 3)] == told
    assert 2 == len(caplog.records)


async def test_what_was_changed_elsewhere_is_bounded_too(trail, database):
    """The newest are kept."""
    for number in range(SOON + 5):
        trail.soon(trail.record(Actor("config"), "config.reload", str(number)))
    await trail.stop()
    assert [str(number) for number in range(5, SOON + 5)] == [one.target for one in await rows(database)]


async def test_it_writes_by_itself_and_says_where_the_trail_stands(trail, database, caplog):
    """Within a second; and the start's log line is what a later check can compare with."""
    caplog.set_level(logging.INFO, "turnout.audit")
    await trail.start()
    trail.refused(ANNA, "GET /admin/config", "", "permission_denied")
    async with asyncio.timeout(10):
        while not await rows(database):
            await asyncio.sleep(0.02)
    await trail.stop()
    await trail.stop()
    assert "audit trail: 0 rows, head 0:" == caplog.records[0].getMessage()
    assert 1 == len(await rows(database))


async def test_gateways_that_share_the_books_write_one_trail(databases, clock):
    """Eight writers at once, 25 rows each: no number twice, none missing, and every link holds."""
    trails = [Trail(await databases(), clock, str) for _ in range(4)]

    async def write(trail, name):
        for number in range(25):
            await trail.write(trail.record(Actor(name), "x", str(number)))

    await asyncio.gather(*(write(trail, f"{at}-{half}") for at, trail in enumerate(trails) for half in "ab"))
    database = await databases()
    found = await rows(database)
    assert 200 == len(found)
    assert 200 == len({(one.actor, one.target) for one in found})
    assert "" == await whole(database)
