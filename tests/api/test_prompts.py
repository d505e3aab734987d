"""GET /admin/prompts/REQUEST_ID."""

from __future__ import annotations

import pytest

from tests.rig import CONFIG, Rig
from turnout.core.books.audit import Wanted, latest
from turnout.core.books.prompts import SealedPrompt, add

KEEPING = CONFIG + "\nprivacy: {{prompts: redacted, keep: 1h}}\n"
BODY = {"model": "first", "messages": [{"role": "user", "content": "Skriv til ola@x.dk"}]}


@pytest.fixture
async def rig(tmp_path):
    """A gateway that keeps prompts."""
    async with Rig(tmp_path, config=KEEPING) as running:
        yield running


async def test_the_prompt_of_the_request_just_made_is_shown_and_the_look_is_audited(rig):
    """At once: what waits to be written is written first."""
    async with rig.http() as client:
        name = (await client.post("/v1/chat/completions", json=BODY)).headers["x-request-id"]
        told = (await client.get(f"/admin/prompts/{name}")).json()
    assert (name, "openai_chat", "", "") == (told["request_id"], told["dialect"], told["task"], told["cut"])
    assert [{"role": "user", "content": "Skriv til <EMAIL_1>"}] == told["fields"]["messages"]
    ((_, row),) = await rig.service.database.read(lambda: latest(Wanted(action="prompt.show"), 10))
    assert ("owner", "127.0.0.1", name, "done") == (row.role, row.address, row.target, row.outcome)


async def test_a_request_without_a_kept_prompt_is_a_404_that_says_why(rig):
    """And how to have them kept."""
    async with rig.http() as client:
        answer = await client.get("/admin/prompts/req_none")
    assert (404, "request_id") == (answer.status_code, answer.json()["error"]["param"])
    assert "privacy.prompts" in answer.json()["error"]["message"]


async def test_one_that_does_not_open_is_a_503_that_says_why(rig):
    """It was moved, or the root key was changed."""
    await rig.service.database.write(lambda: add([SealedPrompt("req_odd", 2**42, b"x" * 60)]))
    async with rig.http() as client:
        answer = await client.get("/admin/prompts/req_odd")
    assert (503, "store_unavailable") == (answer.status_code, answer.json()["error"]["code"])
    assert "no sealed text" in answer.json()["error"]["message"]


async def test_it_asks_for_a_key(rig):
    """As every admin route; which roles may, tests/api/routes.toml says."""
    async with rig.http(authorization="") as client:
        assert 401 == (await client.get("/admin/prompts/x")).status_code
