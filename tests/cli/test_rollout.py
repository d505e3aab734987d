"""`turnout rollout`, with no gateway running: what it writes, shows and refuses."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from turnout.cli import run
from turnout.cli.rollout import rollout

CONFIG = """
providers:
  stub: {kind: compatible, base_url: "http://127.0.0.1:1/v1", api_key: sk-canary-1}
  new: {kind: compatible, base_url: "http://127.0.0.1:2/v1", api_key: sk-canary-2}
models:
  one: {provider: stub, price: free}
  two: {provider: stub, price: free}
tasks:
  work: {models: [one]}
rollouts:
  litellm: {tasks: [work], percent: 10, candidate: {provider: new}, include: [boss, anna], exclude: [carl]}
  other: {percent: 5, candidate: {models: [two]}}
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with the config above, and no variable that would change it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))
    (tmp_path / "turnout.yaml").write_text(CONFIG)
    return monkeypatch


def told(*arguments):
    """What `turnout rollout … --json` says."""
    result = CliRunner().invoke(rollout, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def percents():
    return {one["name"]: one["percent"] for one in told("status")["rollouts"]}


def test_status_tells_each_rollout_and_where_its_percentage_came_from():
    """For a person, in lines."""
    result = CliRunner().invoke(rollout, ["status"])
    assert result.output.splitlines() == [
        "litellm: 10 %  tasks: work  candidate: the same models by new",
        "    from turnout.yaml:11",
        "    include: anna, boss",
        "    exclude: carl",
        "other: 5 %  tasks: all  candidate: two",
        "    from turnout.yaml:12",
    ]
    one = CliRunner().invoke(rollout, ["status", "other"])
    assert one.output.startswith("other: 5 %")
    assert "litellm" not in one.output


def test_set_says_what_holds_and_status_shows_it_with_who_set_it():
    """In the state file, so that it outlives everything."""
    result = CliRunner().invoke(rollout, ["set", "litellm", "25"])
    assert result.output == "litellm: 25 % (a running gateway takes it within a second; 0 is off)\n"
    assert percents() == {"litellm": 25, "other": 5}
    shown = told("status", "litellm")["rollouts"][0]
    assert shown["from"].startswith("turnout rollout set, ")
    assert shown["from"].endswith(" UTC")
    assert told("set", "litellm", "0")["percent"] == 0
    assert percents()["litellm"] == 0


def test_whoever_has_no_name_may_set_too(place):
    """As in a container whose user id is in no passwd file."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        place.setenv(name, "")
    place.setattr(os, "getuid", lambda: 4_000_000_000)
    assert "unknown user" in told("set", "litellm", "1")["from"]


def test_the_environment_counts_and_a_later_change_of_it_wins(place):
    """An older `set` does not come back from under it; it holds again while the base is as it was."""
    place.setenv("LITELLM_ROLLOUT_PERCENTAGE", "40")
    assert percents()["litellm"] == 40
    told("set", "litellm", "60")
    assert percents()["litellm"] == 60
    place.setenv("LITELLM_ROLLOUT_PERCENTAGE", "50")
    assert percents()["litellm"] == 50
    assert told("status", "litellm")["rollouts"][0]["from"] == "LITELLM_ROLLOUT_PERCENTAGE"
    place.setenv("ENABLE_LITELLM", "false")
    assert percents()["litellm"] == 0
    place.setenv("TURNOUT_ROLLOUT_OTHER", "7")
    assert percents()["other"] == 7


@pytest.mark.parametrize("percent", ["101", "-1", "nan", "inf", "ten"])
def test_what_is_no_percentage_changes_nothing(percent):
    """In one line."""
    result = CliRunner().invoke(rollout, ["set", "litellm", "--", percent])
    assert result.exit_code in {1, 2}
    assert "Traceback" not in result.output
    assert percents()["litellm"] == 10


@pytest.mark.parametrize("arguments", [["set", "nope", "5"], ["status", "nope"]])
def test_an_unknown_rollout_names_the_known_ones(arguments, capsys):
    """Exit code 1."""
    assert run(["rollout", *arguments]) == 1
    assert "There is no rollout named 'nope' (litellm, other)." in capsys.readouterr().err


def test_without_any_it_says_how_to_make_one(tmp_path):
    """And `--json` is an empty list."""
    (tmp_path / "turnout.yaml").write_text("server: {port: 4001}\n")
    result = CliRunner().invoke(rollout, ["status"])
    assert result.output == "No rollout is configured. Add one under `rollouts:` in turnout.yaml.\n"
    assert told("status") == {"rollouts": []}


def test_a_change_is_in_the_audit_trail(capsys):
    """Who, and what it was before and after."""
    told("set", "litellm", "25")
    told("set", "litellm", "0")
    assert run(["audit", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [("rollout.set", "litellm")] * 2 == [(row["action"], row["target"]) for row in rows]
    assert [({"percent": 25.0}, {"percent": 0.0}), ({"percent": 10.0}, {"percent": 25.0})] == [
        (row["before"], row["after"]) for row in rows
    ]


def test_a_change_holds_though_the_audit_trail_cannot_be_written(tmp_path, capsys):
    """An emergency 0 waits for nobody; that it is not written down is said."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "books.sqlite3").write_text("this is no database, and long enough to be seen as none" * 100)
    assert run(["rollout", "set", "litellm", "0"]) == 0
    assert "It holds, but the audit trail could not be written: " in capsys.readouterr().err
    assert percents()["litellm"] == 0
