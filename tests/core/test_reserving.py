"""core/reserving.py: what is set aside before a vendor is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import FREE, Model, Price
from turnout.core.pricing import LIMIT_NANO_USD, cost
from turnout.core.reserving import DEFAULT_OUTPUT_TOKENS, worst_case
from turnout.core.usage import Usage

PRICE = Price(150, 600)
PLAIN = Model("m", "p", "m")


def test_a_token_is_three_bytes_rounded_up():
    """So that no byte is free."""
    assert [0, 150, 150, 150, 300] == [worst_case(PRICE, size, 1, PLAIN) - 600 for size in (0, 1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("asked", "model", "tokens"),
    [
        (7, Model("m", "p", "m", max_output_tokens=100), 7),
        (None, Model("m", "p", "m", max_output_tokens=100), 100),
        (None, PLAIN, DEFAULT_OUTPUT_TOKENS),
        (7, Model("m", "p", "m", mode="embedding"), 0),
    ],
)
def test_the_output_is_as_much_as_may_come(asked, model, tokens):
    """What the request says, else the model's, else 4,096; embeddings make none."""
    assert tokens * 600 == worst_case(PRICE, 0, asked, model)


def test_no_more_input_than_the_model_holds():
    """An image in base64 is a million bytes and a thousand tokens; the window, and a tenth, bounds it."""
    model = Model("m", "p", "m", context_tokens=1000, mode="embedding")
    assert 1100 * 150 == worst_case(PRICE, 10**6, None, model)


def test_the_dearest_kind_and_the_dearest_step():
    """What may be written to a cache, reasoned or drawn; a long request at the price of long ones."""
    price = Price(10, 20, 1, 13, reasoning_output=30, longer=((100, Price(5, 5)), (1000, Price(50, 60))))
    assert 100 * 13 + 30 == worst_case(price, 300, 1, PLAIN)
    assert 101 * 13 + 30 == worst_case(price, 303, 1, PLAIN)
    assert 1001 * 50 + 60 == worst_case(price, 3003, 1, PLAIN)


def test_nothing_for_nothing_and_never_beyond_belief():
    """Free reserves nothing; the sum fits a database."""
    assert 0 == worst_case(FREE, 10**9, 10**9, PLAIN)
    assert LIMIT_NANO_USD == worst_case(PRICE, 10**15, 1, PLAIN)


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.data())
def test_it_is_never_too_little(size, asked, data):
    """For every vendor that keeps to max_tokens and whose tokens are three bytes or longer."""
    usage = Usage(data.draw(st.integers(0, -(-size // 3))), data.draw(st.integers(0, asked)))
    price = Price(10, 20, longer=((1000, Price(50, 60)), (10_000, Price(40, 100))))
    assert cost(price, usage) <= worst_case(price, size, asked, PLAIN)
