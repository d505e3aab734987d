"""Decides what follows a failed attempt: the same candidate again, the next one, or the end.

# Why a budget, and not only a number of retries

"Three tries" is harmless while one request in a hundred fails, and a weapon when all of them do: a vendor that is
struggling then gets three times the traffic it could not carry, and stays down. So besides the number per request there
is a budget over all requests: extra attempts may be a fifth of the requests of the last 10 seconds, plus three.

A gateway differs from an ordinary client in one point: its extra attempts mostly go *elsewhere*. If every fallback had
to come out of the budget, the moment one vendor fails, four of five users would get an error while a healthy vendor
stands idle beside it. An attempt at a candidate whose latest outcome was not a failure is no storm, so it needs no
budget. If it then fails, it is charged afterwards: the candidate counts as failing from here on, and what was spent on
finding out is not available for more. Total failure thus costs at most 1.2 times the requests plus 3, and besides that only the
attempts that were already under way at a candidate when its first failure became known.

The three are given back by an upstream's success, not by time: while nothing works they are spent once.
The deposits and withdrawals are counted in whole seconds over a sliding window, as in AWS's and tower's buckets; Envoy's
budget counts retries *in flight*, which lets fast failures through.

Sources: tower `retry/budget` ("Why budgets and not max retries?"), RELIABILITY A1, A3, B3, §4.3, T14 to T16, FACTS §3,
docs/adr/0010-retry-budget-guards-failing-candidates.md; AWS, "Exponential backoff and jitter" (full jitter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from turnout.core.catalog import RetryRule
from turnout.errors import StreamInterrupted, UpstreamError, UpstreamFault, UpstreamRejected, UpstreamThrottled

WINDOW_S = 10
"""Of the budget. Source: RELIABILITY A1."""

LONGEST_WAIT_S = 30.0
"""For a vendor's hint: a person waits half a minute for an answer (FACTS §3, timeout 30 s); beyond it the hint is worth
more to the client's own scheduler than to an open connection."""

HINT_JITTER = 0.1
"""Added to a hint, so that everybody who was told "in 7 s" does not come back at once."""

FUTILE = frozenset({400, 401, 402, 403, 404, 413, 422})
"""Statuses that the same candidate will repeat: our key, our credit, our right, the model's existence; and what it says to
a conversation that it is to go on with and does not take."""


class Again(msgspec.Struct, frozen=True):
    """Try the same candidate again, after delay_s seconds. Always charged: tell the budget now (`spend`)."""

    delay_s: float


class Next(msgspec.Struct, frozen=True):
    """Go on at once, to the choice after `skip` others. is_charged: tell the budget now; else, if that attempt fails."""

    skip: int = 0
    is_charged: bool = False


class GiveUp(msgspec.Struct, frozen=True):
    """Answer the client with the error. reason: for the trace. retry_after_s: when a new request makes sense, if known."""

    reason: str
    retry_after_s: float | None = None


Decision = Again | Next | GiveUp


class Standing(msgspec.Struct):
    """Where a request stands after a failed attempt.

    attempts_made: on the arm of the failed choice, that one included. same_tries: of these, in a row at this candidate.
    max_retries: the plan's. remaining_s: until the request's deadline. is_free: whether this candidate costs nothing.
    left_failing: for every choice that is left, in order, whether it is failing or rests. has_line: this candidate is asked
    again when its turn comes, which a vendor's hint puts off by itself.
    """

    attempts_made: int
    same_tries: int
    max_retries: int
    remaining_s: float
    left_failing: Sequence[bool] = ()
    is_free: bool = False
    has_line: bool = False


class BudgetView(Protocol):
    """What deciding needs to know of the budget."""

    def can_spend(self, now: float) -> bool:
        """Return whether one more attempt at a failing candidate may be made."""
        ...


