"""`turnout backup` and `turnout restore`: what they write, say and refuse."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys

import pytest

from tests.entries import entry
from turnout.cli import run
from turnout.cli.backup import _show, _size_bytes
from turnout.cli.opened import in_books
from turnout.core.books.ledger import append
from turnout.core.books.verifying import verify


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder with books of three entries, and no variable that would change anything."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))
    entries = [entry(attempt_id=f"a{n}", cost_nano_usd=1_500_000_000) for n in range(3)]
    in_books(None, lambda _loaded, database: database.write(lambda: append("w1", entries)))
    return tmp_path / "home"


def told(capsys, *arguments, code=0):
    assert code == run(list(arguments))
    return capsys.readouterr()


@pytest.mark.parametrize("how", [(), ("--fast",)])
def test_books_are_backed_up_and_restored(home, tmp_path, capsys, how):
    """In words; what is restored is whole."""
    out = told(capsys, "backup", "ours.sqlite3", *how).out
    assert out.startswith("3 entries ($4.500000 together) backed up to ours.sqlite3, 0.")
    for file in home.glob("books.sqlite3*"):
        file.unlink()
    assert "3 entries ($4.500000 together) restored from ours.sqlite3" in told(capsys, "restore", "ours.sqlite3").out
    verdict = in_books(None, lambda _loaded, database: database.read(verify))
    assert (True, 3) == (verdict.is_whole, verdict.entries)
    assert (tmp_path / "ours.sqlite3").exists()


def test_a_folder_gets_a_file_named_for_the_time(tmp_path, capsys):
    """As JSON, with its name."""
    (tmp_path / "backups").mkdir()
    said = json.loads(told(capsys, "backup", "backups", "--json").out)
    (file,) = (tmp_path / "backups").iterdir()
    assert {
        "file": f"backups/{file.name}",
        "entries": 3,
        "cost_nano_usd": 4_500_000_000,
        "size_bytes": file.stat().st_size,
    } == said
    assert file.name.startswith("turnout-books-2")


def test_nothing_is_written_over(capsys):
    """A file that is there; books that are there. One line that says what to do."""
    told(capsys, "backup", "ours.sqlite3")
    assert "Name a new file" in told(capsys, "backup", "ours.sqlite3", code=1).err
    assert "move books.sqlite3" in told(capsys, "restore", "ours.sqlite3", code=1).err
    assert "no file" in told(capsys, "restore", "nothing", code=1).err


def test_a_terminal_is_shown_how_much_is_written(monkeypatch, tmp_path):
    """In MB, while it is written."""
    master, slave = pty.openpty()
    (tmp_path / "draft").write_bytes(bytes(3_000_000))

    async def show():
        async with asyncio.timeout(0.7):
            await _show(tmp_path / "draft")

    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with pytest.raises(TimeoutError):
            asyncio.run(show())
        terminal.flush()
        assert b"\r3 MB" in os.read(master, 100)
    os.close(master)


def test_where_nobody_looks_nothing_is_shown(capsys, tmp_path):
    """No terminal, no lines; and a file that is not begun has no size."""
    asyncio.run(_show(tmp_path / "draft"))
    assert "" == capsys.readouterr().err
    assert 0 == _size_bytes(tmp_path / "draft")
