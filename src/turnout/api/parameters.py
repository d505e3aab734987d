"""Describes what may stand in a path, in a query and in a request's headers, and which headers an answer has.

For api/openapi.py, which says where each belongs. An empty value in a query counts as not said (api/desk.py).
Sources: OpenAPI 3.1.1, parameter and header objects; OpenAI's documentation for the names of the headers about limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from turnout.api import audit, budgets
from turnout.api.desk import LARGEST
from turnout.api.patterns import DAY, DAYS_AGO, NAME
from turnout.api.schemas import Json
from turnout.core.books import sessions
from turnout.core.books.people import LONGEST_NAME
from turnout.core.books.usage import BY, MOST_DAYS

_TEXT: Final[Json] = {"type": "string"}
_NUMBER: Final[Json] = {"type": "integer", "minimum": 0, "maximum": LARGEST}
_MOST: Final[Json] = {"type": "integer", "minimum": 1, "maximum": budgets.MOST, "default": budgets.DEFAULT}
_DAY: Final[Json] = {"type": "string", "format": "date", "pattern": DAY}

PERSON: Final[Json] = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": NAME}
"""A part of a path that names a user, a workspace, a team or an admin."""

QUERY: Final[Mapping[str, Json]] = {
    "most": {"schema": _MOST, "description": "How many lines at most."},
    "revoked": {"schema": {"type": "boolean", "default": False}, "description": "Those that were revoked too."},
    "by": {
        "schema": {"type": "array", "items": {"enum": BY}, "default": ["day"]},
        "style": "form",
        "explode": False,
        "description": "What is told apart.",
    },
    "from": {
        "schema": {"anyOf": [_DAY, {"type": "string", "pattern": DAYS_AGO}]},
        "description": f"The first day, or how many days: `7d`. Not after the last; {MOST_DAYS:,} days at most, {sessions.MOST_DAYS}"
        " where sessions are told.",
    },
    "to": {"schema": _DAY, "description": "The last day, today if it is not said."},
    "zone": {"schema": _TEXT, "description": "Whose days they are: of the tz database, UTC if it is not said."},
    "since_ms": {"schema": _NUMBER, "description": "Unix milliseconds."},
    "count": {"schema": {**_NUMBER, "default": 100}, "description": f"How many rows; {audit.MOST:,} are told at most."},
    "below": {"schema": _NUMBER, "description": "Only rows before the one of this number, to read on."},
}
"""By name what a query may say; a name that is not here is a text that something must be equal to."""


def query(name: str, *, may_be_empty: bool = False) -> Json:
    """Return a parameter behind the path. may_be_empty: the empty text is a value like others."""
    told = QUERY.get(name, {"schema": _TEXT})
    return {"name": name, "in": "query", **told, **({} if may_be_empty else {"allowEmptyValue": True})}


# ── headers of requests ──

_LABEL: Final[Json] = {"type": "string", "maxLength": 256}
ASKED: Final[Mapping[str, Json]] = {
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

# ── headers of answers ──

_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_USD: Final[Json] = {"type": "string", "pattern": r"^[0-9]+\.[0-9]{2,9}$"}
_SPAN: Final[Json] = {"type": "string", "pattern": r"^([0-9]+m)?[0-9]+(\.[0-9]{1,3})?s$"}


def _header(description: str, schema: Json = _TEXT) -> Json:
    return {"description": description, "schema": schema}


_LIMITS: Final[Mapping[str, Json]] = {
    f"x-ratelimit-{what}-{of}": _header(f"{meaning} {of}.", schema)
    for of in ("requests", "tokens")
    for what, meaning, schema in (
        ("limit", "The limit with the smallest part left, of", _COUNT),
        ("remaining", "How much of it is left, of", _COUNT),
        ("reset", "When all of it will be there again, such as 1m0.5s, of", _SPAN),
    )
}
"""Where a limit holds for the caller: as gateway/limiter.py tells them."""

_OF_AN_ANSWER: Final[Mapping[str, Json]] = {
    "x-turnout-model": _header("Who answered."),
    "x-turnout-provider": _header("Whose account was asked."),
    "x-turnout-arm": _header("`control`, or `candidate` in a rollout.", {"enum": ["control", "candidate"]}),
    "x-turnout-attempts": _header("Which try this was; 0 if nobody was asked.", _COUNT),
    "x-turnout-tried": _header("Everybody who was tried, in order, if more than one."),
    "x-turnout-task": _header("The task, if there is one."),
    "x-turnout-cost": _header("US dollars of this attempt, as far as they are known when the head goes out.", _USD),
    "x-turnout-budget": _header("The budget with the least left, where one binds."),
    "x-turnout-budget-limit": _header("Its dollars.", _USD),
    "x-turnout-budget-remaining": _header("How many of them are left.", _USD),
    "x-turnout-budget-reset": _header("When its next period begins: Unix seconds.", _COUNT),
    "x-turnout-queue-ms": _header("How long it waited for its turn, if it did.", _COUNT),
    "x-turnout-cache": _header("Where the task has a cache.", {"enum": ["hit", "coalesced", "miss", "bypass"]}),
    "x-turnout-masked": _header("How many values of each kind the model saw as placeholders."),
    "x-turnout-similarity": _header("How near a question in other words is; 1 is the same.", {"type": "number"}),
    "age": _header("How many seconds ago the answer was given, of one that was given before.", _COUNT),
    "idempotent-replayed": _header("A repeat of an Idempotency-Key.", {"const": "true"}),
}
_WAIT: Final[Mapping[str, Json]] = {
    "retry-after": {**_header("Seconds until a new request makes sense.", {**_COUNT, "minimum": 1}), "required": True},
    "retry-after-ms": _header("The same in milliseconds.", {**_COUNT, "minimum": 1}),
}

ANSWERED: Final[Mapping[str, Json]] = {
    "x-request-id": _header("The name to give to `turnout explain`."),
    **_OF_AN_ANSWER,
    **_LIMITS,
    **_WAIT,
    "x-should-retry": _header("Tells SDKs not to repeat by themselves.", {"const": "false"}),
    "www-authenticate": {**_header("Which scheme is asked for.", {"const": "Bearer"}), "required": True},
    "allow": _header("The methods that the path takes."),
}
"""Every header of ours that an answer may have, by its name."""


def answered(status: int, *, asks: bool) -> tuple[str, ...]:
    """Return the names of the headers that answers of this status have. asks: of the data plane, where a model is asked."""
    names: tuple[str, ...] = ("x-request-id",) if asks else ()
    if status == 200 and asks:
        names += (*_OF_AN_ANSWER, *_LIMITS)
    if status == 401:
        names += ("www-authenticate",)
    if status in {429, 503}:
        names += tuple(_WAIT)
    if status == 429:
        names += tuple(_LIMITS)
    if asks and status in {429, 502, 503, 504}:
        names += ("x-should-retry",)
    return names
