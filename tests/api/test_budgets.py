"""GET /admin/budgets and /admin/alerts; and what a client is told of its budget."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from tests.rig import KEY, Rig

CONFIG = """
defaults: false
providers: {{stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}}}
models: {{cent: {{provider: stub, id: vendor/cent, price: {{input: 0, output: 1000}}}}}}
budgets: {{all: {{limit: 0.02, period: month, alerts: [50 %]}}, team:t: 5/life}}
"""
ASK = {"model": "cent", "max_tokens": 10, "messages": [{"role": "user", "content": "hej"}]}


@pytest.fixture
async def rig(tmp_path):
    """A gateway whose vendor takes a cent."""
    async with Rig(tmp_path, config=CONFIG) as running:
        running.world.by_model["vendor/cent"] = "tokens=10"
        yield running


@pytest.fixture
async def admin(rig):
    """A client with the master key."""
    async with httpx2.AsyncClient(base_url=rig.url, headers={"authorization": f"Bearer {KEY}"}) as client:
        yield client


async def test_budgets_are_told_as_they_stand(admin):
    """What was spent is what the vendor took; headers say what is left, a refusal which budget and until when."""
    for left in ("0.01", "0.00"):
        answer = await admin.post("/v1/chat/completions", json=ASK)
        told = {name: answer.headers.get(f"x-turnout-budget{name}") for name in ("", "-limit", "-remaining")}
        assert (200, {"": "all", "-limit": "0.02", "-remaining": left}) == (answer.status_code, told)
    assert answer.headers["x-turnout-budget-reset"].isdigit()
    refused = await admin.post("/v1/chat/completions", json=ASK)
    error = refused.json()["error"]
    assert (402, "budget_exceeded", "insufficient_quota") == (refused.status_code, error["code"], error["type"])
    assert "The budget 'all' of $0.02 has no room for this request" in error["message"]
    assert (b"all", int(answer.headers["x-turnout-budget-reset"])) == (
        error["budget"]["name"].encode(),
        error["budget"]["resets_at"],
    )
    async with asyncio.timeout(10):
        while (found := (await admin.get("/admin/budgets")).json()["budgets"])[0]["spent_usd"] != "0.02":
            await asyncio.sleep(0.02)
    assert [("all", "0.02", "0.00"), ("team:t", "0.00", "5.00")] == [
        (one["budget"], one["spent_usd"], one["left_usd"]) for one in found
    ]


async def test_what_is_left_is_told_after_the_answer(rig, admin):
    """Of an answer that was shorter than it might have been, the rest is left; of a stream nobody knows that yet."""
    rig.world.by_model["vendor/cent"] = "tokens=4"
    answer = await admin.post("/v1/chat/completions", json=ASK)
    assert ("0.004000", "0.016000") == tuple(
        answer.headers[name] for name in ("x-turnout-cost", "x-turnout-budget-remaining")
    )
    streamed = await admin.post("/v1/chat/completions", json={**ASK, "stream": True})
    assert "0.006000" == streamed.headers["x-turnout-budget-remaining"]


async def test_alerts_are_told(admin):
    """With who was told: nobody, here."""
    await admin.post("/v1/chat/completions", json=ASK)
    async with asyncio.timeout(10):
        while not (found := (await admin.get("/admin/alerts?most=5")).json()["alerts"]):
            await asyncio.sleep(0.05)
    assert ("all", "50%", "0.01", None) == tuple(found[0][name] for name in ("budget", "mark", "mark_usd", "channel"))


async def test_metrics_tell_of_budgets(admin):
    """Spent and left by budget; refusals by scope."""
    await admin.post("/v1/chat/completions", json=ASK)
    await admin.post("/v1/chat/completions", json={**ASK, "max_tokens": 1000})
    text = (await admin.get("/metrics")).text
    assert 'turnout_budget_limit_usd{budget="all"} 0.02' in text
    assert 'turnout_budget_remaining_usd{budget="all"} 0.01' in text
    assert 'turnout_budget_refusals_total{scope="all"} 1.0' in text


@pytest.mark.parametrize("path", ["/admin/budgets", "/admin/alerts"])
@pytest.mark.parametrize("query", ["most=0", "most=10001", "most=x", "most=%C2%B2", "colour=red"])
async def test_what_cannot_be_meant_is_a_400(admin, path, query):
    """That names the parameter."""
    answer = await admin.get(f"{path}?{query}")
    assert (400, query.partition("=")[0]) == (answer.status_code, answer.json()["error"]["param"])


@pytest.mark.parametrize("path", ["/admin/budgets", "/admin/alerts"])
async def test_how_many_lines_may_be_left_open(admin, path):
    """By an empty value too."""
    for query in ("", "?most=", "?most", "?most=10000"):
        assert 200 == (await admin.get(f"{path}{query}")).status_code


@pytest.mark.parametrize("path", ["/admin/budgets", "/admin/alerts"])
async def test_they_ask_for_a_key(admin, path):
    """As every admin route."""
    assert 401 == (await admin.get(path, headers={"authorization": ""})).status_code
