"""gateway/budgets.py while the books cannot be reached: nothing is taken for granted, and nothing is said twice."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager

import pytest

from tests.gateway.lab import StillClock
from tests.gateway.test_budgets import ALL, ANNA, leases, made
from turnout.core.rules import Budget
from turnout.errors import StoreError
from turnout.gateway.budgets import LEASE_S, RENEW_S
from turnout.gateway.purses import AGAIN_S
from turnout.stores.sqlite_books import SqliteBooks


@contextmanager
def locked(path):
    """Another process holds the file."""
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    other.close()


async def test_what_cannot_be_known_is_no_refusal_of_money(tmp_path, caplog):
    """503, at once for who comes just after; nothing is reserved by it, and one line is logged."""
    path, clock = tmp_path / "books.sqlite3", StillClock()
    database = SqliteBooks(path, locked_s=0.01)
    await database.open()
    budgets = made(database, ALL, clock=clock)
    with locked(path):
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be known now") as told:
                await budgets.reserve(ANNA, 1000)
        assert 503 == told.value.status
    assert 1 == len(caplog.records)
    clock.at += AGAIN_S
    (await budgets.reserve(ANNA, 1000)).release()
    await budgets.stop()
    await database.close()


async def test_a_lease_that_cannot_be_renewed_is_not_used_for_ever(tmp_path):
    """Another machine may have it by then; once the books are back, it is given back, and leased anew."""
    path, clock = tmp_path / "books.sqlite3", StillClock()
    database = SqliteBooks(path, locked_s=0.01)
    await database.open()
    budgets = made(database, Budget("all", "all", "*", 640_000), clock=clock)
    (await budgets.reserve(ANNA, 10)).release()
    with locked(path):
        clock.at += LEASE_S - RENEW_S
        await budgets.look()
        with pytest.raises(StoreError):
            await budgets.reserve(ANNA, 10)
    clock.at += AGAIN_S
    await budgets.look()
    assert [] == await leases(database)
    (await budgets.reserve(ANNA, 10)).release()
    await database.close()


async def test_books_that_are_away_are_said_once_and_once_that_they_are_back(tmp_path, caplog):
    """However often they are tried meanwhile: by who asks, and by who looks after leases."""
    path, clock = tmp_path / "books.sqlite3", StillClock()
    database = SqliteBooks(path, locked_s=0.01)
    await database.open()
    budgets = made(database, Budget("all", "all", "*", 640_000), clock=clock)
    (await budgets.reserve(ANNA, 10)).release()
    with locked(path):
        clock.at += RENEW_S
        for _ in range(3):
            await budgets.look()
            clock.at += AGAIN_S
            with pytest.raises(StoreError):
                await budgets.reserve(ANNA, 20_000)
    clock.at += AGAIN_S
    for _ in range(2):
        await budgets.look()
        (await budgets.reserve(ANNA, 20_000)).release()
    assert [
        "leases of budgets cannot be looked after",
        "what budgets have left cannot be asked",
        "leases of budgets are looked after again",
        "what budgets have left can be asked again",
    ] == [record.getMessage().partition(":")[0] for record in caplog.records]
    await budgets.stop()
    await database.close()
