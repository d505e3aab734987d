"""Describes the HTTP interface for tools: `GET /openapi.json`, OpenAPI 3.1, from one table with a row for each route.

A test compares the table with the routes that are there. Schemas say what Turnout itself reads and refuses; what it hands
on to a vendor unread is open in them, as it is in the gateway. Wherever a row says nothing else, an error has one shape.
Sources: OpenAPI 3.1.1; JSON Schema 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from turnout import __version__
from turnout.api import parameters
from turnout.api.admin import WhatIf
from turnout.api.key_forms import AdminForm, GivenForm, KeyChange, KeyForm, Rotation, UserForm, WorkspaceForm
from turnout.api.schemas import REF, SCHEMAS, Json
from turnout.api.secrets import SetKey
from turnout.api.usage import QUERY
from turnout.core.limit_view import LimitView
from turnout.core.quota_view import QuotaView
from turnout.core.trace import Trace
from turnout.gateway.cache import CacheStats


class Route(NamedTuple):
    """One operation. paths: it and its other spellings. body, answer: names of schemas, "" for none.

    streams: the answer may be a stream of server-sent events. errors: statuses besides those of every route. key: asked for.
    query: names of parameters that may stand in it. made: it makes something, and answers 201. optional: so is its body.
    """

    paths: tuple[str, ...]
    method: str
    name: str
    summary: str
    answer: str
    body: str = ""
    errors: tuple[int, ...] = ()
    streams: bool = False
    key: bool = True
    content_type: str = "application/json"
    query: tuple[str, ...] = ()
    made: bool = False
    optional: bool = False


_ASKED: Final = (402, 404, 408, 409, 415, 429, 502, 503, 504)
_CHANGING: Final = (404, 503)
_ABOUT_PEOPLE: Final = (404, 409, 503)
_WITH_A_BODY: Final = (400, 413, 422)
_PEOPLE: Final = ("/admin/users/", "/admin/workspaces/", "/admin/teams/", "/admin/admins/")

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        ("/v1/chat/completions", "/chat/completions"), "post", "chat", "Ask for an answer (OpenAI's chat completions).",
        "ChatAnswer", "ChatRequest", _ASKED, streams=True
    ),
    Route(
        ("/v1/messages", "/messages"), "post", "messages", "Ask for an answer (Anthropic's Messages).",
        "MessageAnswer", "MessageRequest", _ASKED, streams=True
    ),
    Route(
        ("/v1/embeddings", "/embeddings"), "post", "embeddings", "Turn texts into vectors (OpenAI's embeddings).",
        "EmbeddingAnswer", "EmbeddingRequest", _ASKED
    ),
    Route(("/v1/models", "/models"), "get", "models", "List models, routes, aliases and tasks.", "Models"),
    Route(("/metrics",), "get", "metrics", "Counters for Prometheus.", "Text", content_type="text/plain"),
    Route(("/health", "/health/ready"), "get", "ready", "Are requests taken?", "Health", errors=(503,), key=False),
    Route(("/health/live",), "get", "live", "Does the process answer?", "Health", key=False),
    Route(("/openapi.json",), "get", "openapi", "This description.", "Anything", key=False),
    Route(("/admin/rollouts",), "get", "rollouts", "List the rollouts.", "Rollouts"),
    Route(
        ("/admin/rollouts/{name}",), "put", "setRollout", "Move a rollout to a percentage of users.",
        "Rollout", "SetPercent", _CHANGING
    ),
    Route(("/admin/traces/{request_id}",), "get", "trace", "Tell why a request went where it went.", "Trace", "", (404,)),
    Route(("/admin/prompts/{request_id}",), "get", "prompt", "Show a prompt that was kept.", "KeptPrompt", "", (404, 503)),
    Route(
        ("/admin/explain",), "post", "explain", "Tell where a request would go, without a call.",
        "Explained", "WhatIf", _CHANGING
    ),
    Route(("/admin/config",), "get", "config", "Name the configuration in force.", "Configuration"),
    Route(("/admin/quotas",), "get", "quotas", "Tell what vendors allow, and what is used of it.", "Quotas"),
    Route(
        ("/admin/usage",), "get", "usage", "Tell what was used and what it cost.", "Usage", "", (503,),
        query=QUERY
    ),
    Route(("/admin/cache",), "get", "cache", "Tell what is kept, and what it saved.", "CacheStats"),
    Route(("/admin/cache",), "delete", "clearCache", "Forget kept answers.", "Cleared", "", (503,), query=("workspace",)),
    Route(("/admin/keys",), "get", "keys", "List the virtual keys.", "Keys", "", (503,), query=("user", "workspace", "revoked")),
    Route(("/admin/keys",), "post", "createKey", "Make a key; its text is told this once.", "KeyMade", "KeyForm", _ABOUT_PEOPLE, made=True),
    Route(("/admin/keys/{key}",), "get", "key", "Tell about one key, by its id or name.", "Key", "", (400, 404, 409, 503)),
    Route(("/admin/keys/{key}",), "patch", "changeKey", "Change what is said.", "Key", "KeyChange", _ABOUT_PEOPLE),
    Route(("/admin/keys/{key}",), "delete", "revokeKey", "Let it open nothing any more.", "Key", "", (400, 404, 409, 503)),
    Route(("/admin/keys/{key}/rotate",), "post", "rotateKey", "Make another text for it.", "KeyMade", "Rotation", _ABOUT_PEOPLE, optional=True),
    Route(("/admin/users",), "get", "users", "List the users.", "Users", "", (503,)),
    Route(("/admin/users/{name}",), "put", "setUser", "Make a user, or change them.", "User", "UserForm", _ABOUT_PEOPLE),
    Route(("/admin/users/{name}",), "delete", "removeUser", "Revoke their keys, and take them away.", "Removed", "", (404, 503)),
    Route(("/admin/workspaces",), "get", "workspaces", "List the workspaces.", "Workspaces", "", (503,)),
    Route(
        ("/admin/workspaces/{name}",), "put", "setWorkspace", "Make a workspace, or change it.",
        "Workspace", "WorkspaceForm", _ABOUT_PEOPLE
    ),
    Route(
        ("/admin/workspaces/{name}",), "delete", "removeWorkspace", "Revoke its keys, and take it away.",
        "Removed", "", (404, 503)
    ),
    Route(("/admin/teams",), "get", "teams", "List the teams.", "Teams", "", (503,)),
    Route(("/admin/teams/{name}",), "put", "setTeam", "Make a team, or change it.", "Team", "GivenForm", _ABOUT_PEOPLE),
    Route(
        ("/admin/teams/{name}",), "delete", "removeTeam", "Revoke its keys, and take it away with its workspaces.",
        "Removed", "", (404, 503)
    ),
    Route(("/admin/admins",), "get", "admins", "List the admins.", "Admins", "", (503,)),
    Route(("/admin/admins",), "post", "createAdmin", "Make an admin; their key is told this once.", "AdminMade", "AdminForm", _ABOUT_PEOPLE, made=True),
    Route(("/admin/admins/{name}",), "delete", "revokeAdmin", "Let their key open nothing any more.", "Admin", "", (404, 503)),
    Route(("/admin/admins/{name}/rotate",), "post", "rotateAdmin", "Make another key for them.", "AdminMade", "Rotation", _ABOUT_PEOPLE, optional=True),
    Route(("/admin/budgets",), "get", "budgets", "Tell how budgets stand in their present periods.", "Budgets", "", (503,), query=("most",)),
    Route(("/admin/alerts",), "get", "alerts", "Tell which budgets reached which mark, and who was told.", "Alerts", "", (503,), query=("most",)),
    Route(("/admin/limits",), "get", "limits", "Tell where the limits of callers stand.", "Limits"),
    Route(
        ("/admin/audit",), "get", "audit", "Tell who changed or tried what.", "AuditRows", "", (503,),
        query=("who", "what", "of", "outcome", "since_ms", "count", "below")
    ),
    Route(("/admin/secrets",), "get", "secrets", "List the stored keys of providers.", "Secrets"),
    Route(
        ("/admin/secrets/{provider}",), "put", "setSecret", "Store a provider's key for its present address.",
        "SecretSet", "SetKey", _CHANGING
    ),
    Route(("/admin/secrets/{provider}",), "delete", "removeSecret", "Forget a stored key.", "SecretGone", "", (404, 503)),
    Route(("/admin/reload",), "post", "reload", "Read the configuration again.", "Reloaded", "", (422,)),
)  # fmt: skip

_MEANINGS: Final[Mapping[int, str]] = {
    400: "It cannot be read, or asks for what no schema can rule out: a day that is past, a zone that there is not.",
    401: "No key, or an unknown one.",
    402: "A budget has no room for it; `error.budget` says which.",
    403: "The key may not do this.",
    404: "No such model, task, rollout, trace, key or person.",
    405: "Another method is asked for.",
    408: "It did not arrive in time.",
    409: "The request that this Idempotency-Key was first used for is still under way; or the key was revoked, or is there already, or is one of several of that name.",
    413: "The body is too large.",
    415: "The body is compressed.",
    422: "The Idempotency-Key is another request's; a field that the route does not take, or a value that it cannot have; or the"
    " configuration is wrong, and the old one serves on.",
    429: "A limit of the caller's is used up, what vendors allow has no room, or every candidate said not now.",
    431: "The headers are too large.",
    502: "The candidates failed.",
    503: "Nobody can serve this now.",
    504: "The candidates took too long.",
}


def describe() -> bytes:
    """Return the description as JSON. About 4 ms; it is the same as long as the process lives."""
    _, own = msgspec.json.schema_components(
        (
            Trace,
            WhatIf,
            SetKey,
            QuotaView,
            LimitView,
            CacheStats,
            KeyForm,
            KeyChange,
            Rotation,
            AdminForm,
            GivenForm,
            WorkspaceForm,
            UserForm,
        ),
        ref_template=REF,
    )
    own["WhatIf"]["anyOf"] = [
        {"required": [name], "properties": {name: {"minLength": 1}}} for name in ("model", "task")
    ]
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        for number, path in enumerate(route.paths):
            paths.setdefault(path, {})[route.method] = _operation(route, path, is_alias=number > 0)
    return msgspec.json.encode(
        {
            "openapi": "3.1.1",
            "info": {
                "title": "Turnout",
                "version": __version__,
                "description": "An LLM gateway: asks the model that fits the task.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {
                "schemas": {**_as_read(own), **SCHEMAS},
                "headers": parameters.ANSWERED,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                },
            },
        }
    )


def _operation(route: Route, path: str, *, is_alias: bool) -> Json:
    """One route by one of its paths."""
    told: dict[str, Any] = {
        "operationId": route.name + path.title().translate({ord(sign): None for sign in "/{}._"}) * is_alias,
        "summary": route.summary,
        "tags": ["admin" if path.startswith("/admin/") else "data" if route.body else "status"],
        "security": [{"bearer": []}, {"header": []}] if route.key else [],
        "responses": _responses(route),
    }
    schema = parameters.PERSON if path.startswith(_PEOPLE) else {"type": "string", "minLength": 1}
    there: list[Json] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": schema}
        for part in path.split("/")
        if part.startswith("{")
    ]
    there += [parameters.query(name, may_be_empty=route.method == "delete") for name in route.query]
    if _asks(route):
        there += [{"name": name, "in": "header", "schema": schema} for name, schema in parameters.ASKED.items()]
    if there:
        told["parameters"] = there
    if route.body:
        told["requestBody"] = {"required": not route.optional, "content": {"application/json": _schema(route.body)}}
    return told


def _asks(route: Route) -> bool:
    """Whether a model is asked."""
    return route.errors == _ASKED


def _responses(route: Route) -> Json:
    content = {route.content_type: _schema(route.answer)}
    if route.streams:
        content["text/event-stream"] = _schema("Event")
    told: dict[str, Any] = {"201" if route.made else "200": {"description": "As asked.", "content": content}}
    always = (*((401, 403) if route.key else ()), *(_WITH_A_BODY if route.body else (400,) if route.query else ()), 431)
    for status in sorted({*route.errors, *always}):
        is_own = route.answer in {"Health", "Reloaded"} and status in route.errors
        shape = _schema(route.answer if is_own else "Error")
        told[str(status)] = {"description": _MEANINGS[status], "content": {"application/json": shape}}
    for status, one in told.items():
        if names := parameters.answered(int(status), asks=_asks(route)):
            one["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    told["default"] = {
        "description": "Any other error: `error.code` says which.",
        "content": {"application/json": _schema("Error")},
    }
    return told


def _as_read(schema: Any) -> Any:
    """Return a schema of a struct as its decoder reads bodies: money is a number or a text, and a name may be there twice."""
    if isinstance(schema, list):
        return [_as_read(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _as_read(one) for name, one in schema.items() if name != "uniqueItems"}
    return {**told, "type": ["number", "string"]} if told.get("format") == "decimal" else told


def _schema(name: str) -> Json:
    return {"schema": {"$ref": REF.format(name=name)}}
