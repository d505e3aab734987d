"""Disks that fail for tests of the journal: one that is full or broken when told, one that forgets what was not synced."""

from __future__ import annotations

import errno
import random
from pathlib import Path

from turnout.gateway.disk import Disk

SECTOR_BYTES = 512


class FailingDisk(Disk):
    """A real disk that fails on demand. taken: how many bytes of a record it takes before it is full, None for all.

    fails: names of the calls that fail, with EIO.
    """

    def __init__(self) -> None:
        self.taken: int | None = None
        self.fails: set[str] = set()
        self.calls: list[str] = []

    def _check(self, name):
        self.calls.append(name)
        if name in self.fails:
            raise OSError(errno.EIO, "Input/output error")

    def create(self, path):
        self._check("create")
        return super().create(path)

    def write(self, file, data):
        self._check("write")
        if self.taken is None:
            return super().write(file, data)
        if self.taken == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(file, data[: self.taken])

    def cut(self, file, length):
        self._check("cut")
        super().cut(file, length)

    def sync(self, file):
        self._check("sync")
        super().sync(file)

    def sync_folder(self, folder):
        self._check("sync_folder")
        super().sync_folder(folder)

    def remove(self, path):
        self._check("remove")
        super().remove(path)


class _Inode:
    """A file without its name. now: what whoever reads it sees. safe: what is on the disk for certain.

    is_lost: a sync failed, and what was not on the disk then never comes there, though later syncs go well.
    """

    def __init__(self) -> None:
        self.now = bytearray()
        self.safe = b""
        self.is_lost = False


class ForgetfulDisk(Disk):
    """A disk in memory that can lose its power: then of what was not synced each sector is there, gone or old, by chance.

    A name that was made or removed since its folder was synced is there or not, by chance; so is the length of what was
    appended. fails_sync: whether the next sync fails, and with it what was written since the last.
    """

    def __init__(self, draw: random.Random) -> None:
        self.fails_sync = False
        self._draw = draw
        self._files: dict[int, _Inode] = {}
        self._next = 100
        self._now: dict[Path, _Inode] = {}
        self._safe: dict[Path, _Inode] = {}

    def create(self, path):
        self._next += 1
        self._files[self._next] = self._now[path] = _Inode()
        path.touch()  # so that those who look at the folder see it
        return self._next

    def write(self, file, data):
        self._files[file].now += data
        return len(data)

    def cut(self, file, length):
        del self._files[file].now[length:]

    def sync(self, file):
        inode = self._files[file]
        if self.fails_sync:
            self.fails_sync, inode.is_lost = False, True
            raise OSError(errno.EIO, "Input/output error")
        if not inode.is_lost:
            inode.safe = bytes(inode.now)

    def sync_folder(self, folder):
        self._safe = dict(self._now)

    def close(self, file):
        del self._files[file]

    def remove(self, path):
        del self._now[path]
        path.unlink()

    def lose_power(self) -> None:
        """Write to the real disk what is found after a power cut."""
        for path in sorted({*self._now, *self._safe}):
            path.unlink(missing_ok=True)
            inode = self._draw.choice([self._now.get(path), self._safe.get(path)])
            if inode is not None:
                path.write_bytes(self._found(inode))

    def _found(self, inode):
        safe, now, draw = inode.safe, bytes(inode.now), self._draw
        if len(now) < len(safe):  # cut, and the cut is not on the disk
            return draw.choice([now, safe])
        length = draw.randint(len(safe), len(now))
        body = bytearray(now[:length])
        for start in range(len(safe) // SECTOR_BYTES * SECTOR_BYTES, length, SECTOR_BYTES):
            begin, end = max(start, len(safe)), min(start + SECTOR_BYTES, length)
            if draw.random() < 0.4:
                kept = draw.choice([0, draw.randint(0, end - begin)])
                body[begin + kept : end] = bytes(end - begin - kept)
        return bytes(body)
