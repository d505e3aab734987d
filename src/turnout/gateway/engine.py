"""The story of one exchange: plan → for each choice: open, forward, or decide what follows → record.

Read `Engine.serve` from the top: everything that decides is a pure function in core, everything that touches the world
is one call here; gateway/answer.py opens an answer and gives it to the client. Rules:
* A request keeps the Snapshot that it began with.
* First byte rule: nothing goes to the client before the upstream has shown real content, so a failure before that is
  invisible and may be tried elsewhere; after it nothing is sent upstream again but to continue a plain text, where the
  task says so, and a stream that breaks is an error on the wire (an error event, then the connection ends without its
  last chunk), never an invented end.
* A client that leaves cancels this task, and cancelling closes the upstream connection at once.

One of the two files where `except Exception` stands: a bug becomes an InternalError, so that books and trace close.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from turnout.core.contracts import Call, Dialect, Policy, Provider
from turnout.core.health import Health
from turnout.core.hedging import FirstContents, HedgeBudget
from turnout.core.plan import Ask, Choice, Index, Plan, larger, plan
from turnout.core.retry import Again, GiveUp, RetryBudget, Standing, decide
from turnout.core.usage import estimate
from turnout.errors import (
    BudgetExceeded,
    BudgetUnknown,
    ClientDisconnected,
    GatewayError,
    GatewayStopping,
    InternalError,
    InvalidRequest,
    QuotaExhausted,
    StreamInterrupted,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamThrottled,
)
from turnout.gateway.accounting import Accounting, Unaccounted
from turnout.gateway.answer import Opened, Upstream, forward
from turnout.gateway.cache import Cache
from turnout.gateway.clock import Clock
from turnout.gateway.downstream import Downstream
from turnout.gateway.embedders import Embedders
from turnout.gateway.embedding_cache import EmbeddingCache
from turnout.gateway.exchange import AnswerHeads, Attempt, Exchange, final_error
from turnout.gateway.hedge import race
from turnout.gateway.masking import mask
from turnout.gateway.outward import make_outward
from turnout.gateway.scheduler import Scheduler
from turnout.gateway.semantic_cache import SemanticCache
from turnout.gateway.tasks import Tasks
from turnout.gateway.transport import Transport
from turnout.gateway.turns import Turns, close
from turnout.gateway.waiting import Turn

Unfit: TypeAlias = InvalidRequest | BudgetExceeded | BudgetUnknown
"""Why a candidate was passed over: its format cannot say this, or there is no money for it that is known of. Nothing was sent."""

KNOWN_SPEEDS = 1024
"""Candidates whose speed is remembered; more than that come from made-up ACCOUNT/ID names, and start it anew."""


class Engine:
    """Serves exchanges over one Index (a Snapshot made quick to plan on), which `install` replaces."""

    def __init__(
        self,
        index: Index,
        *,
        health: Health,
        clock: Clock,
        transports: Mapping[str, Transport],
        dialects: Mapping[str, Dialect],
        providers: Mapping[str, Provider],
        policies: Mapping[str, Policy],
        on_begin: Callable[[], None],
        on_end: Callable[[Exchange], None],
        accounting: Accounting | None = None,
    ) -> None:
        self.index = index
        self.health = health
        self._rule = index.snapshot.retry
        self._budget = RetryBudget(self._rule)
        self._accounting = accounting or Unaccounted()
        self._heads = AnswerHeads(self._accounting.told)
        self._hedges = HedgeBudget()
        self._speeds: dict[tuple[str, bool], FirstContents] = {}
        self._tasks = Tasks()
        self._clock = clock
        self._upstream = Upstream(clock, transports, dialects, providers, self._accounting)
        self.scheduler = Scheduler(index.snapshot.quotas, clock)
        self._turns = Turns(self.scheduler, health, clock, self._heads)
        self.cache = Cache(clock, self._heads, dialects)
        embedders = Embedders(self.serve, dialects, clock)
        self.cache.finders += (EmbeddingCache(self.cache, clock), SemanticCache(self.cache, clock, embedders))
        self._dialects = dialects
        self._policies = policies
        self._on_begin = on_begin
        self._on_end = on_end

    def install(self, index: Index) -> None:
        """Serve by another Snapshot from now on; requests under way keep theirs."""
        self.index = index
        self.health.rule = index.snapshot.breaker
        self.scheduler.install(index.snapshot.quotas)
        if index.snapshot.retry != self._rule:
            self._rule = index.snapshot.retry
            self._budget = RetryBudget(self._rule)

    def what_if(self, ask: Ask) -> Plan | GatewayError:
        """Return what would happen to `ask` now, without a call."""
        return plan(ask, self.index, self._policies, self.health, self._clock.draw(), self._clock.now())

    async def serve(self, call: Call, ask: Ask, request_id: str, down: Downstream) -> None:
        """Answer one exchange on `down`, or raise the GatewayError that the client should be told."""
        now = self._clock.now()
        index = self.index
        self._budget.arrived(now)
        self._on_begin()
        exchange = Exchange(request_id, call, ask, index, now, self._clock.wall(), down)
        try:
            decided = plan(ask, index, self._policies, self.health, self._clock.draw(), now)
            exchange.decided = decided
            if isinstance(decided, GatewayError):
                raise decided
            exchange.deadline = now + decided.total_s
            await self._accounting.admit(exchange, decided)
            if decided.terms.masks:
                await mask(exchange, decided.terms.masks)
            if decided.terms.cache_s:
                await self.cache.serve(exchange, decided, self._try_in_order)
            else:
                await self._try_in_order(exchange, decided)
        except GatewayError as error:
            exchange.outcome = error
            if exchange.is_waiting:
                self._end_stream(exchange, error)
            raise
        except asyncio.CancelledError as cancelled:
            exchange.outcome = self._why_cancelled(exchange, cancelled)
            raise
        except Exception as bug:
            exchange.outcome = InternalError(f"a bug in Turnout: {type(bug).__name__}")
            raise
        finally:
            exchange.ended = self._clock.now()
            self._accounting.dismiss(exchange)
            self._on_end(exchange)

    def _why_cancelled(self, exchange: Exchange, cancelled: asyncio.CancelledError) -> GatewayError:
        """Name it; a stream that we end ourselves says so."""
        if cancelled.args[:1] != (GatewayStopping.code,):
            return ClientDisconnected("the client left")
        stopping = GatewayStopping()
        if exchange.down.is_started:
            self._end_stream(exchange, stopping)
        return stopping

    def _end_stream(self, exchange: Exchange, error: GatewayError) -> None:
        """Say in the stream why it ends here."""
        exchange.down.write(self._dialects[exchange.call.dialect].encode_error_event(error))
        exchange.down.cut()

    async def _try_in_order(self, exchange: Exchange, planned: Plan) -> None:
        """Try choices until one answers; raise what is left to say when none does."""
        queue = list(planned.choices)
        is_charged = True  # the first attempt is no retry: nothing to charge if it fails
        failed: Attempt | None = None
        if planned.terms.is_hedged:
            self._hedges.arrived()
        while True:
            choice, turn = await self._next(exchange, planned, queue, failed)
            error = await self._attempt(exchange, planned, choice, queue, turn)
            if isinstance(error, Unfit):
                if queue:
                    continue
                if failed is None:
                    raise error
                raise self._last_word(exchange, failed, None)
            now = self._clock.now()
            if error is None:
                self._budget.succeeded(now)
                return
            if not is_charged:
                self._budget.spend(now)
            failed = exchange.failed_by(error)
            choice = failed.choice  # a hedge may have been the last to fail
            if exchange.has_begun:
                error = self._broke_off(exchange, failed, error)
            elif isinstance(error, UpstreamRejected) and error.is_context_overflow:
                tried = [attempt.choice for attempt in exchange.attempts]
                queue = list(larger(planned, choice, tried, exchange.ask, exchange.index))
            standing = self._standing(exchange, planned, choice, queue, now)
            step = decide(error, standing, exchange.snapshot.retry, self._budget, now, self._clock.draw())
            failed.step = step
            if isinstance(step, GiveUp):
                raise self._last_word(exchange, failed, step.retry_after_s)
            is_charged = isinstance(step, Again) or step.is_charged
            if is_charged:
                self._budget.spend(now)
            if isinstance(step, Again):
                queue.insert(0, choice)
                await asyncio.sleep(step.delay_s)
            else:
                del queue[: step.skip]

    async def _next(
        self, exchange: Exchange, planned: Plan, queue: list[Choice], failed: Attempt | None
    ) -> tuple[Choice, Turn | None]:
        """Take the next of `queue` out of it, with its turn where quotas are known: then whoever is free first is next."""
        if not queue[0].candidate.quotas:
            return queue.pop(0), None
        try:
            return await self._turns.next(exchange, planned, queue)
        except QuotaExhausted as exhausted:
            if failed is None:
                raise
            failed.step = GiveUp("no quota of who is left has room in time", exhausted.retry_after_s)
            raise self._last_word(exchange, failed, exhausted.retry_after_s) from None

    def _standing(self, exchange: Exchange, planned: Plan, choice: Choice, left: list[Choice], now: float) -> Standing:
        price = choice.candidate.price
        health = self.health
        keys = [one.candidate.key for one in left]
        return Standing(
            attempts_made=exchange.tries_of(choice.arm),
            same_tries=exchange.tries_in_a_row(choice),
            max_retries=planned.max_retries,
            remaining_s=exchange.deadline - now,
            left_failing=[health.is_failing(key) or health.resting_until(key) > now for key in keys],
            is_free=price is not None and price.is_free,
            has_line=bool(choice.candidate.quotas),
        )

    def _broke_off(self, exchange: Exchange, failed: Attempt, error: UpstreamError) -> UpstreamError:
        """The client has the beginning of this answer: return what to decide on.

        A StreamInterrupted is final. A plain text may be continued: that is no repetition, so nothing is ambiguous about
        it, and what a vendor says to a conversation that ends with our half is no verdict on the client's request.
        """
        parts = exchange.parts
        if parts is None or not parts.can_go_on:
            return StreamInterrupted(f"The answer broke off: {error.message}", body=error.body)
        if failed.first_content and failed.usage is not None:
            parts.break_off(failed.usage)
        return UpstreamFault(error.message, vendor_status=error.vendor_status, retry_after_s=error.retry_after_s)

    def _last_word(self, exchange: Exchange, failed: Attempt, retry_after_s: float | None) -> GatewayError:
        """Return what the client is told; into a stream that has begun it is written here. failed: the latest to fail."""
        if not exchange.has_begun:
            return final_error(exchange, retry_after_s)
        cause = failed.error
        assert cause is not None
        interrupted = StreamInterrupted(f"The answer broke off: {cause.message}", body=cause.body)
        interrupted.model, interrupted.provider, interrupted.attempt = cause.model, cause.provider, cause.attempt
        interrupted.__cause__ = cause
        if failed.first_content:  # else it was refused, or silent, and its own error says so
            failed.error = interrupted
        self._end_stream(exchange, interrupted)
        return interrupted

    # ── one attempt ──

    async def _attempt(
        self, exchange: Exchange, planned: Plan, choice: Choice, queue: list[Choice], turn: Turn | None
    ) -> UpstreamError | Unfit | None:
        """Try one candidate, and where the task is hedged the next of `queue` beside it. Return None when the client has
        its whole answer, Unfit when it is not to be asked this, else what went wrong.
        """
        if planned.terms.is_hedged and queue and queue[0].arm == choice.arm and not exchange.attempts:
            opened = await self._race(exchange, planned, choice, queue, turn)
        else:
            opened = await self._open(exchange, planned, choice, turn)
        if not isinstance(opened, Opened):
            return opened
        error: UpstreamError | None = None
        try:
            error = await forward(exchange, opened, self._heads)
            opened.attempt.is_whole = error is None
        finally:
            opened.incoming.close()
            self._close_attempt(exchange, opened.attempt, error)
        return error

    async def _open(
        self, exchange: Exchange, planned: Plan, choice: Choice, turn: Turn | None, *, is_hedge: bool = False
    ) -> Opened | UpstreamError | Unfit:
        """Ask one candidate; return its answer once it has begun, or what is wrong, with the attempt's books closed."""
        attempt = exchange.begin_attempt(choice, self._clock.now(), turn)
        attempt.is_hedge = is_hedge
        self.health.begin(choice.candidate.key, attempt.started)
        opened: Opened | UpstreamError | None = None
        try:
            opened = await self._upstream.open(exchange, planned, attempt)
        except UpstreamError as failed:
            opened = failed
        except (InvalidRequest, BudgetExceeded, BudgetUnknown) as unfit:
            exchange.pass_over(attempt, unfit)
            return unfit
        finally:
            if not isinstance(opened, Opened):
                self._close_attempt(exchange, attempt, opened)
        return opened

    def _close_attempt(self, exchange: Exchange, attempt: Attempt, error: UpstreamError | None) -> None:
        """Say how an attempt ended: to its candidate's health, and in its own record. Runs on cancellation too."""
        attempt.ended = now = self._clock.now()
        attempt.error = error
        if attempt.usage is None and (attempt.is_sent if error is None else error.is_ambiguous):
            # Cancelled, or ambiguous: the vendor may have done the work. Say so, as a guess, rather than nothing (C3).
            attempt.book(estimate(attempt.input_tokens * 4, 0))
        self._accounting.end(exchange, attempt)
        candidate = attempt.choice.candidate
        if error is None:
            if attempt.first_content:  # else the client left before anything could be said about health
                self.health.succeeded(candidate.key)
        else:
            if attempt.is_hedge:
                self._budget.spend(now)
            make_outward(error, candidate.account, exchange.ask.key_id)
            error.model, error.provider, error.attempt = candidate.model.name, candidate.account.name, attempt.number
            if isinstance(error, UpstreamThrottled):
                self.health.throttled(candidate.key, now, error.retry_after_s, self._clock.draw())
            elif not isinstance(error, UpstreamRejected):
                self.health.failed(candidate.key, now)
        self.health.ended(candidate.key, attempt.first_content - attempt.started if attempt.first_content else None)
        if attempt.turn is not None:
            close(attempt.turn, attempt, error)

    # ── two attempts ──

    async def _race(
        self, exchange: Exchange, planned: Plan, choice: Choice, queue: list[Choice], turn: Turn | None
    ) -> Opened | UpstreamError | Unfit:
        """Ask `choice`; if it is silent for longer than it ever is but for one time in twenty, the next one as well."""
        speed = self._speed(choice.candidate.key, is_stream=exchange.call.stream)
        after_s = speed.patience_s()
        first = self._open(exchange, planned, choice, turn)

        def second() -> Coroutine[Any, Any, Opened | UpstreamError | Unfit] | None:
            key, now = queue[0].candidate.key, self._clock.now()
            if self.health.is_failing(key) or self.health.resting_until(key) > now or not self._hedges.spend():
                return None
            its_turn = self._turns.hedge(exchange, planned, queue[0]) if queue[0].candidate.quotas else None
            if its_turn is None and queue[0].candidate.quotas:
                return None
            return self._open(exchange, planned, queue.pop(0), its_turn, is_hedge=True)

        if after_s is None:
            opened = await first
        else:
            opened = await race(
                self._tasks,
                first,
                second,
                after_s=after_s,
                has_won=lambda result: isinstance(result, Opened),
                discard=lambda late: self._discard(exchange, late),
            )
        if isinstance(opened, Opened):
            for attempt in exchange.attempts:
                attempt.is_superseded = attempt is not opened.attempt and attempt.error is None
                if attempt.error is None and attempt.choice is choice:
                    speed.add((attempt.first_content or self._clock.now()) - attempt.started)
        return opened

    def _discard(self, exchange: Exchange, late: Opened | UpstreamError | Unfit) -> None:
        """Close an answer that began when another was already taken."""
        if isinstance(late, Opened):
            late.incoming.close()
            self._close_attempt(exchange, late.attempt, None)

    def _speed(self, key: str, *, is_stream: bool) -> FirstContents:
        """What is known of a candidate: the first words of a stream and a whole answer take different times."""
        name = (key, is_stream)
        if name not in self._speeds and len(self._speeds) >= KNOWN_SPEEDS:
            self._speeds.clear()
        return self._speeds.setdefault(name, FirstContents())
