"""`turnout usage` and `turnout reconcile`: what they tell of the books, with no gateway running."""

from __future__ import annotations

import csv
import json
import os
from datetime import UTC, datetime

import msgspec
import pytest

from turnout.cli import run
from turnout.cli.opened import in_books
from turnout.core.books.entry import Entry
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ONE = Entry(
    "r1-1", "r1", int(NOON.timestamp() * 1000), "k1", "anna", "w1", "t1", "s1", "chat", "gpt", "openai", "gpt-4o", "control",
    "ok", "exact", 10_000, 2_000, 500, 0, 2, 1_250_000_000,
)  # fmt: skip
BOOKED = [
    ONE,
    msgspec.structs.replace(ONE, attempt_id="r2-1", user="bo", basis="estimated", cost_nano_usd=500_000_000),
    msgspec.structs.replace(ONE, attempt_id="r3-1", user="", outcome="upstream_fault", cost_nano_usd=None),
]
NOVEMBER = ("--from", "2026-11-01", "--to", "2026-11-30")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder, a config with a provider, and no variable that would change it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))
    (tmp_path / "turnout.yaml").write_text("providers: {openai: {api_key: sk-1}}\n")


@pytest.fixture
def booked():
    """Three attempts of one day."""
    in_books(None, lambda _loaded, database: database.write(lambda: append("w", BOOKED)))


def said(capsys, *arguments, code=0):
    """What a command prints."""
    assert code == run(list(arguments))
    told = capsys.readouterr()
    return told.err if code == 2 else told.out


def test_a_table_with_its_total(booked, capsys):
    """The dearest first; a cost that is in part estimated says so, and calls without a price are told."""
    lines = [" ".join(line.split()) for line in said(capsys, "usage", "--by", "user", *NOVEMBER).splitlines()]
    assert [
        "user calls failed input cached output reasoning cost",
        "anna 1 0 10,000 500 2,000 2 $1.25",
        "bo 1 0 10,000 500 2,000 2 ~$0.50",
        "- 1 1 10,000 500 2,000 2 $0.00",
        "total 3 1 30,000 1,500 6,000 6 ~$1.75",
        "1 calls had no known price and are in no sum: `turnout prices check`.",
    ] == lines


def test_keys_are_told_with_their_names(booked, capsys):
    """Beside the id, where they have one; also those that were revoked since."""
    made = json.loads(said(capsys, "keys", "create", "--name", "shop", "--json"))
    more = [msgspec.structs.replace(ONE, attempt_id="r4-1", key_id=made["id"])]
    in_books(None, lambda _loaded, database: database.write(lambda: append("w", more)))
    said(capsys, "keys", "revoke", made["id"], "--yes")
    rows = list(csv.DictReader(said(capsys, "usage", "--by", "key,user", *NOVEMBER, "--csv").splitlines()))
    assert {(made["id"], "shop"), ("k1", "")} == {(row["key"], row["key_name"]) for row in rows}
    lines = said(capsys, "usage", "--by", "key,user", *NOVEMBER).splitlines()
    assert f"{made['id']} (shop)  anna" in lines[2]
    assert lines[1].startswith("k1  ")
    told = json.loads(said(capsys, "usage", "--by", "key", "--json", *NOVEMBER))["lines"]
    assert {("k1", ""), (made["id"], "shop")} == {(line["key"], line["key_name"]) for line in told}
    assert "key_name" not in json.loads(said(capsys, "usage", "--json", *NOVEMBER))["lines"][0]


def test_what_a_session_came_to(booked, capsys):
    """By itself or told apart; for more days than can be read it is an error that says so."""
    lines = said(capsys, "usage", "--session", "s1", "--by", "session", *NOVEMBER).splitlines()
    assert ["session", "s1", "total"] == [line.split()[0] for line in lines[:3]]
    assert "3" == lines[1].split()[1]
    assert "Nothing was used" in said(capsys, "usage", "--session", "s2", *NOVEMBER)
    assert "s1" in said(capsys, "usage", "--only", "session=s1", "--by", "session", *NOVEMBER)
    for wanted in (("--session", "s1"), ("--by", "session")):
        refused = said(capsys, "usage", *wanted, "--from", "2026-09-01", "--to", "2026-11-30", code=2)
        assert "longer than 31 days" in " ".join(refused.split())


def test_entries_that_are_in_the_archive_are_told_to_be_missing(booked, capsys):
    """Where sessions are asked for: the sums by hour stay."""

    def archived():
        text = "INSERT INTO entry_archived (writer, entries, chain, last_at_ms) VALUES (?, ?, ?, ?)"
        yield Sql(text, ("w", 1, b"", ONE.at_ms))

    in_books(None, lambda _loaded, database: database.write(archived))
    told = "Entries up to 2026-11-20T12:00:00Z may be in the archive: those are not counted."
    assert told in said(capsys, "usage", "--by", "session", *NOVEMBER)
    assert told not in said(capsys, "usage", "--by", "user", *NOVEMBER)


