"""The judge of a day: what was used, who starved, and which refusals were wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.verdict import DAY_S, Asked, Safe, Sent, Waits, judge, most_within

SAFE = Safe(per_minute=2, per_day=5, at_once=2)


def answered(*instants: float) -> list[Asked]:
    """Calls that were wanted when they were sent."""
    return [Asked("medium", at, at + 60, "answered", at) for at in instants]


def sent(*instants: float, length_s: float = 4.0, status: int = 200) -> list[Sent]:
    """Calls of the same length."""
    return [Sent(at, at + length_s, status) for at in instants]


def refused(at: float, until: float) -> Asked:
    """A call that nobody sent."""
    return Asked("medium", at, until, "refused")


def test_an_empty_day_is_used_to_the_full() -> None:
    """Nobody wanted anything, so nothing was left unused, and there is nothing to divide by."""
    verdict = judge([], [], SAFE, DAY_S)
    assert (1.0, 0, 0, 0) == (verdict.share, verdict.used, verdict.most_a_minute, verdict.most_at_once)
    assert Waits(0, 0, 0.0, 0.0) == verdict.waits["high"]


def test_it_counts_what_the_witness_saw() -> None:
    """Taken and refused calls, the fullest minute, the fullest day, and how many were under way together."""
    seen = [*sent(0, 1, 59.9, 60), *sent(61, status=429), *sent(DAY_S + 1, DAY_S + 5)]
    verdict = judge([], seen, SAFE, 2 * DAY_S)
    assert (6, 1) == (verdict.used, verdict.throttled)
    assert (3, 5, 3) == (verdict.most_a_minute, verdict.most_a_day, verdict.most_at_once)


def test_waits_are_those_of_answered_calls_by_priority() -> None:
    """Quantiles are values that really occurred; whoever got no answer counts as wanted only."""
    asked = [Asked("low", 0.0, 900.0, "answered", float(wait)) for wait in range(1, 21)]
    verdict = judge([*asked, Asked("low", 0.0, 9.0, "gave up")], [], SAFE, DAY_S)
    assert Waits(21, 20, 10.0, 19.0) == verdict.waits["low"]
    assert Waits(0, 0, 0.0, 0.0) == verdict.waits["high"]


def test_who_got_no_turn_starved_and_who_got_one_too_late_was_late() -> None:
    """Failed and waiting calls are counted as such."""
    hows = [("gave up", None), ("gave up", 5.0), ("failed", 5.0), ("waiting", None), ("refused", None)]
    verdict = judge([Asked("high", 0.0, 9.0, how, at) for how, at in hows], [], SAFE, 0.0)
    assert (1, 1, 1, 1, 1) == (verdict.starved, verdict.late, verdict.failed, verdict.waiting, verdict.refused)


def test_a_refusal_beside_a_gap_was_wrong() -> None:
    """Two a minute are safe: a third fits once the first is a minute old, if somebody waited so long."""
    day = [*answered(0, 10), refused(20, 60), refused(20, 64)]
    verdict = judge(day, sent(0, 10), SAFE, DAY_S)
    assert (1, 2, 3) == (verdict.refused_wrongly, verdict.used, verdict.usable)
    assert pytest.approx(2 / 3) == verdict.share


def test_a_call_must_fit_with_its_whole_length_before_its_time_is_over() -> None:
    """A turn in the last second is no use to a client that then leaves."""
    assert 0 == judge([*answered(0, 10), refused(20, 63.9)], sent(0, 10), SAFE, DAY_S).refused_wrongly


def test_later_calls_keep_their_minute() -> None:
    """What was really sent afterwards had a right to its minute: a call before it would have made three of it."""
    assert 0 == judge([refused(31, 40)], sent(0, 61, 62), SAFE, DAY_S).refused_wrongly
    assert 1 == judge([refused(31, 40)], sent(0, 61, 92), SAFE, DAY_S).refused_wrongly


def test_refusals_do_not_share_a_gap() -> None:
    """Ten refusals and room for two: two were wrong. Those whose time ends first come first."""
    verdict = judge([refused(0, 30) for _ in range(10)], sent(100), SAFE, DAY_S)
    assert (2, 3) == (verdict.refused_wrongly, verdict.usable)


def test_a_full_day_refuses_rightly_and_the_next_has_room() -> None:
    """After five calls of a day nothing fits before midnight; who could wait until then could have been served."""
    day = sent(*(1000.0 * hour for hour in range(5)))
    assert 0 == judge([refused(50_000, DAY_S - 1)], day, SAFE, 2 * DAY_S).refused_wrongly
    assert 1 == judge([refused(50_000, DAY_S + 9)], day, SAFE, 2 * DAY_S).refused_wrongly
    assert 0 == judge([refused(50_000, DAY_S + 9)], day, SAFE, DAY_S).refused_wrongly


def test_places_at_once_are_looked_at_for_the_whole_length() -> None:
    """Two are under way from 10 to 70; a call that began before would meet both, one after does not."""
    busy = sent(10, 10, length_s=60.0)
    wide = Safe(per_minute=10, per_day=10, at_once=2)
    assert 0 == judge([refused(0, 120)], busy, wide, DAY_S).refused_wrongly
    assert 1 == judge([refused(0, 130)], busy, wide, DAY_S).refused_wrongly


def test_where_nothing_is_safe_nothing_fits() -> None:
    """No call a minute: every refusal was right."""
    assert 0 == judge([refused(0, 600)], [], Safe(0, 5, 2), DAY_S).refused_wrongly


def test_what_was_wasted_on_refusals_was_room() -> None:
    """The vendor's 429s were no use: without them there was room for the calls that got them."""
    asked = [refused(0, 60), *answered(0)]
    verdict = judge(asked, [*sent(0), *sent(*range(1, 20), status=429)], SAFE, DAY_S)
    assert (1, 1, 2, 19) == (verdict.refused_wrongly, verdict.used, verdict.usable, verdict.throttled)


