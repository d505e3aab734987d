"""core/eligible.py: whether a candidate may serve."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.worlds import CHEAP, DEAR, candidate
from turnout.core.catalog import FREE, Account, Price
from turnout.core.eligible import Ask, Terms, describe_price, is_within, listed, misfit, refusal, too_dear, ungranted
from turnout.core.principal import EVERYTHING, Grant
from turnout.core.secret import Secret

LONG = Price(150, 600, longer=((1000, DEAR),))


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (FREE, "free"),
        (CHEAP, "$0.15 in, $0.6 out per million tokens"),
        (Price(2500, 10_000), "$2.5 in, $10 out per million tokens"),
        (Price(3, 15, 1, 4, 6, 2, 20), "$0.003 (up to $0.006) in, $0.015 (up to $0.02) out per million tokens"),
    ],
)
def test_a_price_in_words(price, words):
    """As vendors print it: dollars per million tokens."""
    assert words == describe_price(price)


@pytest.mark.parametrize(
    ("price", "ceiling", "within"),
    [
        (FREE, FREE, True),
        (Price(1, 0), FREE, False),
        (Price(0, 1), FREE, False),
        (Price(0, 0, 1), FREE, False),
        (Price(0, 0, None, 1), FREE, False),
        (Price(1, 1, reasoning_output=2), Price(1, 1), False),
        (Price(1, 1, cache_write_1h_input=2), Price(1, 1), False),
        (CHEAP, CHEAP, True),
        (CHEAP, DEAR, True),
        (DEAR, CHEAP, False),
        (Price(100, 100, None, 200), Price(150, 600), False),
    ],
)
def test_no_token_may_cost_more_than_the_ceiling(price, ceiling, within):
    """Cached tokens are input tokens; free refuses anything that costs."""
    assert within == is_within(price, ceiling)


@pytest.mark.parametrize(
    ("price", "input_tokens", "detail"),
    [
        (LONG, 1000, ""),
        (LONG, 1001, "costs $2.5 in, $10 out per million tokens for a request as long as this (about 1,001 tokens); "),
        (DEAR, 1001, "costs $2.5 in, $10 out per million tokens; "),
        (None, 0, "has no known price, and tasks.t.price_ceiling stands"),
    ],
)
def test_a_long_request_is_measured_by_what_it_costs(price, input_tokens, detail):
    """By whoever set the ceiling; without one nothing is asked."""
    made = candidate(price=price)
    why = too_dear(made, Terms("tasks.t", CHEAP), input_tokens)
    assert ("" if why is None else why.detail).startswith(detail)
    assert (
        bool(detail)
        == (why is not None)
        == (ungranted(made, Grant(price_ceiling=CHEAP), frozenset({"glm"}), input_tokens) is not None)
    )
    assert too_dear(made, Terms(), input_tokens) is None


def test_a_candidate_without_terms_may_serve():
    """Nothing asked, nothing refused."""
    assert refusal(candidate(price=None), Terms()) is None


@pytest.mark.parametrize(
    ("made", "terms", "code", "detail"),
    [
        (
            candidate(price=None),
            Terms("tasks.t", FREE),
            "unpriced",
            "has no known price, and tasks.t.price_ceiling stands",
        ),
        (
            candidate(price=CHEAP),
            Terms("tasks.t", FREE),
            "price",
            "costs $0.15 in, $0.6 out per million tokens; the price ceiling is free",
        ),
        (candidate(), Terms(regions=frozenset({"us", "eu"})), "region", "is in an unknown region, not in eu or us"),
        (candidate(region="cn"), Terms(regions=frozenset({"eu"})), "region", "is in cn, not in eu"),
        (candidate(), Terms(needs=frozenset({"embeddings"})), "kind", "makes no embeddings, which the task needs"),
        (
            candidate(can=frozenset({"json"})),
            Terms(needs=frozenset({"danish", "tools", "json"})),
            "tools",
            "cannot do tools, which the task needs",
        ),
    ],
)
def test_what_the_config_demands(made, terms, code, detail):
    """Price, region, abilities; each with a whole clause for a person."""
    why = refusal(made, terms)
    assert why is not None
    assert ("glm", "openrouter", code, detail) == (why.model, why.account, why.code, why.detail)


@pytest.mark.parametrize(
    ("made", "terms"),
    [
        (candidate(), Terms("t", FREE)),
        (candidate(region="eu"), Terms(regions=frozenset({"eu"}))),
        (candidate(mode="embedding"), Terms(needs=frozenset({"embeddings"}))),
        (candidate(), Terms(needs=frozenset({"tools", "vision"}))),
        (candidate(can=frozenset({"tools"})), Terms(needs=frozenset({"tools", "danish", "writing"}))),
    ],
)
def test_what_meets_the_demands(made, terms):
    """Labels are no abilities, and abilities that nobody told of are not held against a model."""
    assert refusal(made, terms) is None


def test_the_region_is_where_the_request_goes():
    """An account's region counts before the model's."""
    made = candidate(region="us")
    there = msgspec.structs.replace(made, account=Account("proxy", "compatible", region="eu"))
    assert refusal(there, Terms(regions=frozenset({"eu"}))) is None


@pytest.mark.parametrize(
    ("made", "ask", "code", "detail"),
    [
        (candidate(), Ask("", kind="embedding"), "kind", "is a model for chat, the request is for embedding"),
        (candidate(streams=False), Ask("", stream=True), "stream", "cannot stream"),
        (
            candidate(can=frozenset()),
            Ask("", needs=frozenset({"vision"})),
            "vision",
            "cannot do vision, which the request uses",
        ),
        (
            candidate(context_tokens=8000),
            Ask("", input_tokens=10_001),
            "context",
            "holds 8000 tokens, the request has about 10001",
        ),
        (
            candidate(context_tokens=8000),
            Ask("", input_tokens=8751, max_output_tokens=1000),
            "context",
            "holds 8000 tokens, the request has about 8751 and wants 1000 more",
        ),
    ],
)
def test_what_a_request_cannot_have(made, ask, code, detail):
    """Kind, streaming, abilities, size."""
    why = misfit(made, ask)
    assert why is not None
    assert (code, detail) == (why.code, why.detail)


@pytest.mark.parametrize(
    ("made", "ask"),
    [
        (candidate(), Ask("", stream=True, input_tokens=10**9, needs=frozenset({"tools"}))),
        (candidate(streams=False), Ask("")),
        (candidate(context_tokens=8000), Ask("", input_tokens=10_000)),
        (candidate(context_tokens=8000), Ask("", input_tokens=8750, max_output_tokens=1000)),
        (candidate(context_tokens=8000, can=frozenset({"tools"})), Ask("", input_tokens=5000, max_output_tokens=8000)),
    ],
)
def test_what_fits(made, ask):
    """An estimate must lie 25 % beyond the window; wanted output takes half of it at most; unknown is no hindrance."""
    assert misfit(made, ask) is None


@given(st.integers(1, 10**7), st.integers(0, 10**7), st.one_of(st.none(), st.integers(0, 10**7)))
def test_a_larger_window_never_refuses_what_a_smaller_one_takes(window, tokens, output):
    """Size is monotonic."""
    ask = Ask("", input_tokens=tokens, max_output_tokens=output)
    if misfit(candidate(context_tokens=window), ask) is None:
        assert misfit(candidate(context_tokens=2 * window), ask) is None


@pytest.mark.parametrize(
    ("account", "detail"),
    [
        (Account("a", "compatible", is_key_stored=True), "waits for its stored key to be read"),
        (Account("a", "compatible", is_key_stored=True, key_problem="has no stored key"), "has no stored key"),
        (Account("a", "compatible", is_key_stored=True, api_key=Secret("sk-canary")), None),
        (Account("a", "compatible"), None),
    ],
)
def test_an_account_whose_stored_key_is_not_there_is_not_asked(account, detail):
    """With why; the vault has put the key in, or said what is wrong with it."""
    found = refusal(msgspec.structs.replace(candidate("m"), account=account), Terms())
    assert ((found.code, found.detail) if found else (None, None)) == ("no_key" if detail else None, detail)


# ── what a key is narrowed to ──


@pytest.mark.parametrize(
    ("made", "grant", "detail"),
    [
        (candidate(price=None), EVERYTHING, ""),
        (candidate(), Grant(models=frozenset({"fast"})), ""),
        (candidate(), Grant(models=frozenset({"b", "a"})), "is not granted to this key, which may ask a, b"),
        (candidate(), Grant(tasks=frozenset({"t"}), addresses=("::1",), expires_at=1.0), ""),
        (candidate(price=CHEAP), Grant(price_ceiling=DEAR), ""),
        (candidate(price=None), Grant(price_ceiling=DEAR), "has no known price, and this key has a price ceiling"),
        (
            candidate(price=CHEAP),
            Grant(price_ceiling=FREE),
            "costs $0.15 in, $0.6 out per million tokens; this key's price ceiling is free",
        ),
        (candidate(region="eu"), Grant(regions=frozenset({"eu"})), ""),
        (candidate(region="cn"), Grant(regions=frozenset({"us", "eu"})), "is in cn; this key may ask in eu, us"),
        (candidate(), Grant(regions=frozenset({"eu"})), "is in an unknown region; this key may ask in eu"),
    ],
)
def test_what_a_grant_leaves_no_room_for(made, grant, detail):
    """Models by any name that leads to them, price, region; the first that is not met is told."""
    why = ungranted(made, grant, frozenset({"glm", "fast"}))
    assert detail == ("" if why is None else why.detail)
    assert why is None or ("glm", "openrouter", "grant") == (why.model, why.account, why.code)


def test_a_long_list_is_cut():
    """Errors stay readable."""
    assert "a, b and 2 more" == listed(frozenset("abcd"), most=2)
