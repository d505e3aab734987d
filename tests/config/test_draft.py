"""Tests of config/draft.py: which definition of a name stands, and where each thing was said."""

from __future__ import annotations

from pathlib import Path

from turnout.config.draft import Draft, Layer
from turnout.config.environment import Environment
from turnout.config.problems import Mark, Problem
from turnout.config.reading import Reader
from turnout.config.secrets import Resolved
from turnout.config.yaml_source import parse
from turnout.core.secret import Secret

SHIPPED = """
models: {m: {provider: p}, n: {provider: p}}
routes: {r: {models: [m]}}
tasks: {t: {models: [m]}}
aliases: {a: r}
fallbacks: [m]
"""


def layer(text: str, file: str) -> Layer:
    """One file, read."""
    document = parse(text.encode(), file)
    reader = Reader(document)
    return Layer(document, reader.read(), [*document.problems, *reader.problems])


def draft(text: str) -> Draft:
    """A draft over the small shipped file above."""
    return Draft(layer(text, "/etc/turnout.yaml"), layer(SHIPPED, "shipped"), Environment({}), Path(), {})


def test_what_the_file_says_replaces_the_shipped_entry_of_that_name() -> None:
    """Name by name; what the file does not name stands as shipped."""
    made = draft("models: {m: {provider: q}, x: {provider: q}}\n")
    assert {name: (one.table.provider, one.is_shipped) for name, one in made.models.items()} == {
        "m": ("q", False),
        "n": ("p", True),
        "x": ("q", False),
    }
    assert made.problems == []


def test_a_name_of_the_users_takes_a_shipped_route_task_or_alias_off() -> None:
    """The user's word wins over a shipped one of another kind, so that the name means one thing."""
    made = draft("routes: {t: {models: [m]}, a: {models: [m]}}\naliases: {r: m}\n")
    assert list(made.tasks) == []
    assert set(made.routes) == {"t", "a"}
    assert set(made.aliases) == {"r"}
    assert made.problems == []


def test_a_shipped_model_keeps_its_name() -> None:
    """Shipped routes refer to it, so another use of its name is a problem, and nothing else is."""
    made = draft("routes: {m: {models: [n]}}\n")
    assert [str(one) for one in made.problems] == [
        "/etc/turnout.yaml:1:10 routes.m: the name is already a shipped model, use another (or say `defaults: false`)"
    ]


def test_one_name_means_one_thing_within_a_file() -> None:
    """Even if one of the two entries cannot be read."""
    made = draft("models:\n  x: 5\nroutes:\n  x: {models: [m]}\n")
    assert [one.message for one in made.problems][1:] == ["the name is already a model (line 2), use another"]


def test_nothing_is_shipped_to_who_says_so() -> None:
    """`defaults: false` leaves what the file says, fallbacks included; what is known of vendors' models stays known."""
    made = draft("defaults: false\nroutes: {m: {models: [x]}}\nmodels: {x: {provider: q}}\n")
    assert set(made.models) == {"x"}
    assert set(made.routes) == {"m"}
    assert (made.tasks, made.aliases, made.fallbacks[0]) == ({}, {}, [])
    assert set(made.known_models) == {"m", "n"}


def test_fallbacks_are_the_users_if_said() -> None:
    """An empty list is something said."""
    assert draft("").fallbacks[0] == ["m"]
    assert draft("fallbacks: [n]\n").fallbacks[0] == ["n"]
    assert draft("fallbacks: []\n").fallbacks[0] == []


def test_origins_are_lines_of_the_file() -> None:
    """Every key of the user's file has its line, by the file's name alone."""
    assert draft("server:\n  port: 1\n").origins == {"server": "turnout.yaml:1", "server.port": "turnout.yaml:2"}


def test_notes_where_a_secret_came_from() -> None:
    """A reference's origin replaces the line, and its file is watched; a literal keeps its line."""
    made = draft("server: {master_key: x}\n")
    made.note(("server", "master_key"), Resolved(Secret("x")))
    assert made.origins["server.master_key"] == "turnout.yaml:1"
    made.note(("server", "master_key"), Resolved(Secret("x"), "file:/k", Path("/k")))
    assert made.origins["server.master_key"] == "file:/k"
    assert made.watched == [Path("/k")]


def test_knows_what_is_wrong_already() -> None:
    """At a key, below it, or in a list there; a key that only begins alike is another."""
    made = draft("")
    made.problems.append(Problem("f", Mark(1, 1), "a.b[1]", "x"))
    assert made.has_problem(("a",))
    assert made.has_problem(("a", "b"))
    assert not made.has_problem(("a", "bb"))
    assert not made.has_problem(("b",))


def test_model_names_are_checked_one_by_one() -> None:
    """Unknown, repeated, of another kind, the owner itself; the good ones are kept in order."""
    made = draft("")
    written = ["m", "zzz", None, "m", "r", "me", "n"]
    assert made.model_names(written, ("p",), made.user.document, "me") == ["m", "n"]
    assert [(one.key, one.message.split(",")[0]) for one in made.problems] == [
        ("p[1]", "unknown model 'zzz'"),
        ("p[3]", "'m' stands here twice"),
        ("p[4]", "'r' is a route"),
        ("p[5]", "contains itself"),
    ]
    assert made.model_names({"n": 1.0, "zzz": 2.0}, ("q",), made.user.document) == ["n"]
    assert made.problems[-1].key == "q.zzz"


def test_a_variable_is_named_as_what_it_is() -> None:
    """A problem of the environment has no file and no line."""
    made = draft("")
    made.wrong_variable("TURNOUT_PORT", "is wrong")
    assert str(made.problems[-1]) == "TURNOUT_PORT: is wrong (environment variable)"
