"""Reads a small file whole, or says why not, and says whether files have changed.

A pipe or a device could wait for ever, so only regular files are read.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path


def read_small(path: Path, limit_bytes: int) -> bytes:
    """Return the file's bytes, at most one more than the limit (so that the caller can tell).

    Raises ValueError: why it cannot be read, without the path.
    """
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
        data = b""
        if is_regular:
            with path.open("rb") as file:
                data = file.read(limit_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"cannot be read: {why}") from None
    if not is_regular:
        raise ValueError("is no regular file")
    return data


def stamps_of(paths: Iterable[Path]) -> Mapping[Path, tuple[int, int, int]]:
    """Return what tells one state of these files from another: inode, size, time of change; zeros for one that is not there."""
    stamps = {}
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            stamps[path] = (0, 0, 0)
        else:
            stamps[path] = (found.st_ino, found.st_size, found.st_mtime_ns)
    return stamps
