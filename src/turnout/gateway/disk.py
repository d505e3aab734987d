"""Does what a journal asks of its disk, one system call each; and claims a writer's name for as long as its process lives.

Tests put a disk in its place that is full, fails, or forgets what was not synced.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

_sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""Data and length without the times, where the system can."""


class Disk:
    """The disk of this machine. Everything raises OSError."""

    def create(self, path: Path) -> int:
        """Make a file that was not there, for its owner alone; return its descriptor, which appends."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, file: int, data: bytes) -> int:
        """Append; return how many bytes it took, which may be fewer. It survives the process from then on. About 2 µs."""
        return os.write(file, data)

    def cut(self, file: int, length: int) -> None:
        """Make the file as long as that again."""
        os.ftruncate(file, length)

    def sync(self, file: int) -> None:
        """Wait until all that was written is on the disk: from then on it survives a power cut. Milliseconds."""
        _sync_data(file)

    def sync_folder(self, folder: Path) -> None:
        """The same for the names in a folder."""
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def close(self, file: int) -> None:
        """Let go of it."""
        os.close(file)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()


def claim(path: Path) -> int | None:
    """Lock the file `path`, made if need be; return its descriptor, or None if a living process has it.

    The system frees it with the process, however that ends. Raises OSError.
    """
    while True:
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_ino == path.stat().st_ino:
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except FileNotFoundError:
            pass  # whoever had it has removed it meanwhile: that lock is on nothing
        except OSError:
            os.close(file)
            raise
        os.close(file)
