"""Reads a small file whole, or says why not. A pipe or a device could wait for ever, so only regular files are read."""

from __future__ import annotations

import stat
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
