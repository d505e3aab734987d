"""core/quota_meter.py: one quota's use."""

from __future__ import annotations

from datetime import datetime
from math import inf
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from turnout.core.catalog import Quota
from turnout.core.pacing import HOURS, Demand
from turnout.core.quota_day import SKEW_S, DayUse
from turnout.core.quota_headers import Told
from turnout.core.quota_meter import CLOCK_EVERY_S, EASY_S, TOOK_S, Meter
from turnout.core.quota_window import SPAN_S, Slot

NOON = 1_800_014_400.0  # 12:00 UTC
NOW = 5000.0
HOUR = 3600.0
FREE = Quota("free", "stub", requests_minute=16, margin=0.25)


def made(wall: float = NOON, **options) -> Meter:
    """A meter that begins at NOW, when the wall shows `wall`."""
    return Meter(Quota("free", "stub", **options), NOW, wall - NOW)


def wait(meter: Meter, now: float = NOW, *, calls: int = 1, tokens: int = 0, ahead: int = 0, claim="usual") -> float:
    """How long a call waits."""
    return meter.wait_s(calls, tokens, claim, now, ahead)


def used(meter: Meter, count: int, now: float = NOW, tokens: int = 0) -> None:
    """`count` calls came and went."""
    for _ in range(count):
        meter.charge(tokens, now)
        meter.end(1.0)


# ── what may be used ──


def test_without_limits_nothing_waits():
    """A quota whose vendor has yet to tell us counts, and lets everything go."""
    meter = made()
    used(meter, 1000, tokens=1000)
    assert 0.0 == wait(meter, tokens=10**9, ahead=10**6)


@pytest.mark.parametrize(("limit", "margin", "usable"), [(16, 0.25, 12), (10, 0.9, 1), (1, 0.5, 1), (50, 0.0, 50)])
def test_the_margin_leaves_at_least_one(limit, margin, usable):
    """12 of 16."""
    meter = made(requests_minute=limit, requests_day=limit, margin=margin)
    assert (usable, usable) == (meter.requests_minute, meter.requests_day)
    assert limit == meter.limit("requests_minute")


def test_the_thirteenth_in_a_minute_waits_for_the_first_to_leave():
    """And who comes behind others for theirs; behind a whole minute's worth for the next minute."""
    meter = made(requests_minute=16, margin=0.25)
    for number in range(12):
        assert 0.0 == wait(meter, NOW + number)
        used(meter, 1, NOW + number)
    assert 0.25 + SPAN_S - 12 == wait(meter, NOW + 12)
    assert 1.25 + SPAN_S - 12 == wait(meter, NOW + 12, ahead=1)
    assert 0.25 + SPAN_S - 12 + SPAN_S == wait(meter, NOW + 12, ahead=12)
    assert 0.0 == wait(meter, NOW + 0.25 + SPAN_S)


def test_behind_others_in_an_empty_minute():
    """The first twelve go at once, the next when the first leave again."""
    meter = made(requests_minute=12)
    assert [0.0, 0.0, SPAN_S, 2 * SPAN_S] == [wait(meter, ahead=ahead) for ahead in (0, 11, 12, 24)]


def test_room_for_more_calls_at_once():
    """As many as fit besides one: a conversation of twenty calls may begin where twelve are allowed."""
    meter = made(requests_minute=12)
    used(meter, 4)
    assert [0.0, 0.25 + SPAN_S] == [wait(meter, calls=calls) for calls in (8, 9)]
    assert [0, 7, 11, 11] == [meter.room(held) for held in (0, 7, 11, 19)]
    assert 2 == made(requests_minute=12, requests_day=3).room(9)
    assert 9 == made().room(9)


def test_tokens_of_a_minute():
    """What is left of 100; a call that is larger than what our margin leaves goes alone, one beyond the limit never."""
    meter = made(tokens_minute=100, margin=0.25)
    used(meter, 1, tokens=60)
    assert [0.0, 0.25 + SPAN_S, 0.25 + SPAN_S, inf] == [wait(meter, tokens=tokens) for tokens in (15, 16, 100, 101)]
    assert 0.0 == wait(meter, NOW + 61, tokens=100)
    assert SPAN_S == wait(meter, NOW + 61, tokens=30, ahead=2)
    assert 0.0 == wait(meter)


