"""Orders candidates as the config lists them: the first is the best, the others are for its failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from turnout.core.catalog import Candidate
from turnout.core.contracts import Load


class Priority:
    """As given."""

    name = "priority"

    def order(
        self,
        candidates: Sequence[Candidate],
        weights: Sequence[float],  # noqa: ARG002 - part of the contract
        loads: Mapping[str, Load],  # noqa: ARG002
        draw: float,  # noqa: ARG002
    ) -> Sequence[Candidate]:
        """Return `candidates` itself. O(1)."""
        return candidates


POLICY = Priority()
