"""The calls that a journal needs do what they say on the real disk, and a claim holds for as long as its process."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from turnout.gateway.disk import Disk, claim

HOLDER = """
import sys
from pathlib import Path
from turnout.gateway.disk import claim
print(claim(Path(sys.argv[1])) is not None, flush=True)
sys.stdin.read()
"""


def test_what_was_written_is_there_for_its_owner_alone(tmp_path):
    """And is cut, synced, closed and removed."""
    disk, path = Disk(), tmp_path / "a.log"
    file = disk.create(path)
    assert 5 == disk.write(file, b"hello")
    disk.cut(file, 2)
    assert 1 == disk.write(file, b"y")
    disk.sync(file)
    disk.sync_folder(tmp_path)
    disk.close(file)
    assert b"hey" == path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    with pytest.raises(FileExistsError):
        disk.create(path)
    disk.remove(path)
    assert not path.exists()


def test_a_claim_holds_until_it_is_let_go(tmp_path):
    """Nobody else gets it, in this process or another."""
    path = tmp_path / "w.lock"
    first = claim(path)
    assert first is not None
    assert None is claim(path)
    os.close(first)
    second = claim(path)
    assert second is not None
    os.close(second)


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path):
    """A kill frees it at once."""
    path = tmp_path / "w.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert "True\n" == holder.stdout.readline()
        assert None is claim(path)
        holder.kill()
        holder.wait()
    file = claim(path)
    assert file is not None
    os.close(file)


def test_a_claim_of_a_file_that_was_removed_meanwhile_is_of_the_new_one(tmp_path):
    """Two that take over the same journal: the second must not believe that it is alone with a file without a name."""
    path = tmp_path / "w.lock"
    first = claim(path)
    assert first is not None
    path.unlink()
    second = claim(path)
    assert second is not None
    assert os.fstat(second).st_ino == path.stat().st_ino
    os.close(first)
    os.close(second)


def test_a_place_that_cannot_be_claimed_says_so(tmp_path):
    """A folder that is not there."""
    with pytest.raises(FileNotFoundError):
        claim(tmp_path / "none" / "w.lock")
