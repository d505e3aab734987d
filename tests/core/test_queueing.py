"""core/queueing.py: who goes next of those that wait."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from turnout.core.queueing import (
    JOB,
    JOB_LEAD_S,
    PATIENCE_S,
    RANKS,
    Line,
    Ticket,
    is_continuing,
    is_high,
    priority_of,
    rank_of,
)

ALL = ("account",)
OWN = ("account", "account/model")
OTHER = ("other",)
HIGH, MEDIUM, LOW = rank_of("high", is_continuing=False), rank_of("medium", is_continuing=False), 5


def ticket(caller="me", rank=MEDIUM, lanes=(ALL,), arrived=0.0, by=0.0):
    return Ticket(caller, rank, lanes, arrived, by)


def free(_ticket, _lane):
    """Nothing is in the way."""
    return ()


def drained(line, now=0.0, in_the_way=free):
    """Everybody who goes, in order."""
    gone = []
    while (found := line.next(now, in_the_way)) is not None:
        gone.append(found[0])
    return gone


def joined(*tickets):
    line = Line()
    for one in tickets:
        line.join(one)
    return line


# ── the order ──


def test_ranks_are_in_the_order_of_the_rules():
    """High before medium before low, what goes on before what begins, jobs last."""
    order = [
        rank_of(priority, is_continuing=going_on)
        for priority in ("high", "medium", "low")
        for going_on in (True, False)
    ]
    assert [0, 1, 2, 3, 4, 5] == order
    assert rank_of("high", is_continuing=True, is_job=True) == JOB
    assert [True, True, False, False, False, False, False] == [is_high(rank) for rank in range(RANKS)]
    assert [True, False, True, False, True, False, False] == [is_continuing(rank) for rank in range(RANKS)]


@pytest.mark.parametrize(
    ("asked", "usual", "tools", "told"),
    [
        ("", "medium", 0, "medium"),
        ("", "low", 0, "low"),
        ("", "low", 1, "medium"),
        ("", "high", 2, "high"),
        ("", "low", 3, "high"),
        ("low", "high", 9, "low"),
    ],
)
def test_a_priority_is_what_is_asked_for_else_the_tasks_raised_by_tools(asked, usual, tools, told):
    """FACTS §3: three tools or more are high, one or two at least medium."""
    assert told == priority_of(asked, usual, tools)


def test_a_better_rank_goes_first_whenever_it_came():
    """One of each, joined from the last to the first."""
    tickets = [ticket(str(rank), rank, by=1e9) for rank in range(RANKS)]
    assert tickets == drained(joined(*reversed(tickets)))


def test_callers_take_turns_and_keep_their_own_order():
    """One with many waiting gets every second turn beside one with few."""
    mine, yours = [ticket("me") for _ in range(4)], [ticket("you") for _ in range(2)]
    line = joined(*mine, *yours)
    assert [mine[0], yours[0], mine[1], yours[1], mine[2], mine[3]] == drained(line)


def test_who_comes_back_after_its_turn_is_behind_who_waits():
    """Asking one by one is worth no more than asking for all at once."""
    mine, yours = ticket("me"), [ticket("you"), ticket("you")]
    line = joined(mine, *yours)
    assert line.next(0.0, free) == (mine, ALL)
    again = ticket("me")
    line.join(again)
    assert [yours[0], again, yours[1]] == drained(line)


def test_who_could_not_use_its_turn_is_where_it_was():
    """Before other callers, and before its own later ones but behind its earlier ones."""
    mine = [ticket("me", arrived=float(number)) for number in range(3)]
    line = joined(*mine, ticket("you"))
    gone = [line.next(0.0, free)[0], line.next(0.0, free)[0], line.next(0.0, free)[0]]
    assert ["me", "you", "me"] == [one.caller for one in gone]
    for one in (mine[0], mine[1], gone[1]):
        line.join(one, is_back=True)
    assert [gone[1], *mine] == drained(line)


def test_the_circle_goes_over_lanes():
    """Two lanes that share a quota: a caller who fills one of them does not keep the other from its turn."""
    mine, yours = [ticket("me", lanes=(ALL,)) for _ in range(3)], ticket("you", lanes=(OWN,))
    assert [mine[0], yours, mine[1], mine[2]] == drained(joined(*mine, yours))


def test_whoever_may_go_in_two_lanes_goes_once_and_in_the_better_one():
    """And is gone from both."""
    one = ticket(lanes=(OTHER, ALL))
    line = joined(one)
    assert line.next(0.0, free) == (one, OTHER)
    assert line.next(0.0, free) is None
    assert (0, False) == (len(line), one in line)


def test_whoever_may_go_in_two_lanes_goes_where_nothing_is_in_the_way():
    """Waiting for the better one would be worse."""
    one = ticket(lanes=(OTHER, ALL))
    assert joined(one).next(0.0, lambda _, lane: OTHER if lane == OTHER else ()) == (one, ALL)


def test_whoever_leaves_does_not_come_up():
    """And leaving twice, or without having joined, is nothing."""
    first, second = ticket(), ticket()
    line = joined(first, second)
    line.leave(first)
    line.leave(first)
    line.leave(ticket())
    assert [second] == list(line)
    assert [second] == drained(line)


# ── every fourth turn ──


def test_low_gets_every_fourth_turn_once_it_has_waited_long():
    """With endless high beside it; the three between are high's."""
    line = joined(*[ticket("busy", HIGH, arrived=100.0) for _ in range(20)])
    for _ in range(3):
        line.join(ticket("patient", LOW, arrived=0.0))
    gone = [one.rank for one in drained(line, now=PATIENCE_S[LOW])]
    assert [HIGH, HIGH, HIGH, LOW] * 3 == gone[:12]


