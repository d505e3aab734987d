"""Schemas of what clients send and get, by hand: for the description of the HTTP interface (api/openapi.py).

What Turnout hands on to a vendor unread is open in them, as it is in the gateway. Shapes of our own structs are made from those.
Source: JSON Schema 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Json = Mapping[str, Any]

REF: Final = "#/components/schemas/{name}"

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
_GIVEN: Final[Json] = {
    "name": {"type": "string"},
    "limit": {"type": ["object", "null"]},
    "budgets": {"type": "array", "items": _object("name usd period zone")},
}
_STATUS: Final[Json] = {"enum": ["live", "expired", "revoked"]}
_KEY: Final[Json] = _object(
    "id ends_in status",
    id={"type": "string"},
    user={"type": "string"},
    workspace={"type": "string"},
    team={"type": "string"},
    tier={"type": "string"},
    ends_in={"type": "string"},
    status=_STATUS,
    expires_at=_NULLABLE_TEXT,
)
_ADMIN: Final[Json] = _object(
    "name role ends_in status",
    name={"type": "string"},
    role={"enum": ["owner", "admin", "viewer"]},
    ends_in={"type": "string"},
    status=_STATUS,
    expires_at=_NULLABLE_TEXT,
)
SCHEMAS: Final[Json] = {
    "Anything": {"type": "object"},
    "Text": {"type": "string"},
    "Event": {
        **_object("data", event={"type": "string"}, data={"type": "string"}),
        "description": "One server-sent event; `data` is a JSON object, or [DONE] after the last.",
    },
    "ChatRequest": {
        **_object(
            "model messages",
            model=_NAME,
            messages=_MESSAGES,
            stream=_FLAG,
            stream_options={"description": "Read where `stream` is true."},
            max_tokens=_COUNT,
            max_completion_tokens=_COUNT,
            tools=_LIST,
            response_format={**_object("type", type={"type": "string"}), "type": ["object", "null"]},
            user=_NULLABLE_TEXT,
            metadata=_METADATA,
        ),
        "anyOf": [
            {"properties": {"stream": {"enum": [False, None]}}},
            {"properties": {"stream_options": {**_object(include_usage=_FLAG), "type": ["object", "null"]}}},
        ],
    },
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
    "Limits": _object(
        "limits cut sharers",
        limits={"type": "array", "items": {"$ref": REF.format(name="LimitView")}},
        cut={"type": "boolean", "description": "There are more, with more left."},
        sharers={"type": "integer", "description": "Other gateways that share these limits."},
    ),
    "KeptPrompt": _object(
        "request_id at dialect task fields cut",
        request_id={"type": "string"},
        at={"type": "number", "description": "Unix seconds."},
        dialect={"type": "string"},
        task={"type": "string"},
        fields={"type": "object", "description": "The members of the request, without what is personal or secret."},
        cut={"type": "string", "description": "Instead of them, the beginning of a prompt too long to be kept whole."},
    ),
    "AuditRows": _object(
        "rows",
        rows={
            "type": "array",
            "items": _object(
                "seq at_ms actor role address action target outcome reason times",
                seq={"type": "integer"},
                at_ms={"type": "integer"},
                outcome={"enum": ["done", "refused", "failed"]},
                times={"type": "integer"},
                before={},
                after={},
            ),
        },
    ),
    "Secrets": _object(
        "secrets",
        secrets={"type": "array", "items": _object("provider origin last4 set_at set_by state")},
    ),
    "SecretSet": _object("provider origin replaced", replaced={"type": "boolean"}),
    "SecretGone": _object("provider origin"),
    "Budgets": _object(
        "budgets",
        budgets={
            "type": "array",
            "items": _object(
                "budget scope period limit_usd spent_usd held_usd left_usd hard",
                budget={"type": "string"},
                scope={"type": "string"},
                period={"type": "string"},
                **{f"{name}_usd": {"type": "string"} for name in ("limit", "spent", "held", "left")},
                resets_at={"type": ["integer", "null"], "description": "Unix seconds; null for one that is for life."},
                hard={"type": "boolean"},
            ),
        },
    ),
    "Alerts": _object(
        "alerts",
        alerts={
            "type": "array",
            "items": _object(
                "budget mark raised_at",
                budget={"type": "string"},
                mark={"type": "string"},
                raised_at={"type": "integer"},
                channel={"type": ["string", "null"]},
                taken_at={"type": ["integer", "null"]},
            ),
        },
    ),
    "Usage": _object(
        "from to zone by lines total cut",
        **{"from": {"type": "string"}, "to": {"type": "string"}, "zone": {"type": "string"}},
        by={"type": "array", "items": {"type": "string"}},
        lines={"type": "array", "items": _object("attempts cost_nano_usd cost_usd")},
        total=_object("attempts cost_nano_usd cost_usd"),
        cut={"type": "boolean"},
    ),
    "Cleared": _object("cleared", cleared={"type": "integer", "minimum": 0}),
    "Key": _KEY,
    "KeyMade": _object("key id ends_in status", key={"type": "string"}, **_KEY["properties"]),
    "Keys": _object("keys", keys={"type": "array", "items": {"$ref": REF.format(name="Key")}}),
    "Admin": _ADMIN,
    "AdminMade": _object("key name role", key={"type": "string"}, **_ADMIN["properties"]),
    "Admins": _object("admins", admins={"type": "array", "items": {"$ref": REF.format(name="Admin")}}),
    "User": _object("name tier blocked", **_GIVEN, tier={"type": "string"}, blocked={"type": "boolean"}),
    "Users": _object("users", users={"type": "array", "items": {"$ref": REF.format(name="User")}}),
    "Workspace": _object("name team", **_GIVEN, team={"type": "string"}),
    "Workspaces": _object("workspaces", workspaces={"type": "array", "items": {"$ref": REF.format(name="Workspace")}}),
    "Team": _object("name", **_GIVEN),
    "Teams": _object("teams", teams={"type": "array", "items": {"$ref": REF.format(name="Team")}}),
    "Removed": _object("revoked_keys", revoked_keys={"type": "integer", "minimum": 0}),
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
