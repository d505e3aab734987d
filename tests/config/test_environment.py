"""Tests of config/environment.py."""

from __future__ import annotations

import os
import time
from pathlib import Path

from turnout.config.environment import Environment


def test_tells_what_is_set_and_what_holds_nothing() -> None:
    """Nothing is the same as not set, but whether the variable is there can be asked."""
    environment = Environment({"A": "1", "B": ""})
    assert environment.get("A") == "1"
    assert environment.get("B") == environment.get("C") == ""
    assert environment.is_set("B")
    assert not environment.is_set("C")


def test_finds_variables_by_their_beginning() -> None:
    """By alphabet, without those that hold nothing."""
    environment = Environment({"T_B": "1", "T_A": "1", "T_C": "", "X": "1"})
    assert environment.beginning_with("T_") == ["T_A", "T_B"]


def test_home_and_config_follow_their_variables() -> None:
    """TURNOUT_HOME or ~/.turnout; TURNOUT_CONFIG or none; a tilde is the user's folder."""
    assert Environment({"HOME": "/h"}).home == Path("/h/.turnout")
    assert Environment({"HOME": "/h", "TURNOUT_HOME": "~/t"}).home == Path("/h/t")
    assert Environment({"TURNOUT_HOME": "/var/t"}).home == Path("/var/t")
    assert Environment({"HOME": "/h", "TURNOUT_HOME": "~"}).home == Path("/h")
    assert Environment({}).home == Path.home() / ".turnout"
    assert Environment({"TURNOUT_CONFIG": "a.yaml"}).config == Path("a.yaml")
    assert Environment({"TURNOUT_CONFIG": ""}).config is None


def test_the_time_is_this_machines_unless_told() -> None:
    """For prices that have a day."""
    assert 5.0 == Environment({}, 5.0).wall
    assert abs(Environment({}).wall - time.time()) < 60


def test_is_a_copy_and_never_prints_values() -> None:
    """The process's variables as they were; a repr says how many there are."""
    environment = Environment.of_process()
    assert environment.get("PATH") == os.environ["PATH"]
    assert repr(Environment({"KEY": "canary"})) == "Environment(1 variables)"
