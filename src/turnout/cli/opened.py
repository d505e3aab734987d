"""Opens what the commands beside `serve` look into: the config, the state under TURNOUT_HOME, the books, the audit trail."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import click

from turnout.config.environment import Environment
from turnout.config.load import Loaded, find_config, load
from turnout.core.redact import redact, secrets_of
from turnout.errors import StoreError
from turnout.gateway.audit import Actor, Trail
from turnout.gateway.clock import SystemClock
from turnout.gateway.database import database_of
from turnout.gateway.vault import check_root, root_key, root_origin
from turnout.stores import Database
from turnout.stores.sqlite import SqliteStateStore

T = TypeVar("T")


def loaded_config(path: Path | None) -> Loaded:
    """Load the config as `serve` would. Raises ConfigError."""
    environment = Environment.of_process()
    return load(find_config(path, environment), environment)


@contextmanager
def opened_state(path: Path | None) -> Iterator[tuple[Loaded, SqliteStateStore]]:
    """Give the config and the state store; a store that cannot be opened is an error with the path in it."""
    loaded = loaded_config(path)
    try:
        state = SqliteStateStore(Path(loaded.snapshot.server.home) / "state.sqlite3")
    except StoreError as error:
        raise click.ClickException(error.message) from error
    try:
        yield loaded, state
    finally:
        state.close()


@contextmanager
def giving_way() -> Iterator[None]:
    """Work only when nobody else wants the processor, for as long as this lasts: this thread, and those that it starts.

    For what reads all of the books beside a gateway that serves. Linux only; elsewhere it changes nothing. Lower priority
    (`nice`) is not enough: whoever wakes waits until the other's turn is over, some milliseconds (sched(7), SCHED_IDLE).
    """
    if not hasattr(os, "SCHED_IDLE"):
        yield
        return
    before, given = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):  # a sandbox may forbid it: then it takes its turn as everybody
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, before, given)


def in_books(path: Path | None, work: Callable[[Loaded, Database], Awaitable[T]]) -> T:
    """Open the books as `serve` would, do `work` with them, close them. Raises ConfigError and StoreError."""

    async def opened() -> T:
        loaded = loaded_config(path)
        database = database_of(loaded.snapshot)
        try:
            await database.open()
            return await work(loaded, database)
        finally:
            await database.close()

    return asyncio.run(opened())


async def checked_root(loaded: Loaded, database: Database) -> bytes:
    """Return the root key. Raises ConfigError if the keys in the books were made with another."""
    home, environment = Path(loaded.snapshot.server.home), Environment.of_process()
    root = root_key(home, environment, SystemClock())
    await check_root(database, root, root_origin(home, environment))
    return root


def trail_of(loaded: Loaded, database: Database) -> Trail:
    """Return the audit trail, for what a command changes."""
    secrets = secrets_of(loaded.snapshot)
    return Trail(database, SystemClock(), lambda text: redact(text, secrets))


def this_person() -> Actor:
    """Who types the command, as the trail and others are told."""
    return Actor(f"command {user_name()}", "owner", "this machine")


def user_name() -> str:
    """The name of whoever this process belongs to."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id, as in some containers
        return "unknown user"
