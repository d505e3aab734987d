"""`turnout explain`: what happened, and what would happen, without a gateway and without a call."""

from __future__ import annotations

import json
import os
import threading

import msgspec
import pytest
from click.testing import CliRunner

from turnout.cli import run
from turnout.cli.explain import explain
from turnout.core.trace import AttemptTrace, Trace
from turnout.gateway.overlay import set_rollout
from turnout.stores.sqlite import SqliteStateStore, SqliteTraceStore

CONFIG = """
providers:
  stub: {kind: compatible, base_url: "http://127.0.0.1:1/v1", api_key: sk-canary-1}
  new: {kind: compatible, base_url: "http://127.0.0.1:2/v1", api_key: sk-canary-2, names: "{provider}/{id}"}
models:
  one: {provider: stub, id: vendor/one, price: free, context: 8000}
  dear: {provider: stub, id: vendor/dear, price: {input: 3, output: 15}}
tasks:
  work: {models: [one, dear], because: "cheapest first", price_ceiling: free}
rollouts:
  litellm: {tasks: [work], percent: 10, candidate: {provider: new}, include: [boss]}
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder with the config above; returns where the state is kept."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))
    (tmp_path / "turnout.yaml").write_text(CONFIG)
    return tmp_path / "home"


def keep(home, *traces):
    """Write traces as a gateway does."""
    store = SqliteTraceStore(home / "traces.sqlite3")
    store.add([one.request_id for one in traces], msgspec.json.Encoder().encode_lines(traces))
    store.close()


def trace(number, **more):
    attempts = [AttemptTrace("one", "stub", "control", 0.0, 0.25, 0.5, "ok")]
    return Trace(f"req_{number}", 1.8e9, "rev", target="task work", attempts=attempts, status=200, total_s=0.5, **more)


def ask(*arguments):
    result = CliRunner().invoke(explain, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_request_is_told_by_its_id(home):
    """In words, or the trace itself as JSON."""
    keep(home, trace(1, outcome="ok"), trace(2, outcome="ok"))
    told = ask("req_1")
    assert told.startswith("request req_1, 2027-01-15 08:00:00 UTC, config rev\n")
    assert "attempt 1: one by stub, at 0.000 s: ok after 0.500 s" in told
    assert json.loads(ask("req_2", "--json"))["request_id"] == "req_2"


def test_a_trace_that_is_about_to_be_written_is_waited_for(home):
    """The gateway writes a few times a second."""
    keep(home, trace(1))
    writer = threading.Timer(0.15, keep, (home, trace(2, outcome="ok")))
    writer.start()
    assert "request req_2" in ask("req_2")
    writer.join()


def test_a_request_is_told_although_the_config_is_broken(home, tmp_path):
    """That is when one wants to know."""
    keep(home, trace(1, outcome="ok"))
    (tmp_path / "turnout.yaml").write_text("zzz: 1\n")
    assert "request req_1" in ask("req_1")
    assert ask("--last", "1").startswith("req_1")


def test_one_users_name_is_not_taken_for_another_requests_id(home):
    """A trace is found by its own id, not by text inside others."""
    keep(home, trace(1, user="req_2"), trace(2, user="mette"))
    assert json.loads(ask("req_2", "--json"))["user"] == "mette"


def test_the_newest_are_listed_a_line_each(home):
    """Newest first; as JSON a list of whole traces."""
    refused = Trace("req_3", 1.8e9, "rev", asked_name="nope", outcome="model_not_found", status=404)
    keep(home, trace(1), trace(2), refused)
    assert ask("--last", "2").splitlines() == [
        "req_3  404    0.000 s  nope  → -",
        "req_2  200    0.500 s  task work  → one",
    ]
    assert [one["request_id"] for one in json.loads(ask("--last", "9", "--json"))] == ["req_3", "req_2", "req_1"]


def test_what_would_happen_is_told_for_a_user():
    """Who would be asked, under what name, and who would not and why."""
    told = ask("--task", "work", "--user", "boss")
    assert told.startswith("task work: cheapest first\n")
    assert "rollout litellm: candidate arm, because this user is included" in told
    assert "  1. one by new as stub/vendor/one (free), candidate arm" in told
    assert "  2. one by stub as vendor/one (free), control arm" in told
    assert "passed over: dear (stub) costs $3 in, $15 out per million tokens; the price ceiling is free" in told
    plan = json.loads(ask("--task", "work", "--user", "boss", "--json"))
    assert [(one["provider"], one["arm"]) for one in plan["choices"]] == [("new", "candidate"), ("stub", "control")]


def test_before_the_first_request_the_list_is_empty(home):
    """And says so; as JSON it is an empty list."""
    SqliteTraceStore(home / "traces.sqlite3").close()
    assert ask("--last", "5").strip() == "No request has been made yet."
    assert json.loads(ask("--last", "5", "--json")) == []


def test_what_was_set_at_run_time_counts(home):
    """As for a gateway."""
    from turnout.cli.opened import opened_state

    with opened_state(None) as (loaded, state):
        set_rollout(state, loaded.snapshot, "litellm", 100, at=1.8e9, by="a test")
    assert json.loads(ask("--task", "work", "--user", "anybody", "--json"))["arm"] == "candidate"
    assert json.loads(ask("--model", "one", "--user", "anybody", "--json"))["rollout"] == ""
    SqliteStateStore(home / "state.sqlite3").close()


def test_a_request_that_nobody_could_serve_is_an_error_that_names_them(capsys):
    """What an unknown task or a prompt that is too long would come to."""
    assert run(["explain", "--task", "nope"]) == 1
    assert "email-draft" in capsys.readouterr().err
    assert run(["explain", "--task", "work", "--tokens", "100000", "--stream", "--needs", "json"]) == 1
    assert "holds 8000 tokens, the request has about 100000" in capsys.readouterr().err


def test_what_is_not_there_is_said(home, capsys):
    """No gateway has run; or it has forgotten; or nothing was asked for."""
    assert run(["explain", "req_1"]) == 1
    assert f"No gateway has run with TURNOUT_HOME={home}" in capsys.readouterr().err
    keep(home, trace(1))
    assert run(["explain", "req_\udcff"]) == 1
    assert "--last 20" in capsys.readouterr().err
    assert run(["explain"]) == 2
    assert "--last N" in capsys.readouterr().err
    (home / "traces.sqlite3").write_bytes(b"this is no database, whatever its name says" * 100)
    assert run(["explain", "req_1"]) == 1
    assert "traces.sqlite3" in capsys.readouterr().err