def test_more_than_is_safe_is_no_better_than_all_of_it() -> None:
    """Who spends the margin too has used more than the safe quota: the share says by how much."""
    verdict = judge([], sent(*(100.0 * number for number in range(6))), SAFE, DAY_S)
    assert (6, 5) == (verdict.used, verdict.usable)


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 80))
def test_the_fullest_window_is_found(instants: list[int], window: int) -> None:
    """As counted by looking at every window that begins with a call."""
    expected = max((sum(begin <= at < begin + window for at in instants) for begin in instants), default=0)
    assert expected == most_within(instants, window)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 50)), max_size=8),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 200)), min_size=1, max_size=6),
)
def test_what_fits_never_breaks_what_is_safe_and_nothing_that_fits_is_missed(
    busy: list[tuple[int, int]], wanted: list[tuple[int, int]]
) -> None:
    """One refusal at a time against every whole second; many together never exceed the day."""
    safe = Safe(per_minute=2, per_day=9, at_once=2)
    taken = [Sent(at, at + length) for at, length in busy]
    lengths = sorted(length for _, length in busy)
    length_s = 0.0
    if lengths:
        length_s = (lengths[(len(lengths) - 1) // 2] + lengths[len(lengths) // 2]) / 2

    def is_safe(at: float) -> bool:
        minute = [one.at for one in taken] + [at]
        if any(sum(first <= one < first + 60 for one in minute) > 2 and first <= at < first + 60 for first in minute):
            return False
        ticks = [at + length_s * part / 100 for part in range(100)]
        return all(sum(one.at <= tick < one.until for one in taken) < 2 for tick in ticks)

    for at, patience in wanted:
        moments = [at + half / 2 for half in range(2 * patience + 1) if at + half / 2 <= at + patience - length_s]
        expected = int(length_s <= patience and len(taken) < 9 and any(map(is_safe, moments)))
        found = judge([refused(at, at + patience)], taken, safe, DAY_S).refused_wrongly
        assert expected == found
    together = judge([refused(at, at + patience) for at, patience in wanted], taken, safe, DAY_S)
    assert together.refused_wrongly <= max(0, 9 - len(taken))
