"""Writes a backup so slowly that the disk has time for those who serve: a little, to the disk at once, and a rest.

Written as fast as it can be, a file is left for the system to bring to the disk in one go, which holds up whoever wants the
processor or the disk then: requests beside it waited twice as long at their p99. `nice` does not help, as the system works
at no process's priority. In pieces of PIECE_BYTES with rests between them they wait a tenth longer (RELIABILITY T77).
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

PIECE_BYTES: Final = 256 * 1024

BYTES_PER_S: Final = 25_000_000
"""A million entries in 13 s; as fast as it can be, in 2 s."""

LOOK_STEPS: Final = 2_000
"""SQLite asks after so many steps of its machine whether to go on; copying an entry takes it a few."""


class Pace:
    """Of one file that grows, which is there. `rest` after each little that is written to it; not is_gentle: without a rest."""

    def __init__(self, path: Path, *, is_gentle: bool = True) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._is_gentle = is_gentle
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)

    def rest(self) -> None:
        """Bring what is new to the disk, if it is a piece by now, and wait as long as it may take. Blocks this thread.

        Raises nothing of what the disk does not take: the writer opened the file for itself before, and the system tells it
        too when it syncs at its end, as SQLite does.
        """
        if not self._is_gentle:
            return
        size = os.fstat(self._file).st_size
        if size - self._done >= PIECE_BYTES:
            with suppress(OSError):
                os.fsync(self._file)
            time.sleep((size - self._done) / BYTES_PER_S)
            self._done = size


def vacuum(database: sqlite3.Connection, file: Path, *, is_gentle: bool) -> None:
    """Write all of `database` into the empty `file`, as it is at this moment. Raises sqlite3.Error, OSError."""
    with Pace(file, is_gentle=is_gentle) as pace:
        database.set_progress_handler(pace.rest, LOOK_STEPS)
        database.execute("VACUUM INTO ?", (str(file),))