def test_the_same_as_json_and_csv(booked, capsys):
    """By as many names as are wanted, of what is wanted alone."""
    arguments = ("usage", "--by", "day,user,vendor-model", "--only", "user=anna", *NOVEMBER)
    told = json.loads(said(capsys, *arguments, "--json"))
    (line,) = told["lines"]
    assert ("2026-11-20", "anna", "gpt-4o", 1, "1.25") == tuple(
        line[name] for name in ("day", "user", "vendor_model", "attempts", "cost_usd")
    )
    assert ["day", "user", "vendor_model"] == told["by"]
    (row,) = csv.DictReader(said(capsys, *arguments, "--csv").splitlines())
    assert ("2026-11-20", "anna", "1.25", "10000") == tuple(
        row[name] for name in ("day", "user", "cost_usd", "input_tokens")
    )


def test_nothing_is_told_as_nothing(capsys):
    """With the time that was looked at."""
    assert "Nothing was used from 2026-11-01 to 2026-11-30 (UTC).\n" == said(capsys, "usage", *NOVEMBER)
    assert [] == json.loads(said(capsys, "usage", "--json"))["lines"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--by", "colour"), "--by: 'colour' is not known here"),
        (("--from", "x"), "--from: 'x' is no day"),
        (("--zone", "Mars"), "--zone: 'Mars' is no time zone"),
        (("--only", "user"), "write NAME=VALUE with one of key, user"),
        (("--only", "colour=red"), "write NAME=VALUE"),
        (("--csv", "--json"), "Choose one of --csv and --json."),
    ],
)
def test_what_cannot_be_meant_is_named(arguments, what, capsys):
    """At its option."""
    assert what in said(capsys, "usage", *arguments, code=2)


def export(tmp_path, *rows, head="start_time,end_time,num_model_requests,model,input_tokens,output_tokens"):
    """Write a provider's export."""
    file = tmp_path / "usage.csv"
    file.write_text("\n".join([head, *rows]) + "\n")
    return str(file)


def test_books_that_agree_with_the_provider(booked, tmp_path, capsys):
    """By the dated name of its version; the time is the file's, the provider follows from its form."""
    start = int(NOON.timestamp()) - 12 * 3600
    file = export(tmp_path, f"{start},{start + 86400},3,gpt-4o-2024-08-06,30100,6000")
    told = said(capsys, "reconcile", file)
    assert "OpenAI usage beside the books of openai, 2026-11-20T00:00:00Z to 2026-11-21T00:00:00Z\n" in told
    assert told.endswith("All 1 models agree within 1 %.\n")
    as_json = json.loads(said(capsys, "reconcile", file, "--json"))
    assert (True, ["openai"], []) == (as_json["ok"], as_json["providers"], as_json["models"][0]["off"])


def test_a_difference_beyond_the_tolerance_is_told_and_fails(booked, tmp_path, capsys):
    """Which model, and in what; a model of one side alone too."""
    start = int(NOON.timestamp()) - 12 * 3600
    file = export(tmp_path, f"{start},{start + 86400},3,gpt-4o,33000,6000", f"{start},{start + 86400},1,o3,5000,10")
    lines = [" ".join(line.split()) for line in said(capsys, "reconcile", file, code=1).splitlines()]
    assert "gpt-4o input tokens 33,000 30,000 6,000 6,000 - $1.75" in lines
    assert "o3 input tokens 5,000 0 10 0 - $0.00" in lines
    assert "2 of 2 models differ by more than 1 %." == lines[-1]
    assert 1 == run(["reconcile", file, "--json"])
    assert False is json.loads(capsys.readouterr().out)["ok"]
    narrow = said(capsys, "reconcile", file, "--tolerance", "10", "--to", "2026-11-20", "--from", "2026-11-20", code=1)
    assert narrow.endswith("1 of 2 models differ by more than 10 %.\n")


def test_any_csv_needs_to_be_told_whose_it_is(booked, tmp_path, capsys):
    """And when, if it does not say."""
    file = export(tmp_path, "gpt-4o,1.75", head="model,cost_usd")
    assert "say --from and --to" in said(capsys, "reconcile", file, code=2)
    assert "--provider: say whose export it is, one of: openai" in said(capsys, "reconcile", file, *NOVEMBER, code=2)
    assert "All 1 models agree" in said(capsys, "reconcile", file, *NOVEMBER, "--provider", "openai")
    assert "All 1 models agree" in said(
        capsys, "reconcile", file, *NOVEMBER, "--provider", "openai", "--tolerance", "0"
    )


def test_a_file_that_is_no_export_is_refused(tmp_path, capsys):
    """With what is wrong."""
    file = export(tmp_path, "1,2", head="a,b")
    assert "has the columns a, b; expected a column `model`" in said(capsys, "reconcile", file, code=2)
    (tmp_path / "usage.csv").write_bytes(b"\xff\xfe\x00")
    assert "is no text in UTF-8" in said(capsys, "reconcile", file, code=2)
    file = export(tmp_path, "m,1", head="model,cost")
    assert "no day" in said(capsys, "reconcile", file, "--from", "x", code=2)
