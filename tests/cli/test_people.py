"""`turnout users`, `workspaces`, `teams`, `admins`, with no gateway running."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from turnout.cli import run
from turnout.cli.people import admins, teams


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder without a config, and no variable that would change it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))


@pytest.fixture
def told(capsys):
    """Run a command; return its JSON."""

    def ask(*arguments):
        assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return ask


def test_users_are_set_step_by_step_and_listed(told, capsys):
    """What is not said stays."""
    assert run(["users", "list"]) == 0
    assert "There are no users. Make one with `turnout users set NAME`.\n" == capsys.readouterr().out
    told("users", "set", "anna", "--tier", "premium", "--limit", "rpm=10", "--budget", "5/day")
    assert run(["users", "set", "anna", "--block"]) == 0
    assert "blocked     True" in capsys.readouterr().out
    (anna,) = told("users", "list")["users"]
    assert ("premium", True, 10, 5) == (
        anna["tier"], anna["blocked"], anna["limit"]["requests_per_minute"], anna["budgets"][0]["usd"],
    )  # fmt: skip
    assert False is told("users", "set", "anna", "--unblock", "--limit", "none")["blocked"]
    assert run(["users", "list"]) == 0
    heads, row = capsys.readouterr().out.splitlines()
    assert (["name", "tier", "blocked", "limit", "budgets"], ["anna", "premium", "no", "5/day"]) == (
        heads.split(),
        row.split(),
    )


def test_a_workspace_is_moved_between_teams(told, capsys):
    """And out of all of them."""
    told("teams", "set", "sales", "--budget", "100/week")
    assert "sales" == told("workspaces", "set", "blue", "--team", "sales")["team"]
    assert "sales" == told("workspaces", "set", "blue")["team"]
    assert "" == told("workspaces", "set", "blue", "--team", "none")["team"]
    assert run(["workspaces", "list"]) == 0
    assert "blue" in capsys.readouterr().out
    assert ["sales"] == [one["name"] for one in told("teams", "list")["teams"]]
    assert run(["workspaces", "set", "blue", "--team", "sale"]) == 1
    assert "Did you mean sales?" in capsys.readouterr().err


def test_removing_asks_first_and_says_how_many_keys_go_along(told, capsys):
    """A team's are those of its workspaces."""
    told("teams", "set", "sales")
    told("workspaces", "set", "blue", "--team", "sales")
    told("users", "set", "anna")
    told("keys", "create", "--workspace", "blue")
    told("keys", "create", "--user", "anna")
    asked = CliRunner().invoke(teams, ["remove", "sales"], input="n\n")
    assert (1, True) == (asked.exit_code, "(keys: 1)" in asked.output)
    assert 2 == len(told("keys", "list")["keys"])
    assert run(["teams", "remove", "sales", "--yes"]) == 0
    assert "The team sales is gone. Keys revoked with it: 1.\n" == capsys.readouterr().out
    assert {"revoked_keys": 1} == told("users", "remove", "anna")
    told("workspaces", "set", "red")
    assert {"revoked_keys": 0} == told("workspaces", "remove", "red")
    assert [] == told("keys", "list")["keys"]
    assert run(["users", "remove", "anna", "--yes"]) == 1


def test_admins_are_made_listed_rotated_and_revoked(told, capsys):
    """A viewer unless said otherwise."""
    assert run(["admins", "list"]) == 0
    assert "There are no admins besides the master key." in capsys.readouterr().out
    made = told("admins", "create", "vi")
    assert ("viewer", True) == (made["role"], made["key"].startswith("sk-turnout-admin-"))
    told("admins", "create", "bo", "--role", "admin", "--model", "any", "--expires", "30d", "--price-ceiling", "free")
    assert run(["admins", "list"]) == 0
    heads, bo, vi = capsys.readouterr().out.splitlines()
    assert ["name", "role", "narrowed", "to", "ends", "in", "expires", "status"] == heads.split()
    assert (["bo", "admin", "free"], ["vi", "viewer", "nothing"]) == (bo.split()[:3], vi.split()[:3])
    assert run(["admins", "rotate", "vi", "--grace", "10m"]) == 0
    assert "Shown this once" in capsys.readouterr().out
    assert 1 == CliRunner().invoke(admins, ["revoke", "vi"], input="n\n").exit_code
    assert run(["admins", "revoke", "vi", "--yes"]) == 0
    assert "The key of vi is revoked" in capsys.readouterr().out
    assert ["bo"] == [one["name"] for one in told("admins", "list")["admins"]]
    assert "revoked" == told("admins", "revoke", "bo")["status"]
    assert {"bo", "vi"} == {one["name"] for one in told("admins", "list", "--all")["admins"]}


def test_what_is_changed_is_in_the_audit_trail(told):
    """By whoever typed it."""
    told("teams", "set", "sales")
    (row,) = told("audit", "list")["audit"] if "audit" in told("audit", "list") else told("audit", "list")["rows"]
    assert ("team.set", "sales", True) == (row["action"], row["target"], row["actor"].startswith("command "))