def test_low_that_came_just_now_waits_for_high():
    """Its patience is not over."""
    line = joined(ticket("patient", LOW, arrived=100.0), *[ticket("busy", HIGH, arrived=100.0) for _ in range(20)])
    assert drained(line, now=100.0)[-1].rank == LOW


def test_of_several_ranks_the_one_without_a_turn_for_longest_claims():
    """Medium, which has its three of four already, does not take the fourth from low."""
    line = joined(*[ticket("busy", MEDIUM) for _ in range(20)], *[ticket("patient", LOW) for _ in range(3)])
    gone = [one.rank for one in drained(line, now=1000.0)]
    assert [MEDIUM, MEDIUM, MEDIUM, LOW] * 3 == gone[:12]


def test_a_job_claims_shortly_before_its_time():
    """Until then it goes when nobody else is there."""
    line = joined(
        ticket("nightly", JOB, by=1000.0 + JOB_LEAD_S), *[ticket("busy", HIGH, arrived=1000.0) for _ in range(8)]
    )
    gone = [line.next(999.0, free)[0].rank for _ in range(4)]
    assert [HIGH] * 4 == gone
    assert line.next(1000.0, free)[0].rank == JOB


def test_whose_time_is_nearly_over_claims_every_turn_with_all_rights():
    """Of its rank it is the one that is looked at, once it is urged."""
    first, urgent, high = ticket("first"), ticket("urgent"), ticket("high", HIGH)
    line = joined(first, urgent, high)
    urgent.last_at = 50.0
    line.urge(urgent)
    line.urge(ticket())
    assert line.next(50.0, free) == (urgent, ALL)
    assert [high, first] == drained(line)


# ── who is in the way ──


def test_who_cannot_go_keeps_back_those_after_it():
    """Small requests would starve a large one."""
    large, small = ticket("large"), ticket("small")
    line = joined(large, small)
    assert line.next(0.0, lambda one, _: ALL if one is large else ()) is None
    assert [large, small] == drained(line)


def test_who_cannot_go_keeps_back_only_at_the_quota_that_is_scarce():
    """A model's own quota is no reason for the account's other models to wait."""
    stuck, lucky = ticket(rank=HIGH, lanes=(OWN,)), ticket(lanes=(ALL,))
    line = joined(stuck, lucky)
    assert line.next(0.0, lambda _, lane: OWN[1:] if lane == OWN else ()) == (lucky, ALL)


def test_the_reserve_is_for_high_although_others_claim_before_it():
    """Who may not use a day's reserve does not keep back who may."""
    patient, urgent = ticket("patient", LOW), ticket("urgent", HIGH, arrived=900.0)
    line = joined(*[ticket("busy", HIGH) for _ in range(3)])
    line.join(patient)
    drained(line, in_the_way=lambda one, _: () if one.rank == HIGH else ALL)
    line.join(urgent)
    found = line.next(1000.0, lambda one, _: () if one.rank == HIGH else ALL)
    assert (urgent, ALL) == found


def test_the_room_of_conversations_is_for_those_that_go_on():
    """A beginning that must leave room keeps back beginnings, not them."""
    begins, goes_on, also_begins = ticket("a", HIGH), ticket("b", 2), ticket("c", MEDIUM)
    line = joined(begins, goes_on, also_begins)
    assert line.next(0.0, lambda one, _: ALL if one is begins else ()) == (goes_on, ALL)
    assert line.next(0.0, lambda one, _: ALL if one is begins else ()) is None


def test_a_job_keeps_nobody_back():
    """It is what others may still ask for that keeps it."""
    job, late = ticket("nightly", JOB, by=JOB_LEAD_S), ticket("late", LOW)
    line = joined(*[ticket("busy", HIGH, arrived=1000.0) for _ in range(4)], job, late)
    for _ in range(4):
        line.next(0.0, lambda one, _: ALL if one.rank == JOB else ())
    assert line.next(0.0, lambda one, _: ALL if one.rank == JOB else ()) == (late, ALL)


