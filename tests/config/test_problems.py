"""Tests of config/problems.py."""

from __future__ import annotations

import pytest

from turnout.config.problems import Mark, Problem, dotted, refuse, shown, suggestion
from turnout.errors import ConfigError


def test_prints_as_editors_jump_to() -> None:
    """`file:line:column key: message`; without a place, or without a file, what is left."""
    assert str(Problem("t.yaml", Mark(3, 7), "server.port", "is wrong")) == "t.yaml:3:7 server.port: is wrong"
    assert str(Problem("t.yaml", Mark(1, 1), "", "is wrong")) == "t.yaml:1:1: is wrong"
    assert str(Problem("t.yaml", None, "", "cannot be read")) == "t.yaml: cannot be read"
    assert str(Problem("", None, "TURNOUT_PORT", "is wrong")) == "TURNOUT_PORT: is wrong"
    assert str(Problem("a\nb", None, "", "is \u202e wrong")) == r"a\nb: is \u202e wrong"


def test_a_path_is_dotted_with_positions_in_brackets() -> None:
    """Keys are joined by dots, list positions stand in brackets, and what cannot be printed is escaped."""
    assert dotted(("tasks", "chat", "models", 1)) == "tasks.chat.models[1]"
    assert dotted(()) == ""
    assert dotted(("a\nb",)) == "a\\nb"


def test_a_value_is_shown_on_one_line_and_cut() -> None:
    """What a message repeats is short and printable."""
    assert shown("abc") == "'abc'"
    assert shown("x" * 50) == f"'{'x' * 40}…'"
    assert shown("a\x1b[31m") == "'a\\x1b[31m'"


def test_what_looks_like_a_secret_is_not_shown_wherever_it_stands() -> None:
    """A key that was pasted a line too low is in no message, neither as a value nor as a name."""
    assert shown("sk-or-v1-0123456789abcdef") == "'sk-***'"
    assert dotted(("providers", "sk-or-v1-0123456789abcdef")) == "providers.sk-***"


def test_suggests_the_nearest_names_or_lists_them() -> None:
    """Near names first; if none is near, all; if there are none, that."""
    assert suggestion("prot", ["port", "host"], "known keys") == "did you mean 'port'?"
    assert suggestion("zzz", ["port", "host"], "known keys") == "known keys: host, port"
    assert suggestion("zzz", [f"n{i:02}" for i in range(30)], "known").endswith("n19, …")
    assert suggestion("zzz", [], "known models") == "there are no known models"


def test_refuses_with_every_problem_once_in_order() -> None:
    """Problems are sorted by file and place, doubles are dropped, and no problem means no refusal."""
    late, early = Problem("t", Mark(9, 1), "b", "x"), Problem("t", Mark(2, 1), "a", "x")
    with pytest.raises(ConfigError) as caught:
        refuse([late, early, late])
    assert caught.value.problems == ("t:2:1 a: x", "t:9:1 b: x")
    refuse([])
