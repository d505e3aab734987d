"""Moves entries that are older than `ledger.keep_days` out of the books into files of `TURNOUT_HOME/archive`.

A file is whole and on the disk before the first of its entries is deleted, and its name says which it holds
(`ledger-FIRST-LAST.csv.gz`, numbers of the table): after a kill in between, what a file already holds is only deleted. Of the
processes of one TURNOUT_HOME one does this at a time. Where two gateways do it at once for the same PostgreSQL, both have
files, and an entry may be in either or in both: its attempt_id tells. Entries are read and deleted by so many that nobody waits longer than 50 ms for it, with pauses.
Sums by hour stay in the books, so `turnout usage` knows the past without its entries; what budgets spent in periods that are
wholly archived does not. Source: RELIABILITY T82.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import logging
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from turnout.core.books.archive import drop, drop_periods, first, page
from turnout.core.books.ledger import COLUMNS
from turnout.core.books.statements import Row
from turnout.core.rules import LedgerRule
from turnout.errors import ConfigError, StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.disk import claim
from turnout.gateway.tasks import Tasks
from turnout.stores import Database

P = ParamSpec("P")
T = TypeVar("T")

BATCH: Final = 1_000
"""Entries in one transaction: 10 to 20 ms of the writer's time with 10 million in the table."""

PAUSE_S: Final = 0.05
"""Between two batches, so that most of the time is everybody else's."""

FILE_ENTRIES: Final = 100_000
"""Entries in one file: about 6 MB as CSV."""

LOOKS_S: Final = (60.0, 3600.0)
"""How long after the start it looks first, and how long after each look again."""

DAY_S: Final = 86_400

NEEDS_EXTRA: Final = "ledger.archive is parquet, but its library is not installed: pip install 'turnout[parquet]'"

_NAME: Final = re.compile(r"ledger-(\d+)-(\d+)\.(csv\.gz|parquet)")

_log = logging.getLogger("turnout.ledger")


class Archive(Protocol):
    """A file that is being written."""

    def add(self, rows: Sequence[Row]) -> None:
        """Append entries. Raises OSError."""
        ...

    def close(self) -> None:
        """End it; it is whole then."""
        ...


