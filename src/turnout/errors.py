"""Decides what can go wrong, and what each failure tells its caller.

One root, four answers: **code** (a stable string), **status** (HTTP), **source** (whose fault: `client`, `gateway` or
`upstream`) and **retry** (`never`, `same` candidate, `next` candidate, `after` a time). Errors become bytes only in
`api/render.py`; foreign exceptions become these only at the sockets
(`gateway/connection.py`, `dial.py`, `transport.py`), in `stores/*` and in `providers/*.classify`.
The table in docs/errors.md and this tree are compared by a test.

Source: the shape is h11's (an abstract root that refuses direct construction) and Pingora's (`esource`, `retry`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

Source = Literal["client", "gateway", "upstream"]
Retry = Literal["never", "same", "next", "after"]


class GatewayError(Exception):
    """The root: every failure that Turnout names. Abstract.

    message: what happened and what to do, for a person; never a secret, and no prompt unless a vendor's words quote one.
    plain: the same without a vendor's words: what may be kept, in traces and logs. kept: that, where the message leaves out what
    is for whoever runs the gateway alone; "" if it does not.
    param: the request field at fault (OpenAI's `param`), if one is.
    retry_after_s: seconds after which a new try makes sense, if known.
    is_ambiguous: a vendor may have done (and billed) the work although we have no answer.
    """

    is_ambiguous: bool = False
    kept: str = ""
    code: ClassVar[str] = ""
    status: int = 500
    source: ClassVar[Source] = "gateway"
    retry: ClassVar[Retry] = "never"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        if not type(self).code:
            raise TypeError(f"{type(self).__name__} is abstract: raise one of its kinds")
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def plain(self) -> str:
        """The message without what a vendor said."""
        return self.kept or self.message


# ── the client's side ──


class ClientError(GatewayError):
    """Something about the request. Abstract."""

    source: ClassVar[Source] = "client"
    status = 400


class InvalidRequest(ClientError):
    """The request cannot be read or makes no sense. allow: with a 405, the methods that the path takes."""

    code = "invalid_request"
    status = 400
    allow: str = ""


class RequestTooLarge(ClientError):
    """A body or a header block beyond the bound."""

    code = "request_too_large"
    status = 413


class Unauthenticated(ClientError):
    """No key, or not one of ours."""

    code = "unauthenticated"
    status = 401


class PermissionDenied(ClientError):
    """A known key that may not do this. asked: what it asked for, such as "task email-draft", "" if that is not the matter."""

    code = "permission_denied"
    status = 403
    asked: str = ""


class ModelNotFound(ClientError):
    """No model, route, alias or task of that name; the message lists the nearest."""

    code = "model_not_found"
    status = 404


class ClientDisconnected(ClientError):
    """The client left. Logged as 499 (nginx's number), never sent."""

    code = "client_disconnected"
    status = 499


# ── our own refusals ──


class LimitError(GatewayError):
    """A bound of ours was met. Abstract."""


class RateLimited(LimitError):
    """A limit of ours on the caller. headers: how his limits stand, as an answer would say it."""

    code = "rate_limited"
    status = 429
    retry = "after"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class BudgetExceeded(LimitError):
    """Money ran out. 402, not 429: OpenAI SDKs retry 429 by themselves, which multiplies useless traffic.

    budget: which, "" if that is not known. limit_nano_usd: of it. resets_at: Unix seconds, None: never.
    """

    code = "budget_exceeded"
    status = 402
    budget: str = ""
    limit_nano_usd: int = 0
    resets_at: int | None = None


class QuotaExhausted(LimitError):
    """What vendors allow us is used up, and has no room in the time that the request can wait. Nothing was sent."""

    code = "quota_exhausted"
    status = 429
    retry = "after"


class Overloaded(LimitError):
    """More than we can carry now."""

    code = "overloaded"
    status = 503
    retry = "after"


class GatewayStopping(GatewayError):
    """We are ending, and there was no time left to finish this. Its code is also what its task is cancelled with."""

    code = "gateway_stopping"
    status = 503
    retry = "after"

    def __init__(self) -> None:
        super().__init__("The gateway is stopping: send this again in a moment.", retry_after_s=1.0)


# ── the vendor's side ──


class UpstreamError(GatewayError):
    """A vendor failed us. Abstract. Carries who, which try, and what the vendor said.

    words: the vendor's own, which end the message; it may quote the prompt or the answer in them.
    model, provider: our names. attempt: 1 for the first. vendor_status: the HTTP status received, None if none was.
    is_throttle: a refusal that says nothing about health.
    body: at most 2 KiB of what the vendor said, for the trace; passed to the client only by UpstreamRejected.
    """

    source: ClassVar[Source] = "upstream"
    retry: ClassVar[Retry] = "next"
    status = 502

    def __init__(
        self,
        message: str,
        *,
        words: str = "",
        vendor_status: int | None = None,
        is_ambiguous: bool = False,
        retry_after_s: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(f"{message}: {words}" if words else message, retry_after_s=retry_after_s)
        self._plain = message
        self.vendor_status = vendor_status
        self.is_ambiguous = is_ambiguous
        self.body = body
        self.model = ""
        self.provider = ""
        self.attempt = 0

    @property
    def plain(self) -> str:
        """What we say of it ourselves."""
        return self._plain


class UpstreamTimeout(UpstreamError):
    """A phase took too long. phase: connect | first_chunk | idle | total."""

    code = "upstream_timeout"
    status = 504

    def __init__(self, message: str, *, phase: str, is_ambiguous: bool) -> None:
        super().__init__(message, is_ambiguous=is_ambiguous)
        self.phase = phase


class UpstreamUnreachable(UpstreamError):
    """No connection: refused, no such name, TLS not to be trusted. Nothing was sent, nothing is owed."""

    code = "upstream_unreachable"
    status = 502


class UpstreamThrottled(UpstreamError):
    """The vendor says 'not now': a cool-down for this model, never a mark against its health."""

    code = "upstream_throttled"
    status = 429


class UpstreamRejected(UpstreamError):
    """The vendor says that the request is bad; its status and its body reach the client unchanged.

    is_context_overflow: the prompt did not fit this model's window: a model with a larger one may take it.
    """

    code = "upstream_rejected"
    status = 400
    retry = "never"

    def __init__(
        self,
        message: str,
        *,
        vendor_status: int,
        words: str = "",
        body: bytes = b"",
        is_context_overflow: bool = False,
    ) -> None:
        super().__init__(message, words=words, vendor_status=vendor_status, body=body)
        self.status = vendor_status
        self.is_context_overflow = is_context_overflow


class UpstreamFault(UpstreamError):
    """The vendor broke: 5xx, an answer that cannot be read, or *our* credential refused (never shown as a 401)."""

    code = "upstream_fault"
    status = 502


class StreamInterrupted(UpstreamError):
    """The stream broke after bytes had reached the client: an error event in the stream, then the connection ends."""

    code = "stream_interrupted"
    status = 502
    retry = "never"

    @property
    def plain(self) -> str:
        """That it broke off; and by what, if that was raised as its cause. Its own message repeats the cause's."""
        cause = self.__cause__
        return f"The answer broke off: {cause.plain}" if isinstance(cause, UpstreamError) else "The answer broke off"


# ── nobody could ──


class NoCandidate(GatewayError):
    """No candidate may serve, or every one failed; the message names each and why."""

    code = "no_candidate"
    status = 503
    retry = "after"


class StoreError(GatewayError):
    """A store of ours did not answer."""

    code = "store_unavailable"
    status = 503
    retry = "after"


class BudgetUnknown(StoreError):
    """Whether a budget has room cannot be known now, so what takes something of it is not asked: one that is free may be."""

    code = "budget_unknown"


class LedgerUnavailable(StoreError):
    """What a vendor's work costs cannot be written down now, so no vendor is asked."""

    code = "ledger_unavailable"


class ConfigError(GatewayError):
    """The configuration is wrong. Exit code 2. problems: one line each, `file:line:column key: what, what was meant`."""

    code = "config_error"
    status = 500

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InternalError(GatewayError):
    """A bug of ours, with one face."""

    code = "internal_error"
    status = 500
