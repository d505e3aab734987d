"""Decides whether a candidate may serve, and says why not.

Two kinds of questions, asked at two times. `refusal` is about what stands in the config (price ceiling, region, what the task
needs) and is asked once per Snapshot. `misfit` is about one request (kind, abilities, streaming, size) and is asked per
request; as `too_dear` is, since a long request may cost more. All return None for "may serve", else the reason, as a value.
What is not known about a model is not held against it, with two exceptions where a wrong guess costs money or breaks a
promise: an unknown price where a ceiling stands, an unknown region where regions are asked for.
Sources: FACTS §1 (the column "needs" mixes abilities with labels such as danish or writing), RELIABILITY T23, R11.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from turnout.core.catalog import Candidate, Price, Priority, SemanticRule
from turnout.core.pricing import price_of
from turnout.core.principal import EVERYTHING, NOBODY, Grant, Who

CHECKED = frozenset({"tools", "vision", "json"})
"""Needs that are looked for in Model.can. "stream" and "embeddings" are fields of a model; other words are labels."""

ESTIMATE_SLACK = 1.25
"""How far beyond a window an estimate must lie before the model is passed over. Four bytes to a token errs by -15 % to
+10 % (core/usage.py) and a vendor's own count by some more; a prompt that then does not fit comes back as a context
overflow and goes to a larger window, so passing over too much is the worse mistake."""

Code = Literal[
    "not_configured",
    "no_key",
    "price",
    "unpriced",
    "region",
    "kind",
    "tools",
    "vision",
    "json",
    "stream",
    "context",
    "resting",
    "cut",
    "format",
    "budget",
    "grant",
]


class Ask(msgspec.Struct):
    """What a request wants, as far as the plan needs to know it; no prompt.

    name: `model` as asked ("" or "auto": the task decides). task, user, session, key_id: "" if not said.
    needs: abilities (tools, vision, json). input_tokens: an estimate. tools: how many are declared.
    workspace: whose cache and whose share; "" is one too. priority: "" if the task is to say. timeout_s: how long the
    client waits, None if it does not say. by: Unix seconds by when a job must be done, which may wait until then; None
    for what is wanted now. cache_control: the request's header as it came.
    grant: what the asker is narrowed to. who: whom limits and budgets count it for; its task and model are not known yet.
    """

    name: str
    task: str = ""
    user: str = ""
    session: str = ""
    key_id: str = ""
    kind: Literal["chat", "embedding"] = "chat"
    stream: bool = False
    needs: frozenset[str] = frozenset()
    input_tokens: int = 0
    max_output_tokens: int | None = None
    tools: int = 0
    workspace: str = ""
    priority: Priority | Literal[""] = ""
    timeout_s: float | None = None
    by: float | None = None
    cache_control: str = ""
    grant: Grant = EVERYTHING
    who: Who = NOBODY


class Choice(msgspec.Struct, frozen=True):
    """One candidate in an order. arm: "control" or "candidate"."""

    candidate: Candidate
    arm: Literal["control", "candidate"]


class Filtered(msgspec.Struct, frozen=True):
    """A model that was passed over. code: for programs. detail: for a person, a whole clause."""

    model: str
    account: str
    code: Code
    detail: str


class Terms(msgspec.Struct, frozen=True):
    """What the config demands of every candidate of a target. place: where it says so, such as "tasks.email-draft".

    is_hedged, is_continued: what may be done for the answer; priority: of its wait (see catalog.Task).
    cache_s: how long answers are kept, 0 for not at all; semantic: whether one serves other wordings too.
    masks: kinds of personal data that leave as placeholders.
    """

    place: str = ""
    ceiling: Price | None = None
    regions: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    is_hedged: bool = False
    is_continued: bool = False
    priority: Priority = "medium"
    cache_s: float = 0.0
    semantic: SemanticRule | None = None
    masks: frozenset[str] = frozenset()


def describe_price(price: Price) -> str:
    """Return "free" or "$0.15 in, $0.6 out per million tokens" (1 nano-dollar a token is $0.001 a million). O(1).

    What some kind of token costs beyond that (written to a cache, reasoned) is told behind it: "$3 (up to $3.75) in, …".
    """
    if price.is_free:
        return "free"
    sides = ((price.input, price.dearest_input, "in"), (price.output, price.dearest_output, "out"))
    told = (
        f"${usual / 1000:g}{'' if usual == most else f' (up to ${most / 1000:g})'} {way}" for usual, most, way in sides
    )
    return ", ".join(told) + " per million tokens"


def is_within(price: Price, ceiling: Price, input_tokens: int = 0) -> bool:
    """Return whether no token of `price` costs more than `ceiling` allows for its side. O(thresholds).

    input_tokens: of the request, as estimated: a long one may cost more a token (Price.longer). Cached tokens and images are
    input, reasoning is output. FREE as a ceiling refuses anything that costs.
    """
    price = price_of(price, input_tokens)
    return price.dearest_input <= ceiling.input and price.dearest_output <= ceiling.output


def too_dear(candidate: Candidate, terms: Terms, input_tokens: int = 0) -> Filtered | None:
    """Return why a request with that much input costs more at `candidate` than `terms` allow, or None. Never raises."""
    price, ceiling = candidate.price, terms.ceiling
    if ceiling is None or (price is not None and is_within(price, ceiling, input_tokens)):
        return None
    model, account = candidate.model.name, candidate.account.name
    if price is None:
        return Filtered(model, account, "unpriced", f"has no known price, and {terms.place}.price_ceiling stands")
    detail = f"costs {_describe_for(price, input_tokens)}; the price ceiling is {describe_price(ceiling)}"
    return Filtered(model, account, "price", detail)


def _describe_for(price: Price, input_tokens: int) -> str:
    """A price, as it is for a request of that size."""
    found = price_of(price, input_tokens)
    long = "" if found is price else f" for a request as long as this (about {input_tokens:,} tokens)"
    return describe_price(found) + long


def refusal(candidate: Candidate, terms: Terms) -> Filtered | None:
    """Return why `candidate` can never serve under `terms`, or None. O(needs), never raises."""
    model, account = candidate.model, candidate.account
    if account.is_key_stored and account.api_key is None:
        return Filtered(
            model.name, account.name, "no_key", account.key_problem or "waits for its stored key to be read"
        )
    if (dear := too_dear(candidate, terms)) is not None:
        return dear
    region = account.region or model.region
    if terms.regions and region not in terms.regions:
        allowed = " or ".join(sorted(terms.regions))
        return Filtered(model.name, account.name, "region", f"is in {region or 'an unknown region'}, not in {allowed}")
    if "embeddings" in terms.needs and model.mode != "embedding":
        return Filtered(model.name, account.name, "kind", "makes no embeddings, which the task needs")
    return _inability(candidate, terms.needs, "which the task needs")


def misfit(candidate: Candidate, ask: Ask) -> Filtered | None:
    """Return why `candidate` cannot take this request, or None. O(needs), never raises."""
    model, account = candidate.model, candidate.account
    if model.mode != ask.kind:
        return Filtered(model.name, account.name, "kind", f"is a model for {model.mode}, the request is for {ask.kind}")
    if ask.stream and not model.streams:
        return Filtered(model.name, account.name, "stream", "cannot stream")
    unable = _inability(candidate, ask.needs, "which the request uses")
    if unable is not None or model.context_tokens is None:
        return unable
    # A request for more output than fits is clamped by many vendors and refused by some, so it takes half at most.
    window, output = model.context_tokens, ask.max_output_tokens or 0
    if ask.input_tokens > ESTIMATE_SLACK * (window - min(output, window // 2)):
        detail = f"holds {window} tokens, the request has about {ask.input_tokens}"
        return Filtered(model.name, account.name, "context", f"{detail} and wants {output} more" if output else detail)
    return None


def ungranted(candidate: Candidate, grant: Grant, names: frozenset[str], input_tokens: int = 0) -> Filtered | None:
    """Return why `grant` leaves no room for `candidate`, or None. names: all that lead to its model. input_tokens: of the
    request, as estimated. O(grant), never raises.
    """
    model, account = candidate.model, candidate.account
    region, ceiling = account.region or model.region, grant.price_ceiling
    detail = ""
    if grant.models and grant.models.isdisjoint(names):
        detail = f"is not granted to this key, which may ask {listed(grant.models)}"
    elif ceiling is not None and candidate.price is None:
        detail = "has no known price, and this key has a price ceiling"
    elif ceiling is not None and candidate.price is not None and not is_within(candidate.price, ceiling, input_tokens):
        told = _describe_for(candidate.price, input_tokens)
        detail = f"costs {told}; this key's price ceiling is {describe_price(ceiling)}"
    elif grant.regions and region not in grant.regions:
        detail = f"is in {region or 'an unknown region'}; this key may ask in {listed(grant.regions)}"
    return Filtered(model.name, account.name, "grant", detail) if detail else None


def listed(names: frozenset[str], most: int = 10) -> str:
    """Return names for a sentence, no more than `most` of them. O(names)."""
    shown = sorted(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _inability(candidate: Candidate, needs: frozenset[str], why: str) -> Filtered | None:
    can = candidate.model.can
    if can is None or not needs:
        return None
    for need in ("tools", "vision", "json"):
        if need in needs and need not in can:
            return Filtered(candidate.model.name, candidate.account.name, need, f"cannot do {need}, {why}")
    return None
