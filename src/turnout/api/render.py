"""Turns errors into bytes: the only place that does. One shape that OpenAI's and Anthropic's SDKs both read; the code is ours.

`type` is the family that OpenAI's SDKs know; `code` is our stable name; `source` says whose fault; the message says what
to do. A vendor's own 4xx body passes unchanged, so that an application's handling of its vendor's errors keeps working;
unless it is no JSON object, or was longer than is read of it, and so is broken off: then its beginning is quoted, if it is
text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from turnout.core.pricing import format_usd
from turnout.core.vendor_errors import TRACE_BYTES, quote
from turnout.errors import (
    BudgetExceeded,
    GatewayError,
    InvalidRequest,
    NoCandidate,
    RateLimited,
    UpstreamError,
    UpstreamRejected,
)

JSON = (b"content-type", b"application/json")

TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


def error_body(error: GatewayError, request_id: str) -> bytes:
    """Return the JSON body for `error`; a vendor's rejection passes as the vendor wrote it, if that is a JSON object."""
    message = error.message
    if isinstance(error, UpstreamRejected) and error.body:
        if _is_object(error.body):
            return error.body
        beginning = quote(error.body[:TRACE_BYTES].decode("utf-8", "replace"))
        if beginning and "\ufffd" not in beginning:
            message += f": {beginning}"
    kind = TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    told: dict[str, object] = {
        "message": message,
        "type": kind,
        "param": error.param,
        "code": error.code,
        "source": error.source,
    }
    if isinstance(error, BudgetExceeded) and error.budget:
        limit_usd = format_usd(error.limit_nano_usd)[1:]
        told["budget"] = {"name": error.budget, "limit_usd": limit_usd, "resets_at": error.resets_at}
    if request_id:
        told["request_id"] = request_id
    return msgspec.json.encode({"type": "error", "error": told})


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (ValueError, RecursionError):
        return False


def error_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """Return the headers that belong to `error`: hints to wait, and whether an SDK should try again by itself.

    A 429 or 503 always says when (T14). What we have already tried elsewhere says not to repeat it at once: SDKs retry
    429 and 5xx twice by themselves, which would multiply our own attempts (T16, F9).
    """
    headers = [JSON]
    if error.status in {429, 503}:
        wait = error.retry_after_s if error.retry_after_s is not None else 1.0
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(wait))))
        headers.append((b"retry-after-ms", b"%d" % max(1, math.ceil(wait * 1000))))
    if isinstance(error, (UpstreamError, NoCandidate)) or error.status == 500:
        headers.append((b"x-should-retry", b"false"))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, RateLimited):
        headers += error.headers
    if isinstance(error, InvalidRequest) and error.allow:  # RFC 9110 §15.5.6 asks for it
        headers.append((b"allow", error.allow.encode()))
    return headers
