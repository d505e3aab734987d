"""api/wishes.py: how urgent a request is, as its headers say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from turnout.api.wishes import LONGEST_S, by, priority, timeout_s
from turnout.errors import InvalidRequest

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()


def at(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(("told", "meant"), [(b"high", "high"), (b" Medium ", "medium"), (b"LOW", "low"), (None, "")])
def test_a_priority_is_one_of_three_words(told, meant):
    """In whatever case; without the header the task decides."""
    assert meant == priority({} if told is None else {b"x-turnout-priority": told})


def test_another_priority_is_refused():
    """Silently medium would be a surprise."""
    with pytest.raises(InvalidRequest, match="high, medium or low") as refused:
        priority({b"x-turnout-priority": b"urgent"})
    assert refused.value.param == "x-turnout-priority"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({b"x-turnout-timeout": b"20"}, 20.0),
        ({b"x-turnout-timeout": b" 0.5 "}, 0.5),
        ({b"x-stainless-read-timeout": b"600"}, 600.0),
        ({b"x-stainless-timeout": b"30.0"}, 30.0),
        ({b"x-turnout-timeout": b"5", b"x-stainless-timeout": b"30"}, 5.0),
        ({b"x-stainless-timeout": b"None"}, None),
        ({b"x-stainless-read-timeout": b"inf", b"x-stainless-timeout": b"12"}, 12.0),
    ],
)
def test_a_client_waits_as_long_as_it_says_or_its_sdk(headers, seconds):
    """Ours counts first; what an SDK says and is no number says nothing."""
    assert seconds == timeout_s(headers)


@pytest.mark.parametrize("told", [b"soon", b"-1", b"1e9", b"nan", b"", b"20s", b"99999999"])
def test_a_timeout_that_is_no_number_is_refused(told):
    """It was meant for us."""
    with pytest.raises(InvalidRequest, match="number of seconds"):
        timeout_s({b"x-turnout-timeout": told})


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (b"2026-11-22T09:00:00+01:00", "2026-11-22T08:00:00+00:00"),
        (b"2026-11-22T09:00:00Z", "2026-11-22T09:00:00+00:00"),
        (b"13:30", "2026-11-21T13:30:00+00:00"),
        (b"09:00", "2026-11-22T09:00:00+00:00"),
        (b"09:00Z", "2026-11-22T09:00:00+00:00"),
        (b"12:00", "2026-11-22T12:00:00+00:00"),
        (b" 09:00+01:00 ", "2026-11-22T08:00:00+00:00"),
        (b"13:30+01:00", "2026-11-21T12:30:00+00:00"),
        (b"00:30+01:00", "2026-11-21T23:30:00+00:00"),
        (b"23:30-05:00", "2026-11-22T04:30:00+00:00"),
    ],
)
def test_a_job_says_an_instant_or_the_next_such_time_of_the_day(told, meant):
    """UTC, where it names no offset; noon at noon is tomorrow's."""
    assert at(meant) == by({b"x-turnout-by": told}, NOON)
    assert by({}, NOON) is None


@pytest.mark.parametrize("told", [b"tomorrow", b"2026-11-22", b"2026-11-22T09:00:00", b"25:00", b"9:00", b"", b"\xff"])
def test_a_time_that_cannot_be_read_is_refused(told):
    """With what is meant."""
    with pytest.raises(InvalidRequest, match="an instant with its offset"):
        by({b"x-turnout-by": told}, NOON)


@pytest.mark.parametrize("ahead_s", [-1.0, 0.0, LONGEST_S + 60])
def test_a_time_that_is_past_or_far_away_is_refused(ahead_s):
    """A clock that is wrong is seen at once, not by waiting."""
    told = datetime.fromtimestamp(NOON + ahead_s, UTC).isoformat().encode()
    with pytest.raises(InvalidRequest, match="past, or more than a week away"):
        by({b"x-turnout-by": told}, NOON)
