"""`turnout prompts`: what it shows of a running gateway."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.rig import CONFIG, KEY, Rig
from turnout.cli import run
from turnout.gateway.prompts import LONGEST_BYTES

KEEPING = CONFIG + "\nprivacy: {{prompts: redacted}}\n"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The gateway's key in the environment."""
    monkeypatch.setenv("TURNOUT_MASTER_KEY", KEY)


@pytest.fixture
async def rig(tmp_path):
    """A gateway that keeps prompts."""
    async with Rig(tmp_path, config=KEEPING) as running:
        yield running


async def asked(rig, content, model="first"):
    """Ask; return the request's id."""
    async with rig.http() as client:
        body = {"model": model, "messages": [{"role": "user", "content": content}]}
        return (await client.post("/v1/chat/completions", json=body)).headers["x-request-id"]


async def shown(rig, capsys, *arguments, code=0):
    """What the command prints."""
    assert code == await asyncio.to_thread(run, ["prompts", "show", *arguments, "--url", rig.url])
    told = capsys.readouterr()
    return told.out if code == 0 else told.err


async def test_it_shows_a_prompt_as_it_was_kept(rig, capsys):
    """When, for which task, and every member, without what was personal; a line of it moves no terminal's cursor."""
    name = await asked(rig, "Hej \x1b[2J fra ola@x.dk", "task:work")
    lines = (await shown(rig, capsys, name)).splitlines()
    assert lines[0].startswith(f"request {name}, 20")
    assert lines[0].endswith(" UTC, openai_chat")
    assert any('"content": "Hej \\u001b[2J fra <EMAIL_1>"' in line for line in lines)
    told = json.loads(await shown(rig, capsys, name, "--json"))
    assert name == told["request_id"]
    assert "task:work" == told["fields"]["model"]


async def test_a_task_is_named(rig, capsys):
    """As the request said it."""
    async with rig.http(x_turnout_task="work") as client:
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hej"}]}
        name = (await client.post("/v1/chat/completions", json=body)).headers["x-request-id"]
    assert " UTC, task work, openai_chat" in await shown(rig, capsys, name)


async def test_of_one_too_long_the_beginning(rig, capsys):
    """And it says so."""
    name = await asked(rig, "ord " * (LONGEST_BYTES // 3))
    out = await shown(rig, capsys, name)
    assert "It was too long to be kept whole" in out
    assert "ord ord ord" in out


async def test_an_id_that_is_not_there(rig, capsys):
    """One line that says how prompts are kept."""
    assert "privacy.prompts" in await shown(rig, capsys, "req/../x?", code=1)
