"""core/pacing.py: a day's allowance over the day."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.pacing import AHEAD, HOURS, INSTANT, Allowance, Claim, Demand, free_at, reserved

DAY = 1000 * HOURS
BUSY_MORNING = [0.0] * 8 + [100.0] * 4 + [10.0] * 12


def usual(hours: list[float | None]) -> Demand:
    """What was seen on days before this one, which begins now."""
    return Demand(DAY, hours)


counts = st.lists(st.one_of(st.none(), st.floats(0, 1000)), min_size=HOURS, max_size=HOURS)


# ── demand ──


def test_nothing_is_known_at_first():
    """Then a day is taken to be even, and nothing can be said about how much will come."""
    demand = usual([])
    assert demand.rest(0.0) is None
    assert 0.25 == demand.passed(6.0)
    assert 18.0 == demand.position_of(0.75)
    assert demand.used_up_at(0.0, 5) is None
    assert [None] * HOURS == Demand(DAY, [1.0, 2.0]).hours


def test_an_hour_is_known_when_it_is_over():
    """And stands for those that were never seen."""
    demand = usual([])
    for minute in range(60):
        demand.asked(DAY + minute / 60)
    assert demand.rest(0.5) is None
    demand.tick(DAY + 1.5)
    assert 60.0 == demand.hours[0]
    assert 60.0 * 22.5 == demand.rest(1.5)
    assert demand.rest(24.0) == 0.0


def test_an_hour_without_a_call_is_one_in_which_nothing_was_asked():
    """Also many of them, and days of them."""
    demand = usual([10.0] * HOURS)
    demand.asked(DAY + 0.5, 20)
    demand.tick(DAY + 3.0)
    assert pytest.approx([13.0, 7.0, 7.0, 10.0]) == demand.hours[:4]
    demand.tick(DAY + 3 + 1000 * HOURS)
    assert max(count for count in demand.hours if count is not None) < 10


def test_an_average_follows_the_days():
    """Half of a new habit is learned in two days."""
    demand = usual([0.0] * HOURS)
    for day in range(2):
        demand.asked(DAY + day * HOURS + 9.5, 100)
    demand.tick(DAY + 2 * HOURS)
    assert pytest.approx(51.0) == demand.hours[9]


def test_a_piece_of_an_hour_counts_by_its_length():
    """A gateway that starts at half past sees half of what an hour asks for; at five to, too little to judge."""
    half = Demand(DAY + 7.5)
    half.asked(DAY + 7.75, 30)
    half.tick(DAY + 8)
    assert 60.0 == half.hours[7]
    late = Demand(DAY + 7.9)
    late.asked(DAY + 7.95, 30)
    late.tick(DAY + 8)
    assert late.hours[7] is None


def test_time_that_goes_back_stands_still():
    """As when a vendor's clock turns out to be behind ours."""
    demand = usual([])
    demand.tick(DAY + 5)
    demand.asked(DAY + 3, 50)
    demand.tick(DAY + 6)
    assert 50.0 == demand.hours[5]


def test_shares_follow_the_usual_day():
    """Nothing before eight, most of it before noon."""
    demand = usual(BUSY_MORNING)
    assert 520.0 == demand.rest(0.0)
    assert 0.0 == demand.passed(8.0)
    assert pytest.approx(400 / 520) == demand.passed(12.0)
    assert pytest.approx(10.0) == demand.position_of(200 / 520)
    assert pytest.approx(10.0) == demand.used_up_at(2.0, 200)
    assert demand.used_up_at(2.0, 520) is None
    assert 0.25 == usual([0.0] * HOURS).passed(6.0)
    assert 6.0 == usual([0.0] * HOURS).position_of(0.25)
    assert (0.0, 24.0) == (demand.position_of(-1.0), demand.position_of(1.5))


@given(counts, st.floats(0, 24), st.floats(0, 24), st.floats(0, 1))
def test_shares_only_grow_and_come_back(hours, one, other, share):
    """`passed` is monotone from 0 to 1, and `position_of` undoes it."""
    demand = usual(hours)
    earlier, later = sorted((one, other))
    assert -1e-9 <= demand.passed(earlier) <= demand.passed(later) + 1e-9 <= 1 + 2e-9
    assert pytest.approx(share, abs=1e-6) == demand.passed(demand.position_of(share))


# ── the reserve ──


