"""The control plane: rollouts, traces and plans over HTTP, by Starlette. Every handler asks itself who may use it.

Who may what: viewers look, admins change, owners say who is an owner (api/people.py has the routes about people).
"""

from __future__ import annotations

import asyncio

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.audit import audit_routes
from turnout.api.budgets import budget_routes
from turnout.api.desk import admit, changing, query_of, read_body, told
from turnout.api.limits import limit_routes
from turnout.api.people import people_routes
from turnout.api.prompts import prompt_routes
from turnout.api.render import error_body, error_headers
from turnout.api.secrets import secret_routes
from turnout.api.usage import usage_routes
from turnout.core.catalog import Rollout, Snapshot
from turnout.core.plan import Ask, Plan
from turnout.core.principal import Role
from turnout.core.trace import plan_told, render_plan
from turnout.errors import ConfigError, GatewayError, InternalError, InvalidRequest, NoCandidate
from turnout.gateway.overlay import checked
from turnout.gateway.people import By
from turnout.gateway.service import Service


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


class Admin:
    """The handlers, over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _admit(self, request: Request, role: Role) -> By:
        return admit(self._service, request, role)

    async def rollouts(self, request: Request) -> Response:
        """GET /admin/rollouts."""
        self._admit(request, "viewer")
        return told({"rollouts": describe_rollouts(self._service.snapshot)})

    async def set_rollout(self, request: Request) -> Response:
        """PUT /admin/rollouts/NAME."""
        by = self._admit(request, "admin")
        percent = (await read_body(request, _SET_PERCENT)).percent
        name = request.path_params["name"]
        try:
            before = {"percent": checked(self._service.snapshot, name, percent).percent}
        except ValueError as error:
            unknown = name not in self._service.snapshot.rollouts
            refused = InvalidRequest(str(error), param="name" if unknown else "percent")
            refused.status = 404 if unknown else 400
            raise refused from error
        async with changing(self._service, by, "rollout.set", name, before=before, after={"percent": percent}):
            await asyncio.to_thread(self._service.set_rollout, name, percent, f"the admin API, {by.actor.name}")
        return told(describe_rollout(self._service.snapshot.rollouts[name]))

    async def trace(self, request: Request) -> Response:
        """GET /admin/traces/ID."""
        self._admit(request, "viewer")
        await self._service.flush_traces()
        body = await asyncio.to_thread(self._service.traces.get, request.path_params["request_id"])
        if body is None:
            missing = InvalidRequest("No trace of that request is kept (the oldest go first).", param="request_id")
            missing.status = 404
            raise missing
        return Response(body, media_type="application/json")

    async def explain(self, request: Request) -> Response:
        """POST /admin/explain: what would happen, without a call."""
        self._admit(request, "viewer")
        wanted = await read_body(request, _WHAT_IF)
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
            return told({"plan": plan_told(planned), "text": render_plan(planned)})
        if isinstance(planned, NoCandidate):  # that nobody would serve it, and why, is what was asked
            return told({"plan": None, "text": [planned.message]})
        raise planned

    async def config(self, request: Request) -> Response:
        """GET /admin/config: the revision in force, and where each value came from."""
        self._admit(request, "viewer")
        snapshot = self._service.snapshot
        return told({"revision": snapshot.revision, "origins": dict(snapshot.origins)})

    async def quotas(self, request: Request) -> Response:
        """GET /admin/quotas: what vendors allow, what is used of it, and when there will be more."""
        self._admit(request, "viewer")
        return told({"quotas": self._service.quotas()})

    async def cache(self, request: Request) -> Response:
        """GET /admin/cache: what is kept, and what it saved since the start. DELETE: forget it, or ?workspace= alone."""
        by = self._admit(request, "admin" if request.method == "DELETE" else "viewer")
        if request.method == "DELETE":
            workspace = query_of(request, "workspace", may_be_empty=True).get("workspace")
            async with changing(self._service, by, "cache.clear", workspace or ""):
                return told({"cleared": await self._service.clearing.clear(workspace)})
        stats = self._service.engine.cache.stats()
        return told({**msgspec.structs.asdict(stats), "hit_ratio": stats.hit_ratio})

    async def reload(self, request: Request) -> Response:
        """POST /admin/reload: read the config again; with problems nothing changes."""
        by = self._admit(request, "admin")
        async with changing(self._service, by, "config.reload", before={"revision": self._service.snapshot.revision}):
            problems = await asyncio.to_thread(self._service.reload)
        if problems:
            self._service.trail.refused(by.actor, "config.reload", "", ConfigError.code, "failed")
            return told({"revision": self._service.snapshot.revision, "problems": problems}, 422)
        return told({"revision": self._service.snapshot.revision, "problems": []})


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    # Its frames hold it by the name that it had there: without this cycle, reference counting frees all of it at once.
    error.__cause__ = error.__context__ = error.__traceback__ = None
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(error_body(error, ""), error.status, headers=headers)


async def _on_bug(request: Request, error: Exception) -> Response:
    """The same face as a bug has in the data plane; Starlette raises it again, and uvicorn logs it with its traceback."""
    return await _on_error(request, InternalError(f"A bug in Turnout ({type(error).__name__}); its log has the rest."))


async def _on_missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    missing = InvalidRequest(
        f"There is no {request.method} {request.scope['path']} here."
    )  # request.url is made of its Host
    missing.status, missing.allow = error.status_code, (error.headers or {}).get("Allow", "")
    return await _on_error(request, missing)


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
            *people_routes(service),
            *usage_routes(service),
            *budget_routes(service),
            *limit_routes(service),
            *prompt_routes(service),
            *audit_routes(service),
            *secret_routes(service),
        ],
        exception_handlers={GatewayError: _on_error, Exception: _on_bug, 404: _on_missing, 405: _on_missing},
    )
    app.router.redirect_slashes = False  # a path is one of these or it is not; no address is made of a request's Host
    return app
