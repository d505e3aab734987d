"""api/openapi.py: the description for tools says what is there, all of it and nothing else."""

from __future__ import annotations

import json
import re

import pytest

from turnout.api.app import App
from turnout.api.data import DIALECT_OF
from turnout.api.openapi import ROUTES, describe

TOLD = json.loads(describe())


@pytest.fixture
def app(rig):
    """The application of a running gateway."""
    return App(rig.service)


async def test_every_route_is_described_and_every_description_has_its_route(app):
    """Both ways, methods included: a new route without a row fails here."""
    there = {(path, "post") for path in DIALECT_OF} | {(path, "get") for path in app._gets}
    for route in app._admin.routes:
        there |= {(route.path, method.lower()) for method in route.methods - {"HEAD"}}
    described = {(path, method) for path, operations in TOLD["paths"].items() for method in operations}
    assert there == described


async def test_it_is_served_without_a_key(rig):
    """It holds nothing of the configuration."""
    async with rig.http(authorization="") as client:
        answer = await client.get("/openapi.json")
        wrong = await client.post("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert TOLD == answer.json()
    assert "stub" not in answer.text
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")


async def test_a_route_asks_for_the_key_exactly_if_its_row_says_so(rig):
    """The description's `security` is what the gateway does."""
    async with rig.http(authorization="") as client:
        for route in ROUTES:
            for path in route.paths:
                answer = await client.request(route.method, re.sub(r"\{\w+\}", "x", path), json={})
                assert route.key == (answer.status_code == 401), path
                assert route.key == bool(TOLD["paths"][path][route.method]["security"]), path


def test_every_reference_leads_somewhere_and_every_schema_is_used():
    """Within the document."""
    for kind in ("schemas", "headers"):
        names = set(re.findall(rf'"#/components/{kind}/([\w-]+)"', json.dumps(TOLD)))
        assert names | ({"allow"} if kind == "headers" else set()) == set(TOLD["components"][kind])


def test_operations_have_names_of_their_own():
    """Tools make functions of them; another spelling of a path is an operation of its own."""
    names = [one["operationId"] for operations in TOLD["paths"].values() for one in operations.values()]
    assert len(set(names)) == len(names)
    assert {"chat", "chatChatCompletions", "embeddings", "setRollout", "trace"} <= set(names)


def test_whatever_takes_a_body_or_a_query_says_how_it_refuses_one():
    """400, and for a body 413 and 422 too, without a word in any row."""
    for path, operations in TOLD["paths"].items():
        for method, one in operations.items():
            statuses = set(one["responses"])
            assert "requestBody" not in one or {"400", "413", "422"} <= statuses, (path, method)
            queried = [each for each in one.get("parameters", ()) if each["in"] == "query"]
            assert not queried or "400" in statuses, (path, method)


def test_a_body_that_may_be_left_out_is_described_so():
    """A key is rotated without one."""
    optional = {
        path
        for path, operations in TOLD["paths"].items()
        for one in operations.values()
        if not one.get("requestBody", {"required": True})["required"]
    }
    assert {"/admin/keys/{key}/rotate", "/admin/admins/{name}/rotate"} == optional


def test_money_and_names_are_described_as_they_are_read():
    """Money is a number or a text, bounded in both; a name may be there twice; who is named in a path has a name."""
    forms = TOLD["components"]["schemas"]
    usd, ceiling = forms["BudgetForm"]["properties"]["usd"], forms["Ceiling"]["properties"]["input"]
    assert (["number", "string"], 0, 10**9) == (usd["type"], usd["exclusiveMinimum"], usd["maximum"])
    assert (["number", "string"], 0, 10**9) == (ceiling["type"], ceiling["minimum"], ceiling["maximum"])
    assert (1, 256) == tuple(forms["AdminForm"]["properties"]["name"][name] for name in ("minLength", "maxLength"))
    assert "uniqueItems" not in json.dumps(TOLD)
    (name, *_) = TOLD["paths"]["/admin/users/{name}"]["put"]["parameters"]
    assert forms["AdminForm"]["properties"]["name"]["pattern"] == name["schema"]["pattern"]


def test_every_refusal_of_the_data_plane_tells_what_its_headers_tell():
    """Limits on what is answered and on a 429; on every 503 when to come again."""
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/embeddings", "/chat/completions"):
        told = TOLD["paths"][path]["post"]["responses"]
        assert "402" in told
        for status in ("200", "429"):
            assert {"x-ratelimit-limit-requests", "x-ratelimit-reset-tokens"} <= set(told[status]["headers"])
        assert {"x-turnout-cost", "x-turnout-budget-remaining"} <= set(told["200"]["headers"])
    for operations in TOLD["paths"].values():
        for one in operations.values():
            assert "retry-after" in one["responses"].get("503", {"headers": {"retry-after"}})["headers"]


async def test_an_answer_has_what_its_schema_requires(rig):
    """One of each, as a tool would check it."""
    body = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}
    async with rig.http() as client:
        chat = await client.post("/v1/chat/completions", json=body)
        await rig.service.flush_traces()
        answers = {
            "ChatAnswer": chat,
            "MessageAnswer": await client.post("/v1/messages", json=body | {"model": "third", "max_tokens": 9}),
            "EmbeddingAnswer": await client.post("/v1/embeddings", json={"model": "vectors", "input": "hej"}),
            "Models": await client.get("/v1/models"),
            "Health": await client.get("/health"),
            "Rollouts": await client.get("/admin/rollouts"),
            "Trace": await client.get(f"/admin/traces/{chat.headers['x-request-id']}"),
            "Explained": await client.post("/admin/explain", json={"task": "work"}),
            "Quotas": await client.get("/admin/quotas"),
            "CacheStats": await client.get("/admin/cache"),
            "Cleared": await client.delete("/admin/cache"),
            "Configuration": await client.get("/admin/config"),
            "Reloaded": await client.post("/admin/reload"),
            "Error": await client.get("/admin/traces/none"),
        }
    for name, answer in answers.items():
        assert set(TOLD["components"]["schemas"][name].get("required", ())) <= set(answer.json()), name
