"""Errors as bytes."""

import json

import pytest

from turnout.api.render import error_body, error_headers
from turnout.errors import (
    BudgetExceeded,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    NoCandidate,
    RateLimited,
    Unauthenticated,
    UpstreamFault,
    UpstreamRejected,
    UpstreamThrottled,
)


def test_the_shape_is_read_by_both_sdks_and_the_code_is_ours():
    """message, type, param, code, as OpenAI's wants them; an object of type error, as Anthropic's does."""
    body = json.loads(error_body(InvalidRequest("Say more.", param="messages"), "req_1"))
    assert body == {
        "type": "error",
        "error": {
            "message": "Say more.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "invalid_request",
            "source": "client",
            "request_id": "req_1",
        },
    }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unauthenticated("x"), "authentication_error"),
        (ModelNotFound("x"), "not_found_error"),
        (RateLimited("x"), "rate_limit_error"),
        (BudgetExceeded("x"), "insufficient_quota"),
        (InternalError("x"), "api_error"),
        (UpstreamFault("x"), "api_error"),
    ],
)
def test_the_type_is_the_family_that_openais_sdks_know(error, kind):
    """By status."""
    assert json.loads(error_body(error, ""))["error"]["type"] == kind


def test_a_vendors_own_rejection_passes_as_the_vendor_wrote_it():
    """Byte for byte, if it is JSON; else in our shape."""
    theirs = b'{"error": {"message": "bad", "their": "field"}}'
    assert error_body(UpstreamRejected("x", vendor_status=422, body=theirs), "r") == theirs
    assert json.loads(error_body(UpstreamRejected("x", vendor_status=422), "r"))["error"]["message"] == "x"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>\n<b>No</b>", "x: <html> <b>No</b>"),
        (b'{"error": {"message": "' + b"\x1b[31m" + b"long " * 13_000, 'x: {"error": {"message": " [31mlong long'),
        (b'{"error": "\xff"}', "x"),
        (b"\x1f\x8b\x08\x00gzip", "x"),
        (b'{"error": "' + "æ".encode() * 40_000, 'x: {"error": "æææ'),
        (b'["no"]', 'x: ["no"]'),
        (b'{"a":' * 20_000, 'x: {"a":{"a":'),
        (b"\r\n", "x"),
    ],
)
def test_a_rejection_that_is_no_json_object_is_quoted(body, message):
    """What was cut off at the most that is read of it must not go out as broken JSON; 300 characters of it, cleaned, do."""
    told = json.loads(error_body(UpstreamRejected("x", vendor_status=422, body=body), "r"))["error"]
    assert told["message"].startswith(message)
    assert len(told["message"]) <= 303
    assert (told["code"], told["type"]) == ("upstream_rejected", "invalid_request_error")


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (UpstreamThrottled("x", retry_after_s=7.2), (b"8", b"7200")),
        (NoCandidate("x"), (b"1", b"1000")),
        (RateLimited("x", retry_after_s=0.0), (b"1", b"1")),
    ],
)
def test_a_429_or_503_always_says_when(error, wait):
    """Both spellings (T14), never zero."""
    headers = dict(error_headers(error))
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == wait
    assert (headers.get(b"x-should-retry") == b"false") is not isinstance(error, RateLimited)


def test_a_failure_that_was_tried_elsewhere_tells_sdks_not_to_multiply_it():
    """F9."""
    assert dict(error_headers(UpstreamFault("x")))[b"x-should-retry"] == b"false"


def test_a_401_names_the_scheme():
    """RFC 9110 §11.6.1."""
    assert dict(error_headers(Unauthenticated("x")))[b"www-authenticate"] == b"Bearer"


def test_a_refusal_by_a_limit_says_how_the_limits_stand():
    """As an answer would."""
    error = RateLimited("Wait.", retry_after_s=2.5)
    error.headers = ((b"x-ratelimit-remaining-requests", b"0"),)
    told = dict(error_headers(error))
    assert (b"0", b"3", b"2500") == (
        told[b"x-ratelimit-remaining-requests"],
        told[b"retry-after"],
        told[b"retry-after-ms"],
    )
