"""core/plan.py: a price ceiling looks at what this very request would cost a token, a long one as its vendor prices long ones."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.worlds import CHEAP, DEAR, decided, filtered, keys, model, snapshot
from turnout.core.catalog import FREE, Price, Route, Task
from turnout.core.eligible import Ask
from turnout.core.plan import Plan, larger
from turnout.core.pricing import price_of
from turnout.core.principal import Grant
from turnout.core.targets import Index
from turnout.errors import NoCandidate, PermissionDenied

STEP = 200_000
LONG = msgspec.structs.replace(CHEAP, longer=((STEP, Price(300, 900)), (2 * STEP, DEAR)))
MODELS = [model("long", price=LONG), model("flat", price=CHEAP)]
TASKS = [Task("t", ("long", "flat"), price_ceiling=CHEAP)]
CAPPED = Grant(price_ceiling=CHEAP)


@pytest.mark.parametrize(
    ("ask", "over"),
    [
        (Ask("", task="t"), snapshot(MODELS, tasks=TASKS)),
        (Ask("r"), snapshot(MODELS, routes=[Route("r", ("long", "flat"), price_ceiling=CHEAP)])),
        (Ask("", task="t", grant=CAPPED), snapshot(MODELS, tasks=[Task("t", ("long", "flat"))])),
    ],
)
def test_a_long_request_is_judged_by_what_long_ones_cost(ask, over):
    """A task's, a route's, a key's ceiling: up to the threshold the model serves, one token more and it does not."""
    short = decided(msgspec.structs.replace(ask, input_tokens=STEP), over)
    assert (["long@openrouter", "flat@openrouter"], []) == (keys(short), filtered(short))
    long = decided(msgspec.structs.replace(ask, input_tokens=STEP + 1), over)
    assert ["flat@openrouter"] == keys(long)
    (why,) = long.filtered
    assert why.detail.startswith(
        "costs $0.3 in, $0.9 out per million tokens for a request as long as this (about 200,001 "
    )
    assert ("long", "grant" if ask.grant == CAPPED else "price") == (why.model, why.code)
    assert "$2.5 in" in decided(msgspec.structs.replace(ask, input_tokens=2 * STEP + 1), over).filtered[0].detail


def test_a_ceiling_above_the_step_lets_it_serve():
    """And no ceiling asks nothing."""
    for ceiling in (None, Price(300, 900)):
        over = snapshot(MODELS, tasks=[Task("t", ("long", "flat"), price_ceiling=ceiling)])
        assert 2 == len(keys(decided(Ask("", task="t", input_tokens=STEP + 1), over)))


def test_a_named_model_is_not_replaced_by_another():
    """The task's ceiling is an error with what helps; the key's is no matter for another try."""
    over = snapshot(MODELS, tasks=TASKS)
    refused = decided(Ask("long", task="t", input_tokens=STEP + 1), over)
    assert isinstance(refused, NoCandidate)
    assert "remove or raise tasks.t.price_ceiling" in refused.message
    assert isinstance(decided(Ask("long", grant=CAPPED, input_tokens=STEP + 1), over), PermissionDenied)


def test_who_takes_over_a_prompt_that_is_too_long_keeps_the_ceiling_too():
    """Before an attempt, and after one that said so."""
    models = [
        model("small", price=CHEAP, context_tokens=1000, context_fallbacks=("long", "huge")),
        model("long", price=LONG),
        model("huge", price=CHEAP),
    ]
    over = snapshot(models, tasks=[Task("t", ("small",), price_ceiling=CHEAP)])
    ask = Ask("", task="t", input_tokens=STEP + 1)
    assert ["huge@openrouter"] == keys(decided(ask, over))
    first = decided(msgspec.structs.replace(ask, input_tokens=10), over)
    after = larger(first, first.choices[0], first.choices[:1], ask, Index.of(over))
    assert ["huge@openrouter"] == [choice.candidate.key for choice in after]


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.sampled_from([FREE, CHEAP, DEAR])), max_size=3),
    st.sampled_from([FREE, CHEAP, DEAR]),
    st.integers(0, 1200),
)
def test_whatever_the_steps_the_price_that_applies_is_within_the_ceiling(steps, ceiling, input_tokens):
    """And a model whose price is within it at every length is never left out."""
    price = msgspec.structs.replace(CHEAP, longer=tuple(sorted(dict(steps).items())))
    over = snapshot([model("long", price=price)], tasks=[Task("t", ("long",), price_ceiling=ceiling)])
    made = decided(Ask("", task="t", input_tokens=input_tokens), over)
    applied = price_of(price, input_tokens)
    if isinstance(made, Plan):
        assert applied.input <= ceiling.input
    else:
        assert any(one.input > ceiling.input for one in (CHEAP, applied))
