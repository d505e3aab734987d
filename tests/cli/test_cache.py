"""`turnout cache`: what it shows of a running gateway, and what it empties."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.rig import CONFIG, KEY, Rig
from turnout.cli import run


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A gateway that keeps answers for a minute."""
    monkeypatch.setenv("TURNOUT_MASTER_KEY", KEY)
    async with Rig(tmp_path, config=CONFIG + "cache: {{ttl: 60}}\n") as running:
        yield running


async def told(capsys: pytest.CaptureFixture[str], rig: Rig, *arguments: str) -> str:
    """What the command prints."""
    assert await asyncio.to_thread(run, ["cache", *arguments, "--url", rig.url]) == 0
    return capsys.readouterr().out


async def ask(rig: Rig, question: str) -> None:
    """One question by way of the SDK."""
    async with rig.openai() as client:
        await client.chat.completions.create(model="third", messages=[{"role": "user", "content": question}])


async def test_it_tells_what_is_kept_and_saved_and_forgets_it(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """In lines for people, as JSON for programs; after `clear` a question is asked anew."""
    for question in ("hej", "hej", "dav"):
        await ask(rig, question)
    lines = dict(line.split(None, 1) for line in (await told(capsys, rig, "stats")).splitlines() if line[:4] != "left")
    assert lines["hits"] == "1"
    assert lines["hit"].endswith("33.3% of 3 requests")
    assert lines["saved"].startswith("1 calls, 0.0")
    as_json = json.loads(await told(capsys, rig, "stats", "--json"))
    assert (as_json["entries"], as_json["misses"], as_json["saved_calls"]) == (2, 2, 1)
    assert await told(capsys, rig, "clear", "--workspace", "someone else's") == "0 answers forgotten.\n"
    assert json.loads(await told(capsys, rig, "clear", "--json")) == {"cleared": 2}
    await ask(rig, "hej")
    assert len(rig.world.witness.dispatches) == 3


async def test_one_workspace_can_be_forgotten_alone(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name may hold anything; the one without a name is one too."""
    await ask(rig, "hej")
    assert await told(capsys, rig, "clear", "--workspace", "") == "1 answers forgotten.\n"


async def test_embeddings_and_questions_in_other_words_are_told_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line each, and one for every task with a semantic cache."""
    monkeypatch.setenv("TURNOUT_MASTER_KEY", KEY)
    task = "  loose: {{models: [third], cache: 60, semantic: {{embedder: vectors, threshold: 0.9, answer_threshold: 0.9}}}}\n"
    config = CONFIG.replace("tasks:\n", "tasks:\n" + task) + "cache: {{ttl: 60}}\n"
    async with Rig(tmp_path, config=config) as rig, rig.openai() as client:
        for texts in (["a", "b"], ["b", "c"]):
            await client.embeddings.create(model="vectors", input=texts)
        for question in ("hvad koster det?", "hvad er prisen?"):
            await client.chat.completions.create(model="task:loose", messages=[{"role": "user", "content": question}])
        lines = (await told(capsys, rig, "stats")).splitlines()
    assert lines[-2].startswith("embeddings    1 of ")  # the questions were embedded too
    assert lines[-1].startswith("semantic      loose, shadow: 0 of 2 served, ")
