"""What the engine asks of the books, and the books of a gateway that keeps none.

The order in an exchange's life: admitted once, before anything is done for it; for each attempt, begun before the vendor
is asked and ended after; dismissed at the end, whatever came of it.
"""

from __future__ import annotations

from typing import Protocol

from turnout.core.plan import Plan
from turnout.gateway.downstream import Head
from turnout.gateway.exchange import Attempt, Exchange


class Accounting(Protocol):
    """Limits, budgets and ledger, as an exchange meets them. `admit` and `begin` may wait, but do not where nothing is short."""

    async def admit(self, exchange: Exchange, planned: Plan) -> None:
        """Let an exchange in, or raise RateLimited: then nothing was counted."""
        ...

    async def begin(self, exchange: Exchange, attempt: Attempt) -> None:
        """Reserve what an attempt may cost at most, and write down that it will be made.

        Raises BudgetExceeded, BudgetUnknown, or LedgerUnavailable: then nothing was reserved, and the vendor is not to be asked.
        """
        ...

    def end(self, exchange: Exchange, attempt: Attempt) -> None:
        """Book what an attempt used. Does nothing for one that was not begun, and never raises: it runs on cancellation too."""
        ...

    def dismiss(self, exchange: Exchange) -> None:
        """Free what was held for the exchange. Never raises."""
        ...

    def told(self, exchange: Exchange) -> Head:
        """Return what an answer's headers say of limits and budgets."""
        ...


class Unaccounted:
    """Lets everybody in and keeps no books: for a drill, and for tests of what has nothing to do with them."""

    async def admit(self, exchange: Exchange, planned: Plan) -> None:
        """Let it in."""

    async def begin(self, exchange: Exchange, attempt: Attempt) -> None:
        """Reserve nothing."""

    def end(self, exchange: Exchange, attempt: Attempt) -> None:
        """Book nothing."""

    def dismiss(self, exchange: Exchange) -> None:
        """Free nothing."""

    def told(self, exchange: Exchange) -> Head:  # noqa: ARG002 - the Protocol's
        """Return nothing."""
        return ()
