"""core/retry.py: what follows a failed attempt."""

from __future__ import annotations

import heapq

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import RetryRule
from turnout.core.retry import Again, GiveUp, Next, RetryBudget, Standing, backoff_s, decide
from turnout.errors import (
    StreamInterrupted,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)

RULE = RetryRule()
REFUSED = UpstreamUnreachable("refused")
BROKEN = UpstreamFault("500", vendor_status=500, is_ambiguous=True)


class Purse:
    """A budget that says yes or no."""

    def __init__(self, *, is_open: bool) -> None:
        self.is_open = is_open

    def can_spend(self, now: float) -> bool:
        return self.is_open


OPEN, SPENT = Purse(is_open=True), Purse(is_open=False)


def standing(
    *left_failing: bool, made: int = 1, tries: int = 1, time_s: float = 600.0, is_free: bool = False
) -> Standing:
    """A request after `made` attempts, with these choices left."""
    return Standing(made, tries, 2, time_s, left_failing, is_free)


def after(error: UpstreamError, at: Standing, purse: Purse = OPEN, rule: RetryRule = RULE, draw: float = 0.5):
    """The decision."""
    return decide(error, at, rule, purse, 100.0, draw)


# ── by class of error (RELIABILITY §4.3) ──


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        BROKEN,
        UpstreamTimeout("slow", phase="first_chunk", is_ambiguous=True),
        UpstreamTimeout("no SYN-ACK", phase="connect", is_ambiguous=False),
        UpstreamThrottled("429", vendor_status=429, retry_after_s=7.0),
        UpstreamFault("our key was refused", vendor_status=401),
        UpstreamRejected("too long", vendor_status=400, is_context_overflow=True),
    ],
)
def test_a_failure_goes_to_the_next_candidate_at_once(error):
    """Whoever is well is asked, without a wait and without the budget."""
    assert Next() == after(error, standing(False, False), SPENT)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UpstreamRejected("bad schema", vendor_status=422), "the vendor refused the request itself"),
        (StreamInterrupted("cut"), "bytes have reached the client"),
    ],
)
def test_what_is_final_is_final(error, reason):
    """A bad request is bad everywhere; what the client has seen is not said twice."""
    assert GiveUp(reason) == after(error, standing(False))


def test_what_may_have_been_billed_is_made_again_only_if_that_is_allowed_or_free():
    """RELIABILITY B3; a free attempt that was made twice costs nobody money."""
    never = RetryRule(retry_ambiguous=False)
    assert GiveUp("the vendor may have done the work and billed it") == after(BROKEN, standing(False), rule=never)
    assert Next() == after(BROKEN, standing(False, is_free=True), rule=never)
    assert Next() == after(REFUSED, standing(False), rule=never)
    assert Next() == after(BROKEN, standing(False))


def test_when_the_time_is_over_it_is_over():
    """Nothing is begun that cannot be waited for."""
    assert GiveUp("the time for this request is over") == after(REFUSED, standing(False, time_s=0.0))


# ── the next candidate ──


def test_a_failing_candidate_costs_budget():
    """And is passed by for one that is well, when the budget is spent."""
    assert Next(is_charged=True) == after(REFUSED, standing(True, False), OPEN)
    assert Next(skip=2) == after(REFUSED, standing(True, True, False), SPENT)


def test_if_all_that_are_left_fail_and_the_budget_is_spent_it_is_over():
    """The storm ends here; a hint goes to the client."""
    error = UpstreamThrottled("429", retry_after_s=7.0)
    assert GiveUp("whoever is left is failing too, and the retry budget is spent", 7.0) == after(
        error, standing(True, True), SPENT
    )


# ── the same candidate again ──


def test_the_last_candidate_is_tried_again_after_a_wait():
    """Full jitter under 0.5, 1 s; three attempts in all."""
    assert Again(0.25) == after(REFUSED, standing(made=1, tries=1))
    assert Again(0.5) == after(REFUSED, standing(made=2, tries=2))
    assert GiveUp("3 attempts were made") == after(REFUSED, standing(made=3, tries=3))


def test_trying_again_costs_budget():
    """It has just failed, so it is a failing candidate."""
    assert GiveUp("the retry budget is spent") == after(REFUSED, standing(), SPENT)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_what_it_would_say_again_is_not_asked_again(status):
    """Our key, our credit, our right, the model's existence: another try changes none of them."""
    error = UpstreamFault("no", vendor_status=status)
    assert GiveUp("the same candidate would say the same") == after(error, standing())