class RetryBudget:
    """How many extra attempts the traffic of the last 10 s allows. O(1) per call, never raises. Not thread-safe.

    Tell it of every request (`arrived`), of every Again and every Next that is_charged, of every other extra attempt once
    it has failed (`spend`), and of every upstream success (`succeeded`).
    """

    __slots__ = ("_arrivals", "_floor", "_floor_left", "_floor_since", "_ratio", "_second", "_spent")

    def __init__(self, rule: RetryRule) -> None:
        self._ratio = rule.budget_ratio
        self._floor = self._floor_left = rule.budget_floor
        self._floor_since = 0.0
        self._arrivals = [0] * WINDOW_S
        self._spent = [0] * WINDOW_S
        self._second = 0

    def arrived(self, now: float) -> None:
        """One more request: worth a fifth of an attempt."""
        if now >= self._second + 1:
            self._turn(now)
        self._arrivals[self._second % WINDOW_S] += 1

    def can_spend(self, now: float) -> bool:
        """See BudgetView."""
        self._turn(now)
        return self._has_share() or self._floor_left > 0

    def spend(self, now: float) -> None:
        """Charge one attempt: to the traffic's share, else to the floor, else as a debt against the share."""
        self._turn(now)
        if not self._has_share() and self._floor_left > 0:
            if self._floor_left == self._floor:
                self._floor_since = now
            self._floor_left -= 1
        else:
            self._spent[self._second % WINDOW_S] += 1

    def succeeded(self, now: float) -> None:
        """An upstream answered: the floor is given back, once in 10 s at most."""
        if self._floor_left < self._floor and now - self._floor_since >= WINDOW_S:
            self._floor_left = self._floor

    def _has_share(self) -> bool:
        return sum(self._spent) + 1 <= self._ratio * sum(self._arrivals)

    def _turn(self, now: float) -> None:
        """Forget the seconds that have left the window."""
        second = int(now)
        for passed in range(self._second + 1, min(second, self._second + WINDOW_S) + 1):
            self._arrivals[passed % WINDOW_S] = 0
            self._spent[passed % WINDOW_S] = 0
        self._second = max(self._second, second)


def decide(
    error: UpstreamError, at: Standing, rule: RetryRule, budget: BudgetView, now: float, draw: float
) -> Decision:
    """Return what follows `error`. now: monotonic seconds. draw: in [0, 1). O(choices left), never raises.

    Nothing of the answer may have reached the client yet; a StreamInterrupted says that it has, and is always final.
    """
    hint_s = error.retry_after_s
    if isinstance(error, StreamInterrupted):
        return GiveUp("bytes have reached the client")
    if isinstance(error, UpstreamRejected) and not error.is_context_overflow:
        return GiveUp("the vendor refused the request itself")
    if error.is_ambiguous and not (rule.retry_ambiguous or at.is_free):
        return GiveUp("the vendor may have done the work and billed it")
    if at.remaining_s <= 0:
        return GiveUp("the time for this request is over", hint_s)
    if at.left_failing:
        return _next(at.left_failing, budget, now, hint_s)
    if isinstance(error, UpstreamRejected):
        return GiveUp("nobody is left with a larger window")
    if at.attempts_made > at.max_retries:
        return GiveUp(f"{at.attempts_made} attempts were made", hint_s)
    if isinstance(error, UpstreamFault) and error.vendor_status in FUTILE:
        return GiveUp("the same candidate would say the same")
    return _again(error, at, rule, budget, now, draw)


def backoff_s(tries: int, rule: RetryRule, draw: float) -> float:
    """Return seconds to wait after `tries` (>= 1) failures: full jitter under 0.5, 1, 2 … up to max_backoff_s. O(1)."""
    return draw * min(rule.max_backoff_s, rule.backoff_s * 2.0 ** min(tries - 1, 30))


def _next(left_failing: Sequence[bool], budget: BudgetView, now: float, hint_s: float | None) -> Next | GiveUp:
    if not left_failing[0]:
        return Next()
    if budget.can_spend(now):
        return Next(is_charged=True)
    for skip, is_failing in enumerate(left_failing):
        if not is_failing:
            return Next(skip)
    return GiveUp("whoever is left is failing too, and the retry budget is spent", hint_s)


def _again(
    error: UpstreamError, at: Standing, rule: RetryRule, budget: BudgetView, now: float, draw: float
) -> Again | GiveUp:
    hint_s = error.retry_after_s
    if at.has_line and isinstance(error, UpstreamThrottled):
        return Again(0.0) if budget.can_spend(now) else GiveUp("the retry budget is spent", hint_s)
    if hint_s is not None and hint_s > LONGEST_WAIT_S:
        return GiveUp(f"the vendor asks to wait {hint_s:.0f} s", hint_s)
    delay_s = backoff_s(at.same_tries, rule, draw) if hint_s is None else max(0.0, hint_s) * (1 + HINT_JITTER * draw)
    if delay_s >= at.remaining_s:
        return GiveUp(f"a wait of {delay_s:.1f} s does not fit the time that is left", hint_s)
    if not budget.can_spend(now):
        return GiveUp("the retry budget is spent", hint_s)
    return Again(delay_s)
