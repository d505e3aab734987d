"""core/pricing.py: what an attempt cost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import FREE, Price
from turnout.core.pricing import LIMIT_NANO_USD, cost, format_usd, is_priced
from turnout.core.usage import LIMIT_TOKENS, Usage

MINI = Price(150, 600)

counts = st.integers(0, LIMIT_TOKENS)
usages = st.builds(Usage, counts, counts, counts, counts)
prices = st.builds(Price, st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.integers(0, 10**6))


def test_tokens_times_price():
    """1,000 in and 500 out of gpt-4o-mini: 0.15 and 0.60 dollars a million."""
    assert cost(MINI, Usage(1000, 500)) == 1000 * 150 + 500 * 600


def test_free_is_a_price_and_unpriced_is_not():
    """Nothing is not unknown."""
    assert cost(FREE, Usage(10**9, 10**9)) == 0
    assert cost(None, Usage(1, 1)) is None


def test_cached_tokens_are_priced_apart():
    """They are part of the input, not besides it."""
    price = Price(3000, 15_000, 300, 3750)
    assert cost(price, Usage(1000, 10, 400, 100)) == 500 * 3000 + 400 * 300 + 100 * 3750 + 10 * 15_000


def test_cached_tokens_without_a_price_of_their_own_are_input():
    """A vendor that does not price them apart charges them as any other."""
    assert cost(MINI, Usage(1000, 10)) == cost(MINI, Usage(1000, 10, 400, 100))


def test_more_cached_than_there_were_is_charged_as_said_and_no_credit():
    """CVE-2026-71479: absurd usage must not earn money."""
    assert cost(Price(100, 0, 10), Usage(0, 0, 400)) == 400 * 10


def test_beyond_belief_is_unknown():
    """A million dollars for one attempt is a bug; the last nano-dollar before it is not."""
    assert cost(Price(1, 0), Usage(LIMIT_NANO_USD, 0)) == LIMIT_NANO_USD
    assert cost(Price(1, 1), Usage(LIMIT_NANO_USD, 1)) is None
    assert cost(Price(-1, 0), Usage(1, 0)) is None


@given(prices, usages)
def test_a_cost_is_a_whole_number_in_its_bounds(price, usage):
    """Never a float, never negative, never beyond what a database's integer sums up."""
    charged = cost(price, usage)
    assert charged is None or (type(charged) is int and 0 <= charged <= LIMIT_NANO_USD)


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (0, "$0.00"),
        (150_000, "$0.000150"),
        (1, "$0.000000001"),
        (10_000_000, "$0.01"),
        (12_500_000_000, "$12.50"),
        (1_234_567_000, "$1.234567"),
        (LIMIT_NANO_USD, "$1000000.00"),
        (-500_000_000, "-$0.50"),
    ],
)
def test_dollars_for_a_person(nano_usd, text):
    """Cents if that is all, else micro-dollars, else nano-dollars."""
    assert text == format_usd(nano_usd)


@given(st.integers(0, LIMIT_NANO_USD))
def test_no_nano_dollar_is_lost_on_the_way(nano_usd):
    """What is shown is what is counted."""
    assert nano_usd == Decimal(format_usd(nano_usd)[1:]) * 10**9


KINDS = Price(1000, 5000, 100, 1250, 2000, image_input=700, reasoning_output=6000, image_output=9000)


def test_every_kind_has_its_price():
    """Cached, written for minutes and for an hour, images in and out, reasoning: each once."""
    usage = Usage(100, 50, 10, 20, 5, cache_write_1h_input_tokens=8, image_input_tokens=30, image_output_tokens=15)
    expected = 40 * 1000 + 10 * 100 + 12 * 1250 + 8 * 2000 + 30 * 700 + 30 * 5000 + 5 * 6000 + 15 * 9000
    assert expected == cost(KINDS, usage)


def test_a_kind_without_a_price_costs_as_what_it_is():
    """Input or output; a write kept for an hour as any write."""
    usage = Usage(100, 50, 10, 20, 5, cache_write_1h_input_tokens=8, image_input_tokens=30, image_output_tokens=15)
    assert 100 * 150 + 50 * 600 == cost(MINI, usage)
    assert 80 * 150 + 20 * 200 + 50 * 600 == cost(Price(150, 600, cache_write_input=200), usage)


def test_long_requests_cost_more_all_of_them():
    """As vendors price them: at the threshold the old price, one token above it the new one for every token."""
    price = Price(1, 2, longer=((1000, Price(10, 20)), (2000, Price(100, 200))))
    assert [1000 + 2, 10_010 + 20, 20_000 + 20, 200_100 + 200] == [
        cost(price, Usage(tokens, 1)) for tokens in (1000, 1001, 2000, 2001)
    ]


def test_what_is_priced():
    """Free is; unknown is not."""
    assert [True, True, False] == [is_priced(one) for one in (FREE, MINI, None)]


@given(st.builds(Usage, *[st.integers(0, 10**6)] * 5, st.just("exact"), *[st.integers(0, 10**6)] * 3))
def test_no_token_is_dearer_than_the_dearest(usage):
    """Of what was used, whatever its kinds: what a reservation is made of is a bound."""
    parts = usage.cache_read_input_tokens + usage.cache_write_input_tokens + usage.image_input_tokens
    given = max(usage.input_tokens, parts)
    made = max(usage.output_tokens, usage.reasoning_output_tokens + usage.image_output_tokens)
    assert cost(KINDS, usage) <= given * KINDS.dearest_input + made * KINDS.dearest_output
