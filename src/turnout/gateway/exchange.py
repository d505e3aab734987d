"""Holds one client request from its plan to its end: attempts, outcome, and the Trace made from them.

Plain data for the engine; nothing here waits, and nothing is formatted until it is needed.
"""

from __future__ import annotations

from turnout.core.catalog import Candidate, Snapshot
from turnout.core.continuation import Parts
from turnout.core.contracts import Call, Dialect
from turnout.core.messages import ChatRequest
from turnout.core.plan import Ask, Choice, Filtered, Index, Plan
from turnout.core.pricing import cost, format_usd
from turnout.core.retry import Decision, GiveUp
from turnout.core.usage import Usage
from turnout.errors import GatewayError, InvalidRequest, NoCandidate, UpstreamError, UpstreamThrottled
from turnout.gateway.downstream import Downstream, Head


class Attempt:
    """One try at one candidate. Instants are monotonic seconds; 0.0 means it did not come to that.

    is_sent: it came as far as the transport; else (a request that cannot be translated) nothing can be owed.
    input_tokens: an estimate of what was sent, which in a continuation is more than the client's request.
    is_hedge: it was asked beside a slow first one. is_superseded: it was given up because the other was quicker.
    """

    __slots__ = (
        "choice",
        "cost_nano_usd",
        "ended",
        "error",
        "first_chunk_s",
        "first_content",
        "input_tokens",
        "is_hedge",
        "is_sent",
        "is_superseded",
        "number",
        "started",
        "step",
        "usage",
    )

    def __init__(self, choice: Choice, number: int, started: float) -> None:
        self.choice = choice
        self.number = number
        self.started = started
        self.is_sent = False
        self.input_tokens = 0
        self.is_hedge = False
        self.is_superseded = False
        self.first_chunk_s = 0.0
        self.first_content = 0.0
        self.ended = 0.0
        self.error: UpstreamError | None = None
        self.step: Decision | None = None
        self.usage: Usage | None = None
        self.cost_nano_usd: int | None = 0

    def ending(self, outcome: GatewayError | None) -> str:
        """How it ended, in a word: "ok", an error's code, "superseded". outcome: its exchange's."""
        if self.error is not None:
            return self.error.code
        if self.is_superseded:
            return "superseded"
        return "ok" if outcome is None else outcome.code

    def book(self, usage: Usage) -> None:
        """Note what was used, and what that costs (None: unpriced). A later count replaces an earlier one."""
        self.usage = usage
        self.cost_nano_usd = cost(self.choice.candidate.price, usage)


class Exchange:
    """One client request. at: Unix seconds when it came; the other instants are monotonic. decided: None before the plan.

    parts: set once an answer that may be continued has begun.
    """

    __slots__ = (
        "ask",
        "at",
        "attempts",
        "call",
        "decided",
        "down",
        "ended",
        "index",
        "outcome",
        "parts",
        "request",
        "request_id",
        "started",
    )

    def __init__(
        self,
        request_id: str,
        call: Call,
        ask: Ask,
        index: Index,
        started: float,
        at: float,
        down: Downstream,
    ) -> None:
        self.request_id = request_id
        self.call = call
        self.ask = ask
        self.index = index
        self.decided: Plan | GatewayError | None = None
        self.started = started
        self.at = at
        self.down = down
        self.ended = 0.0
        self.attempts: list[Attempt] = []
        self.outcome: GatewayError | None = None
        self.request: ChatRequest | None = None
        self.parts: Parts | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The config that this request began with."""
        return self.index.snapshot

    @property
    def gave_up(self) -> str:
        """Why no further attempt was made, "" if it was not a decision that ended the request."""
        return next((one.step.reason for one in self.attempts if isinstance(one.step, GiveUp)), "")

    def begin_attempt(self, choice: Choice, now: float) -> Attempt:
        """Note that a candidate is tried."""
        attempt = Attempt(choice, len(self.attempts) + 1, now)
        self.attempts.append(attempt)
        return attempt

    def failed_by(self, error: UpstreamError) -> Attempt:
        """Return the attempt that `error` ended: where two ran beside each other it need not be the last."""
        return next(attempt for attempt in self.attempts if attempt.error is error)

    def pass_over(self, attempt: Attempt, why: InvalidRequest) -> None:
        """Take back an attempt just begun: its vendor's format cannot say what is asked, so nothing was sent."""
        self.attempts.remove(attempt)
        if isinstance(self.decided, Plan):
            candidate = attempt.choice.candidate
            unfit = Filtered(
                candidate.model.name, candidate.account.name, "format", f"cannot be asked this: {why.message}"
            )
            self.decided.filtered = (*self.decided.filtered, unfit)

    def tries_of(self, arm: str) -> int:
        """How many attempts this arm has had."""
        return sum(1 for attempt in self.attempts if attempt.choice.arm == arm)

    def tries_in_a_row(self, choice: Choice) -> int:
        """How many of the latest attempts were at this candidate, without another between."""
        count = 0
        for attempt in reversed(self.attempts):
            if attempt.choice.candidate.key != choice.candidate.key:
                break
            count += 1
        return count

    def messages(self, dialect: Dialect, call: Call) -> ChatRequest:
        """The request free of its format, made once however many candidates need it. call: ours, or a continuation of it."""
        if call is not self.call:
            return dialect.to_messages(call)
        if self.request is None:
            self.request = dialect.to_messages(self.call)
        return self.request


