"""Gets the answer of one attempt: opens it (sends, reads until it has begun), then forwards it to the client.

First byte rule: until real content (or a whole answer) is here the client has seen nothing, so a failure up to then is
only a value, and another candidate may be tried. What breaks a stream after that is a value too: whether it can be
mended is the engine's to decide. The hot loop of streaming is `_pump`: bytes in, bytes out, at the client's pace.
"""

from __future__ import annotations

from collections.abc import Mapping

from turnout.core.continuation import Parts, Spliced, continued, refusal
from turnout.core.contracts import Dialect, Outgoing, Provider, Relay
from turnout.core.plan import Plan
from turnout.core.translation import Translation
from turnout.core.usage import Usage, estimate
from turnout.errors import UpstreamError, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from turnout.gateway.accounting import Accounting
from turnout.gateway.clock import Clock
from turnout.gateway.downstream import Downstream
from turnout.gateway.exchange import AnswerHeads, Attempt, Exchange
from turnout.gateway.transport import Incoming, Transport

SSE_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
JSON_HEADERS = ((b"content-type", b"application/json"),)

HTTP_OK = 200
LIMITS = b"ratelimit"
"""In the names of all headers that tell a vendor's limits (core/quota_headers.py)."""


class Opened:
    """An answer that has begun and that the client has seen nothing of. Whoever got it closes `incoming`.

    body: a whole answer, in the client's format. relay, held: a stream's, and what it has for the client so far.
    """

    __slots__ = ("attempt", "body", "held", "incoming", "relay")

    def __init__(
        self, attempt: Attempt, incoming: Incoming, *, body: bytes = b"", relay: Relay | None = None, held: bytes = b""
    ) -> None:
        self.attempt = attempt
        self.incoming = incoming
        self.body = body
        self.relay = relay
        self.held = held


class Upstream:
    """The way to the candidates: what encodes, carries and decodes."""

    def __init__(
        self,
        clock: Clock,
        transports: Mapping[str, Transport],
        dialects: Mapping[str, Dialect],
        providers: Mapping[str, Provider],
        accounting: Accounting,
    ) -> None:
        self._clock = clock
        self._accounting = accounting
        self._transports = transports
        self._dialects = dialects
        self._providers = providers

    async def open(self, exchange: Exchange, planned: Plan, attempt: Attempt) -> Opened | UpstreamError:
        """Send the attempt; return its answer once it has begun, or the vendor's refusal, or how the way there failed.

        Raises InvalidRequest when the vendor's format cannot say the request, and what `Accounting.begin` raises.
        """
        candidate = attempt.choice.candidate
        provider = self._providers[candidate.account.kind]
        dialect = self._dialects[exchange.call.dialect]
        is_native = exchange.call.dialect in provider.dialects
        call = exchange.call if exchange.parts is None else continued(exchange.call, exchange.parts.splice.shown)
        if exchange.batch is not None:
            call = exchange.batch.call_for(candidate.key)
        attempt.input_tokens = call.input_tokens
        request = None if is_native else exchange.messages(dialect, call)
        outgoing = provider.encode(call, request, candidate)
        await self._accounting.begin(exchange, attempt)
        self._finish_outgoing(outgoing, exchange, attempt)
        try:
            incoming = await self._transport(outgoing).send(outgoing)
        except UpstreamError as failed:
            return as_value(failed)
        turn = attempt.turn
        if turn is not None and (incoming.status != HTTP_OK or incoming.mentions(LIMITS) or turn.is_curious):
            turn.told(incoming.headers, incoming.status)
        opened: Opened | UpstreamError | None = None
        try:
            if not 200 <= incoming.status < 300:
                body = await _error_body(incoming, exchange.snapshot.server.bounds.error_bytes)
                return provider.classify(incoming.status, incoming.headers, body, self._clock.wall())
            if call.stream:
                relay = _relay(exchange, planned, dialect, provider, is_native=is_native)
                opened = await self._open_stream(attempt, incoming, relay, is_continued=exchange.parts is not None)
            else:
                opened = await self._open_whole(exchange, attempt, incoming, dialect, None if is_native else provider)
        except UpstreamError as failed:
            opened = as_value(failed)
        finally:
            if not isinstance(opened, Opened):
                incoming.close()
        return opened

    def _transport(self, outgoing: Outgoing) -> Transport:
        scheme = outgoing.url.partition(":")[0]
        transport = self._transports.get(scheme)
        if transport is None:
            raise UpstreamUnreachable(f"nothing here speaks {scheme}: (a local model that has not been started?)")
        return transport

    def _finish_outgoing(self, outgoing: Outgoing, exchange: Exchange, attempt: Attempt) -> None:
        """Give the attempt its name upstream (the witness's join key) and no more time than the exchange has left."""
        outgoing.headers += (("x-request-id", f"{exchange.request_id}-{attempt.number}"),)
        attempt.is_sent = True
        attempt.first_chunk_s = outgoing.timeouts.first_chunk_s
        if attempt.turn is not None:
            outgoing.on_late = attempt.turn.sent
        left_s = exchange.deadline - attempt.started
        if left_s < outgoing.timeouts.total_s:
            outgoing.timeouts = outgoing.timeouts.within(left_s)

    async def _open_whole(
        self, exchange: Exchange, attempt: Attempt, incoming: Incoming, dialect: Dialect, translator: Provider | None
    ) -> Opened | UpstreamError:
        """Read a whole answer: untouched if it is in the client's format, else translated by `translator`."""
        body = await incoming.read(exchange.snapshot.server.bounds.answer_bytes)
        output_bytes = 0
        usage: Usage | None
        if translator is None:
            seen = dialect.inspect(body)
            if isinstance(seen, UpstreamError):
                return seen
            usage, output_bytes = seen.usage, seen.output_bytes
            attempt.finish_reason = seen.finish_reason
            if exchange.batch is not None:
                joined = exchange.batch.join(attempt.choice.candidate.key, body)
                if isinstance(joined, UpstreamError):
                    return joined
                body = joined
        else:
            reply = translator.decode(body)
            if isinstance(reply, UpstreamError):
                return reply
            usage = reply.usage
            output_bytes = len(body)
            attempt.finish_reason = reply.finish_reason
            body = dialect.encode_reply(reply, exchange.call, int(exchange.at))
        attempt.first_content = self._clock.now()
        attempt.book(usage or estimate(attempt.input_tokens * 4, output_bytes))
        return Opened(attempt, incoming, body=body)

    async def _open_stream(
        self, attempt: Attempt, incoming: Incoming, relay: Relay, *, is_continued: bool
    ) -> Opened | UpstreamError:
        """Hold back everything until the first real content (or a whole, empty answer), within the first-chunk time.

        A continuation that fails with its first words is shown them: they are a part of the text by then.
        """
        held = b""
        while True:
            data = await incoming.chunk()
            held += relay.feed(data)
            if relay.failure is not None and not (is_continued and relay.has_content):
                return relay.failure
            if relay.has_content or relay.is_ended:
                attempt.first_content = self._clock.now()
                return Opened(attempt, incoming, relay=relay, held=held)
            if not data:
                return UpstreamFault("the stream ended before it said anything", is_ambiguous=True)
            if self._clock.now() - attempt.started > attempt.first_chunk_s:
                # Comments keep a connection alive, not a client's patience.
                return UpstreamTimeout("no content in time", phase="first_chunk", is_ambiguous=True)


