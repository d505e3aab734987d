"""Config and state, as the commands beside `serve` open them."""

from __future__ import annotations

import asyncio
import os

import click
import pytest

from turnout.cli.opened import checked_root, giving_way, in_books, loaded_config, opened_state
from turnout.errors import ConfigError, StoreError


@pytest.fixture(autouse=True)
def _empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TURNOUT_CONFIG", raising=False)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))


def test_the_config_and_the_state_are_those_that_serve_would_take(tmp_path):
    """./turnout.yaml, and state.sqlite3 under TURNOUT_HOME, which is made."""
    (tmp_path / "turnout.yaml").write_text("server: {port: 4001}\n")
    assert loaded_config(None).snapshot.server.port == 4001
    with opened_state(None) as (loaded, state):
        state.put_fact("a", b"1")
        assert loaded.snapshot.server.port == 4001
    with opened_state(None) as (_, again):
        assert again.get_fact("a") == b"1"
    assert (tmp_path / "home" / "state.sqlite3").is_file()


def test_a_store_that_cannot_be_opened_is_an_error_with_its_path(tmp_path):
    """Not a traceback."""
    (tmp_path / "home").write_text("")
    with pytest.raises(click.ClickException, match=r"home/state\.sqlite3"), opened_state(None):
        raise AssertionError


def test_a_broken_config_is_told_as_such(tmp_path):
    """The main command turns it into exit code 2; no state is made for it."""
    (tmp_path / "turnout.yaml").write_text("zzz: 1\n")
    with pytest.raises(ConfigError), opened_state(None):
        raise AssertionError
    assert not (tmp_path / "home").exists()


def test_the_root_key_is_that_of_the_books_or_it_is_told(tmp_path, monkeypatch):
    """Whoever comes first says which it is."""
    assert in_books(None, checked_root) == in_books(None, checked_root)
    monkeypatch.setenv("TURNOUT_ROOT_KEY", "a9f3c1e7b5d2084f6e1a9c3b7d5f2e80")
    with pytest.raises(ConfigError) as caught:
        in_books(None, checked_root)
    assert caught.value.problems[0].startswith("TURNOUT_ROOT_KEY: the keys in these books were made with another")


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_what_gives_way_takes_its_threads_with_it():
    """And is what it was afterwards, also if something went wrong."""
    before = os.sched_getscheduler(0)
    with pytest.raises(StoreError), giving_way():
        assert asyncio.run(asyncio.to_thread(os.sched_getscheduler, 0)) == os.SCHED_IDLE
        raise StoreError("no books")
    assert os.sched_getscheduler(0) == before
