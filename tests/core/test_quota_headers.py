"""core/quota_headers.py: what vendors say about their allowances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.quota_headers import Told, read, vendor_clock

NOW = 1_800_000_000.0


def ratelimit(limit: str, remaining: str, reset: str) -> dict[str, str]:
    """The plain family."""
    return {"x-ratelimit-limit": limit, "x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            [Told("requests", 60, 59, 1.0), Told("tokens", 150_000, 149_984, 360.0)],
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:30Z",
                "anthropic-ratelimit-tokens-limit": "40000",
                "anthropic-ratelimit-tokens-remaining": "39000",
                "anthropic-ratelimit-tokens-reset": "2027-01-15T08:00:01Z",
            },
            [Told("requests", 50, 0, 30.0), Told("tokens", 40_000, 39_000, 1.0)],
        ),
        (ratelimit("16", "0", "1800000060000"), [Told("requests", 16, 0, 60.0)]),
        (ratelimit("16.0", " 3 ", "1800000007"), [Told("requests", 16, 3, 7.0)]),
        (ratelimit("16", "3", "1799999999"), [Told("requests", 16, 3, 0.0)]),
        (ratelimit("16", "3", "soon"), [Told("requests", 16, 3, None)]),
        (ratelimit("16", "3", "99999999"), [Told("requests", 16, 3, None)]),
        ({"x-ratelimit-limit": "16", "x-ratelimit-remaining": "3"}, [Told("requests", 16, 3, None)]),
    ],
)
def test_the_families_and_spellings(headers, told):
    """T13, T14."""
    assert told == read(headers, NOW)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"x-ratelimit-limit": "16"},
        {"x-ratelimit-remaining": "16"},
        ratelimit("0", "0", "1s"),
        ratelimit("16", "17", "1s"),
        ratelimit("-16", "3", "1s"),
        ratelimit("16", "-1", "1s"),
        ratelimit("", "", ""),
        ratelimit("lots", "3", "1s"),
        ratelimit("1e9", "3", "1s"),
        ratelimit("٣", "٣", "1s"),
        ratelimit("1" * 13, "3", "1s"),
    ],
)
def test_what_makes_no_sense_says_nothing(headers):
    """Garbage, negatives, contradictions, absurd sizes."""
    assert [] == read(headers, NOW)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=30))
def test_nothing_raises(limit, remaining, reset):
    """Whatever a vendor, or somebody in between, writes."""
    for told in read(ratelimit(limit, remaining, reset), NOW):
        assert 0 <= told.remaining <= told.limit
        assert told.reset_s is None or told.reset_s >= 0


def test_the_vendors_clock():
    """Cut to whole seconds, so half of one is added; a cache's copy and garbage say nothing."""
    date = "Fri, 15 Jan 2027 08:00:00 GMT"
    assert NOW + 0.5 == vendor_clock({"date": date})
    assert vendor_clock({"date": date, "age": "60"}) is None
    assert vendor_clock({}) is None
    assert vendor_clock({"date": "yesterday"}) is None
    assert vendor_clock({"date": "Fri, 15 Jan 99999 08:00:00 GMT"}) is None


@given(st.text(max_size=40))
def test_no_date_raises(date):
    """As above."""
    assert vendor_clock({"date": date}) is None or date
