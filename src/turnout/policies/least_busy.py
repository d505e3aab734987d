"""Orders candidates by attempts in flight, fewest first; equally busy ones stay in the order of the config.

So an idle gateway always asks the first, which keeps a vendor's prompt cache warm, and load spills over to the others as
it comes. Sources: FACTS §2 (the default of routes); tower's `load::PendingRequests`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from turnout.core.catalog import Candidate
from turnout.core.contracts import Load


class LeastBusy:
    """Fewest attempts in flight first."""

    name = "least_busy"

    def order(
        self,
        candidates: Sequence[Candidate],
        weights: Sequence[float],  # noqa: ARG002 - part of the contract
        loads: Mapping[str, Load],
        draw: float,  # noqa: ARG002
    ) -> Sequence[Candidate]:
        """Return them by load; one without a load is idle. O(n log n)."""

        def in_flight(candidate: Candidate) -> int:
            load = loads.get(candidate.key)
            return 0 if load is None else load.in_flight

        return sorted(candidates, key=in_flight)


POLICY = LeastBusy()
