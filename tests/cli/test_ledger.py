"""`turnout ledger`: what it lists, corrects and checks, with no gateway running."""

from __future__ import annotations

import json
import os

import pytest

from tests.entries import AT_MS, entry
from turnout.cli import run
from turnout.cli.opened import in_books
from turnout.core.books import audit
from turnout.core.books.entry import Charge
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql


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
    """Three attempts, one of them unpriced."""
    entries = [
        entry("req_a-1", charges=(Charge("all", 0),)),
        entry("req_b-1", at_ms=AT_MS + 86_400_000, user="", key_id="", task="", cost_nano_usd=None, basis="unknown"),
        entry("req_b-2", at_ms=AT_MS + 86_400_001, outcome="upstream_fault", cost_nano_usd=0),
    ]
    in_books(None, lambda _loaded, database: database.write(lambda: append("w1", entries)))


def books(*texts):
    def steps():
        for text in texts:
            rows = yield Sql(text)
        return list(rows)

    return in_books(None, lambda _loaded, database: database.write(steps))


def said(capsys, *arguments, code=0):
    """What the command prints."""
    assert run(["ledger", *arguments]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def told(capsys, *arguments, code=0):
    """What the command says as JSON."""
    assert run(["ledger", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_one_is_one_and_two_are_two(capsys):
    """Of entries, writers and corrections."""
    in_books(None, lambda _l, database: database.write(lambda: append("w1", [entry("req_c-1")])))
    assert "The ledger is whole: 1 entry of 1 writer (0 corrections), $0.001000" in said(capsys, "verify")
    said(capsys, "correct", "req_c-1", "--cost", "0.5", "--because", "the bill says so")
    assert "The ledger is whole: 2 entries of 2 writers (1 correction), $0.50" in said(capsys, "verify")


# ── list ──


def test_it_lists_keys_with_their_names(capsys, written):
    """Beside the id; the master key is called so, and one without a name has its id alone."""
    assert run(["keys", "create", "--name", "shop", "--json"]) == 0
    id_ = json.loads(capsys.readouterr().out)["id"]
    in_books(None, lambda _l, database: database.write(lambda: append("w1", [entry("req_c-1", key_id=id_)])))
    text = said(capsys, "list")
    assert f"  {id_} (shop)  " in text
    assert "  master " in text
    assert "  k_anna " in text
    assert [id_, "shop"] == [
        one[name] for one in told(capsys, "list", "--key", id_)["entries"] for name in ("key_id", "key_name")
    ]


def test_it_lists_a_session(capsys, written):
    """And no other's."""
    in_books(None, lambda _l, database: database.write(lambda: append("w1", [entry("req_c-1", session="chat-7")])))
    assert ["req_c-1"] == [one["attempt_id"] for one in told(capsys, "list", "--session", "chat-7")["entries"]]
    assert 3 == len(told(capsys, "list", "--session", "s1")["entries"])
    assert "No entry of the ledger is about that." in said(capsys, "list", "--session", "chat-8")


def test_it_lists_entries_the_newest_first(capsys, written):
    """With what they cost, and for whom."""
    head, *rows = said(capsys, "list").splitlines()
    assert head.split()[:3] == ["when", "(UTC)", "attempt"]
    assert [row.split()[2] for row in rows] == ["req_b-2", "req_b-1", "req_a-1"]
    assert rows[1].split()[3:] == ["-", "master", "-", "first", "ok", "unknown", "100", "20", "unpriced"]
    assert rows[2].split()[-1] == "$0.001000"


def test_it_lists_what_is_asked_for(capsys, written):
    """By any of what an entry says, and by time."""
    for options, names in (
        (("--request", "req_b"), ["req_b-2", "req_b-1"]),
        (("--outcome", "upstream_fault"), ["req_b-2"]),
        (("--from", "2026-11-19"), ["req_b-2", "req_b-1"]),
        (("--to", "2026-11-19"), ["req_a-1"]),
        (("--count", "1"), ["req_b-2"]),
        (("--key", "k_anna", "--user", "anna", "--task", "summarise", "--model", "first"), ["req_b-2", "req_a-1"]),
    ):
        assert [one["attempt_id"] for one in told(capsys, "list", *options)["entries"]] == names, options
    assert told(capsys, "list", "--request", "req_a")["entries"][0]["charges"] == [{"budget": "all", "starts_at": 0}]


def test_an_empty_ledger_says_so(capsys):
    """In words, and as an empty list."""
    assert "No entry of the ledger is about that." in said(capsys, "list")
    assert told(capsys, "list") == {"entries": []}


# ── verify ──


def test_whole_books_are_said_to_be_whole(capsys, written):
    """With how many there are."""
    assert "The ledger is whole: 3 entries of 1 writer (0 corrections), $0.001000" in said(capsys, "verify")
    found = told(capsys, "verify")
    assert (found["whole"], found["heads"][0]["writer"]) == (True, "w1")


def test_what_was_tampered_with_is_named(capsys, written):
    """The first bad row, and the exit code 1."""
    books("DROP TRIGGER entry_is_never_changed", "UPDATE entry SET cost_nano_usd = 1 WHERE attempt_id = 'req_a-1'")
    assert "req_a-1: is not what w1 wrote as its number 1" in said(capsys, "verify", code=1)
    found = told(capsys, "verify", code=1)
    assert (found["whole"], found["faults"][0]["where"]) == (False, "req_a-1")


def test_many_faults_are_counted(capsys):
    """Not all of them are printed."""
    entries = [entry(f"a-{n}") for n in range(60)]
    in_books(None, lambda _loaded, database: database.write(lambda: append("w1", entries)))
    books("DROP TRIGGER entry_is_never_changed", "UPDATE entry SET session = 'x'")
    assert "… and 40 more" in said(capsys, "verify", code=1)


def test_what_is_archived_is_said(capsys, written):
    """Its sums cannot be made again."""
    books(
        "INSERT INTO entry_archived (writer, entries, chain, last_at_ms)"
        " SELECT writer, number, chain, at_ms FROM entry WHERE number = 1",
        "DELETE FROM entry WHERE number = 1",
    )
    assert "Sums up to 2026-11-18" in said(capsys, "verify")


# ── correct ──


def test_a_correction_is_added_and_audited(capsys, written):
    """With the difference, and why."""
    out = said(capsys, "correct", "req_a-1", "--cost", "0.0004", "--output", "25", "--because", "the bill says so")
    assert "req_a-1~1: -$0.000600, +0 input and +5 output tokens, added to what req_a-1 says" in out
    newest = told(capsys, "list", "--outcome", "corrected")["entries"]
    assert [(one["attempt_id"], one["corrects"], one["cost_nano_usd"]) for one in newest] == [
        ("req_a-1~1", "req_a-1", -600_000)
    ]
    assert "corrects req_a-1" in said(capsys, "list")
    assert told(capsys, "verify")["corrections"] == 1
    wanted = audit.Wanted(action="ledger.correct")
    ((_, row),) = in_books(None, lambda _loaded, database: database.read(lambda: audit.latest(wanted, 5)))
    assert (row.target, json.loads(row.after)["because"]) == ("req_a-1", "the bill says so")


def test_what_is_right_needs_no_correction(capsys, written):
    """Nothing is added, and nothing audited."""
    assert "is right already" in said(capsys, "correct", "req_a-1", "--cost", "0.001", "--because", "x")
    assert told(capsys, "correct", "req_a-1", "--input", "100", "--because", "x")["input_tokens"] == 0
    assert len(told(capsys, "list")["entries"]) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["req_z-1", "--cost", "1", "--because", "x"], 1, "is no attempt in the ledger"),
        (["req_a-1", "--because", "x"], 2, "Say what it came to"),
        (["req_a-1", "--cost", "1"], 2, "--because"),
        (["req_a-1", "--cost", "much", "--because", "x"], 2, "is no sum"),
        (["req_a-1", "--cost", "-1", "--because", "x"], 2, "is no sum"),
        (["req_a-1", "--cost", "0.0000000001", "--because", "x"], 2, "is no sum"),
        (["req_a-1", "--cost", "NaN", "--because", "x"], 2, "is no sum"),
        (["req_a-1", "--cost", "inf", "--because", "x"], 2, "is no sum"),
        (["req_a-1", "--input", "-1", "--because", "x"], 2, "--input"),
    ],
)
def test_what_cannot_be_is_refused(capsys, written, arguments, code, words):
    """With what was meant; and nothing is added."""
    assert words in said(capsys, "correct", *arguments, code=code)
    assert len(told(capsys, "list")["entries"]) == 3