def test_the_reserve_shrinks_with_what_is_still_to_come():
    """Whole for the first half of a usual day's demand, everybody's at its end; unknown demand is even."""
    unknown = usual([])
    assert [100, 100, 50, 8, 0] == [reserved(1000, 0.1, unknown, at) for at in (0.0, 12.0, 18.0, 23.0, 24.0)]
    morning = usual(BUSY_MORNING)
    assert [100, 100, 46, 23, 0] == [reserved(1000, 0.1, morning, at) for at in (8.0, 9.0, 12.0, 18.0, 24.0)]
    assert reserved(1000, 0.0, unknown, 0.0) == 0


def test_high_priority_may_use_everything():
    """At any time of the day, while anything is left."""
    demand = usual([1000.0] * HOURS)
    assert free_at(demand, Allowance(100, 99, 0.0, 0.5), 1, "high") == 0.0
    assert free_at(demand, Allowance(100, 100, 0.0, 0.5), 1, "high") == inf
    assert free_at(demand, Allowance(100, 99, 0.0, 0.5), 2, "high") == inf


def test_others_wait_until_the_reserve_is_given_to_all():
    """80 used, 20 reserved: the first place comes free when the reserve has shrunk by one."""
    demand = usual([0.0] * HOURS)
    of = Allowance(100, 80, 11.0, 0.2)
    at = free_at(demand, of, 1, "usual")
    assert pytest.approx(12.0, abs=1e-3) == at
    assert reserved(100, 0.2, demand, at) == 19
    assert free_at(demand, Allowance(100, 80, at, 0.2), 1, "usual") == at
    assert pytest.approx(23.4, abs=1e-3) == free_at(demand, of, 20, "usual")


# ── pacing ──


def test_who_is_not_short_is_not_held_back():
    """The rest of the day is expected to ask for no more than is left."""
    demand = usual([10.0] * HOURS)
    assert free_at(demand, Allowance(240, 0, 0.0), 1, "usual") == 0.0
    assert free_at(demand, Allowance(240, 100, 10.0), 1, "usual") == 10.0
    assert free_at(demand, Allowance(240, 101, 10.0), 1, "usual") == 10.0  # 139 left, 140 expected, 100 is on plan
    assert free_at(demand, Allowance(240, 200, 10.0), 1, "usual") > 10.0


def test_who_is_short_of_less_than_a_tenth_is_not_held_back():
    """Forecasts are no better than that, and what is held back now may be left over tonight."""
    demand = usual([10.0] * HOURS)
    assert free_at(demand, Allowance(240, 24, 0.0), 1, "usual") == 0.0
    assert free_at(demand, Allowance(240, 25, 0.0), 1, "usual") > 0.0


def test_in_a_short_day_what_is_used_follows_the_usual_demand():
    """A tenth of what is to come may be used ahead; then the busy hours get what they will need."""
    demand = usual([count * 10 for count in BUSY_MORNING])
    assert free_at(demand, Allowance(1000, 99, 3.0), 1, "usual") == 3.0
    at = free_at(demand, Allowance(1000, 100, 3.0), 1, "usual")
    assert pytest.approx(8.0, abs=0.01) == at
    assert free_at(demand, Allowance(1000, 100, at), 1, "usual") == at
    assert free_at(demand, Allowance(1000, 780, 12.0), 1, "usual") == 12.0


def test_a_tenth_is_free_to_be_used_ahead_and_a_minutes_worth():
    """A small allowance is not told to wait at its sixth request of a day that will be short."""
    demand = usual([10.0] * HOURS)
    assert free_at(demand, Allowance(37, 11, 0.0, ahead=12), 1, "usual") == 0.0
    assert pytest.approx(24 / 25, abs=0.01) == free_at(demand, Allowance(37, 12, 0.0, ahead=12), 1, "usual")
    assert pytest.approx(0.0) == free_at(demand, Allowance(37, 3, 0.0, ahead=99), 1, "usual")
    assert free_at(demand, Allowance(100, 9, 0.0), 1, "usual") == 0.0
    assert free_at(demand, Allowance(100, 10, 0.0), 1, "usual") > 0.0


def test_nobody_is_held_back_for_hours_that_were_never_seen():
    """On its first day a gateway knows nothing of the hours to come: only the reserve is kept."""
    demand = usual([50.0] * 6 + [None] * 18)
    assert free_at(demand, Allowance(100, 79, 6.0, 0.2), 1, "usual") == 6.0
    assert free_at(usual([]), Allowance(100, 79, 0.0, 0.2), 1, "usual") == 0.0


