"""The control plane: rollouts, traces and plans over HTTP, by Starlette. Every handler asks for the master key itself.

Bodies are read into explicit schemas: an unknown field is refused, so that nothing is changed that was not meant.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.auth import authenticate, require_admin
from turnout.api.render import error_body, error_headers
from turnout.core.catalog import Rollout, Snapshot
from turnout.core.plan import Ask, Plan
from turnout.core.trace import plan_told, render_plan
from turnout.errors import GatewayError, InternalError, InvalidRequest, NoCandidate, RequestTooLarge
from turnout.gateway.service import Service

BODY_BYTES = 64 * 1024
"""An admin body is a few numbers and names."""

T = TypeVar("T")


class SetPercent(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /admin/rollouts/NAME."""

    percent: float


class WhatIf(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /admin/explain: a request that is not made."""

    model: str = ""
    task: str = ""
    user: str = ""
    session: str = ""
    stream: bool = False
    needs: tuple[str, ...] = ()
    input_tokens: int = 0


_SET_PERCENT = msgspec.json.Decoder(SetPercent)
_WHAT_IF = msgspec.json.Decoder(WhatIf)


def describe_rollout(rollout: Rollout) -> dict[str, object]:
    """Return what `turnout rollout status` shows of one rollout."""
    return {
        "name": rollout.name,
        "percent": rollout.percent,
        "tasks": sorted(rollout.tasks) or "all",
        "candidate": {"provider": rollout.provider} if rollout.provider else {"models": rollout.models},
        "include": sorted(rollout.include),
        "exclude": sorted(rollout.exclude),
        "from": rollout.origin,
    }


def describe_rollouts(snapshot: Snapshot) -> list[dict[str, object]]:
    """Return all rollouts, by name."""
    return [describe_rollout(rollout) for _, rollout in sorted(snapshot.rollouts.items())]


async def _read(request: Request, decoder: msgspec.json.Decoder[T]) -> T:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES:
            raise RequestTooLarge(f"The body is larger than {BODY_BYTES} bytes.")
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:  # a ValidationError and a UnicodeDecodeError are ValueErrors too
        raise InvalidRequest(f"The body is not what this route takes: {error}") from error


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class Admin:
    """The handlers, over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _admit(self, request: Request) -> None:
        require_admin(authenticate(dict(request.scope["headers"]), self._service.ring))

    async def rollouts(self, request: Request) -> Response:
        """GET /admin/rollouts."""
        self._admit(request)
        return _json({"rollouts": describe_rollouts(self._service.snapshot)})

    async def set_rollout(self, request: Request) -> Response:
        """PUT /admin/rollouts/NAME."""
        self._admit(request)
        wanted = await _read(request, _SET_PERCENT)
        name = request.path_params["name"]
        try:
            await asyncio.to_thread(self._service.set_rollout, name, wanted.percent, "the admin API")
        except ValueError as error:
            unknown = name not in self._service.snapshot.rollouts
            refused = InvalidRequest(str(error), param="name" if unknown else "percent")
            refused.status = 404 if unknown else 400
            raise refused from error
        return _json(describe_rollout(self._service.snapshot.rollouts[name]))

    async def trace(self, request: Request) -> Response:
        """GET /admin/traces/ID."""
        self._admit(request)
        await self._service.flush_traces()
        body = await asyncio.to_thread(self._service.traces.get, request.path_params["request_id"])
        if body is None:
            missing = InvalidRequest("No trace of that request is kept (the oldest go first).", param="request_id")
            missing.status = 404
            raise missing
        return Response(body, media_type="application/json")

    async def explain(self, request: Request) -> Response:
        """POST /admin/explain: what would happen, without a call."""
        self._admit(request)
        wanted = await _read(request, _WHAT_IF)
        ask = Ask(
            name=wanted.model,
            task=wanted.task,
            user=wanted.user,
            session=wanted.session,
            stream=wanted.stream,
            needs=frozenset(wanted.needs),
            input_tokens=wanted.input_tokens,
        )
        planned = self._service.engine.what_if(ask)
        if isinstance(planned, Plan):
            return _json({"plan": plan_told(planned), "text": render_plan(planned)})
        if isinstance(planned, NoCandidate):  # that nobody would serve it, and why, is what was asked
            return _json({"plan": None, "text": [planned.message]})
        raise planned

    async def config(self, request: Request) -> Response:
        """GET /admin/config: the revision in force, and where each value came from."""
        self._admit(request)
        snapshot = self._service.snapshot
        return _json({"revision": snapshot.revision, "origins": dict(snapshot.origins)})

    async def quotas(self, request: Request) -> Response:
        """GET /admin/quotas: what vendors allow, what is used of it, and when there will be more."""
        self._admit(request)
        return _json({"quotas": self._service.quotas()})

    async def cache(self, request: Request) -> Response:
        """GET /admin/cache: what is kept, and what it saved since the start. DELETE: forget it, or ?workspace= alone."""
        self._admit(request)
        if request.method == "DELETE":
            if unknown := set(request.query_params) - {"workspace"}:
                name = min(unknown)[:100]
                raise InvalidRequest(f"There is no parameter {name!r} here, only `workspace`.", param=name)
            gone = await self._service.clearing.clear(request.query_params.get("workspace"))
            return _json({"cleared": gone})
        stats = self._service.engine.cache.stats()
        return _json({**msgspec.structs.asdict(stats), "hit_ratio": stats.hit_ratio})

    async def reload(self, request: Request) -> Response:
        """POST /admin/reload: read the config again; with problems nothing changes."""
        self._admit(request)
        problems = await asyncio.to_thread(self._service.reload)
        if problems:
            return _json({"revision": self._service.snapshot.revision, "problems": problems}, 422)
        return _json({"revision": self._service.snapshot.revision, "problems": []})


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(error_body(error, ""), error.status, headers=headers)


async def _on_bug(request: Request, error: Exception) -> Response:
    """The same face as a bug has in the data plane; Starlette raises it again, and uvicorn logs it with its traceback."""
    return await _on_error(request, InternalError(f"A bug in Turnout ({type(error).__name__}); its log has the rest."))


async def _on_missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = InvalidRequest(
        f"There is no {request.method} {request.scope['path']} here."
    )  # request.url is made of its Host
    told.status, told.allow = error.status_code, (error.headers or {}).get("Allow", "")
    return await _on_error(request, told)


def admin_app(service: Service) -> Starlette:
    """Return the control plane as an ASGI application."""
    admin = Admin(service)
    app = Starlette(
        routes=[
            Route("/admin/rollouts", admin.rollouts, methods=["GET"]),
            Route("/admin/rollouts/{name}", admin.set_rollout, methods=["PUT"]),
            Route("/admin/traces/{request_id}", admin.trace, methods=["GET"]),
            Route("/admin/explain", admin.explain, methods=["POST"]),
            Route("/admin/config", admin.config, methods=["GET"]),
            Route("/admin/quotas", admin.quotas, methods=["GET"]),
            Route("/admin/cache", admin.cache, methods=["GET", "DELETE"]),
            Route("/admin/reload", admin.reload, methods=["POST"]),
        ],
        exception_handlers={GatewayError: _on_error, Exception: _on_bug, 404: _on_missing, 405: _on_missing},
    )
    app.router.redirect_slashes = False  # a path is one of these or it is not; no address is made of a request's Host
    return app