def test_a_prompt_too_long_is_not_sent_again():
    """It does not get shorter."""
    error = UpstreamRejected("too long", vendor_status=400, is_context_overflow=True)
    assert GiveUp("nobody is left with a larger window") == after(error, standing())


def test_a_hint_is_waited_for_and_not_undercut():
    """T11: as long as the vendor said, up to a tenth more; a negative one is none."""
    error = UpstreamThrottled("429", retry_after_s=7.0)
    assert Again(7.0) == after(error, standing(), draw=0.0)
    assert pytest.approx(after(error, standing(), draw=0.99).delay_s, abs=0.01) == 7.69
    assert Again(0.0) == after(UpstreamThrottled("429", retry_after_s=-1.0), standing())


def test_a_hint_that_is_too_long_goes_to_the_client():
    """Longer than 30 s, or than the time that is left."""
    far, near = UpstreamThrottled("429", retry_after_s=31.0), UpstreamThrottled("429", retry_after_s=7.0)
    assert GiveUp("the vendor asks to wait 31 s", 31.0) == after(far, standing())
    assert GiveUp("a wait of 7.0 s does not fit the time that is left", 7.0) == after(
        near, standing(time_s=5.0), draw=0.0
    )


def test_a_refusal_for_rate_goes_back_to_the_line_where_there_is_one():
    """The line knows until when its vendor wants nothing; it still costs budget. Other failures are as without."""
    far = UpstreamThrottled("429", retry_after_s=300.0)
    in_line = msgspec.structs.replace(standing(), has_line=True)
    assert Again(0.0) == after(far, in_line)
    assert GiveUp("the retry budget is spent", 300.0) == after(far, in_line, SPENT)
    assert after(REFUSED, standing()) == after(REFUSED, in_line)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_backoff_is_bounded(tries, draw):
    """Never negative, never above 8 s, never above 0.5 · 2^(tries - 1)."""
    wait_s = backoff_s(tries, RULE, draw)
    assert 0 <= wait_s <= min(8.0, 0.5 * 2 ** min(tries - 1, 10))


# ── the budget ──


def test_the_budget_begins_with_three():
    """And with nothing else."""
    budget = RetryBudget(RULE)
    for left in (True, True, True, False):
        assert left == budget.can_spend(0.0)
        budget.spend(0.0)


def test_five_requests_are_worth_one_more():
    """A fifth each, whole attempts only, spent before the floor is."""
    budget = RetryBudget(RetryRule(budget_floor=0))
    for _ in range(4):
        budget.arrived(0.0)
    assert not budget.can_spend(0.0)
    budget.arrived(0.0)
    assert budget.can_spend(0.0)
    budget.spend(0.0)
    assert not budget.can_spend(0.0)


def test_the_window_is_ten_seconds():
    """What arrived eleven seconds ago is worth nothing, and what was spent then is forgotten; time may jump."""
    budget = RetryBudget(RetryRule(budget_floor=0))
    for _ in range(5):
        budget.arrived(1000.5)
    assert (budget.can_spend(1009.9), budget.can_spend(1010.1)) == (True, False)
    budget.spend(1010.1)
    for _ in range(9):
        budget.arrived(1012.0)
    assert not budget.can_spend(1012.0)
    for _ in range(5):
        budget.arrived(1020.0)
    assert budget.can_spend(1020.0)
    assert not budget.can_spend(99_999.0)


def test_time_does_not_run_backwards():
    """An older instant counts as the newest one that was seen."""
    budget = RetryBudget(RetryRule(budget_floor=0))
    for now in (50.0, 49.0, 41.0, 50.0, 45.0):
        budget.arrived(now)
    assert budget.can_spend(59.9)


def test_the_floor_comes_back_with_a_success_and_once_in_ten_seconds():
    """Not with time alone."""
    budget = RetryBudget(RetryRule(budget_floor=1))
    budget.spend(5.0)
    assert not budget.can_spend(100.0)
    budget.succeeded(14.9)
    assert not budget.can_spend(14.9)
    budget.succeeded(15.0)
    assert budget.can_spend(15.0)
    budget.succeeded(16.0)
    budget.spend(16.0)
    assert not budget.can_spend(16.0)


