"""Says why nobody can serve a request, and what would help: to whoever runs the gateway all of it, to a virtual key its part.

Where a provider is, that its key is missing, and the commands and settings that help are for the operator. A virtual key is
told that a candidate is not ready and whom to ask; the whole stands in the trace (`turnout explain`), and the master key and
admins are told it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from turnout.core.eligible import Ask, Code, Filtered
from turnout.core.principal import is_virtual
from turnout.core.targets import Target
from turnout.errors import NoCandidate, PermissionDenied

ADVICE: Final[Mapping[Code, str]] = {
    "not_configured": "configure provider {account} (a key in the environment is enough for a known vendor)",
    "no_key": "give {account} its key with `turnout secrets set {account}`",
    "price": "remove or raise {place}.price_ceiling",
    "unpriced": "say what it costs in models.{model}.price",
    "region": "widen {place}.regions",
    "kind": "name a model of the kind that the request is for",
    "tools": "name a model that can do tools",
    "vision": "name a model that can do vision",
    "json": "name a model that can do json",
    "stream": "send the request without `stream`",
    "context": "shorten the prompt or name a model with a larger window",
    "resting": "ask again once it has rested",
    "cut": "raise max_retries, so that more may be tried",
    "format": "leave out what its vendor's format cannot say, or name another model",
    "budget": "ask for less (a shorter prompt, a smaller max_tokens) or raise the budget",
    "grant": "use a key that may ask more",
}
"""What helps, for every reason there is; {place} is where the config says it, such as tasks.email-draft."""

OPERATORS: Final[frozenset[Code]] = frozenset({"not_configured", "no_key", "price", "unpriced", "region", "cut"})
"""Reasons that only whoever runs the gateway can do something about."""

ASK_THEM: Final = "ask whoever runs this gateway"

NOT_READY: Final = "is not ready to be asked"
"""What a virtual key is told of a candidate whose key is missing: the reason names addresses and commands."""


def nobody(target: Target, filtered: Sequence[Filtered], ask: Ask) -> NoCandidate | PermissionDenied:
    """Return an error that names each and why, and what can be done about it. O(filtered), never raises."""
    if not filtered:
        return NoCandidate(f"{target.label} has no models: give it some")
    whole = _told(target, filtered, is_outside=False)
    message = _told(target, filtered, is_outside=True) if is_virtual(ask.key_id) else whole
    error: NoCandidate | PermissionDenied
    if any(one.code == "grant" for one in filtered):
        error = denied(message, "task" if target.task else "model", target)
    else:
        error = NoCandidate(message)
    error.kept = whole
    return error


def denied(message: str, param: str, target: Target) -> PermissionDenied:
    """Return the error of somebody who may not ask for `target`. param: the request field at fault. O(1)."""
    error = PermissionDenied(message, param=param)
    error.asked = target.label
    return error


def _told(target: Target, filtered: Sequence[Filtered], *, is_outside: bool) -> str:
    reasons = "; ".join(f"{one.model} ({one.account}) {_why(one, is_outside=is_outside)}" for one in filtered)
    advice = dict.fromkeys(
        ASK_THEM
        if is_outside and one.code in OPERATORS
        else ADVICE[one.code].format(model=one.model, account=one.account, place=target.terms.place)
        for one in filtered
    )
    return f"nobody can serve {target.label}: {reasons}. What helps: {', or '.join(advice)}."


def _why(one: Filtered, *, is_outside: bool) -> str:
    return NOT_READY if is_outside and one.code == "no_key" else one.detail