def test_who_waited_for_long_is_not_held_back():
    """But by the reserve, which stays high priority's."""
    demand = usual([50.0] * HOURS)
    assert free_at(demand, Allowance(100, 79, 0.0, 0.2), 1, "due") == 0.0
    assert free_at(demand, Allowance(100, 79, 0.0, 0.2), 1, "usual") > 0.0
    assert free_at(demand, Allowance(100, 80, 0.0, 0.2), 1, "due") > 0.0


def test_tokens_are_paced_by_what_a_call_uses():
    """Demand is counted in calls: 10 an hour of 100 tokens each."""
    demand = usual([10.0] * HOURS)
    assert free_at(demand, Allowance(24_000, 5_000, 0.0, each=100.0), 100, "usual") > 0.0
    assert free_at(demand, Allowance(30_000, 5_000, 0.0, each=100.0), 100, "usual") == 0.0


def test_jobs_take_what_would_be_left_over():
    """Beyond what the usual demand may well become, and never of the reserve, which is for some of that demand."""
    demand = usual([10.0] * HOURS)  # 240 calls, whose standard deviation is 15.5
    assert free_at(demand, Allowance(271, 0, 0.0), 1, "spare") == 0.0
    assert pytest.approx(0.1, abs=0.02) == free_at(demand, Allowance(271, 1, 0.0), 1, "spare")
    assert free_at(demand, Allowance(271, 0, 0.0, 0.5), 1, "spare") == 0.0
    assert free_at(usual([0.0] * HOURS), Allowance(100, 79, 0.0, 0.2), 1, "spare") == 0.0
    assert pytest.approx(12.0, abs=1e-3) == free_at(usual([0.0] * HOURS), Allowance(100, 80, 0.0, 0.2), 1, "spare")


def test_for_jobs_an_hour_that_was_never_seen_is_an_even_share():
    """They have the time to wait for what it brings."""
    at = free_at(usual([]), Allowance(240, 0, 0.0), 1, "spare")
    assert at > 0.0
    assert at == pytest.approx(free_at(usual([10.0] * HOURS), Allowance(240, 0, 0.0), 1, "spare"))


def test_the_last_call_of_a_day_is_used():
    """What its last minutes may bring is less than one call, and keeps nobody."""
    assert 23.9 < free_at(usual([5.0] * HOURS), Allowance(240, 239, 23.9), 1, "spare") < 23.99


claims = st.sampled_from(["high", "due", "usual", "spare"])


@given(
    counts,
    st.builds(
        Allowance,
        st.integers(1, 2000),
        st.integers(0, 2100),
        st.floats(0, 23.999),
        st.sampled_from([0.0, 0.1, 0.5, 0.99]),
        st.integers(0, 50),
        st.floats(0.1, 10),
    ),
    st.integers(1, 10),
    claims,
)
def test_what_is_said_to_be_free_at_a_moment_is_free_then(hours, of, wanted, claim: Claim):
    """If nobody used anything in between; and no claim is free later than a weaker one."""
    demand = usual(hours)
    at = free_at(demand, of, wanted, claim)
    assert at == inf or of.position <= at <= HOURS + 2 * INSTANT
    if of.position < at < HOURS:
        then = Allowance(of.limit, of.used, at, of.reserve, of.ahead, of.each)
        again = free_at(demand, then, wanted, claim)
        assert again <= at + 0.01 or reserved(of.limit, of.reserve, demand, of.position) > 0
    assert free_at(demand, of, wanted, "high") <= at
    assert (at == inf) == (wanted > of.limit - of.used)


@pytest.mark.parametrize("hours", [[50.0] * HOURS, BUSY_MORNING], ids=["even", "busy morning"])
def test_a_day_that_asks_for_twice_as_much_is_used_up_and_lasts(hours):
    """All of it is used, and the evening still gets its part; high priority is never told to wait."""
    demand, limit, used, by_hour = usual(hours), 240, 0, [0] * HOURS
    for minute in range(HOURS * 60):
        position = minute / 60
        demand.asked(DAY + position)
        of = Allowance(limit, used, position, 0.1, 12)
        claim: Claim = "high" if minute % 100 == 0 else "usual"
        if free_at(demand, of, 1, claim) == position:
            used += 1
            by_hour[int(position)] += 1
        assert claim == "usual" or by_hour[int(position)] > 0
    assert used >= 0.98 * limit
    assert sum(by_hour[18:]) >= (1 - AHEAD) * 0.3 * limit / 4
