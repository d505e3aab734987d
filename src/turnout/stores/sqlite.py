"""Keeps traces and state in SQLite files under TURNOUT_HOME. Standard library, WAL, STRICT tables, bound parameters only.

Traces: `synchronous=NORMAL`, one writer, one transaction a batch. State: `synchronous=FULL`, because a rollout that an
operator set to 0 must be 0 after a power cut. Files are made readable by their owner alone.
Reads cost about 4 µs, a batch of 1,000 rows about 1 ms (DEPENDENCIES §4).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from turnout.errors import StoreError
from turnout.stores import RolloutChange

_TRACES = """
CREATE TABLE IF NOT EXISTS batch (
    seq INTEGER PRIMARY KEY,
    first_id TEXT NOT NULL,
    last_id TEXT NOT NULL,
    traces INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS batch_first_id ON batch (first_id, last_id);
"""

_STATE = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS rollout_change (
    seq INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    percent REAL NOT NULL CHECK (percent BETWEEN 0 AND 100),
    base TEXT NOT NULL,
    at REAL NOT NULL,
    by TEXT NOT NULL
) STRICT;
"""


@contextmanager
def _map_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: {error}. Is the disk full, or the file not ours to write?") from error


OPEN_S = 5.0
"""How long a start waits for a file that another process has locked: several may start at once."""

RECOUNT_BATCHES = 32
"""How many batches we write between two looks at what other processes wrote to the same file: 8 s at 4 batches a second."""


def _open(path: Path, schema: str, synchronous: str, locked_s: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=OPEN_S)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {synchronous}")
    database.executescript(schema)
    database.execute(f"PRAGMA busy_timeout = {locked_s * 1000:.0f}")
    return database


class SqliteTraceStore:
    """Traces, at most `bound` of them (to within a batch, and RECOUNT_BATCHES of them where several processes write).
    One thread at a time writes; reading may come from any. locked_s: how long a locked file is waited for.

    A batch is one row, its traces are lines: a row per trace cost 20 µs of CPU a request (an index entry in random
    order, a page or two), a line costs 1 µs. Request ids begin with their time, so a batch's first and last id tell
    whether a trace may be in it.
    """

    def __init__(self, path: Path, *, bound: int = 50_000, locked_s: float = OPEN_S) -> None:
        self._path = path
        self.bound = bound
        with _map_errors(path):
            self._database = _open(path, _TRACES, "NORMAL", locked_s)
            self._cursor = (
                self._database.cursor()
            )  # for all writing: Python remembers up to 200 that have been thrown away
            self._kept = self._count()
        self._until_recount = RECOUNT_BATCHES

    def _count(self) -> int:
        return int(self._cursor.execute("SELECT coalesce(sum(traces), 0) FROM batch").fetchone()[0])

    def add(self, ids: Sequence[str], lines: bytes) -> None:
        """Keep one batch; the oldest beyond the bound go. O(bytes)."""
        cursor = self._cursor
        with _map_errors(self._path):
            cursor.execute("BEGIN IMMEDIATE")
            try:
                cursor.execute(
                    "INSERT INTO batch (first_id, last_id, traces, body) VALUES (?, ?, ?, ?)",
                    (min(ids), max(ids), len(ids), lines),
                )
                self._until_recount -= 1
                kept = self._kept + len(ids)
                if self._until_recount <= 0:
                    self._until_recount, kept = RECOUNT_BATCHES, self._count()
                while kept > self.bound:
                    seq, traces = cursor.execute("SELECT seq, traces FROM batch ORDER BY seq LIMIT 1").fetchone()
                    if kept == traces:
                        break  # one batch larger than the bound: it stays until the next one comes
                    cursor.execute("DELETE FROM batch WHERE seq = ?", (seq,))
                    kept -= traces
                cursor.execute("COMMIT")
                self._kept = kept
            except sqlite3.Error:
                cursor.execute("ROLLBACK")
                raise

    def get(self, request_id: str) -> bytes | None:
        """Return one trace by its whole id. O(log batches), and a search through those that may hold it."""
        if not request_id.isascii():
            return None  # no id of ours; and what a shell passes on may not even be text
        # Its own member, which comes first: another's trace may hold the same words, as the name of a user.
        mark = b'{"request_id":"' + request_id.encode() + b'"'
        with _map_errors(self._path):
            for (body,) in self._database.execute(
                "SELECT body FROM batch WHERE first_id <= ? AND last_id >= ?", (request_id, request_id)
            ):
                at = body.find(mark)
                if at >= 0:
                    end = body.find(b"\n", at)
                    return bytes(body[at : end if end >= 0 else len(body)])
        return None

    def latest(self, count: int) -> list[bytes]:
        """Return the newest, newest first. O(what it reads)."""
        found: list[bytes] = []
        with _map_errors(self._path):
            for (body,) in self._database.execute("SELECT body FROM batch ORDER BY seq DESC"):
                found += [line for line in reversed(body.split(b"\n")) if line]
                if len(found) >= count:
                    break
        return found[:count]

    def close(self) -> None:
        """Close the file."""
        self._database.close()


class SqliteStateStore:
    """Facts and rollout changes, durable at once. locked_s: how long a locked file is waited for."""

    def __init__(self, path: Path, *, locked_s: float = OPEN_S) -> None:
        self._path = path
        with _map_errors(path):
            self._database = _open(path, _STATE, "FULL", locked_s)
            self._watching = self._database.cursor()  # for `version`, which is asked four times a second

    def get_fact(self, name: str) -> bytes | None:
        """Return a fact, None if it was never written."""
        with _map_errors(self._path):
            row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def put_fact(self, name: str, value: bytes) -> None:
        """Write or replace a fact."""
        with _map_errors(self._path):
            self._database.execute(
                "INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    def add_rollout_change(self, change: RolloutChange) -> None:
        """Append a change, a row for each base; earlier ones stay, as history."""
        with _map_errors(self._path):
            self._database.executemany(
                "INSERT INTO rollout_change (name, percent, base, at, by) VALUES (?, ?, ?, ?, ?)",
                [(change.name, change.percent, base, change.at, change.by) for base in change.bases],
            )

    def rollout_changes(self) -> dict[str, RolloutChange]:
        """Return the newest change of each rollout."""
        with _map_errors(self._path):
            rows = self._database.execute(
                "SELECT name, percent, base, at, by FROM rollout_change ORDER BY seq"
            ).fetchall()
        newest: dict[str, RolloutChange] = {}
        for name, percent, base, at, by in rows:
            change = RolloutChange(name, percent, (base,), at, by)
            earlier = newest.get(name)
            if earlier is not None and earlier.is_same_decision(change):
                change = msgspec.structs.replace(change, bases=(*earlier.bases, base))
            newest[name] = change
        return newest

    def version(self) -> int:
        """SQLite's own counter of other connections' commits, plus our changes (data_version shows only others')."""
        with _map_errors(self._path):
            other = self._watching.execute("PRAGMA data_version").fetchone()[0]
        return int(other) * 1_000_000 + self._database.total_changes

    def close(self) -> None:
        """Close the file."""
        self._database.close()
