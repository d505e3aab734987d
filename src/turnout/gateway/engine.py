"""The story of one exchange: plan → for each choice: send, classify, decide → forward → record.

Read `Engine.serve` from the top: everything that decides is a pure function in core, everything that touches the world
is one call here. Rules:
* A request keeps the Snapshot that it began with.
* First byte rule: nothing goes to the client before the upstream has shown real content, so a failure before that is
  invisible and may be tried elsewhere; after it nothing is sent upstream again, and a stream that breaks is an error on
  the wire (an error event, then the connection ends without its last chunk), never an invented end.
* A client that leaves cancels this task, and cancelling closes the upstream connection at once.

One of the two files where `except Exception` stands: a bug becomes an InternalError, so that books and trace close.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from turnout.core.catalog import Candidate
from turnout.core.contracts import Call, Dialect, Outgoing, Policy, Provider, Relay
from turnout.core.health import Health
from turnout.core.plan import Ask, Choice, Index, Plan, larger, plan
from turnout.core.retry import Again, GiveUp, RetryBudget, Standing, decide
from turnout.core.translation import Translation
from turnout.core.usage import Usage, estimate
from turnout.core.vendor_errors import hide
from turnout.errors import (
    ClientDisconnected,
    GatewayError,
    InternalError,
    InvalidRequest,
    StreamInterrupted,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from turnout.gateway.clock import Clock
from turnout.gateway.downstream import Downstream
from turnout.gateway.exchange import AnswerHeads, Attempt, Exchange, final_error
from turnout.gateway.transport import Incoming, Transport

SSE_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
JSON_HEADERS = ((b"content-type", b"application/json"),)


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
    ) -> None:
        self.index = index
        self.health = health
        self._rule = index.snapshot.retry
        self._budget = RetryBudget(self._rule)
        self._heads = AnswerHeads()
        self._clock = clock
        self._transports = transports
        self._dialects = dialects
        self._providers = providers
        self._policies = policies
        self._on_begin = on_begin
        self._on_end = on_end

    def install(self, index: Index) -> None:
        """Serve by another Snapshot from now on; requests under way keep theirs."""
        self.index = index
        self.health.rule = index.snapshot.breaker
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
            await self._try_in_order(exchange, decided)
        except GatewayError as error:
            exchange.outcome = error
            raise
        except asyncio.CancelledError:
            exchange.outcome = ClientDisconnected("the client left")
            raise
        except Exception as bug:
            exchange.outcome = InternalError(f"a bug in Turnout: {type(bug).__name__}")
            raise
        finally:
            exchange.ended = self._clock.now()
            self._on_end(exchange)

    async def _try_in_order(self, exchange: Exchange, planned: Plan) -> None:
        """Try choices until one answers; raise what is left to say when none does."""
        queue = list(planned.choices)
        is_charged = True  # the first attempt is no retry: nothing to charge if it fails
        while True:
            choice = queue.pop(0)
            try:
                error = await self._attempt(exchange, planned, choice)
            except InvalidRequest as unfit:
                exchange.pass_over(choice, unfit)
                if queue:
                    continue
                if not exchange.attempts:
                    raise
                raise final_error(exchange, None) from unfit
            now = self._clock.now()
            if error is None:
                self._budget.succeeded(now)
                return
            if not is_charged:
                self._budget.spend(now)
            if isinstance(error, UpstreamRejected) and error.is_context_overflow:
                tried = [attempt.choice for attempt in exchange.attempts]
                queue = list(larger(planned, choice, tried, exchange.ask, exchange.index))
            standing = self._standing(exchange, planned, choice, queue, now)
            step = decide(error, standing, exchange.snapshot.retry, self._budget, now, self._clock.draw())
            exchange.attempts[-1].step = step
            if isinstance(step, GiveUp):
                raise final_error(exchange, step.retry_after_s)
            is_charged = isinstance(step, Again) or step.is_charged
            if is_charged:
                self._budget.spend(now)
            if isinstance(step, Again):
                queue.insert(0, choice)
                await asyncio.sleep(step.delay_s)
            else:
                del queue[: step.skip]

    def _standing(self, exchange: Exchange, planned: Plan, choice: Choice, left: list[Choice], now: float) -> Standing:
        price = choice.candidate.price
        health = self.health
        keys = [one.candidate.key for one in left]
        return Standing(
            attempts_made=exchange.tries_of(choice.arm),
            same_tries=exchange.tries_in_a_row(choice),
            max_retries=planned.max_retries,
            remaining_s=exchange.started + planned.total_s - now,
            left_failing=[health.is_failing(key) or health.resting_until(key) > now for key in keys],
            is_free=price is not None and price.is_free,
        )

    # ── one attempt ──

    async def _attempt(self, exchange: Exchange, planned: Plan, choice: Choice) -> UpstreamError | None:
        """Try one candidate. Return None when the client has its answer, the error when it has seen nothing of this."""
        candidate = choice.candidate
        attempt = exchange.begin_attempt(choice, self._clock.now())
        self.health.begin(candidate.key, attempt.started)
        error: UpstreamError | None = None
        try:
            error = await self._send_and_forward(exchange, planned, attempt, candidate)
        except StreamInterrupted as cut:
            error = cut
            raise
        except UpstreamError as failed:
            error = failed
        finally:
            self._close_attempt(exchange, attempt, error)
        return error

    def _close_attempt(self, exchange: Exchange, attempt: Attempt, error: UpstreamError | None) -> None:
        """Say how an attempt ended: to its candidate's health, and in its own record. Runs on cancellation too."""
        attempt.ended = now = self._clock.now()
        attempt.error = error
        if attempt.usage is None and (attempt.is_sent if error is None else error.is_ambiguous):
            # Cancelled, or ambiguous: the vendor may have done the work. Say so, as a guess, rather than nothing (C3).
            attempt.book(estimate(exchange.call.input_tokens * 4, 0))
        candidate = attempt.choice.candidate
        if error is None:
            if attempt.first_content:  # else the client left before anything could be said about health
                self.health.succeeded(candidate.key)
        else:
            _hide_key(error, candidate)
            error.model, error.provider, error.attempt = candidate.model.name, candidate.account.name, attempt.number
            if isinstance(error, UpstreamThrottled):
                self.health.throttled(candidate.key, now, error.retry_after_s, self._clock.draw())
            elif not isinstance(error, UpstreamRejected):
                self.health.failed(candidate.key, now)
        self.health.ended(candidate.key, attempt.first_content - attempt.started if attempt.first_content else None)

    async def _send_and_forward(
        self, exchange: Exchange, planned: Plan, attempt: Attempt, candidate: Candidate
    ) -> UpstreamError | None:
        provider = self._providers[candidate.account.kind]
        dialect = self._dialects[exchange.call.dialect]
        is_native = exchange.call.dialect in provider.dialects
        request = None if is_native else exchange.messages(dialect)
        outgoing = provider.encode(exchange.call, request, candidate)
        self._finish_outgoing(outgoing, exchange, planned, attempt)
        incoming = await self._transport(outgoing).send(outgoing)
        try:
            if not 200 <= incoming.status < 300:
                body = await self._error_body(incoming, exchange.snapshot.server.bounds.error_bytes)
                return provider.classify(incoming.status, incoming.headers, body, self._clock.wall())
            if exchange.call.stream:
                relay = dialect.relay(exchange.call) if is_native else self._translation(exchange, dialect, provider)
                return await self._forward_stream(exchange, attempt, incoming, relay, dialect)
            return await self._forward_whole(exchange, attempt, incoming, dialect, None if is_native else provider)
        finally:
            incoming.close()

    async def _error_body(self, incoming: Incoming, limit: int) -> bytes:
        """Read what the vendor says of its refusal; the status alone says enough if the body is too long or broken."""
        try:
            return await incoming.read(limit, cut=True)
        except UpstreamError:
            return b""

    def _transport(self, outgoing: Outgoing) -> Transport:
        scheme = outgoing.url.partition(":")[0]
        transport = self._transports.get(scheme)
        if transport is None:
            raise UpstreamUnreachable(f"nothing here speaks {scheme}: (a local model that has not been started?)")
        return transport

    def _finish_outgoing(self, outgoing: Outgoing, exchange: Exchange, planned: Plan, attempt: Attempt) -> None:
        """Give the attempt its name upstream (the witness's join key) and no more time than the exchange has left."""
        outgoing.headers += (("x-request-id", f"{exchange.request_id}-{attempt.number}"),)
        attempt.is_sent = True
        attempt.first_chunk_s = outgoing.timeouts.first_chunk_s
        left_s = exchange.started + planned.total_s - attempt.started
        if left_s < outgoing.timeouts.total_s:
            outgoing.timeouts = outgoing.timeouts.within(left_s)

    def _translation(self, exchange: Exchange, dialect: Dialect, provider: Provider) -> Relay:
        encoder = dialect.encoder(exchange.call, exchange.request_id, int(exchange.at))
        return Translation(provider.decoder(), encoder)

    async def _forward_whole(
        self, exchange: Exchange, attempt: Attempt, incoming: Incoming, dialect: Dialect, translator: Provider | None
    ) -> UpstreamError | None:
        """Forward a whole answer: untouched if it is in the client's format, else translated by `translator`."""
        body = await incoming.read(exchange.snapshot.server.bounds.answer_bytes)
        output_bytes = 0
        usage: Usage | None
        if translator is None:
            seen = dialect.inspect(body)
            if isinstance(seen, UpstreamError):
                return seen
            usage, output_bytes = seen.usage, seen.output_bytes
        else:
            reply = translator.decode(body)
            if isinstance(reply, UpstreamError):
                return reply
            usage = reply.usage
            output_bytes = len(body)
            body = dialect.encode_reply(reply, exchange.call, int(exchange.at))
        attempt.first_content = self._clock.now()
        attempt.book(usage or estimate(exchange.call.input_tokens * 4, output_bytes))
        exchange.down.answer(200, self._heads.of(exchange, attempt, JSON_HEADERS), body)
        return None

    async def _forward_stream(
        self, exchange: Exchange, attempt: Attempt, incoming: Incoming, relay: Relay, dialect: Dialect
    ) -> UpstreamError | None:
        """Forward a stream as it comes. Returns an error only while the client has seen nothing; raises after."""
        down = exchange.down
        try:
            held = await self._until_content(attempt, incoming, relay)
            if isinstance(held, UpstreamError):
                return held
            attempt.first_content = self._clock.now()
            down.start(200, self._heads.of(exchange, attempt, SSE_HEADERS))
            if held:
                down.write(held)
            failure = await self._pump(down, incoming, relay)
        finally:
            attempt.book(relay.usage or estimate(exchange.call.input_tokens * 4, relay.output_bytes))
        if failure is not None:
            _hide_key(failure, attempt.choice.candidate)
            interrupted = StreamInterrupted(f"The answer broke off: {failure.message}", body=failure.body)
            down.write(dialect.encode_error_event(interrupted))
            down.cut()
            raise interrupted from failure
        down.finish()
        incoming.finish()
        return None

    async def _until_content(self, attempt: Attempt, incoming: Incoming, relay: Relay) -> bytes | UpstreamError:
        """Hold back everything until the first real content (or a whole, empty answer), within the first-chunk time."""
        held = b""
        while True:
            data = await incoming.chunk()
            held += relay.feed(data)
            if relay.failure is not None:
                return relay.failure
            if relay.has_content or relay.is_ended:
                return held
            if not data:
                return UpstreamFault("the stream ended before it said anything", is_ambiguous=True)
            if self._clock.now() - attempt.started > attempt.first_chunk_s:
                # Comments keep a connection alive, not a client's patience.
                return UpstreamTimeout("no content in time", phase="first_chunk", is_ambiguous=True)

    async def _pump(self, down: Downstream, incoming: Incoming, relay: Relay) -> UpstreamError | None:
        """The hot loop: bytes in, bytes out, until the end marker. Returns what broke it, None if nothing did."""
        feed, write = relay.feed, down.write
        is_held = False  # why the sink stopped: the client may have caught up before this task runs again

        def sink(data: bytes) -> bool:
            nonlocal is_held
            if out := feed(data):
                write(out)
            is_held = down.is_paused
            return not (relay.is_ended or is_held or relay.failure is not None)

        try:
            while not relay.is_ended and relay.failure is None:
                is_held = False
                await incoming.forward(sink)
                if is_held:
                    await down.drain()
                elif not relay.is_ended and relay.failure is None:
                    return UpstreamFault("the stream ended without its end marker", is_ambiguous=True)
        except UpstreamError as failed:
            return failed
        return relay.failure


def _hide_key(error: UpstreamError, candidate: Candidate) -> None:
    """Some vendors repeat the key in their refusals; it is for no client and no trace."""
    key = candidate.account.api_key
    if key is not None:
        hide(error, key.reveal())
