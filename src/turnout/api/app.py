"""The ASGI application: data routes by a dict of paths, the control plane by Starlette, errors by one function.

One of the two files where `except Exception` stands: a bug becomes an InternalError with a request id, is logged once,
and the client gets the same shape as for any other error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from turnout.api import data
from turnout.api.admin import admin_app
from turnout.api.auth import address_of, authenticate, known, require
from turnout.api.exchange import Exchange
from turnout.api.models import list_models
from turnout.api.openapi import describe
from turnout.api.render import JSON, error_body, error_headers
from turnout.core.names import nearest
from turnout.core.principal import Principal
from turnout.errors import (
    ClientDisconnected,
    GatewayError,
    GatewayStopping,
    InternalError,
    InvalidRequest,
    PermissionDenied,
    Unauthenticated,
)
from turnout.gateway.audit import Actor
from turnout.gateway.service import Service

_log = logging.getLogger("turnout.app")

Answer = Callable[[Exchange], None]

ADMIN_PREFIX = "/admin/"


class App:
    """Turnout as one ASGI callable over one Service. Needs api.server.BoundedProtocol beneath it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._admin = admin_app(service)
        self._gets: dict[str, Answer] = {
            "/v1/models": self._models,
            "/models": self._models,
            "/health": self._health,
            "/health/live": self._live,
            "/health/ready": self._health,
            "/metrics": self._metrics,
            "/openapi.json": self._openapi,
        }
        self._description = describe()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and turn whatever goes wrong into an answer, if one can still be given."""
        path = scope["path"]
        if path.startswith(ADMIN_PREFIX):
            await self._admin(scope, receive, send)
            scope["extensions"].clear()  # see Exchange._let_go, which this way does not pass
            return
        exchange = scope["extensions"]["turnout"]
        request_id = self._service.clock.request_id()
        dialect = data.DIALECT_OF.get(path)
        try:
            if dialect is not None and scope["method"] == "POST":
                await data.serve(self._service, exchange, exchange.headers, dialect, request_id)
            else:
                self._get(scope, exchange)
        except GatewayError as error:
            self._refuse(exchange, error, request_id)
            # Its frames hold the exchange, which holds it: without the cycle reference counting frees all of it at once.
            error.__traceback__ = None
        except asyncio.CancelledError:
            # The client left (then nobody listens), or we are stopping and the time to finish this is over.
            left = exchange.disconnected
            self._refuse(exchange, ClientDisconnected("the client left") if left else GatewayStopping(), request_id)
        except Exception as bug:  # the outermost guard
            _log.exception("a bug in Turnout", extra={"request_id": request_id})
            told = InternalError(f"A bug in Turnout ({type(bug).__name__}); its log has the rest.")
            self._refuse(exchange, told, request_id)

    def _refuse(self, exchange: Exchange, error: GatewayError, request_id: str) -> None:
        if not isinstance(error, ClientDisconnected):
            self._service.telemetry.errors[error.code, error.status] += 1
        if isinstance(error, Unauthenticated | PermissionDenied):
            who = known(exchange.headers, self._service.ring)
            name, role = ("", "") if who is None else (who.key_id, who.role)
            actor = Actor(name, role, address_of(exchange.scope))
            asked = error.asked if isinstance(error, PermissionDenied) else ""
            self._service.trail.refused_key(actor, error.code, asked)
        refuse(exchange, error, request_id)

    def _get(self, scope: Scope, exchange: Exchange) -> None:
        answer = self._gets.get(scope["path"])
        if answer is None or scope["method"] not in {"GET", "HEAD"}:
            raise self._no_route(scope)
        answer(exchange)

    def _no_route(self, scope: Scope) -> GatewayError:
        path, method = scope["path"], scope["method"]
        known = path in data.DIALECT_OF or path in self._gets
        if known:
            allowed = "POST" if path in data.DIALECT_OF else "GET"
            error = InvalidRequest(f"{path} is asked with {allowed}, not {method}.")
            error.status, error.allow = 405, allowed if allowed == "POST" else "GET, HEAD"
        else:
            near = nearest(path, (*data.DIALECT_OF, *self._gets), 1)
            error = InvalidRequest(f"There is no {path} here." + (f" Did you mean {near[0]}?" if near else ""))
            error.status = 404
        return error

    # ── the small routes ──

    def _who(self, exchange: Exchange) -> Principal:
        return authenticate(exchange.headers, self._service.ring, address_of(exchange.scope))

    def _models(self, exchange: Exchange) -> None:
        grant = self._who(exchange).grant
        exchange.answer(200, [JSON], list_models(self._service.engine.index, grant))

    def _metrics(self, exchange: Exchange) -> None:
        require(self._who(exchange), "viewer")
        body = self._service.metrics()
        exchange.answer(200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], body)

    def _openapi(self, exchange: Exchange) -> None:
        exchange.answer(200, [JSON], self._description)

    def _live(self, exchange: Exchange) -> None:
        exchange.answer(200, [JSON], b'{"status":"live"}')

    def _health(self, exchange: Exchange) -> None:
        if self._service.is_ready and self._service.following.has_read:
            exchange.answer(200, [JSON], b'{"status":"ready"}')
        else:
            exchange.answer(503, [JSON, (b"retry-after", b"1")], b'{"status":"not_ready"}')


def refuse(exchange: Exchange, error: GatewayError, request_id: str) -> None:
    """Answer with `error`, unless an answer has begun (the engine has said so in the stream) or nobody listens."""
    if isinstance(error, ClientDisconnected) or exchange.is_started:
        if not exchange.response_complete:
            exchange.cut()
        return
    headers = error_headers(error)
    headers.append((b"x-request-id", request_id.encode()))
    exchange.answer(error.status, headers, error_body(error, request_id))
