"""Tests of config/files.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from turnout.config.files import read_small, stamps_of


def test_reads_a_file_and_a_byte_more_than_the_limit(tmp_path: Path) -> None:
    """A caller sees by one byte too many that there is more."""
    path = tmp_path / "f"
    path.write_bytes(b"abcdef")
    assert read_small(path, 10) == b"abcdef"
    assert read_small(path, 3) == b"abcd"


def test_says_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe (which would wait for ever), an impossible name."""
    with pytest.raises(ValueError, match=r"^cannot be read: No such file or directory$"):
        read_small(tmp_path / "nope", 10)
    with pytest.raises(ValueError, match=r"^is no regular file$"):
        read_small(tmp_path, 10)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"^is no regular file$"):
        read_small(tmp_path / "pipe", 10)
    with pytest.raises(ValueError, match=r"null"):
        read_small(tmp_path / "a\0b", 10)


def test_follows_a_link_to_what_it_is_now(tmp_path: Path) -> None:
    """A mounted secret is a link that is swapped: each reading takes what it points to, whole."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "link"
    link.symlink_to("one")
    assert read_small(link, 10) == b"one"
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(link)
    assert read_small(link, 10) == b"two"


def test_a_stamp_tells_a_changed_file_and_one_that_is_not_there(tmp_path):
    """So that nothing needs to be read to know that nothing is new."""
    path, missing = tmp_path / "a", tmp_path / "b"
    path.write_text("1")
    before = stamps_of([path, missing])
    assert before == stamps_of([path, missing])
    assert (0, 0, 0) == before[missing]
    path.write_text("12")
    assert before[path] != stamps_of([path])[path]
