"""core/alerting.py: what is sent when a budget reaches a mark, and when it is tried again."""

from __future__ import annotations

import hashlib
import hmac
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.alerting import LONGEST_PAUSE_S, alert_id, letter, pause_s, signature, webhook_body, words
from turnout.core.books.alerts import Alert

ALERT = Alert(
    *("user:*/anna", 1_793_491_200, "80%", 1_796_083_200, "user", "anna"),
    *(10 * 10**9, 8 * 10**9, 8_150_000_000, 1_794_000_000),
)


def test_it_is_said_in_one_line():
    """Which budget, how far it is, and when it begins anew; of a soft limit and of one for life as well."""
    assert (
        "The budget user:*/anna has reached 80%: $8.15 of $10.00 are spent. It begins anew at 2026-12-01 00:00 UTC."
    ) == words(ALERT)
    life = msgspec.structs.replace(ALERT, mark="soft", ends_at=None, budget="user:*/a\nb")
    assert "The budget user:*/a\\nb has reached its soft limit: $8.15 of $10.00 are spent." == words(life)


def test_a_webhook_is_told_everything_in_json():
    """Money in dollars as text, so that no reader rounds it."""
    assert {
        "id": alert_id(ALERT),
        "type": "budget.reached",
        "text": words(ALERT),
        "budget": "user:*/anna",
        "scope": "user",
        "who": "anna",
        "mark": "80%",
        "mark_usd": "8",
        "spent_usd": "8.15",
        "limit_usd": "10",
        "period": {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"},
        "raised_at": "2026-11-06T21:20:00Z",
    } == json.loads(webhook_body(ALERT))
    assert json.loads(webhook_body(msgspec.structs.replace(ALERT, ends_at=None)))["period"]["ends_at"] is None


def test_its_id_is_the_same_however_often_it_is_sent():
    """And another for another budget, period or mark; not for other sums."""
    assert alert_id(ALERT) == alert_id(msgspec.structs.replace(ALERT, spent_nano_usd=9, raised_at=1))
    others = [{"budget": "all"}, {"starts_at": 1}, {"mark": "90%"}]
    assert 4 == len({alert_id(ALERT), *(alert_id(msgspec.structs.replace(ALERT, **other)) for other in others)})


def test_a_signature_can_be_checked_by_who_knows_the_secret():
    """As the how-to says: HMAC-SHA256 of timestamp, dot, body."""
    expected = hmac.new(b"s3cret", b'1794000000.{"a": 1}', hashlib.sha256).hexdigest()
    assert f"t=1794000000,v1={expected}" == signature("s3cret", 1_794_000_000, b'{"a": 1}')


def test_a_letter_is_one_that_a_mail_server_takes():
    """No name of a budget can add a header; it says what the webhook says."""
    alert = msgspec.structs.replace(ALERT, budget="user:*/anna\r\nBcc: eve@example.com")
    message = letter(alert, "Turnout <turnout@example.com>", ("a@example.com", "b@example.com"), 1_794_000_000)
    assert "Turnout: budget user:*/anna\\r\\nBcc: eve@example.com: 80% spent" == message["Subject"]
    assert message["Bcc"] is None
    assert ("a@example.com, b@example.com", "Fri, 06 Nov 2026 21:20:00 +0000") == (message["To"], message["Date"])
    assert f"<{alert_id(alert)}@example.com>" == message["Message-ID"]
    assert words(alert) in message.get_content().replace("\n", "")
    soft = letter(msgspec.structs.replace(ALERT, mark="soft"), "a@b.c", ("d@e.f",), 0)
    assert "Turnout: budget user:*/anna: soft limit reached" == soft["Subject"]


def test_an_address_that_is_none_is_refused():
    """A line break in it would be a header."""
    with pytest.raises(ValueError, match="Header"):
        letter(ALERT, "a@b.c\nBcc: eve@example.com", ("d@e.f",), 0)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_up_to_ten_minutes(tries, draw):
    """And are spread, by a quarter at most."""
    assert 1.5 <= pause_s(tries, draw) <= LONGEST_PAUSE_S
    assert pause_s(tries, 0.0) <= pause_s(tries + 1, 0.0)
    assert [2.0, 4.0, 8.0] == [pause_s(few, 0.0) for few in (1, 2, 3)]
