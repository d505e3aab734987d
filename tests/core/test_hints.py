"""When a vendor wants us back: T11 to T14, and nothing absurd is believed."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.hints import CAP_S, retry_after_s

NOW = 1763700000.0  # 2025-11-21T04:40:00Z


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "3600"}, CAP_S),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": "Fri, 21 Nov 2025 04:41:00 -0000"}, 60.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"x-ms-retry-after-ms": "300", "retry-after": "7"}, 0.3),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, CAP_S),
        ({"x-ratelimit-reset-requests": "1m30s"}, 90.0),
        ({"x-ratelimit-reset-tokens": "1.5s"}, 1.5),
        ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-reset-tokens": "1h2m3s"}, CAP_S),
        ({"x-ratelimit-reset-requests": "1d"}, CAP_S),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": str(int(NOW) + 20)}, 20.0),
        ({"x-ratelimit-reset": str(int(NOW * 1000) + 30_000)}, 30.0),
        ({"anthropic-ratelimit-requests-reset": "2025-11-21T04:40:45Z"}, 45.0),
        ({"anthropic-ratelimit-tokens-reset": "2025-11-21T04:40:45"}, 45.0),
    ],
)
def test_every_spelling(headers, wanted):
    """Seconds, milliseconds, HTTP-date, durations, epochs, RFC 3339; milliseconds win; five minutes at most."""
    assert wanted == pytest.approx(retry_after_s(headers, NOW), abs=0.001)


@pytest.mark.parametrize(
    "told",
    ["", " ", "soon", "-5", "+5", "1e9", "1e3", "1000000000", "nan", "inf", "7, 9", "٧", formatdate(NOW - 90, usegmt=True),
     "Fri, 99 Nov 2025 04:41:00 GMT", "Fri, 21 Nov 0000 04:41:00 GMT", "Fri, 21 Nov 9999 04:41:00 GMT"],
)  # fmt: skip
def test_what_is_no_hint(told):
    """Garbage, negative, past, absurd, two values: as if it were not there, and the next header is asked."""
    assert retry_after_s({"retry-after": told}, NOW) is None
    assert retry_after_s({"retry-after": told, "x-ratelimit-reset": "3s"}, NOW) == 3.0


@pytest.mark.parametrize("told", ["2025-11-21T04:39:00Z", "0001-01-01T00:00:00+23:59", "1", "5m5", "m", "1x"])
def test_resets_that_say_nothing(told):
    """A reset in the past is over; what cannot be read is nothing. A bare 1 is a second."""
    assert retry_after_s({"x-ratelimit-reset": told}, NOW) == (1.0 if told == "1" else None)


def test_of_several_limits_the_used_up_one_counts():
    """The last of those at zero; if none says so, the first to reset."""
    headers = {
        "x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "40",
        "x-ratelimit-reset-tokens": "60s", "x-ratelimit-remaining-tokens": "0",
    }  # fmt: skip
    assert retry_after_s(headers, NOW) == 60.0
    assert retry_after_s({**headers, "x-ratelimit-remaining-tokens": "9"}, NOW) == 1.0
    assert retry_after_s({}, NOW) is None


NAMES = st.sampled_from(
    ("retry-after", "retry-after-ms", "x-ms-retry-after-ms", "x-ratelimit-reset", "anthropic-ratelimit-tokens-reset")
)
TOLD = st.text(max_size=40) | st.text("0123456789.:-+hmsdTZ ", max_size=25) | st.datetimes().map(str)


@given(st.dictionaries(NAMES, TOLD), st.floats(0, 4e9))
def test_never_raises_never_negative_never_over_the_cap(headers, now):
    """Whatever a vendor writes."""
    delay = retry_after_s(headers, now)
    assert delay is None or 0 <= delay <= CAP_S
