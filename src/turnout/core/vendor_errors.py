"""Names a vendor's refusal: its status, headers and body become one UpstreamError. The same for every wire protocol.

Rules: what the vendor says is quoted to 300 characters, never trusted, and kept apart from what we say (a vendor may
quote the prompt, so its words go to the client and into no trace); our own credential's trouble is a fault of
ours, never a 401 to the client; a 4xx about the request goes back as the vendor wrote it; redirects are not followed.
Sources: RELIABILITY §4.3 (fault matrix), T11 to T14, T19; the error pages of OpenAI,
OpenRouter and Anthropic (both checked 2026-11-21), llama.cpp's server and Mistral.
"""

from __future__ import annotations

import re

import msgspec

from turnout.core.contracts import Headers
from turnout.core.hints import CAP_S, retry_after_s
from turnout.core.redact import HIDDEN, SECRET_CHARS
from turnout.errors import UpstreamError, UpstreamFault, UpstreamRejected, UpstreamThrottled

TRACE_BYTES = 2048
"""Of what the vendor said, this much is kept for the trace (RELIABILITY §4.3)."""

REJECTION_BYTES = 64 * 1024
"""The most of a rejection's body that is handed to the client (RELIABILITY T10)."""

QUOTE_CHARS = 300

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|exceeds the available context size"
    r"|prompt is too long|context window|too many tokens|model's context|context size has been exceeded",
    re.IGNORECASE,
)
_OUT_OF_CREDIT = re.compile(
    r"insufficient_quota|billing_hard_limit|enforced_spend_limit_reached|credit balance", re.IGNORECASE
)

_BAD_KEY = re.compile(
    r"\binvalid_api_key\b|API_KEY_INVALID|API key not valid|(?:incorrect|invalid) api key", re.IGNORECASE
)
"""Said with a 400 by vendors that send no 401: Gemini and xAI."""


class Told(msgspec.Struct, frozen=True):
    """What a vendor's error body says: message for a person, its type and code, and all its words for a search."""

    message: str = ""
    kind: str = ""
    code: str = ""
    words: str = ""


def read_error(body: bytes) -> Told:
    """Return what an error body says, in any of the shapes in use. O(len(body)), never raises.

    Shapes: {"error": {"message", "type", "code"}} (OpenAI and most), {"error": "text"} (Ollama),
    {"type": "error", "error": {...}} (Anthropic), {"message", "type", "code"} (vLLM, Mistral), {"detail": ...} (FastAPI).
    """
    try:
        raw = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return Told(words=body[:TRACE_BYTES].decode("utf-8", "replace"))
    return told_by(raw)


def told_by(raw: object) -> Told:
    """As read_error, for JSON that is decoded already."""
    if isinstance(raw, list) and raw:  # Gemini wraps its error in an array
        raw = raw[0]
    if not isinstance(raw, dict):
        return Told()
    error = raw.get("error") or raw
    if not isinstance(error, dict):
        return Told(message=quote(error), words=_word(error))
    message = _word(error.get("message")) or _word(error.get("detail"))
    kind, code = _word(error.get("type")), _word(error.get("code"))
    metadata, details = error.get("metadata"), error.get("details")
    inner = _word(metadata.get("raw")) if isinstance(metadata, dict) else ""
    finer = _word(details.get("error_code")) if isinstance(details, dict) else ""
    return Told(quote(message), quote(kind), quote(code), " ".join(filter(None, [message, kind, code, inner, finer])))


def _word(value: object) -> str:
    """Text and ordinary numbers as text; nothing else (an integer of a million digits is not worth printing)."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and abs(value) < 2**63 else ""


def quote(value: object) -> str:
    """Return a vendor's words fit for a message and a log line: one line, no control characters, bounded."""
    return _CONTROL.sub(" ", _word(value)[: QUOTE_CHARS + 1]).strip()[:QUOTE_CHARS]


def classify(status: int, headers: Headers, body: bytes, now: float) -> UpstreamError:
    """Name a non-2xx answer. now: Unix seconds. O(len(body)), never raises."""
    told = read_error(body)
    said = told.message
    kept = body[:TRACE_BYTES]
    hint = retry_after_s(headers, now)
    if status == 429:
        if _OUT_OF_CREDIT.search(told.words):
            text = "the provider says that our account there is out of quota (429)"
            return UpstreamThrottled(text, words=said, vendor_status=status, retry_after_s=CAP_S, body=kept)
        text = "the provider says not now (429)"
        return UpstreamThrottled(text, words=said, vendor_status=status, retry_after_s=hint, body=kept)
    if status in {503, 529}:
        text = f"the provider is overloaded or down ({status})"
        return UpstreamFault(text, words=said, vendor_status=status, retry_after_s=hint, body=kept)
    if status >= 500:
        text = f"the provider failed ({status})"
        return UpstreamFault(text, words=said, vendor_status=status, is_ambiguous=True, body=kept)
    if status >= 400:
        return _refused(status, told, said, body)
    if status >= 300:
        text = f"the provider redirects ({status}), which is not followed: check its base_url"
        return UpstreamFault(text, vendor_status=status, body=kept)
    text = f"the provider answered {status}, which is no answer to this request"
    return UpstreamFault(text, vendor_status=status, is_ambiguous=True, body=kept)


def _refused(status: int, told: Told, said: str, body: bytes) -> UpstreamError:
    """A 4xx other than 429: about our account, about this model there, or about the request."""
    kept = body[:TRACE_BYTES]
    about_account = {
        401: "the provider refused our credential (401): check its key",
        402: "our account at the provider is out of credit (402)",
        403: "the provider refused our credential for this (403): check its key and what it may use",
    }
    if status in about_account and not (status == 403 and "flagged" in told.words):
        # The vendor's words stay out of the message: some echo a part of the key.
        return UpstreamFault(about_account[status], vendor_status=status, body=b"" if status == 401 else kept)
    if status == 404:
        text = "the provider does not know this model or address (404)"
        return UpstreamFault(text, words=said, vendor_status=status, body=kept)
    if status == 408:
        text = "the provider gave up waiting (408)"
        return UpstreamFault(text, words=said, vendor_status=status, is_ambiguous=True, body=kept)
    if status == 400 and _OUT_OF_CREDIT.search(told.words):
        text = "our account at the provider is out of credit (400)"
        return UpstreamFault(text, words=said, vendor_status=status, body=kept)
    if status == 400 and _BAD_KEY.search(told.words):
        return UpstreamFault("the provider refused our credential (400): check its key", vendor_status=status)
    is_overflow = status in {400, 413, 422} and _OVERFLOW.search(told.words) is not None
    text = f"the provider rejected the request ({status})"
    kept = body[:REJECTION_BYTES]
    return UpstreamRejected(text, words=said, vendor_status=status, body=kept, is_context_overflow=is_overflow)


def hide(error: UpstreamError, secret: str) -> None:
    """Take our own key out of what a vendor's error repeats: its message and its body go to clients.

    In place. O(len(body)).
    """
    if len(secret) < SECRET_CHARS:
        return
    error.message = error.message.replace(secret, HIDDEN)
    error.args = (error.message,)
    error.body = error.body.replace(secret.encode(), HIDDEN.encode())