KNOWN_LABELS = 1024
"""How many sets of labels are remembered; more than that come from made-up ACCOUNT/ID names, and start it anew."""


class AnswerHeads:
    """Makes our headers for answers: who gave it, on which arm, at what cost.

    What depends on the configuration alone is rendered once and remembered, by candidate, arm and task.
    """

    def __init__(self) -> None:
        self._labels: dict[tuple[str, str, str], tuple[Candidate, Head]] = {}

    def of(self, exchange: Exchange, attempt: Attempt, content: Head) -> Head:
        """Return the headers of an answer. content: what comes first.

        The cost of a stream is not known when its head goes out, except where it is nothing.
        """
        choice = attempt.choice
        planned = exchange.decided
        task = planned.task if isinstance(planned, Plan) else ""
        candidate = choice.candidate
        known = self._labels.get((candidate.key, choice.arm, task))
        # The very same candidate: under another configuration the key may stand for another price.
        labels = known[1] if known is not None and known[0] is candidate else self._learn(choice, task)
        head = [
            *content,
            (b"x-request-id", exchange.request_id.encode()),
            (b"x-turnout-attempts", b"%d" % attempt.number),
            *labels,
        ]
        if len(exchange.attempts) > 1:
            tried = ", ".join(one.choice.candidate.key for one in exchange.attempts)
            head.append((b"x-turnout-tried", _value(tried)))
        price = candidate.price
        if price is not None and not price.is_free and attempt.usage is not None:
            nano_usd = attempt.cost_nano_usd
            if nano_usd is not None:
                head.append((b"x-turnout-cost", format_usd(nano_usd).lstrip("$").encode()))
        return head

    def _learn(self, choice: Choice, task: str) -> Head:
        candidate = choice.candidate
        labels = [
            (b"x-turnout-model", _value(candidate.model.name)),
            (b"x-turnout-provider", _value(candidate.account.name)),
            (b"x-turnout-arm", choice.arm.encode()),
        ]
        if task:
            labels.append((b"x-turnout-task", _value(task)))
        if candidate.price is not None and candidate.price.is_free:
            labels.append((b"x-turnout-cost", b"0.000000"))
        if len(self._labels) >= KNOWN_LABELS:
            self._labels.clear()
        self._labels[candidate.key, choice.arm, task] = (candidate, labels)
        return labels


def _value(name: str) -> bytes:
    """A model's name in a header: the request may have named it (ACCOUNT/ID), so no line break of its making gets out."""
    return (name if name.isprintable() else repr(name)).encode()


def final_error(exchange: Exchange, retry_after_s: float | None) -> GatewayError:
    """Return what the client is told when nobody answered: the error itself if there was one kind of it, else all.

    retry_after_s: when a new request makes sense, as far as the last decision knew.
    """
    errors = [attempt.error for attempt in exchange.attempts if attempt.error is not None]
    for error in errors:
        error.message = f"{error.model} at {error.provider}: {error.message}"
    last = errors[-1]
    if len(errors) == 1 or last.retry == "never":
        return last
    if all(isinstance(error, UpstreamThrottled) for error in errors):
        return min(errors, key=lambda error: error.retry_after_s or 0.0)
    if len({(error.model, error.provider, error.code) for error in errors}) == 1:
        return last
    told = "; ".join(error.message.rstrip(".") for error in errors)
    return NoCandidate(f"Every candidate failed ({len(errors)} tries): {told}.", retry_after_s=retry_after_s)
