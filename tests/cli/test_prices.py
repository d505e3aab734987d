"""`turnout prices`: what it lists, shows and finds missing."""

from __future__ import annotations

import json
import os

import pytest

from turnout.cli import run
from turnout.config.prices import price_list

CONFIG = """
defaults: false
providers: {openai: {api_key: k}, stub: {kind: compatible, base_url: "http://x"}, gemini: {api_key: k}}
models:
  mini: {provider: openai, id: gpt-4o-mini}
  own: {provider: openai, id: gpt-4o, price: {input: 1, output: 2}}
  pro: {provider: gemini, id: gemini-2.5-pro}
  free: {provider: stub, price: free}
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with the config above, and no variable that would change it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    (tmp_path / "turnout.yaml").write_text(CONFIG)
    return tmp_path


def said(capsys, *arguments, code=0):
    """What the command prints."""
    assert code == run(["prices", *arguments])
    told = capsys.readouterr()
    return told.err if code == 2 else told.out


def test_every_model_with_its_price_and_its_source(capsys):
    """A table, and the same as JSON."""
    lines = [" ".join(line.split()) for line in said(capsys, "list").splitlines()]
    day = price_list().date
    assert "model provider id input output cached input cache write reasoning image input from" == lines[0]
    assert f"mini openai gpt-4o-mini 0.15 0.6 0.075 list of {day}" == lines[1]
    assert "own openai gpt-4o 1 2 turnout.yaml:6" == lines[2]
    assert "free stub free free turnout.yaml:8" == lines[4]
    assert "Prices are in USD per million tokens." == lines[-1]
    told = json.loads(said(capsys, "list", "--json"))
    assert "USD per million tokens" == told["unit"]
    assert {"input": 0.15, "output": 0.6, "cached_input": 0.075} == told["models"][0]["price"]
    assert day.isoformat() == told["list"]["date"]


def test_one_price_whole(capsys):
    """What long requests cost, and since when; of the config's models and of the list's."""
    told = said(capsys, "show", "pro")
    assert "now (list of " in told
    assert "  above 200,000 tokens of input: input 2.5, output 15, cached_input 0.25" in told
    told = said(capsys, "show", "openrouter/meta-llama/llama-3.1-70b-instruct")
    assert "else (list of " in told
    assert "since 2026-11-03 (list of " in told
    assert "daily 01:00 to 04:00 UTC" in said(capsys, "show", "deepseek/deepseek-flash")
    assert "  every token: free" in said(capsys, "show", "free")
    as_json = json.loads(said(capsys, "show", "mini", "--json"))
    assert ("mini", "gpt-4o-mini") == (as_json["model"]["model"], as_json["listed"]["id"])
    assert "is no model of the configuration and none of the list" in said(capsys, "show", "nobody", code=2)


def test_no_price_is_shown_twice(capsys):
    """What holds now and always is said once; what the list says otherwise than the configuration is said beside it."""
    day = price_list().date
    assert [
        f"now (list of {day}), USD per million tokens:",
        "  input: 0.15",
        "  output: 0.6",
        "  cached_input: 0.075",
    ] == said(capsys, "show", "mini").splitlines()[:-1]
    own = said(capsys, "show", "own")
    assert "now (turnout.yaml:6), USD per million tokens:\n  input: 1\n  output: 2\n" in own
    assert f"always (list of {day}), USD per million tokens:\n  input: 2.5\n" in own
    assert "always (list of " in said(capsys, "show", "openai/gpt-4o-mini")


def test_what_is_missing_or_other_than_listed(place, capsys):
    """A price of the file's own is told; one that is missing fails."""
    lines = said(capsys, "check").splitlines()
    assert lines[0].startswith(
        "own: costs input 1.0, output 2.0 by the configuration, the list says input 2.5, output 10.0"
    )
    assert lines[1].startswith("4 models that can be asked, 0 without a price")
    (place / "turnout.yaml").write_text(CONFIG + "  what: {provider: stub}\n")
    assert "what: no price is known; say it under models.what.price" in said(capsys, "check", code=1)
    told = json.loads(said(capsys, "check", "--json", code=1))
    assert (["what"], "own") == (told["unpriced"], told["differing"][0]["model"])
    assert "unknown" in said(capsys, "list")
