"""Holds one client request from its plan to its end: attempts, outcome, and the Trace made from them.

Plain data for the engine; nothing here waits, and nothing is formatted until it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Literal

import msgspec

from turnout.core.catalog import Candidate, Priority, Snapshot
from turnout.core.continuation import Parts
from turnout.core.contracts import Call, Dialect
from turnout.core.embedding_batches import Batch
from turnout.core.messages import ChatRequest
from turnout.core.plan import Ask, Choice, Filtered, Index, Plan
from turnout.core.pricing import cost, format_usd
from turnout.core.principal import NOBODY, Who
from turnout.core.retry import Decision, GiveUp
from turnout.core.usage import Usage
from turnout.errors import (
    BudgetExceeded,
    BudgetUnknown,
    GatewayError,
    InvalidRequest,
    NoCandidate,
    UpstreamError,
    UpstreamThrottled,
)
from turnout.gateway.downstream import Downstream, Head
from turnout.gateway.limiter import Held
from turnout.gateway.lookup import Lookup
from turnout.gateway.purses import Reservation
from turnout.gateway.waiting import Turn


class Attempt(msgspec.Struct, eq=False):
    """One try at one candidate. Instants are monotonic seconds; 0.0 means it did not come to that.

    is_sent: it came as far as the transport; else (a request that cannot be translated) nothing can be owed.
    input_tokens: an estimate of what was sent, which in a continuation is more than the client's request.
    is_hedge: it was asked beside a slow first one. is_superseded: it was given up because the other was quicker.
    is_whole: the client was told its answer to the end.
    turn: what it took of quotas, None if it needs none. reservation: what it took of budgets, None before it is begun in the
    books; who: whom it is booked to, None before that and once it is. finish_reason: the vendor's word for why the answer ended, "" if unknown.
    """

    choice: Choice
    number: int
    started: float
    turn: Turn | None = None
    finish_reason: str = ""
    is_sent: bool = False
    input_tokens: int = 0
    is_hedge: bool = False
    is_superseded: bool = False
    is_whole: bool = False
    first_chunk_s: float = 0.0
    first_content: float = 0.0
    ended: float = 0.0
    error: UpstreamError | None = None
    step: Decision | None = None
    usage: Usage | None = None
    cost_nano_usd: int | None = 0
    reservation: Reservation | None = None
    who: Who | None = None

    __repr__ = object.__repr__  # as its exchange's

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


class Exchange(msgspec.Struct, eq=False):
    """One client request. at: Unix seconds when it came; the other instants are monotonic. decided: None before the plan.

    parts: set once an answer that may be continued has begun. batch: set where some of the embeddings asked for are kept. lookup: set where questions in other words are looked for.
    cache: what the cache did, "" if it has no part in this. answered: whose answer was given, if none of its own attempts
    gave it; saved_nano_usd: what it had cost.
    deadline: when its time is over. priority, waited_s: whose turn it was, and how long it waited for it ("" and 0.0
    without quotas). held: what it has of our limits, None without any.
    who: whom it is counted for. is_waiting: the client has the head of a stream, and no answer yet.
    """

    request_id: str
    call: Call
    ask: Ask
    index: Index
    started: float
    at: float
    down: Downstream
    decided: Plan | GatewayError | None = None
    ended: float = 0.0
    attempts: list[Attempt] = []
    outcome: GatewayError | None = None
    request: ChatRequest | None = None
    parts: Parts | None = None
    deadline: float = inf
    is_waiting: bool = False
    priority: Priority | Literal[""] = ""
    waited_s: float = 0.0
    batch: Batch | None = None
    lookup: Lookup | None = None
    cache: Literal["", "hit", "miss", "coalesced", "bypass"] = ""
    answered: Choice | None = None
    saved_nano_usd: int = 0
    held: Held | None = None
    who: Who = NOBODY

    __repr__ = object.__repr__  # what it asks is nobody's who reads a log

    @property
    def answer(self) -> tuple[Choice | None, int]:
        """Who gave the answer, None if nobody has, and what that cost (0: nothing, or not known)."""
        if self.answered is not None:
            return self.answered, self.saved_nano_usd
        for one in reversed(self.attempts):
            if one.first_content and one.error is None and not one.is_superseded:
                return one.choice, one.cost_nano_usd or 0
        return None, 0

    @property
    def finish_reason(self) -> str:
        """Why the answer ended, in its vendor's word; "" if that is not known."""
        return self.attempts[-1].finish_reason if self.attempts else ""

    @property
    def similarity(self) -> float:
        """How like the question was that the answer had been given to, 0.0 if it was the very same."""
        lookup = self.lookup
        return lookup.hit.similarity if lookup is not None and lookup.was_served and lookup.hit is not None else 0.0

    @property
    def snapshot(self) -> Snapshot:
        """The config that this request began with."""
        return self.index.snapshot

    @property
    def has_begun(self) -> bool:
        """Whether the client has something of an answer."""
        return self.down.is_started and not self.is_waiting

    @property
    def gave_up(self) -> str:
        """Why no further attempt was made, "" if it was not a decision that ended the request."""
        return next((one.step.reason for one in self.attempts if isinstance(one.step, GiveUp)), "")

    def begin_attempt(self, choice: Choice, now: float, turn: Turn | None = None) -> Attempt:
        """Note that a candidate is tried."""
        attempt = Attempt(choice, len(self.attempts) + 1, now, turn)
        self.attempts.append(attempt)
        return attempt

    def failed_by(self, error: UpstreamError) -> Attempt:
        """Return the attempt that `error` ended: where two ran beside each other it need not be the last."""
        return next(attempt for attempt in self.attempts if attempt.error is error)

    def pass_over(self, attempt: Attempt, why: InvalidRequest | BudgetExceeded | BudgetUnknown) -> None:
        """Take back an attempt just begun: nothing was sent, as its vendor's format cannot say what is asked, or there is
        no money for it that is known of.
        """
        self.attempts.remove(attempt)
        if isinstance(self.decided, Plan):
            candidate = attempt.choice.candidate
            told = (candidate.model.name, candidate.account.name)
            if isinstance(why, BudgetExceeded):
                unfit = Filtered(*told, "budget", f"costs too much for what is left: {why.message}")
            elif isinstance(why, BudgetUnknown):
                unfit = Filtered(*told, "budget", f"may cost too much: {why.message}")
            else:
                unfit = Filtered(*told, "format", f"cannot be asked this: {why.message}")
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


