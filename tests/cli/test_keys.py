"""`turnout keys`: what it makes, shows and refuses, with no gateway running."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from turnout.cli import run
from turnout.cli.keys import keys, narrowed


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


def test_a_key_is_made_and_its_text_is_shown_this_once(told, capsys, tmp_path):
    """It stands in no file."""
    made = told("keys", "create", "--name", "app")
    assert made["key"].startswith("sk-turnout-")
    assert run(["keys", "create"]) == 0
    out = capsys.readouterr().out
    assert "Shown this once" in out
    assert "status          live" in out
    for text in (made["key"], next(line.strip() for line in out.splitlines() if "sk-turnout-" in line)):
        assert [] == [
            path for path in (tmp_path / "home").rglob("*") if path.is_file() and text.encode() in path.read_bytes()
        ]
    assert "key" not in told("keys", "show", "app")


def test_everything_that_a_key_may_be_told_is_kept(told, tmp_path):
    """Each option."""
    account = "{{kind: compatible, base_url: 'http://127.0.0.1:1/v1', api_key: sk-made-up, region: {}}}".format
    (tmp_path / "turnout.yaml").write_text(f"providers: {{here: {account('eu')}, there: {account('us')}}}\n")
    told("users", "set", "anna")
    told("workspaces", "set", "blue")
    made = told(
        *("keys", "create", "--name", "app", "--user", "anna", "--workspace", "blue", "--task", "chat"),
        *(
            "--price-ceiling",
            "3/15",
            "--region",
            "eu",
            "--region",
            "us",
            "--address",
            "10.0.0.0/8",
            "--expires",
            "2099-01-31",
        ),
        *("--limit", "rpm=100", "--limit", "at-once=5", "--budget", "10/month", "--budget", "0.5/day"),
        *("--zone", "Europe/Copenhagen"),
    )
    shown = told("keys", "show", made["id"])
    assert {"tier": "default"} == shown.pop("inherited")
    assert {name: made[name] for name in shown} == shown
    assert ("anna", "blue", ["chat"], ["eu", "us"], ["10.0.0.0/8"], "2099-01-31T00:00:00Z") == tuple(
        shown[name] for name in ("user", "workspace", "tasks", "regions", "addresses", "expires_at")
    )
    assert {"input": 3, "output": 15} == shown["price_ceiling"]
    assert {"requests_per_minute": 100, "tokens_per_minute": None, "at_once": 5} == shown["limit"]
    assert [(0.5, "day", "Europe/Copenhagen"), (10, "month", "Europe/Copenhagen")] == [
        (one["usd"], one["period"], one["zone"]) for one in shown["budgets"]
    ]


def test_keys_are_listed_with_what_they_were_given_and_shown_with_what_they_inherit(told, capsys):
    """In the table, as JSON, and in words of one key."""
    told("teams", "set", "sales", "--limit", "tpm=50000")
    told("workspaces", "set", "blue", "--team", "sales")
    told("users", "set", "anna", "--tier", "premium", "--budget", "9/week")
    told(
        "keys",
        "create",
        "--name",
        "app",
        "--user",
        "anna",
        "--workspace",
        "blue",
        "--limit",
        "rpm=7",
        "--budget",
        "5/day",
    )
    (listed,) = told("keys", "list")["keys"]
    assert (7, 5) == (listed["limit"]["requests_per_minute"], listed["budgets"][0]["usd"])
    assert run(["keys", "list"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "limit budgets ends in" in out
    assert "nothing requests_per_minute=7 5/day …" in out
    assert run(["keys", "show", "app"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {
        "tier premium (of its user)",
        "limit requests per minute 7",
        "budgets of user anna 9 USD a week (UTC)",
        "limit of team sales tokens per minute 50,000",
    } <= set(lines)


def test_a_change_leaves_what_it_does_not_say(told, capsys):
    """And takes away what is said to be none."""
    told(
        "keys", "create", "--name", "app", "--task", "chat", "--limit", "rpm=5", "--budget", "1/day", "--expires", "9d"
    )
    changed = told("keys", "change", "app", "--name", "app2", "--price-ceiling", "free")
    assert ("app2", ["chat"], "free") == (changed["name"], changed["tasks"], changed["price_ceiling"])
    assert (5, 1) == (changed["limit"]["requests_per_minute"], len(changed["budgets"]))
    bare = told(
        *("keys", "change", "app2", "--task", "any", "--price-ceiling", "none", "--limit", "none", "--budget", "none"),
        *("--expires", "never"),
    )
    assert ([], None, None, [], None) == tuple(
        bare[name] for name in ("tasks", "price_ceiling", "limit", "budgets", "expires_at")
    )
    assert run(["keys", "change", "app2"]) == 2
    assert "Say what to change" in capsys.readouterr().err
    assert run(["keys", "change", "app2", "--tier", "premium"]) == 0
    assert "tier            premium" in capsys.readouterr().out


def test_who_is_new_is_made_with_the_key_and_it_says_so(told, capsys):
    """With the default tier; who is there is not told of."""
    assert run(["keys", "create", "--user", "anna", "--workspace", "blue"]) == 0
    out = capsys.readouterr().out
    assert out.endswith(
        "\nuser anna was new: made with tier default.\n\nworkspace blue was new: made without a team.\n"
    )
    assert {"user": "bo"} == told("keys", "create", "--user", "bo", "--workspace", "blue")["new"]
    assert "new" not in told("keys", "create", "--user", "bo")
    assert ["anna", "bo"] == [one["name"] for one in told("users", "list")["users"]]
    told("keys", "create", "--name", "app", "--user", "bo")
    assert run(["keys", "change", "app", "--user", "carl"]) == 1
    assert "There is no user 'carl'. Make them: `turnout users set carl`." in capsys.readouterr().err


def test_the_list_is_a_table(told, capsys):
    """Of those that were not revoked, unless all are wanted."""
    assert run(["keys", "list"]) == 0
    assert "There are no keys. Make one with `turnout keys create --name NAME`.\n" == capsys.readouterr().out
    told("users", "set", "anna")
    told("keys", "create", "--name", "one", "--user", "anna", "--task", "chat")
    told("keys", "create", "--name", "two", "--tier", "premium")
    told("keys", "revoke", "two")
    assert run(["keys", "list", "--all"]) == 0
    heads, *rows = capsys.readouterr().out.splitlines()
    one, two = sorted(rows, key=lambda row: row.split()[1])
    assert [
        "id",
        "name",
        "user",
        "workspace",
        "team",
        "tier",
        "narrowed",
        "to",
        "limit",
        "budgets",
        "ends",
        "in",
        "expires",
        "status",
    ] == heads.split()
    assert ["one", "anna", "of", "its", "user", "chat"] == one.split()[1:7]
    assert ["two", "premium", "nothing"] == two.split()[1:4]
    assert (["never", "live"], ["never", "revoked"]) == (one.split()[-2:], two.split()[-2:])
    assert ["one"] == [key["name"] for key in told("keys", "list")["keys"]]
    assert ["one"] == [key["name"] for key in told("keys", "list", "--user", "anna")["keys"]]


def test_rotating_shows_a_new_text_and_how_long_the_old_one_holds(told, capsys):
    """No longer at all, unless --grace says so."""
    first = told("keys", "create", "--name", "app")
    second = told("keys", "rotate", "app")
    assert (first["id"], None) == (second["id"], second["old_text_until"])
    assert first["key"] != second["key"]
    assert told("keys", "rotate", "app", "--grace", "24h")["old_text_until"] is not None
    assert run(["keys", "rotate", "app", "--grace", "soon"]) == 2
    assert run(["keys", "rotate", "app", "--grace", "31d"]) == 2
    assert "30 days at most" in capsys.readouterr().err


def test_revoking_asks_first(told):
    """Unless told not to; and says what it did."""
    told("keys", "create", "--name", "app")
    declined = CliRunner().invoke(keys, ["revoke", "app"], input="n\n")
    assert (1, True) == (declined.exit_code, "Revoke key k_" in declined.output)
    assert 1 == len(told("keys", "list")["keys"])
    done = CliRunner().invoke(keys, ["revoke", "app", "--yes"])
    assert "is revoked; every gateway refuses it within a second." in done.output
    assert [] == told("keys", "list")["keys"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nobody"], "There is no key 'nobody'"),
        (["create", "--user", "no/body"], "`user` is printable text without /"),
        (["change", "app", "--user", "anna"], "There is no key 'app'"),
        (["create", "--tier", "premum"], "Did you mean premium?"),
        (["create", "--task", "caht"], "Did you mean chat?"),
        (["create", "--model", "nope/x"], "There is no model"),
        (["create", "--address", "10.0.0.0/99"], "no address or network"),
        (["create", "--expires", "2020-01-01"], "is past"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(capsys, arguments, words):
    """And no key is made."""
    assert run(["keys", *arguments]) == 1
    assert words in capsys.readouterr().err
    assert run(["keys", "list", "--all"]) == 0
    assert "There are no keys" in capsys.readouterr().out


def test_a_grant_in_a_few_words():
    """Long lists as their length."""
    told = {"models": ["a", "b", "c"], "tasks": ["t"], "price_ceiling": "free", "regions": ["eu"], "addresses": []}
    assert "3 models; t; free; eu" == narrowed(told)