# ── total failure ──


class Storm:
    """Requests over candidates that all fail, with the engine's bookkeeping: first attempts at the first candidate."""

    def __init__(self, candidates: int, rule: RetryRule = RULE) -> None:
        self.candidates = candidates
        self.rule = rule
        self.budget = RetryBudget(rule)
        self.failing: set[int] = set()
        self.in_flight: list[tuple[int, int, bool, tuple[int, ...]]] = []  # made, candidate, uncharged, left
        self.requests = self.calls = self.exempt = self.most = 0

    def arrive(self, now: float) -> None:
        self.requests += 1
        self.budget.arrived(now)
        self._call(1, 0, False, tuple(range(1, self.candidates)))

    def finish(self, at: int, now: float) -> None:
        made, candidate, is_uncharged, left = self.in_flight.pop(at)
        self.failing.add(candidate)
        if is_uncharged:
            self.budget.spend(now)
        here = Standing(made, 1, self.rule.max_retries, 600.0, [one in self.failing for one in left])
        decision = decide(REFUSED, here, self.rule, self.budget, now, 0.5)
        if isinstance(decision, GiveUp):
            return
        is_charged = isinstance(decision, Again) or decision.is_charged
        if is_charged:
            self.budget.spend(now)
        else:
            self.exempt += 1
        if isinstance(decision, Again):
            self._call(made + 1, candidate, False, left)
        else:
            self._call(made + 1, left[decision.skip], not is_charged, left[decision.skip + 1 :])

    def _call(self, made: int, candidate: int, is_uncharged: bool, left: tuple[int, ...]) -> None:
        self.calls += 1
        self.most = max(self.most, made)
        self.in_flight.append((made, candidate, is_uncharged, left))


moves = st.lists(st.tuples(st.integers(-1, 20), st.sampled_from([0.0, 0.01, 1.0, 7.0])), max_size=150)


@given(st.integers(1, 3), moves)
def test_under_total_failure_the_calls_are_bounded(candidates, steps):
    """For any interleaving over any time: a fifth more than the requests, three, and what went to candidates that were
    not known to fail; never more than three attempts a request.
    """
    storm, now = Storm(candidates), 0.0
    for at, passed in steps:
        now += passed
        if 0 <= at < len(storm.in_flight):
            storm.finish(at, now)
        else:
            storm.arrive(now)
    while storm.in_flight:
        storm.finish(0, now)
    assert storm.calls <= 1.2 * storm.requests + 3 + storm.exempt
    assert storm.most <= 3


@given(st.integers(1, 3), st.lists(st.sampled_from([0.0, 0.1, 3.0, 30.0]), min_size=1, max_size=200))
def test_one_after_the_other_each_healthy_candidate_is_found_out_once(candidates, gaps):
    """When outcomes are known in time, what is exempt is one attempt per candidate that was healthy at the start."""
    storm, now = Storm(candidates), 0.0
    for passed in gaps:
        now += passed
        storm.arrive(now)
        while storm.in_flight:
            storm.finish(0, now)
    assert storm.exempt <= candidates - 1
    assert storm.calls <= 1.2 * storm.requests + 3 + candidates


@pytest.mark.parametrize("candidates", [1, 2, 3])
def test_a_minute_of_total_failure_at_200_requests_a_second(candidates):
    """T15: calls at most 1.2 x requests + 3, with 20 in flight at any time, because what was exempt is charged later."""
    storm, ends = Storm(candidates), []
    for number in range(12_000):
        now = number / 200
        storm.arrive(now)
        heapq.heappush(ends, now + 0.1)
        while ends and ends[0] <= now:
            heapq.heappop(ends)
            before = storm.calls
            storm.finish(0, now)
            if storm.calls > before:
                heapq.heappush(ends, now + 0.1)
    assert storm.calls <= 1.2 * storm.requests + 3
    assert storm.calls > 1.15 * storm.requests


def test_a_healthy_vendor_takes_over_everybody():
    """The moment one vendor fails, nobody is refused a fallback to one that is well, budget or not."""
    storm = Storm(2, RetryRule(budget_floor=0))
    for _ in range(100):
        storm.arrive(0.0)
    for _ in range(100):
        storm.finish(0, 0.0)
    assert (storm.exempt, storm.calls) == (100, 200)
