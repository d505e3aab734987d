"""Decides how much is set aside before a vendor is asked: more than the attempt can be expected to cost, so that budgets hold.

Input: a token is at least three bytes of JSON in nearly every text (four in English, and the names of the members count
too); never more than the model's context holds. Output: as much as may come. Each at the dearest kind of token that such
a request can have. A vendor that goes beyond is booked as it was: what is set aside is a bound for vendors that
keep to `max_tokens`, not a guess at the bill.
Source: RELIABILITY C5, F2; the bytes a token has: core/usage.py.
"""

from __future__ import annotations

from turnout.core.catalog import Model, Price
from turnout.core.pricing import LIMIT_NANO_USD

BYTES_PER_TOKEN = 3
DEFAULT_OUTPUT_TOKENS = 4096
"""Where neither the request nor the model says: what core/anthropic_requests.py asks for too."""

ROOM = 1.1
"""Models' windows are written down a little small ("128k" for 131,072)."""


def worst_case(price: Price, input_bytes: int, max_output_tokens: int | None, model: Model) -> int:
    """Return nano-dollars to set aside for one attempt.

    input_bytes: of the encoded request, >= 0. max_output_tokens: as the request says (times `n`, if it asks for several
    answers), None if it does not. O(thresholds of the price), 1 µs. Never raises, never negative.
    """
    given = -(-input_bytes // BYTES_PER_TOKEN)
    if model.context_tokens is not None:
        given = min(given, int(model.context_tokens * ROOM))
    made = 0
    if model.mode == "chat":
        made = max_output_tokens or model.max_output_tokens or DEFAULT_OUTPUT_TOKENS
    most = given * price.dearest_input + made * price.dearest_output
    for above, other in price.longer:
        if given > above:
            most = max(most, given * other.dearest_input + made * other.dearest_output)
    return min(most, LIMIT_NANO_USD)
