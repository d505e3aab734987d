"""`turnout quota`: what it shows of a running gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.rig import CONFIG, KEY, Rig
from turnout.cli import run

QUOTAS = CONFIG.replace(
    "key-1}}",
    "key-1, quota: {{requests_per_minute: 16, requests_per_day: 1000, margin: 25 %, at_once: 2, reserve: 0.2}}}}",
).replace("key-2}}", "key-2, quota: learn}}")


async def told(capsys: pytest.CaptureFixture[str], rig: Rig, *arguments: str) -> str:
    """What the command prints."""
    assert await asyncio.to_thread(run, ["quota", *arguments, "--url", rig.url]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's key in the environment."""
    monkeypatch.setenv("TURNOUT_MASTER_KEY", KEY)


async def test_it_tells_where_each_quota_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each number: used, the limit and the vendor's own, left, reserved, and when it comes back."""
    async with Rig(tmp_path, config=QUOTAS) as rig, rig.openai() as client:
        await client.chat.completions.create(model="first", messages=[{"role": "user", "content": "hej"}])
        lines = (await told(capsys, rig)).splitlines()
        as_json = json.loads(await told(capsys, rig, "--json"))["quotas"]
    plain = [" ".join(line.split()) for line in lines]
    assert plain[0] == "quota of used limit left reserved resets at runs out at"
    assert plain[1].startswith("stub requests a minute 1 12 of 16 11 ")
    reserved = as_json[0]["gauges"][1]["reserved"]  # less in the last hours of the vendor's day
    assert plain[2].startswith(f"stub requests a day 1 750 of 1,000 749 {reserved or ''}".rstrip())
    assert plain[3:] == ["stub at once 0 2 2", "backup: its vendor has told no limit yet."]
    assert [one["name"] for one in as_json] == ["stub", "backup"]
    first = as_json[0]["gauges"][0]
    assert ("requests_minute", 1, 11, 12, 16) == tuple(
        first[key] for key in ("what", "used", "left", "limit", "vendor")
    )


async def test_a_gateway_without_quotas_says_how_to_add_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And an empty list as JSON."""
    async with Rig(tmp_path) as rig:
        assert (await told(capsys, rig)).startswith("No quota is known. Add one under `quota:`")
        assert json.loads(await told(capsys, rig, "--json")) == {"quotas": []}


async def test_a_vendor_that_wants_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the moment at which it may be asked again."""
    async with Rig(tmp_path, config=QUOTAS) as rig:
        for _ in range(2):
            rig.service.engine.scheduler.quotas.refused(("backup",), 60.0, rig.service.clock.now())
        assert "backup: its vendor wants nothing before " in await told(capsys, rig)
