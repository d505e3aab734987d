"""`turnout audit`: what it lists, checks and writes out, with no gateway running."""

from __future__ import annotations

import csv
import json
import os

import pytest

from turnout.cli import run
from turnout.cli.opened import in_books
from turnout.core.books.audit import Head, Record, append_all, link
from turnout.core.books.statements import Sql
from turnout.gateway.clock import SystemClock

NOON_MS = 1_800_000_000_000
ROWS = [
    Record(NOON_MS, "admin:anna", "admin", "192.0.2.7", "key.create", "k_1", after='{"user":"bo"}'),
    Record(NOON_MS + 60_000, "", "", "192.0.2.8", "GET /admin/config", "", "refused", "unauthenticated", 7),
    Record(NOON_MS + 120_000, "master key", "owner", "127.0.0.1", "key.revoke", "k_1", before='{"user":"bo"}'),
]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder, and no variable that would change anything."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))


@pytest.fixture
def written():
    """Three rows."""
    in_books(None, lambda _loaded, database: database.write(lambda: append_all(ROWS)))


def tamper(*texts):
    """Do what the triggers forbid."""

    def steps():
        for name in ("audit_no_update", "audit_no_delete"):
            yield Sql(
                {"audit_no_update": "DROP TRIGGER audit_no_update", "audit_no_delete": "DROP TRIGGER audit_no_delete"}[
                    name
                ]
            )
        for text in texts:
            yield Sql(text)

    in_books(None, lambda _loaded, database: database.write(steps))


def told(capsys, *arguments, code=0):
    """What the command says as JSON."""
    assert run(["audit", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_table_of_the_newest_rows(written, capsys):
    """When, who, from where, what, of what, how it ended, how often; and how to read on."""
    assert run(["audit", "list", "--count", "2"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [
        "row when (UTC) who role from what of outcome times",
        "3 2027-01-15 08:02:00 master key owner 127.0.0.1 key.revoke k_1 done",
        "2 2027-01-15 08:01:00 nobody known 192.0.2.8 GET /admin/config refused (unauthenticated) 7",
        "Older ones: --below 2",
    ] == lines
    assert run(["audit", "list", "--count", "2", "--below", "2"]) == 0
    assert "key.create" in capsys.readouterr().out


def test_the_same_as_json(written, capsys):
    """What was before and after as values."""
    rows = told(capsys, "list")["rows"]
    assert [3, 2, 1] == [row["seq"] for row in rows]
    assert {"user": "bo"} == rows[0]["before"] == rows[2]["after"]
    assert rows[1]["after"] is None
    assert (rows[1]["times"], rows[1]["at_ms"]) == (7, NOON_MS + 60_000)


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        (["--who", "admin:anna"], [1]),
        (["--what", "key"], [3, 1]),
        (["--of", "k_1", "--what", "key.revoke"], [3]),
        (["--outcome", "refused"], [2]),
        (["--since", "2027-01-15T08:01"], [3, 2]),
        (["--since", "2027-01-16"], []),
        (["--since", "2027-01-15T09:02:00+01:00"], [3]),
    ],
)
def test_only_what_is_wanted(written, capsys, arguments, rows):
    """By who, what, of what, outcome, and since when."""
    assert rows == [row["seq"] for row in told(capsys, "list", *arguments)["rows"]]


def test_since_some_hours_or_days(capsys):
    """Counted back from now."""
    now_ms = int(SystemClock().wall() * 1000)
    rows = [Record(now_ms - ago * 3_600_000, "a", "", "", "x", str(ago)) for ago in (100, 30, 2)]
    in_books(None, lambda _loaded, database: database.write(lambda: append_all(rows)))
    assert ["2", "30"] == [row["target"] for row in told(capsys, "list", "--since", "2d")["rows"]]
    assert ["2"] == [row["target"] for row in told(capsys, "list", "--since", "24h")["rows"]]


def test_nothing_to_list_and_a_time_that_is_none(capsys):
    """A sentence each, that says what to do."""
    assert run(["audit", "list"]) == 0
    assert "No row of the audit trail is about that.\n" == capsys.readouterr().out
    assert run(["audit", "list", "--since", "yesterday"]) == 2
    assert "is no time, write 24h, 7d, 2026-11-21 or 2026-11-21T15:04" in capsys.readouterr().err


def test_a_whole_trail_is_said_to_be_whole(written, capsys):
    """With the head to be noted; which holds later too."""
    found = told(capsys, "verify")
    assert (True, 3, "") == (found["intact"], found["rows"], found["problem"])
    in_books(None, lambda _loaded, database: database.write(lambda: append_all(ROWS)))
    assert 6 == told(capsys, "verify", "--head", found["head"][:14])["rows"]
    assert run(["audit", "verify"]) == 0
    assert capsys.readouterr().out.startswith("The audit trail is whole: 6 rows, head 6:")


def test_the_first_bad_row_is_named(written, capsys):
    """And the exit code says it to scripts."""
    tamper("UPDATE audit SET actor = 'x' WHERE seq = 2")
    found = told(capsys, "verify", code=1)
    assert (False, 1) == (found["intact"], found["rows"])
    assert "row 2 is not as it was written, or not where it was written" == found["problem"]
    assert run(["audit", "verify"]) == 1
    assert (
        "The audit trail is not whole: row 2 is not as it was written, or not where it was written."
        " The 1 rows before are right.\n"
    ) in capsys.readouterr().err


def test_a_trail_that_was_written_anew_is_found_by_a_noted_head(written, capsys):
    """All of it fits, but not what was noted."""
    head = told(capsys, "verify")["head"]
    again = {"0": "f", "f": "0"}.get(head[2], "0")
    wrong = told(capsys, "verify", "--head", f"3:{again}{head[3:]}", code=1)
    assert wrong["problem"].endswith("the trail was written anew")
    assert run(["audit", "verify", "--head", "3"]) == 2
    assert "is no head, write ROW:HASH" in capsys.readouterr().err


def test_an_export_can_be_checked_without_turnout(written, tmp_path, capsys):
    """Line by line: the hash of each is that of the one before and its own values."""
    assert run(["audit", "export", "trail.jsonl"]) == 0
    assert "3 rows in trail.jsonl\n" in capsys.readouterr().err
    before = ""
    for line in (tmp_path / "trail.jsonl").read_text().splitlines():
        *values, hash_ = json.loads(line).values()
        assert hash_ == link(before, tuple(values))
        before = hash_
    assert ["home", "trail.jsonl"] == sorted(path.name for path in tmp_path.iterdir())


def test_an_export_as_csv_and_to_the_output(written, capsys):
    """With heads."""
    assert run(["audit", "export", "-", "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert ["key.create", "GET /admin/config", "key.revoke"] == [row["action"] for row in rows]
    assert 64 == len(rows[0]["hash"])


def test_an_export_stops_at_a_bad_row(written, tmp_path, capsys):
    """A file that was there stays as it was."""
    (tmp_path / "trail.jsonl").write_text("before")
    tamper("DELETE FROM audit WHERE seq = 2")
    assert run(["audit", "export", "trail.jsonl"]) == 1
    assert "The audit trail is not whole: row 2 is missing" in capsys.readouterr().err
    assert "before" == (tmp_path / "trail.jsonl").read_text()


def test_a_head_is_the_end_of_the_trail(capsys):
    """Of an empty one too."""
    assert f"{Head().seq}:" == told(capsys, "verify")["head"]