NOTICEABLE_S = 0.001
"""A shorter wait for a turn is none."""

_OF_THE_ANSWER = frozenset(
    {
        b"content-type",
        b"cache-control",
        b"age",
        b"x-turnout-model",
        b"x-turnout-provider",
        b"x-turnout-arm",
        b"x-turnout-similarity",
        b"x-turnout-task",
    }
)
"""Headers that tell of an answer and not of the request that it was made for."""

KNOWN_LABELS = 1024
"""How many sets of labels are remembered; more than that come from made-up ACCOUNT/ID names, and start it anew."""


class AnswerHeads:
    """Makes our headers for answers: who gave it, on which arm, at what cost.

    What depends on the configuration alone is rendered once and remembered, by candidate, arm and task.
    """

    def __init__(self, told: Callable[[Exchange], Head] = lambda _: ()) -> None:
        """told: what else there is to say, of limits and budgets."""
        self._told = told
        self._labels: dict[tuple[str, str, str], tuple[Candidate, Head]] = {}

    def of(self, exchange: Exchange, attempt: Attempt, content: Head) -> Head:
        """Return the headers of an answer. content: what comes first.

        The cost of a stream is not known when its head goes out, except where it is nothing.
        """
        choice = attempt.choice
        planned = exchange.decided
        task = planned.task if isinstance(planned, Plan) else ""
        candidate = choice.candidate
        labels = self._of_choice(choice, task)
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
        if exchange.cache:
            head.append((b"x-turnout-cache", exchange.cache.encode()))
        if exchange.waited_s >= NOTICEABLE_S:
            head.append((b"x-turnout-queue-ms", b"%d" % (exchange.waited_s * 1000)))
        head += self._told(exchange)
        return head

    def waiting(self, exchange: Exchange, content: Head) -> Head:
        """Return the headers of a stream of which nobody can know yet who will answer it."""
        return [*content, (b"x-request-id", exchange.request_id.encode()), *self._told(exchange)]

    def again(self, exchange: Exchange, choice: Choice, content: Head, age_s: int) -> Head:
        """Return the headers of an answer that was given before. choice: who gave it."""
        task = exchange.decided.task if isinstance(exchange.decided, Plan) else ""
        told = [*content, *self._of_choice(choice, task), (b"age", b"%d" % age_s)]
        if exchange.similarity:
            told.append((b"x-turnout-similarity", b"%.3f" % exchange.similarity))
        return self.shared(exchange, told)

    def shared(self, exchange: Exchange, told: Head) -> Head:
        """Return the headers of an answer that nobody was asked for. told: of the one who had it, or who has it now."""
        return [
            *[header for header in told if header[0] in _OF_THE_ANSWER],
            (b"x-request-id", exchange.request_id.encode()),
            (b"x-turnout-attempts", b"0"),
            (b"x-turnout-cost", b"0.000000"),
            (b"x-turnout-cache", exchange.cache.encode()),
            *self._told(exchange),
        ]

    def _of_choice(self, choice: Choice, task: str) -> Head:
        known = self._labels.get((choice.candidate.key, choice.arm, task))
        # The very same candidate: under another configuration the key may stand for another price.
        return known[1] if known is not None and known[0] is choice.candidate else self._learn(choice, task)

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
    final: GatewayError = last
    if len({(error.model, error.provider, error.code) for error in errors}) != 1:
        told = "; ".join(error.message.rstrip(".") for error in errors)
        final = NoCandidate(f"Every candidate failed ({len(errors)} tries): {told}.", retry_after_s=retry_after_s)
    final.is_ambiguous = any(error.is_ambiguous for error in errors)
    return final
