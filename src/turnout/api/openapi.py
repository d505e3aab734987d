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
from turnout.api.admin import WhatIf
from turnout.core.quota_view import QuotaView
from turnout.core.trace import Trace
from turnout.gateway.cache import CacheStats

Json = Mapping[str, Any]

REF: Final = "#/components/schemas/{name}"


class Route(NamedTuple):
    """One operation. paths: it and its other spellings. body, answer: names of schemas, "" for none.

    streams: the answer may be a stream of server-sent events. errors: statuses besides those of every route. key: asked for.
    query: names of parameters that may stand in it.
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


_ASKED: Final = (400, 404, 408, 409, 413, 415, 422, 429, 502, 503, 504)
_LABEL: Final[Json] = {"type": "string", "maxLength": 256}
_HEADERS: Final[Mapping[str, Json]] = {
    "x-turnout-task": _LABEL,
    "x-turnout-user": _LABEL,
    "x-turnout-session": _LABEL,
    "x-turnout-workspace": _LABEL,
    "x-turnout-priority": {"enum": ["high", "medium", "low"]},
    "x-turnout-timeout": {
        "type": "string",
        "pattern": r"^[0-9]{1,7}(\.[0-9]{1,9})?$",
        "description": "How many seconds the client waits.",
    },
    "cache-control": {"type": "string", "description": "no-cache, no-store, max-age=N"},
    "idempotency-key": {
        "type": "string",
        "pattern": "^[!-~]{1,255}$",
        "minLength": 1,
        "maxLength": 255,
        "description": "The same request with the same key again is told the same answer.",
    },
}
"""What requests may carry. Not `x-turnout-by`: no schema says which instants are still to come."""

_CHANGING: Final = (400, 404, 413, 503)

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
    Route(
        ("/admin/explain",), "post", "explain", "Tell where a request would go, without a call.",
        "Explained", "WhatIf", _CHANGING
    ),
    Route(("/admin/config",), "get", "config", "Name the configuration in force.", "Configuration"),
    Route(("/admin/quotas",), "get", "quotas", "Tell what vendors allow, and what is used of it.", "Quotas"),
    Route(("/admin/cache",), "get", "cache", "Tell what is kept, and what it saved.", "CacheStats"),
    Route(("/admin/cache",), "delete", "clearCache", "Forget kept answers.", "Cleared", "", (400, 503), query=("workspace",)),
    Route(("/admin/reload",), "post", "reload", "Read the configuration again.", "Reloaded", "", (422,)),
)  # fmt: skip

_NULLABLE_TEXT: Final[Json] = {"type": ["string", "null"]}
_FLAG: Final[Json] = {"type": ["boolean", "null"]}
_COUNT: Final[Json] = {"type": ["integer", "null"]}
_LIST: Final[Json] = {"type": ["array", "null"]}


def _object(required: str = "", **properties: Any) -> Json:
    """An object with these properties, and whatever else. required: names, with spaces between."""
    return {"type": "object", "properties": properties, **({"required": required.split()} if required else {})}


_NAME: Final[Json] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 256,
    "description": "A model, a route, an alias, a task, ACCOUNT/ID, or `auto`: the task decides. Not needed where the header"
    " x-turnout-task names the task.",
}
_METADATA: Final[Json] = {
    **_object(task={**_NULLABLE_TEXT, "maxLength": 256}),
    "type": ["object", "null"],
    "description": "`task` is Turnout's and is taken out; the rest goes on.",
}
_MESSAGES: Final[Json] = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "description": "`role`, `content` and more, as the vendors of this format have it."},
}
_FORMAT: Final[Json] = {**_object(type={"type": "string"}), "type": ["object", "null"]}
_TOKENS: Final[Json] = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "integer"},
}
_TEXTS: Final[Json] = {"type": "array", "minItems": 1, "items": {"type": "string"}}
_SCHEMAS: Final[Json] = {
    "Anything": {"type": "object"},
    "Text": {"type": "string"},
    "Event": {
        **_object("data", event={"type": "string"}, data={"type": "string"}),
        "description": "One server-sent event; `data` is a JSON object, or [DONE] after the last.",
    },
    "ChatRequest": _object(
        "model messages",
        model=_NAME,
        messages=_MESSAGES,
        stream=_FLAG,
        stream_options={**_object(include_usage=_FLAG), "type": ["object", "null"]},
        max_tokens=_COUNT,
        max_completion_tokens=_COUNT,
        tools=_LIST,
        response_format={**_object("type", type={"type": "string"}), "type": ["object", "null"]},
        user=_NULLABLE_TEXT,
        metadata=_METADATA,
    ),
    "ChatAnswer": _object(
        "choices",
        id=_NULLABLE_TEXT,
        object=_NULLABLE_TEXT,
        model=_NULLABLE_TEXT,
        choices={"type": "array", "items": _object("message", index={"type": "integer"}, message=_object())},
        usage={"type": ["object", "null"]},
    ),
    "MessageRequest": _object(
        "model messages",
        model=_NAME,
        messages=_MESSAGES,
        stream=_FLAG,
        max_tokens=_COUNT,
        tools=_LIST,
        metadata={**_object(user_id=_NULLABLE_TEXT, task=_METADATA["properties"]["task"]), "type": ["object", "null"]},
        output_config={**_object(format=_FORMAT), "type": ["object", "null"]},
        output_format=_FORMAT,
    ),
    "MessageAnswer": _object(
        "type role content",
        type={"const": "message"},
        role={"const": "assistant"},
        content={"type": "array", "items": _object("type", type={"type": "string"})},
        usage={"type": "object"},
    ),
    "EmbeddingRequest": _object(
        "model input",
        model=_NAME,
        input={
            "description": "A text, texts, tokens, or lists of tokens.",
            "anyOf": [
                {"type": "string", "minLength": 1},
                _TEXTS,
                _TOKENS,
                {"type": "array", "minItems": 1, "items": _TOKENS},
            ],
        },
        stream={"enum": [False, None]},
        user=_NULLABLE_TEXT,
        metadata=_METADATA,
    ),
    "EmbeddingAnswer": _object(
        "data", data={"type": "array", "items": _object("embedding")}, usage={"type": ["object", "null"]}
    ),
    "Models": _object(
        "object data",
        object={"const": "list"},
        data={
            "type": "array",
            "items": _object(
                "id object owned_by", id={"type": "string"}, owned_by={"type": "string"}, turnout=_object()
            ),
        },
    ),
    "Health": _object("status", status={"enum": ["live", "ready", "not_ready"]}),
    "SetPercent": {
        **_object("percent", percent={"type": "number", "minimum": 0, "maximum": 100}),
        "additionalProperties": False,
    },
    "Rollout": _object(
        "name percent tasks candidate",
        name={"type": "string"},
        percent={"type": "number"},
        tasks={"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]},
        candidate={"type": "object"},
    ),
    "Rollouts": _object("rollouts", rollouts={"type": "array", "items": {"$ref": REF.format(name="Rollout")}}),
    "Quotas": _object("quotas", quotas={"type": "array", "items": {"$ref": REF.format(name="QuotaView")}}),
    "Cleared": _object("cleared", cleared={"type": "integer", "minimum": 0}),
    "Explained": _object(
        "plan text", plan={"type": ["object", "null"]}, text={"type": "array", "items": {"type": "string"}}
    ),
    "Configuration": _object(
        "revision origins",
        revision={"type": "string"},
        origins={"type": "object", "additionalProperties": {"type": "string"}},
    ),
    "Reloaded": _object(
        "revision problems",
        revision={"type": "string"},
        problems={"type": "array", "items": {"type": "string"}},
    ),
    "Error": _object(
        "error",
        type={"type": "string", "description": "`error`, as Anthropic's SDKs want it; a vendor's own body may differ."},
        error=_object(
            "message",
            message={"type": "string"},
            type={"type": ["string", "null"], "description": "The family that OpenAI's SDKs know."},
            code={"type": ["string", "integer", "null"], "description": "Stable: docs/errors.md lists them."},
            param=_NULLABLE_TEXT,
            source={"enum": ["client", "gateway", "upstream"]},
            request_id={"type": "string"},
        ),
    ),
}
"""By hand what a client may send and gets; shapes of our own structs are made from them."""

_MEANINGS: Final[Mapping[int, str]] = {
    400: "It cannot be read or makes no sense.",
    401: "No key, or an unknown one.",
    404: "No such model, task, rollout or trace.",
    405: "Another method is asked for.",
    408: "It did not arrive in time.",
    409: "The request that this Idempotency-Key was first used for is still under way.",
    413: "The body is too large.",
    415: "The body is compressed.",
    422: "The Idempotency-Key is another request's; or the configuration is wrong, and the old one serves on.",
    429: "Every candidate said not now.",
    431: "The headers are too large.",
    502: "The candidates failed.",
    503: "Nobody can serve this now.",
    504: "The candidates took too long.",
}


def describe() -> bytes:
    """Return the description as JSON. About 3 ms; it is the same as long as the process lives."""
    _, own = msgspec.json.schema_components((Trace, WhatIf, QuotaView, CacheStats), ref_template=REF)
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
                "schemas": {**own, **_SCHEMAS},
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
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for part in path.split("/")
        if part.startswith("{")
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.query]
    if route.streams or route.name == "embeddings":
        parameters += [{"name": name, "in": "header", "schema": schema} for name, schema in _HEADERS.items()]
    if parameters:
        told["parameters"] = parameters
    if route.body:
        told["requestBody"] = {"required": True, "content": {"application/json": _schema(route.body)}}
    return told


def _responses(route: Route) -> Json:
    content = {route.content_type: _schema(route.answer)}
    if route.streams:
        content["text/event-stream"] = _schema("Event")
    told: dict[str, Any] = {"200": {"description": "As asked.", "content": content}}
    for status in sorted({*route.errors, *((401,) if route.key else ()), 431}):
        is_own = route.answer in {"Health", "Reloaded"} and status in route.errors
        shape = _schema(route.answer if is_own else "Error")
        told[str(status)] = {"description": _MEANINGS[status], "content": {"application/json": shape}}
    told["default"] = {
        "description": "Any other error: `error.code` says which.",
        "content": {"application/json": _schema("Error")},
    }
    return told


def _schema(name: str) -> Json:
    return {"schema": {"$ref": REF.format(name=name)}}