def test_both_kinds_at_once():
    """The later of the two, of the moments and of the rounds."""
    meter = made(requests_minute=2, tokens_minute=100)
    used(meter, 1, tokens=10)
    used(meter, 1, NOW + 5, tokens=90)
    assert 0.25 + SPAN_S - 6 == wait(meter, NOW + 6)
    assert 5.25 + SPAN_S - 6 == wait(meter, NOW + 6, tokens=20)
    assert 3 * SPAN_S == wait(meter, NOW + 600, ahead=7)
    assert 7 * SPAN_S == wait(meter, NOW + 600, tokens=60, ahead=7)


def test_at_once():
    """Who finds no place waits about as long as calls take, which is learned."""
    meter = made(at_once=2)
    meter.charge(0, NOW)
    assert (0.0, TOOK_S) == (wait(meter), wait(meter, ahead=1))
    meter.charge(0, NOW)
    assert [TOOK_S, TOOK_S, 2 * TOOK_S] == [wait(meter, ahead=ahead) for ahead in (0, 1, 2)]
    meter.end(10.0)
    assert (0.0, 10.0) == (wait(meter), wait(meter, ahead=1))
    meter.end(5.0)
    meter.charge(0, NOW)
    assert 9.0 == wait(meter, ahead=1)


# ── the day ──


def test_a_used_up_day_ends_at_the_vendors_reset():
    """A second later, since clocks differ; behind more than a day's worth a day later still."""
    meter = made(requests_day=3)
    used(meter, 3)
    assert 12 * HOUR + SKEW_S == wait(meter, claim="high")
    assert [12 * HOUR + SKEW_S] * 2 == [wait(meter, ahead=ahead) for ahead in (0, 2)]
    assert 36 * HOUR + SKEW_S == wait(meter, ahead=3)
    midnight = NOW + 12 * HOUR
    assert pytest.approx(0.002, abs=1e-6) == wait(meter, midnight + SKEW_S - 0.002, claim="high")
    assert 0.0 == wait(meter, midnight + SKEW_S, claim="high")
    assert 0 == meter.today.requests


def test_the_reset_is_the_vendors():
    """Midnight in Los Angeles, on the night that is an hour longer."""
    zone = ZoneInfo("America/Los_Angeles")
    evening = datetime(2026, 11, 1, 0, 30, tzinfo=zone).timestamp()
    meter = made(evening, requests_day=1, day_zone="America/Los_Angeles")
    used(meter, 1)
    assert 24.5 * HOUR + SKEW_S == wait(meter)


def test_what_is_used_next_to_the_reset_counts_for_both_days():
    """Nobody knows on which side of it the vendor saw it; after a longer break nothing counts."""
    midnight = NOW + 12 * HOUR
    meter = made(requests_day=5, tokens_day=100)
    used(meter, 1, midnight - 2)
    used(meter, 1, midnight - 0.5, tokens=7)
    used(meter, 1, midnight + 0.5, tokens=8)
    assert (3, 15) == (meter.today.requests, meter.today.tokens)
    meter.bring_up(midnight + SKEW_S)
    assert (2, 15) == (meter.today.requests, meter.today.tokens)
    used(meter, 1, midnight + 23.9999 * HOUR)
    meter.bring_up(midnight + 72 * HOUR)
    assert (0, 0) == (meter.today.requests, meter.today.tokens)


def test_tokens_of_a_day():
    """As of a minute; never what is larger than a day."""
    meter = made(tokens_day=1000, margin=0.5)
    used(meter, 1, tokens=100)
    assert 0.0 == wait(meter, tokens=400, claim="high")
    assert 12 * HOUR + SKEW_S == wait(meter, tokens=401, claim="high")
    assert 12 * HOUR + SKEW_S == wait(meter, tokens=1000, claim="high")
    assert inf == wait(meter, tokens=1001)
    assert 0.0 == wait(meter)


def test_the_day_is_paced_for_all_but_high_priority():
    """Where the rest of it is known to ask for more than is left."""
    meter = made(NOON - 12 * HOUR + 1, requests_day=240, requests_minute=12, reserve=0.1)
    meter.demand = Demand(meter.today.day.number * HOURS, [1000.0] * HOURS)
    used(meter, 40)
    assert 0.0 == wait(meter, NOW + 61, claim="high")
    paced_s = wait(meter, NOW + 61)
    assert 0 < paced_s < 4 * HOUR
    assert 0.0 == wait(meter, NOW + 61 + paced_s)
    assert wait(meter, NOW + 61, claim="spare") > paced_s
    assert 24 == meter.reserved(NOW)