# ── how many are ahead ──


def test_everybody_of_a_better_rank_and_one_of_each_caller_is_ahead():
    """A further one of a caller with one waiting is behind two of everybody's."""
    line = joined(*[ticket(str(caller), MEDIUM) for caller in range(3) for _ in range(5)], ticket("h", HIGH))
    assert line.ahead(ALL, MEDIUM, "new") == 1 + 3
    assert line.ahead(ALL, HIGH, "new") == 1
    line.join(ticket("new"))
    assert line.ahead(ALL, MEDIUM, "new") == 1 + 1 + 2 * 3
    assert line.ahead(ALL, LOW, "new") == 17
    assert line.ahead(OTHER, MEDIUM, "new") == 0


def test_no_more_are_ahead_than_wait():
    """However many one caller has there."""
    line = joined(*[ticket("me") for _ in range(3)], ticket("you"))
    assert line.ahead(ALL, MEDIUM, "me") == 4


def test_one_that_waits_in_two_lanes_is_a_half_in_each():
    """Two of them are one ahead."""
    line = joined(ticket("a", lanes=(ALL, OTHER)), ticket("b", lanes=(ALL, OTHER)))
    assert [1, 1] == [line.ahead(lane, LOW, "c") for lane in (ALL, OTHER)]


# ── whatever happens ──


class Waiting(RuleBasedStateMachine):
    """Tickets come, go and leave in any order, while quotas are free or not."""

    def __init__(self):
        super().__init__()
        self.line = Line()
        self.now = 0.0
        self.waiting = []
        self.gone = Counter()

    @rule(
        caller=st.sampled_from("abc"),
        rank=st.integers(0, RANKS - 1),
        lanes=st.lists(st.sampled_from([ALL, OWN, OTHER]), min_size=1, unique=True),
    )
    def come(self, caller, rank, lanes):
        one = Ticket(caller, rank, tuple(lanes), self.now, self.now + 1000.0)
        self.waiting.append(one)
        self.line.join(one)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data):
        self.line.leave(self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1))))

    @rule(passed=st.floats(0, 100))
    def wait(self, passed):
        self.now += passed

    @rule(scarce=st.sets(st.sampled_from(["account", "account/model", "other"])))
    def go(self, scarce):
        asked = []

        def in_the_way(one, lane):
            asked.append(one)
            return [name for name in lane if name in scarce]

        found = self.line.next(self.now, in_the_way)
        assert len(asked) <= 2 * RANKS * 3
        if found is None:
            assert all(any(name in scarce for name in lane) for one in self.waiting for lane in one.lanes)
            return
        one, lane = found
        assert lane in one.lanes
        assert not scarce.intersection(lane)
        mine = [other for other in self.waiting if (other.caller, other.rank) == (one.caller, one.rank)]
        if all(other.lanes == one.lanes for other in mine):
            assert mine[0] is one
        self.waiting.remove(one)

    @invariant()
    def nobody_is_lost(self):
        assert self.waiting == list(self.line)
        assert len(self.waiting) == len(self.line)
        lanes = {lane for one in self.waiting for lane in one.lanes}
        total = sum(self.line.ahead(lane, RANKS, "nobody") for lane in lanes)
        assert len(self.waiting) - len(lanes) <= total <= len(self.waiting)

    def teardown(self):
        assert Counter(self.waiting) == Counter(drained(self.line, self.now))
        assert len(self.line) == 0


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# ── what it costs ──


def turn_us(waiting, turns=300):
    """Microseconds for one to join and one to go while `waiting` wait, the best of five."""
    line = joined(*[ticket(number % 97, number % RANKS, by=1e9) for number in range(waiting)])
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for number in range(turns):
            line.join(ticket(number % 97, number % RANKS, by=1e9))
            line.next(0.0, free)
        best = min(best, time.perf_counter() - begun)
    return best / turns * 1e6


@pytest.mark.parametrize("waiting", [1_000, 10_000])
def test_choosing_costs_the_same_however_many_wait(waiting):
    """A search of all who wait would cost a hundred and a thousand times as much."""
    assert turn_us(waiting) < 4 * turn_us(10) + 20


def leave_us(waiting, turns=300):
    """Microseconds for one in the middle to leave and another to join, the best of five."""
    tickets = [ticket(number % 97, number % RANKS, by=1e9) for number in range(waiting)]
    line = joined(*tickets)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for number in range(turns):
            one = tickets[(number * 7919) % waiting]
            line.leave(one)
            line.join(one)
        best = min(best, time.perf_counter() - begun)
    return best / turns * 1e6


@pytest.mark.parametrize("waiting", [1_000, 10_000])
def test_leaving_costs_the_same_however_many_wait(waiting):
    """A client that gives up is not searched for."""
    assert leave_us(waiting) < 4 * leave_us(10) + 20
