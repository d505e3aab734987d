"""Orders candidates by price, cheapest first; equally dear ones stay in the order of the config, unpriced ones come last.

One figure per candidate: three input tokens and one output token, the usual proportion of a chat (a prompt with its
history against an answer). Unknown is not cheap: a model without a price may cost anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from turnout.core.catalog import Candidate
from turnout.core.contracts import Load

INPUT_SHARE = 3
"""Input tokens for each output token, the blend in which price comparisons of models are usually made."""


class LowestCost:
    """Cheapest first."""

    name = "lowest_cost"

    def order(
        self,
        candidates: Sequence[Candidate],
        weights: Sequence[float],  # noqa: ARG002 - part of the contract
        loads: Mapping[str, Load],  # noqa: ARG002
        draw: float,  # noqa: ARG002
    ) -> Sequence[Candidate]:
        """Return them by the price of their path. O(n log n)."""
        return sorted(candidates, key=_blend)


def _blend(candidate: Candidate) -> tuple[bool, int]:
    price = candidate.price
    return (True, 0) if price is None else (False, INPUT_SHARE * price.input + price.output)


POLICY = LowestCost()