def test_tokens_are_paced_by_what_calls_use():
    """Ten calls an hour of 100 tokens each."""
    meter = made(NOON - 12 * HOUR + 1, tokens_day=24_000)
    meter.demand = Demand(meter.today.day.number * HOURS, [10.0] * HOURS)
    meter.settle(meter.charge(0, NOW), 100, NOW)
    used(meter, 1, tokens=8000)
    assert wait(meter, NOW + 61, tokens=100) > 0.0
    assert 0.0 == wait(meter, NOW + 61, tokens=100, claim="high")


def test_demand_is_what_is_wanted():
    """Not what was granted. It says when the day will be used up."""
    meter = made(NOON - 12 * HOUR + 2, requests_day=240)
    for _ in range(52):
        meter.wanted(NOW)
    used(meter, 36, NOW)
    assert meter.runs_out_at(NOW) is None
    meter.wanted(NOW + HOUR + 1)
    assert [pytest.approx(52.0, rel=1e-3), None] == meter.demand.hours[:2]
    assert meter.runs_out_at(NOW + HOUR) == pytest.approx(NOON - 11 * HOUR + 204 / 52 * HOUR, abs=30)


# ── what was used ──


def test_what_was_not_used_is_given_back():
    """Where it was counted."""
    meter = made(tokens_minute=100, tokens_day=1000)
    share = meter.charge(80, NOW)
    meter.settle(share, 30, NOW + 5)
    assert (30, 30, 1) == (meter.window.tokens, meter.today.tokens, meter.window.requests)
    assert 0.0 == wait(meter, NOW + 61, tokens=100, claim="high")


def test_what_was_used_beyond_it_counts_from_then_on():
    """Nobody knew before; it is still in the window when the call's own minute is over."""
    meter = made(tokens_minute=100)
    share = meter.charge(80, NOW)
    meter.settle(share, 130, NOW + 50)
    assert (130, 130) == (meter.window.tokens, meter.today.tokens)
    assert 50.25 + SPAN_S - 61 == wait(meter, NOW + 61, tokens=60)
    exact = meter.charge(10, NOW + 200)
    meter.settle(exact, 10, NOW + 200)
    assert 140 == meter.today.tokens


def test_the_mean_call_is_learned():
    """From those that used something."""
    meter = made()
    for tokens in (0, 100, 200):
        meter.settle(meter.charge(0, NOW), tokens, NOW)
    assert 120.0 == meter.tokens_each


def test_what_was_never_sent_counts_for_nothing():
    """Also when the day has changed in between: then there is nothing to take back from it."""
    meter = made(requests_day=10, tokens_day=100, at_once=1)
    meter.give_back(meter.charge(5, NOW), NOW)
    assert (0, 0, 0, 0) == (meter.today.requests, meter.today.tokens, meter.window.requests, meter.in_flight)
    late = meter.charge(5, NOW)
    used(meter, 1, NOW + 13 * HOUR, tokens=3)
    meter.give_back(late, NOW + 13 * HOUR)
    assert (1, 3) == (meter.today.requests, meter.today.tokens)


def test_a_call_that_was_sent_late_counts_from_then_on():
    """It had to connect first, and the vendor saw it only then."""
    meter = made(requests_minute=1)
    share = meter.charge(5, NOW)
    meter.move(share, NOW + 0.2)
    assert 60.5 == wait(meter)
    meter.move(share, NOW + 3)
    assert 63.5 == wait(meter)
    assert (1, 5) == (meter.window.requests, meter.window.tokens)


def test_a_call_that_was_sent_after_the_reset_counts_for_the_new_day():
    """It was taken before; and next to the reset, for both."""
    midnight = NOW + 12 * HOUR
    meter = made(requests_day=9, tokens_day=90)
    meter.move(meter.charge(5, midnight - 9), midnight + 2)
    assert (1, 5) == (meter.today.requests, meter.today.tokens)
    meter.move(meter.charge(5, midnight + 24 * HOUR - 9), midnight + 24 * HOUR)
    meter.bring_up(midnight + 24 * HOUR + SKEW_S)
    assert (1, 5) == (meter.today.requests, meter.today.tokens)


def test_whether_anything_still_counts():
    """What a config that drops the quota must not forget."""
    meter = made()
    assert not meter.is_in_use(NOW)
    used(meter, 1)
    assert meter.is_in_use(NOW + 61)
    assert not meter.is_in_use(NOW + 13 * HOUR)
    meter.charge(0, NOW + 13 * HOUR)
    assert meter.is_in_use(NOW + 40 * HOUR)


