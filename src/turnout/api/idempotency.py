"""Serves a request that has an Idempotency-Key: once, and from what is kept whenever it comes again.

Around the engine, not in it: without the header nothing of this runs.
"""

from __future__ import annotations

import asyncio

from turnout.api.exchange import Exchange
from turnout.api.render import error_body, error_headers
from turnout.core.contracts import Call
from turnout.core.eligible import Ask
from turnout.core.idempotency import is_kept, request_digest, slot
from turnout.core.pieces import LARGE_BYTES
from turnout.errors import GatewayError
from turnout.gateway.service import Service
from turnout.gateway.tee import Run, Tee, replay


async def serve_once(service: Service, exchange: Exchange, key: bytes, call: Call, ask: Ask, request_id: str) -> None:
    """Serve `call`, or answer as it was answered before. Raises GatewayError for the app to render."""
    place = slot(ask.workspace, key)
    if call.size > LARGE_BYTES:
        digest = await asyncio.to_thread(request_digest, call, ask)
    else:
        digest = request_digest(call, ask)
    once = service.once
    found = await once.begin(place, digest, service.snapshot.timeouts.total_s)
    if isinstance(found, Run):
        await _serve(service, exchange, call, ask, request_id, found)
    else:
        service.telemetry.replays += 1
        await replay(found, once.store, exchange)


async def _serve(service: Service, exchange: Exchange, call: Call, ask: Ask, request_id: str, run: Run) -> None:
    exchange.on_gone = None  # a client that leaves will ask again, and has paid for the answer
    tee = Tee(exchange, service.once.store, run)
    is_worth_keeping = False
    try:
        await service.engine.serve(call, ask, request_id, tee)
        is_worth_keeping = True
    except GatewayError as error:
        is_worth_keeping = is_kept(error)
        if not is_worth_keeping:
            run.error = error
        elif not tee.is_started:
            head = [*error_headers(error), (b"x-request-id", request_id.encode())]
            tee.answer(error.status, head, error_body(error, request_id))
        raise
    finally:
        try:
            await service.once.end(run, tee if is_worth_keeping else None)
        finally:
            tee.deliver()
            if exchange.disconnected and not exchange.response_complete:
                exchange.cut()