def as_value(failed: UpstreamError) -> UpstreamError:
    """Return an error that was raised, without the frames that it went through: it is kept with its attempt, the attempt is
    in those frames, and so is the request, which only the cycle collector would find then, much later.
    """
    failed.__cause__ = failed.__context__ = None
    return failed.with_traceback(None)


def _relay(exchange: Exchange, planned: Plan, dialect: Dialect, provider: Provider, *, is_native: bool) -> Relay:
    """How this stream's bytes become the client's: tapped, translated, or as a part of an answer of several."""
    call = exchange.call
    parts = exchange.parts
    if parts is None and planned.terms.is_continued and not refusal(call):
        parts = Parts(dialect.encoder(call, exchange.request_id, int(exchange.at)))
    if parts is not None:
        return parts.next(provider.decoder())
    if is_native:
        return dialect.relay(call)
    return Translation(provider.decoder(), dialect.encoder(call, exchange.request_id, int(exchange.at)))


async def _error_body(incoming: Incoming, limit: int) -> bytes:
    """Read what the vendor says of its refusal; the status alone says enough if the body is too long or broken."""
    try:
        return await incoming.read(limit, cut=True)
    except UpstreamError:
        return b""


# ── forwarding ──


async def forward(exchange: Exchange, opened: Opened, heads: AnswerHeads) -> UpstreamError | None:
    """Give the client the answer. Returns what broke it after its beginning, None if it is whole.

    Raises ClientDisconnected if the client takes nothing for long.
    """
    if opened.relay is None:
        exchange.down.answer(200, heads.of(exchange, opened.attempt, JSON_HEADERS), opened.body)
        return None
    return await _forward_stream(exchange, opened, opened.relay, heads)


async def _forward_stream(exchange: Exchange, opened: Opened, relay: Relay, heads: AnswerHeads) -> UpstreamError | None:
    down, attempt, incoming = exchange.down, opened.attempt, opened.incoming
    try:
        if exchange.parts is not None:
            down.write(exchange.parts.seam(attempt.choice.candidate.model.name))
        else:
            if not exchange.is_waiting:  # else it has its head already
                down.start(200, heads.of(exchange, attempt, SSE_HEADERS))
            exchange.is_waiting = False
            if isinstance(relay, Spliced):
                exchange.parts = relay.parts
        if opened.held:
            down.write(opened.held)
            opened.held = b""  # the stream may last for minutes
        failure = await _pump(down, incoming, relay)
    finally:
        attempt.book(relay.usage or estimate(attempt.input_tokens * 4, relay.output_bytes))
        attempt.finish_reason = relay.finish_reason
    if failure is None:
        down.finish()
        incoming.finish()
    return failure


async def _pump(down: Downstream, incoming: Incoming, relay: Relay) -> UpstreamError | None:
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
        return as_value(failed)
    return relay.failure
