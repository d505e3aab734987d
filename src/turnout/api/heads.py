"""Decides whether a request's head may be taken: what llhttp lets pass and another parser would read otherwise is refused.

Pure: a head in, an error out. `api/server.py` asks only when a head has something rare in it, so the ordinary one costs
nothing here. Sources: RFC 9112 §3.2 (one valid Host), §6.1 (Transfer-Encoding: chunked alone, in HTTP/1.1 alone), §6.2;
RFC 9110 §10.1.1 (Expect); RELIABILITY T53, T54.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address
from typing import Final

import httptools

from turnout.errors import GatewayError, InvalidRequest, RequestTooLarge

Header = tuple[bytes, bytes]

LENGTH_DIGITS = 20
"""Longest Content-Length that is read: more digits than 2**64 has (h11 reads as many)."""

ONCE: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"content-encoding",
        b"authorization",
        b"x-api-key",
        b"x-turnout-task",
        b"x-turnout-user",
        b"x-turnout-session",
        b"x-turnout-workspace",
        b"x-turnout-priority",
        b"x-turnout-timeout",
        b"x-turnout-by",
        b"cache-control",
        b"idempotency-key",
    }
)
"""Headers that decide something here. Two of one, and we and a proxy before us may go by different ones."""

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]{0,5})?")
"""Narrower than RFC 3986's reg-name: names as DNS and hosts files have them, and addresses."""


def _is_host(value: bytes) -> bool:
    found = _HOST.fullmatch(value)
    if found is None:
        return False
    if found[1] is not None:
        try:
            IPv6Address(found[1].decode())
        except ValueError:
            return False
    return True


def check(version: str, pairs: Sequence[Header], headers: Mapping[bytes, bytes], body_limit: int) -> None:
    """Raise InvalidRequest or RequestTooLarge unless this head may be taken.

    version: as llhttp says it. pairs: the headers as they came, names in lower case. headers: the same as a mapping.
    body_limit: bytes. O(headers).
    """
    if version not in {"1.0", "1.1"}:
        raise InvalidRequest(f"HTTP/{version} is not spoken here: ask in HTTP/1.1.")
    if len(headers) != len(pairs):
        seen: set[bytes] = set()
        for name, _ in pairs:
            if name in ONCE and name in seen:
                raise InvalidRequest(f"The header {name.decode()} is there more than once.", param=name.decode())
            seen.add(name)
    host = headers.get(b"host")
    if host is None:
        if version == "1.1":
            raise InvalidRequest("The header Host is missing (RFC 9112, 3.2).", param="host")
    elif not _is_host(host.strip(b" \t")):
        raise InvalidRequest("The header Host is no host name or address.", param="host")
    encoding = headers.get(b"transfer-encoding")
    if encoding is not None and (version == "1.0" or encoding.strip(b" \t").lower() != b"chunked"):
        raise InvalidRequest(
            "A body may be chunked, in HTTP/1.1, and encoded in no other way.", param="transfer-encoding"
        )
    length = headers.get(b"content-length")
    if length is not None:
        digits = length.strip(b" \t")
        if not digits.isdigit() or len(digits) > LENGTH_DIGITS:
            raise InvalidRequest("The header Content-Length is no length.", param="content-length")
        if int(digits) > body_limit:
            raise body_too_large(body_limit)


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target in origin form or absolute form (whose authority is left aside: it routes
    nothing here). Raises InvalidRequest.
    """
    if b"#" in target:
        raise InvalidRequest("The request target has a fragment, which no client sends.")
    try:
        parsed = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise InvalidRequest("The request target cannot be read.") from None
    return parsed.path or b"/", parsed.query or b""


def late(message: str) -> GatewayError:
    """Return what a client that is too slow is told."""
    error = InvalidRequest(message)
    error.status = 408
    return error


def too_large(message: str, status: int = 431) -> GatewayError:
    """Return what a client with too much in its head is told."""
    error = RequestTooLarge(message)
    error.status = status
    return error


def body_too_large(body_limit: int) -> GatewayError:
    """Return what a client with a larger body is told. body_limit: bytes."""
    return RequestTooLarge(
        f"The body is larger than {body_limit} bytes: send less, or raise server.max_body in turnout.yaml."
    )