class Archiving:
    """Archives what is old in the books of `database`, into files below `home`. rule: how long, and in which format."""

    def __init__(
        self,
        home: Path,
        database: Database,
        clock: Clock,
        rule: LedgerRule,
        *,
        looks_s: tuple[float, float] = LOOKS_S,
    ) -> None:
        self._looks_s = looks_s
        self.folder = home / "archive"
        self._lock_path = home / "archive.lock"
        self._database = database
        self._clock = clock
        self._rule = rule
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin to look, again and again."""
        self._tasks.start(self.run(), "archive old entries")

    async def stop(self) -> None:
        """End it where it is: the next start goes on from there."""
        await self._tasks.stop()

    def install(self, rule: LedgerRule) -> None:
        """Go on by another rule."""
        self._rule = rule

    async def run(self) -> None:
        """Look every hour, for ever. What fails is logged and tried again at the next look."""
        delay_s, again_s = self._looks_s
        while True:
            await asyncio.sleep(delay_s)
            delay_s = again_s
            try:
                if moved := await self.archive():
                    _log.info("moved %d old entries of the ledger into %s", moved, self.folder)
                if dropped := await self.drop_periods():
                    _log.info("forgot %d periods of budgets whose entries are archived", dropped)
            except (StoreError, ConfigError, OSError) as error:
                _log.error("old entries stay in the books until the next hour: %s", error)

    async def archive(self) -> int:
        """Move everything that is old now; return how many entries: none while another process of this home does it.

        Raises StoreError, ConfigError, OSError.
        """
        if not self._rule.keep_days:
            return 0
        before_ms = int((self._clock.wall() - self._rule.keep_days * DAY_S) * 1000)
        if await self._database.read(lambda: first(before_ms)) is None:
            return 0
        await _in_thread(self._lock_path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        lock = claim(self._lock_path)
        if lock is None:
            return 0
        try:
            return await self._move(before_ms)
        finally:
            os.close(lock)

    async def _move(self, before_ms: int) -> int:
        moved = 0
        while (seq := await self._database.read(lambda: first(before_ms))) is not None:
            last = await _in_thread(self._archived_until, seq)
            if last is None:
                last = await self._write_file(seq, before_ms)
            moved += await self._drop(last)
        return moved

    async def drop_periods(self) -> int:
        """Forget what budgets spent in periods that ended before the archive does; return how many. Raises StoreError."""
        wall, dropped = int(self._clock.wall()), 0
        while self._rule.keep_days and (taken := await self._database.write(lambda: drop_periods(wall, BATCH))):
            dropped += taken
            await asyncio.sleep(PAUSE_S)
        return dropped

    def _archived_until(self, seq: int) -> int | None:
        """Return the last entry of the file that already holds this one."""
        if not self.folder.is_dir():
            return None
        found = [_NAME.fullmatch(file.name) for file in self.folder.iterdir()]
        return max((int(one[2]) for one in found if one and int(one[1]) <= seq <= int(one[2])), default=None)

    async def _write_file(self, seq: int, before_ms: int) -> int:
        """Write a file from entry `seq` on; return the number of its last."""
        await _in_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        draft = self.folder / f"ledger-{seq}.part"
        file = await _in_thread(_begun, draft, self._rule.archive)
        last, written = seq - 1, 0
        try:
            while written < FILE_ENTRIES:
                after = last
                rows = await self._database.read(lambda after=after: page(after, before_ms, BATCH))  # type: ignore[misc]
                if not rows:
                    break
                await _in_thread(file.add, rows)
                last, written = int(str(rows[-1][-1])), written + len(rows)
        finally:
            await _in_thread(file.close)
        ending = "parquet" if self._rule.archive == "parquet" else "csv.gz"
        await _in_thread(_finish, draft, self.folder / f"ledger-{seq}-{last}.{ending}")
        return last

    async def _drop(self, last: int) -> int:
        dropped = 0
        while taken := await self._database.write(lambda: drop(last, BATCH)):
            dropped += taken
            await asyncio.sleep(PAUSE_S)
        return dropped


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do `work` in a thread, and end with it: also if this is cancelled, so that nobody writes what is another's by then."""
    working = asyncio.get_running_loop().run_in_executor(None, partial(work, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _begun(draft: Path, form: str) -> Archive:
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    return _Parquet(draft) if form == "parquet" else _Csv(draft)


def _finish(draft: Path, file: Path) -> None:
    """Give it its name, once it is on the disk."""
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    draft.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _Csv:
    """Columns as in the ledger, `chain` in hexadecimal digits, an empty field for what is unpriced."""

    def __init__(self, path: Path) -> None:
        self._file = io.TextIOWrapper(gzip.GzipFile(path, "wb", 6), encoding="utf-8", newline="")
        self._table = csv.writer(self._file)
        self._table.writerow(COLUMNS)

    def add(self, rows: Sequence[Row]) -> None:
        self._table.writerows(
            [value.hex() if isinstance(value, bytes) else value for value in row[: len(COLUMNS)]] for row in rows
        )

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """The same columns, with their types; compressed by zstd. Raises ConfigError if the library is missing."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - an optional dependency
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError:
            raise ConfigError((NEEDS_EXTRA,)) from None
        whole = re.compile("at_ms|number|.*_tokens|.*_nano_usd")
        self._schema: Any = pa.schema(
            [
                (name, pa.int64() if whole.fullmatch(name) else pa.binary() if name == "chain" else pa.string())
                for name in COLUMNS
            ]
        )
        self._batch = pa.RecordBatch.from_arrays
        self._array = pa.array
        self._file = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def add(self, rows: Sequence[Row]) -> None:
        columns = list(zip(*rows, strict=True))[: len(COLUMNS)]
        arrays = [self._array(column, type=kind.type) for column, kind in zip(columns, self._schema, strict=True)]
        self._file.write_batch(self._batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._file.close()
