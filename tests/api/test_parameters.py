"""What a request may carry besides its body, and what an answer tells beside it: as described, so it is sent."""

from __future__ import annotations

import re

from tests.rig import CONFIG, Rig
from turnout.api.heads import ONCE
from turnout.api.openapi import ROUTES
from turnout.api.parameters import ANSWERED, ASKED, QUERY, answered, query

ASK = {"messages": [{"role": "user", "content": "hej"}], "max_tokens": 10}
ONE_AND_NO_MORE = """
limits: {{all: {{requests_per_minute: 1, tokens_per_minute: 100_000}}}}
budgets: {{all: 5/month}}
cache: {{ttl: 60}}
"""
BOTH = CONFIG.replace("price: free, context: 128000", "price: {{input: 1, output: 1}}, context: 128000")


def fits(header, value):
    """Whether a value is what a header's schema says."""
    schema = ANSWERED[header]["schema"]
    if schema.get("type") in ("integer", "number"):
        return float(value) >= schema.get("minimum", 0)
    wanted = schema.get("enum", [schema["const"]] if "const" in schema else [value])
    return value in wanted and re.search(schema.get("pattern", ""), value) is not None


def ours(answer):
    """The headers of an answer that are not its connection's or its body's."""
    return {name: value for name, value in answer.headers.items() if name in ANSWERED or name.startswith("x-")}


def test_whatever_a_query_may_say_is_of_some_route():
    """And each row says what it means."""
    assert set(QUERY) <= {name for route in ROUTES for name in route.query}
    assert all(row["description"] for row in QUERY.values())


def test_an_empty_value_is_described_where_it_counts_as_not_said():
    """A text of which the empty one is one too needs no word."""
    assert query("who") == {"name": "who", "in": "query", "schema": {"type": "string"}, "allowEmptyValue": True}
    assert "allowEmptyValue" not in query("workspace", may_be_empty=True)
    assert (1, 10_000) == tuple(query("most")["schema"][name] for name in ("minimum", "maximum"))


def test_headers_that_decide_something_are_described():
    """But for the standard ones, and for the one whose values no schema can tell."""
    decide = {name.decode() for name in ONCE if name.startswith(b"x-turnout")} - {"x-turnout-by"}
    assert decide | {"cache-control", "idempotency-key"} == set(ASKED)


def test_every_described_header_is_of_some_answer():
    """`allow` is of a 405, which is no row's own."""
    of_answers = {name for status in (200, 401, 429, 502, 503) for name in answered(status, asks=True)}
    assert set(ANSWERED) - {"allow"} == of_answers
    assert (answered(200, asks=False), answered(401, asks=False)) == ((), ("www-authenticate",))
    assert {name for name, row in ANSWERED.items() if row.get("required")} == {"retry-after", "www-authenticate"}


async def test_an_answer_and_a_refusal_have_the_headers_that_are_described(tmp_path):
    """Of the limit, the budget, the cost and the cache; each value as its schema has it."""
    async with Rig(tmp_path, config=BOTH + ONE_AND_NO_MORE) as rig, rig.http() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "task:work", **ASK})
        refused = await client.post("/v1/chat/completions", json={"model": "task:work", **ASK, "temperature": 1})
    assert (answer.status_code, refused.status_code) == (200, 429)
    for told in (answer, refused):
        described = answered(told.status_code, asks=True)
        assert set(ours(told)) <= set(described)
        assert [] == [(name, value) for name, value in ours(told).items() if not fits(name, value)]
    limits = {f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")}
    said = {f"x-turnout-budget{what}" for what in ("", "-limit", "-remaining", "-reset")}
    assert limits | said | {"x-turnout-cost", "x-turnout-cache", "x-turnout-task"} <= set(answer.headers)
    assert limits | {"retry-after", "retry-after-ms", "x-request-id"} <= set(refused.headers)


async def test_who_has_no_key_is_told_the_scheme_on_every_route(rig):
    """As the description requires."""
    async with rig.http(authorization="") as client:
        for path in ("/v1/models", "/admin/keys"):
            told = await client.get(path)
            assert (401, "Bearer") == (told.status_code, told.headers["www-authenticate"])
