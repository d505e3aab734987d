"""Decides what an attempt cost: integer nano-dollars, never a float, never negative.

Cached tokens are priced apart where the vendor does so, else as input. Usage is a vendor's word (RELIABILITY R11):
cached counts beyond the input count are charged as said, and the rest of the input is then zero, not negative.
Source: docs/adr/0005-money-nano-dollars.md; CVE-2026-71479 (an overflow in billing became credit).
"""

from __future__ import annotations

from turnout.core.catalog import Price
from turnout.core.usage import Usage

LIMIT_NANO_USD = 10**15
"""One million dollars for one attempt: above it the count or the price is wrong, and no figure is better than that one.
It is also far below 2^63, so sums fit a database's integer."""

NANO_PER_USD = 10**9


def cost(price: Price | None, usage: Usage) -> int | None:
    """Return nano-dollars, or None: the model is unpriced, or the result is beyond belief. O(1), never raises."""
    if price is None:
        return None
    read, written = usage.cache_read_input_tokens, usage.cache_write_input_tokens
    plain = max(0, usage.input_tokens - read - written)
    total = (
        plain * price.input
        + read * (price.input if price.cache_read_input is None else price.cache_read_input)
        + written * (price.input if price.cache_write_input is None else price.cache_write_input)
        + usage.output_tokens * price.output
    )
    return total if 0 <= total <= LIMIT_NANO_USD else None


def format_usd(nano_usd: int) -> str:
    """Return dollars for a person, exactly: "$0.00", "$12.50", "$0.000150", "$0.000000001". nano_usd: >= 0. O(1).

    Whole cents have two decimals, whole micro-dollars six, anything finer nine.
    """
    whole, rest = divmod(nano_usd, NANO_PER_USD)
    digits = f"{rest:09d}"
    places = 2 if rest % 10**7 == 0 else 6 if rest % 10**3 == 0 else 9
    return f"${whole}.{digits[:places]}"