def test_another_configuration_keeps_what_was_used():
    """Other limits, and another reset."""
    meter = made(requests_minute=16)
    used(meter, 5)
    meter.configure(replace(meter.quota, requests_minute=5, requests_day=5, day_starts_s=13 * 3600), NOW)
    assert HOUR + SKEW_S == wait(meter, claim="high")
    assert NOON + HOUR == meter.today.day.end


def test_what_an_earlier_run_used_counts():
    """Its minute and its day, and the usual demand."""
    meter = made(requests_day=100)
    slots = [Slot(NOW - 70, 9, 9), Slot(NOW - 10, 2, 20)]
    meter.restore(slots, DayUse(meter.today.day.number, 5, 50), [1.0] * HOURS, NOW)
    assert (2, 20) == (meter.window.requests, meter.window.tokens)
    assert (5, 50) == (meter.today.requests, meter.today.tokens)
    assert 12.0 == meter.demand.rest(12.0)


# ── many calls, one look ──


def easy(**options) -> Meter:
    """A meter that has just looked ahead for three calls of ten tokens each."""
    meter = made(**options)
    meter.look_ahead(10, NOW, calls=3)
    return meter


def test_where_there_is_room_for_many_the_next_ones_go_without_a_look():
    """As many as were looked at, and not for longer than a slot; each counts as any other."""
    meter = easy(requests_minute=5, tokens_minute=100, requests_day=50, tokens_day=1000)
    for _ in range(3):
        assert meter.is_easy(10, NOW)
        meter.charge_easy(10, NOW)
    assert not meter.is_easy(10, NOW)
    assert (3, 30, 3, 30, 3) == (
        meter.window.requests,
        meter.window.tokens,
        meter.today.requests,
        meter.today.tokens,
        meter.in_flight,
    )
    meter.look_ahead(10, NOW, calls=2)
    assert (True, False) == (meter.is_easy(10, NOW + EASY_S - 0.01), meter.is_easy(10, NOW + EASY_S))
    assert not meter.is_easy(21, NOW)


@pytest.mark.parametrize(
    "options",
    [
        {"requests_minute": 2},
        {"tokens_minute": 29},
        {"requests_day": 2},
        {"tokens_day": 29},
        {"requests_minute": 100, "requests_day": 2},
    ],
)
def test_without_room_for_many_each_is_looked_at(options):
    """Whatever is short."""
    assert not easy(**options).is_easy(10, NOW)


def test_what_ends_an_easy_time():
    """A place that is not free, a vendor's refusal or count, another limit, more tokens than were thought, a clock set right."""
    meter = easy(at_once=1)
    share = meter.charge_easy(10, NOW)
    assert not meter.is_easy(10, NOW)
    meter.settle(share, 31, NOW)
    meter.end(1.0)
    assert not meter.is_easy(10, NOW)
    closed = easy()
    closed.closed_until = NOW + 1
    closed._easy_until = 0.0
    closed.look_ahead(10, NOW, calls=3)
    assert not closed.is_easy(10, NOW)
    for spoil in (
        lambda meter: meter.refused(None, NOW),
        lambda meter: meter.learn("requests_minute", 2),
        lambda meter: meter.configure(Quota("free", "stub", requests_minute=1), NOW),
        lambda meter: meter.answered([Told("requests", 16, 0, 5.0)], NOW, is_refusal=False),
        lambda meter: meter.answered([Told("requests", 16, 5, 5.0)], NOW, is_refusal=False),
        lambda meter: [meter.synchronise(NOON - 13 * HOUR, NOW) for _ in range(2)],
    ):
        meter = easy()
        assert meter.is_easy(10, NOW)
        spoil(meter)
        assert not meter.is_easy(10, NOW)


def test_the_last_second_of_a_day_is_never_easy():
    """What is used in it counts for two days."""
    meter = made(wall=NOON + 12 * HOUR - SKEW_S - 0.1)
    meter.look_ahead(1, NOW, calls=3)
    assert (True, False) == (meter.is_easy(1, NOW + 0.09), meter.is_easy(1, NOW + 0.11))


def test_an_answer_is_of_interest_after_a_refusal_and_when_the_clock_is_due():
    """Else only what it says of limits is."""
    meter = made()
    assert meter.is_curious(NOW)
    meter.synchronise(None, NOW)
    assert not meter.is_curious(NOW)
    meter.synchronise(None, NOW + 1)
    meter.refused(None, NOW)
    assert meter.is_curious(NOW)
    assert meter.is_curious(NOW + CLOCK_EVERY_S)
