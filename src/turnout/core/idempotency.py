"""Decides what an Idempotency-Key stands for: where its answer is kept, which request it belongs to, which errors are kept.

A key names one request of one workspace. The same request again gets the same answer, any other is refused. What is hashed
here is only compared, and nobody gains by a collision within a workspace of his own.

An error is kept if a vendor may have done work for it: its refusal of the request, a broken stream, a failure after which
nobody can say. So no repeat asks a vendor twice. What ended before that (our own refusals, "not now", no connection) is not
kept: the repeat is served. That is Stripe's rule, "saved only if execution began" (docs.stripe.com/api/idempotent_requests,
read 21 November 2026), as far as a gateway can know where execution begins.
"""

from __future__ import annotations

import hashlib

from turnout.core.contracts import Call
from turnout.core.eligible import Ask
from turnout.errors import GatewayError, InvalidRequest, StreamInterrupted, UpstreamRejected

HEADER = "idempotency-key"

KEY_BYTES = 255
"""The longest key: Stripe's."""


def slot(workspace: str, key: bytes) -> bytes:
    """Return the name under which the answer for `key` is kept: 32 bytes, which tell nothing of the key. O(1), 2 µs.

    key: the header's value. Raises InvalidRequest if it is none: empty, too long, or with other than printable ASCII in it.
    """
    if not 0 < len(key) <= KEY_BYTES or not key.isascii() or not key.decode("ascii").isprintable():
        raise InvalidRequest(
            f"The Idempotency-Key must be 1 to {KEY_BYTES} printable ASCII characters, a UUID for example.",
            param=HEADER,
        )
    return _digest((workspace.encode(), key))


def request_digest(call: Call, ask: Ask) -> bytes:
    """Return 32 bytes that stand for a request: its format, whom it is for, and every member of its body. O(bytes), 1 ns each.

    The order of the members does not matter; what is inside each one does, to the byte.
    """
    labels = (call.dialect, ask.task, ask.user, ask.session)
    parts: list[bytes | memoryview] = [label.encode() for label in labels]
    for name in sorted(call.fields):
        parts += (name.encode(), memoryview(call.fields[name]))
    return _digest(parts)


def _digest(parts: list[bytes | memoryview] | tuple[bytes, ...]) -> bytes:
    """Hash parts so that no other parts, cut differently, give the same."""
    digest = hashlib.blake2b(digest_size=32, person=b"turnout.once")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def is_kept(error: GatewayError) -> bool:
    """Whether a repeat is told `error` again instead of being served."""
    return error.is_ambiguous or isinstance(error, (UpstreamRejected, StreamInterrupted))


def reused() -> InvalidRequest:
    """Return what a client is told that gives a key to a second request. 422: the IETF's draft on this header, 2.7."""
    error = InvalidRequest(
        "This Idempotency-Key was used for another request (another body, task, user or session): make a new key for this one.",
        param=HEADER,
    )
    error.status = 422
    return error


def still_busy() -> InvalidRequest:
    """Return what a client is told that asks again while the first is under way, and has waited for it long enough."""
    error = InvalidRequest(
        "The request that this Idempotency-Key was first used for is still under way: send this again later.",
        param=HEADER,
    )
    error.status = 409
    return error
