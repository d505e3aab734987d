"""Keeps traces, state and answers in SQLite files under TURNOUT_HOME. Standard library, WAL, STRICT tables, bound parameters only.

Traces: `synchronous=NORMAL`, one writer, one transaction a batch. State: `synchronous=FULL`, because a rollout that an
operator set to 0 must be 0 after a power cut. Answers: `NORMAL`, which survives a kill; a power cut may take the last ones.
Files are made readable by their owner alone.
Reads cost about 4 µs, a batch of 1,000 rows about 1 ms (DEPENDENCIES §4).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from turnout.errors import StoreError
from turnout.stores import Found, RolloutChange

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

_ANSWERS = """
CREATE TABLE IF NOT EXISTS answer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, so whoever has lost a claim cannot write into the next one
    slot BLOB NOT NULL UNIQUE,
    request BLOB NOT NULL,
    leased_until REAL NOT NULL,
    at REAL NOT NULL,
    head BLOB,
    pieces INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS answer_at ON answer (at);
CREATE TABLE IF NOT EXISTS piece (
    answer INTEGER NOT NULL REFERENCES answer (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (answer, number)
) STRICT;
"""


@contextmanager
def _map_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: {error}. Is the disk full, or the file not ours to write?") from error


OPEN_S = 15.0
"""How long a start waits for a file that another process has locked: several may start at once, and a busy disk may take
seconds to sync what the first of them writes."""

OPEN_AGAIN_S = 0.02
"""Between two attempts to open a file that another process opens for the first time too, which takes it 1 ms where the disk is idle."""

RECOUNT_BATCHES = 32
"""How many batches we write between two looks at what other processes wrote to the same file: 8 s at 4 batches a second."""


def _enter_wal(database: sqlite3.Connection, opens_s: float) -> None:
    """Two that change a new file's mode at once would wait for each other for ever, so SQLite refuses one at once,
    whatever its timeout: that one tries again.
    """
    for left in reversed(range(1 + round(opens_s / OPEN_AGAIN_S))):
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # without the details of sqlite.org/rescode.html: another may just be taking over what a log says
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not left:
                raise
            time.sleep(OPEN_AGAIN_S)
        else:
            return


def _open(path: Path, schema: str, synchronous: str, locked_s: float, opens_s: float = OPEN_S) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    _enter_wal(database, opens_s)
    database.execute(f"PRAGMA busy_timeout = {opens_s * 1000:.0f}")
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
    """Facts and rollout changes, durable at once. locked_s, opens_s: how long a locked file is waited for, later and at
    the start.
    """

    def __init__(self, path: Path, *, locked_s: float = OPEN_S, opens_s: float = OPEN_S) -> None:
        self._path = path
        with _map_errors(path):
            self._database = _open(path, _STATE, "FULL", locked_s, opens_s)
            self._watching = self._database.cursor()  # for `version`, which is asked four times a second

    def get_fact(self, name: str) -> bytes | None:
        """Return a fact, None if it was never written."""
        with _map_errors(self._path):
            row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def put_fact(self, name: str, value: bytes, *, is_lasting: bool = True) -> None:
        """Write or replace a fact. 4 ms and more for the disk; 30 µs if a power cut may take it. One thread at a time."""
        with _map_errors(self._path):
            if not is_lasting:
                self._database.execute("PRAGMA synchronous = NORMAL")
            try:
                self._database.execute(
                    "INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )
            finally:
                if not is_lasting:
                    self._database.execute("PRAGMA synchronous = FULL")

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


LEASE_S = 10.0
"""How long a claim holds without being renewed: what a repeat waits after a gateway was killed in mid-answer."""

KEPT_S = 25 * 3600.0
"""How long an answer is kept: a day (RELIABILITY C4), and an hour for whoever repeats at the last moment."""

FORGOTTEN_AT_ONCE = 16
"""How many old answers a claim deletes at most: more than one, so they become fewer; few, so that nobody waits for it."""

ANSWERS_BYTES = 2 * 1024**3
"""How much may be kept. Full means that no new key is taken: an answer that was promised for a day is not thrown away."""


class SqliteAnswerStore:
    """Answers by slot. Opened when it is first needed. A claim costs about 100 µs, a piece 60 µs; from any thread, one at a
    time. locked_s: how long a locked file is waited for. bound: bytes, as ANSWERS_BYTES.
    """

    def __init__(self, path: Path, *, locked_s: float = OPEN_S, bound: int = ANSWERS_BYTES) -> None:
        self._path = path
        self._locked_s = locked_s
        self._bound = bound
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One thread at a time."""
        with self._lock, _map_errors(self._path):
            if self._opened is None:
                self._opened = _open(self._path, _ANSWERS, "NORMAL", self._locked_s)
                self._opened.execute("PRAGMA foreign_keys = ON")
            yield self._opened

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The same, all or nothing."""
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def claim(self, slot: bytes, request: bytes, now: float, wall: float) -> Found:
        """Look into a slot, and take it if it is free. O(log answers), and the deletion of a few old ones."""
        with self._writing() as database:
            database.execute(
                "DELETE FROM answer WHERE id IN (SELECT id FROM answer WHERE at < ? ORDER BY at LIMIT ?)",
                (wall - KEPT_S, FORGOTTEN_AT_ONCE),
            )
            row = database.execute(
                "SELECT id, request, leased_until, head, pieces FROM answer WHERE slot = ? AND at >= ?",
                (slot, wall - KEPT_S),
            ).fetchone()
            if row is not None:
                id_, theirs, leased_until, head, pieces = row
                if head is not None:
                    return Found("kept", id_, head, pieces) if theirs == request else Found("other")
                # Far further ahead than a lease is long: that clock has started anew since. (Somewhat further is a claim
                # that was made while this one waited for its turn.)
                if 0 <= leased_until - now <= 2 * LEASE_S:
                    return Found("busy" if theirs == request else "other")
            database.execute("DELETE FROM answer WHERE slot = ?", (slot,))
            size, pages, free = (
                database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_size", "page_count", "freelist_count")
            )
            if size * (pages - free) <= self._bound:
                made = database.execute(
                    "INSERT INTO answer (slot, request, leased_until, at) VALUES (?, ?, ?, ?)",
                    (slot, request, now + LEASE_S, wall),
                )
                return Found("mine", made.lastrowid or 0)
        raise StoreError(  # out here, since what was deleted stays deleted
            f"{self._path} is full: the answers of the last day to requests with an Idempotency-Key fill "
            f"{self._bound} bytes. Requests without one are served."
        )

    def renew(self, ids: Sequence[int], now: float) -> None:
        """Say that these claims hold on."""
        with self._writing() as database:
            database.executemany(
                "UPDATE answer SET leased_until = ? WHERE id = ?", [(now + LEASE_S, one) for one in ids]
            )

    def add(self, id_: int, first: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Write pieces. O(bytes)."""
        with self._writing() as database:
            self._insert(database, id_, first, pieces)

    def finish(self, id_: int, first: int, pieces: Sequence[bytes | memoryview], head: bytes, wall: float) -> None:
        """Write the last pieces, and that it is whole. O(bytes)."""
        with self._writing() as database:
            self._insert(database, id_, first, pieces)
            database.execute("UPDATE answer SET head = ?, at = ? WHERE id = ?", (head, wall, id_))

    def _insert(self, database: sqlite3.Connection, id_: int, first: int, pieces: Sequence[bytes | memoryview]) -> None:
        written = database.execute("UPDATE answer SET pieces = ? WHERE id = ?", (first + len(pieces), id_))
        if written.rowcount != 1:
            raise StoreError(f"{self._path}: the claim of an answer was lost: this process stood still for too long.")
        database.executemany(
            "INSERT INTO piece (answer, number, body) VALUES (?, ?, ?)",
            [(id_, first + number, body) for number, body in enumerate(pieces)],
        )

    def release(self, id_: int) -> None:
        """Empty the slot."""
        with self._writing() as database:
            database.execute("DELETE FROM answer WHERE id = ?", (id_,))

    def piece(self, id_: int, number: int) -> bytes | None:
        """Return one piece. O(log pieces)."""
        with self._reading() as database:
            row = database.execute("SELECT body FROM piece WHERE answer = ? AND number = ?", (id_, number)).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Close the file, if it was opened."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
