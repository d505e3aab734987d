"""Every "no" of a vendor, in both formats."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation import refusals


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", None),
        (401, "invalid_request_error", "invalid_api_key"),
        (404, "invalid_request_error", "model_not_found"),
        (429, "requests", "rate_limit_exceeded"),
        (500, "server_error", None),
        (418, "invalid_request_error", None),
    ],
)
def test_openais_errors(status: int, kind: str, code: str | None) -> None:
    """Message, type, param and code."""
    error = msgspec.json.decode(refusals.body("chat", status))["error"]
    assert (kind, code, None) == (error["type"], error["code"], error["param"])
    assert "imulated" in error["message"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropics_errors(status: int, kind: str) -> None:
    """Type says which."""
    body = msgspec.json.decode(refusals.body("messages", status))
    assert ("error", kind) == (body["type"], body["error"]["type"])


def test_own_words_go_before_the_usual_ones() -> None:
    """With the field at fault."""
    error = msgspec.json.decode(refusals.body("chat", 400, "no", param="messages", code="c"))["error"]
    assert ("no", "messages", "c") == (error["message"], error["param"], error["code"])


def test_a_prompt_that_does_not_fit() -> None:
    """As each vendor says it."""
    error = msgspec.json.decode(refusals.overflow("chat", 9000, 8192))["error"]
    assert "context_length_exceeded" == error["code"]
    assert "maximum context length is 8192 tokens" in error["message"]
    told = msgspec.json.decode(refusals.overflow("messages", 9000, 8192))["error"]["message"]
    assert "prompt is too long: 9000 tokens > 8192 maximum" == told


def test_a_spent_allowance() -> None:
    """OpenRouter's headers, the same in the body, and the hint about credits for a small day."""
    headers, body = refusals.over_quota("min", 16, 1_700_000_060.0)
    assert [
        ("x-ratelimit-limit", "16"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1700000060000"),
    ] == headers
    error = msgspec.json.decode(body)["error"]
    assert (429, "Rate limit exceeded: free-models-per-min.") == (error["code"], error["message"])
    assert "1700000060000" == error["metadata"]["headers"]["X-RateLimit-Reset"]
    assert b"10 credits" in refusals.over_quota("day", 50, 0.0)[1]
    assert b"10 credits" not in refusals.over_quota("day", 1000, 0.0)[1]


def test_a_busy_host() -> None:
    """A 429 of the host behind OpenRouter has a number for a code and no hint."""
    error = msgspec.json.decode(refusals.busy("m:free"))["error"]
    assert 429 == error["code"]
    assert "m:free is temporarily rate-limited upstream" in error["metadata"]["raw"]


def test_errors_inside_a_stream() -> None:
    """Three forms: OpenAI's, Anthropic's, OpenRouter's."""
    assert refusals.error_event("chat").startswith(b'data: {"error":')
    assert refusals.error_event("messages").startswith(b"event: error\ndata: ")
    assert "error" == msgspec.json.decode(refusals.error_chunk()[6:])["choices"][0]["finish_reason"]


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_dates_can_be_read_back(wall: int) -> None:
    """By the standard library's own readers."""
    assert wall == parsedate_to_datetime(refusals.http_date(wall)).timestamp()
    assert datetime.fromtimestamp(wall, UTC) == datetime.fromisoformat(refusals.rfc_3339(wall))
