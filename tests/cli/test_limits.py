"""`turnout limits`: what it shows of a running gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.rig import CONFIG, KEY, Rig
from turnout.cli import run

LIMITS = CONFIG + 'limits: {{all: {{requests_per_minute: 4}}, "user:anna": {{tokens_per_minute: 9000, at_once: 2}}}}\n'
ASK = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}


async def told(capsys: pytest.CaptureFixture[str], rig: Rig, *arguments: str) -> str:
    """What the command prints."""
    assert await asyncio.to_thread(run, ["limits", *arguments, "--url", rig.url]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's key in the environment."""
    monkeypatch.setenv("TURNOUT_MASTER_KEY", KEY)


async def test_it_tells_where_each_limit_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each number, those with the least left first; what nobody used yet as well."""
    async with Rig(tmp_path, config=LIMITS) as rig, rig.http() as client:
        await client.post("/v1/chat/completions", json=ASK)
        lines = (await told(capsys, rig)).splitlines()
        as_json = json.loads(await told(capsys, rig, "--json"))
    plain = [" ".join(line.split()) for line in lines]
    assert plain[0] == "limit of limit used elsewhere left more at"
    assert plain[1].startswith("all requests in 60 seconds 4 1 0 3 ")
    assert plain[2:] == ["user:anna tokens in 60 seconds 9,000 0 0 9,000", "user:anna requests at once 2 0 0 2"]
    assert (False, 0, ["all", "user"]) == (
        as_json["cut"],
        as_json["sharers"],
        [one["scope"] for one in as_json["limits"]],
    )


async def test_a_gateway_without_limits_says_how_to_give_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And an empty list as JSON."""
    async with Rig(tmp_path) as rig:
        assert (await told(capsys, rig)).startswith("Nobody is limited now. Give a limit under `limits:`")
        assert [] == json.loads(await told(capsys, rig, "--json"))["limits"]
