"""Decides what an attempt cost: integer nano-dollars, never a float, never negative. One function for every provider, streamed
or not.

Tokens of a kind (cached, written to the cache, images, reasoning) are priced apart where the vendor does so, else as the
input or the output that they are. A request with more input than one of the price's thresholds costs, all of it, as said
there: that is how vendors price long ones. Usage is a vendor's word (RELIABILITY R11): counts of kinds beyond their whole
are charged as said, and the rest of the whole is then zero, not negative.
Not priced: what is billed by the call (web searches), and what a request asks for besides (batch, flex, priority).
Source: docs/adr/0005-money-nano-dollars.md; CVE-2026-71479 (an overflow in billing became credit).
"""

from __future__ import annotations

from typing import TypeGuard

from turnout.core.catalog import Price
from turnout.core.usage import Usage

LIMIT_NANO_USD = 10**15
"""One million dollars for one attempt: above it the count or the price is wrong, and no figure is better than that one.
It is also far below 2^63, so sums fit a database's integer."""

NANO_PER_USD = 10**9


def is_priced(price: Price | None) -> TypeGuard[Price]:
    """Return whether it is known what a model costs. Nothing ("free") is known; unknown is not nothing: where a budget or a
    price ceiling stands, such a model is not asked. O(1).
    """
    return price is not None


def cost(price: Price | None, usage: Usage) -> int | None:
    """Return nano-dollars, or None: the model is unpriced, or the result is beyond belief. 0.5 µs, never raises."""
    if price is None:
        return None
    price = price_of(price, usage.input_tokens)
    read, written, seen = usage.cache_read_input_tokens, usage.cache_write_input_tokens, usage.image_input_tokens
    reasoning, drawn = usage.reasoning_output_tokens, usage.image_output_tokens
    total = (
        max(0, usage.input_tokens - read - written - seen) * price.input
        + max(0, usage.output_tokens - reasoning - drawn) * price.output
    )
    if read:
        total += read * (price.input if price.cache_read_input is None else price.cache_read_input)
    if written:
        total += _written(price, written, usage.cache_write_1h_input_tokens)
    if seen:
        total += seen * (price.input if price.image_input is None else price.image_input)
    if reasoning:
        total += reasoning * (price.output if price.reasoning_output is None else price.reasoning_output)
    if drawn:
        total += drawn * (price.output if price.image_output is None else price.image_output)
    return total if 0 <= total <= LIMIT_NANO_USD else None


def price_of(price: Price, input_tokens: int) -> Price:
    """Return what a request with that much input costs a token: `price` itself, or the one above its highest threshold that is
    passed. O(thresholds).
    """
    found = price
    for above, other in price.longer:
        if input_tokens > above:
            found = other
    return found


def _written(price: Price, written: int, hour: int) -> int:
    short = price.input if price.cache_write_input is None else price.cache_write_input
    long = short if price.cache_write_1h_input is None else price.cache_write_1h_input
    hour = min(hour, written)
    return (written - hour) * short + hour * long


def format_usd(nano_usd: int) -> str:
    """Return dollars for a person, exactly: "$0.00", "$12.50", "$0.000150", "$0.000000001", "-$0.50" (a correction). O(1).

    Whole cents have two decimals, whole micro-dollars six, anything finer nine.
    """
    whole, rest = divmod(abs(nano_usd), NANO_PER_USD)
    digits = f"{rest:09d}"
    places = 2 if rest % 10**7 == 0 else 6 if rest % 10**3 == 0 else 9
    return f"{'-' if nano_usd < 0 else ''}${whole}.{digits[:places]}"
