"""Builds the routes, the tasks and the aliases: what a request may name, and which models then may serve.

`models` as a table gives weights and means the policy `weighted`; as a list it gives an order, which a task keeps
(`priority`) and a route hands to `least_busy`. All models of one list are of one mode, chat or embedding.
An alias may name another alias; what is kept is where the chain ends. A chain that comes back to itself is a problem.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from turnout.config import schema
from turnout.config.draft import Defined, Draft
from turnout.config.models import price
from turnout.config.problems import Path, suggestion
from turnout.config.semantic import semantic
from turnout.core.catalog import Model, Route, Task

_WEIGHTED = "weighted"


def routes(draft: Draft, models: Mapping[str, Model], policies: Collection[str]) -> dict[str, Route]:
    """Every route by name."""
    built = {}
    for name, defined in draft.routes.items():
        table, path = defined.table, ("routes", name)
        names, weights = _models(draft, defined, path, models)
        built[name] = Route(
            name=name,
            models=names,
            policy=_policy(draft, defined, path, "least_busy", policies),
            weights=weights,
            price_ceiling=price(table.price_ceiling),
            regions=frozenset(one for one in table.regions or () if one),
            max_retries=table.max_retries,
        )
    return built


def tasks(draft: Draft, models: Mapping[str, Model], policies: Collection[str]) -> dict[str, Task]:
    """Every task by name."""
    built = {}
    for name, defined in draft.tasks.items():
        table, path = defined.table, ("tasks", name)
        names, weights = _models(draft, defined, path, models)
        built[name] = Task(
            name=name,
            models=names,
            because=table.because or "",
            price_ceiling=price(table.price_ceiling),
            needs=frozenset(one for one in table.needs or () if one),
            regions=frozenset(one for one in table.regions or () if one),
            policy=_policy(draft, defined, path, "priority", policies),
            weights=weights,
            max_retries=table.max_retries,
            total_s=table.timeout,
            is_hedged=bool(table.hedge),
            is_continued=table.continuation == "text",
            priority=table.priority or "medium",
            cache_s=table.cache,
            semantic=semantic(draft, defined, path, models),
            masks=_masks(draft, defined),
        )
    return built


def _masks(draft: Draft, defined: Defined[schema.TaskTable]) -> frozenset[str]:
    """What leaves as a placeholder."""
    written = defined.table.mask
    if written is None or isinstance(written, str):
        return frozenset([written] if written else [])
    if not written:
        draft.wrong(("tasks", defined.name, "mask"), "is empty, name kinds, say all, or leave it out")
    return frozenset(one for one in written if one)


def aliases(draft: Draft) -> dict[str, str]:
    """Every alias by name, with the model, route or task at the end of its chain."""
    standing = draft.aliases
    built = {}
    for name, defined in standing.items():
        seen, at = [name], defined.table
        while at in standing and at not in seen:
            seen.append(at)
            at = standing[at].table
        if at in seen:
            what = f"leads back to itself ({' → '.join([*seen, at])}), a cycle; name a model, route or task"
            draft.wrong(("aliases", name), what, document=defined.document)
        elif at not in draft.kinds:
            if defined.table == at:
                what = f"unknown name '{at}', {suggestion(at, draft.kinds, 'known names')}"
                draft.wrong(("aliases", name), what, document=defined.document)
        else:
            built[name] = at
    return built


def _models(
    draft: Draft,
    defined: Defined[schema.RouteTable] | Defined[schema.TaskTable],
    path: Path,
    models: Mapping[str, Model],
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The models in order, and their weights if they were given."""
    written = defined.table.models
    if written is None:
        return (), ()
    at: Path = (*path, "models")
    if not written:
        if not draft.has_problem(at):
            draft.wrong(at, "is empty, name at least one model", document=defined.document)
        return (), ()
    names = draft.model_names(written, at, defined.document, defined.name)
    modes = {models[name].mode for name in names if name in models}
    if len(modes) > 1:
        draft.wrong(
            at, "chat and embedding models stand together, a request is for one of them", document=defined.document
        )
    if not isinstance(written, dict):
        policy = defined.table.policy
        return tuple(names), (1.0,) * len(names) if policy == _WEIGHTED else ()
    if sum(written.values()) <= 0 and not draft.has_problem(at):
        draft.wrong(at, "all weights are 0, give at least one model a share", document=defined.document)
    return tuple(names), tuple(written[name] for name in names)


def _policy(
    draft: Draft,
    defined: Defined[schema.RouteTable] | Defined[schema.TaskTable],
    path: Path,
    usual: str,
    policies: Collection[str],
) -> str:
    """The policy's name: as said, else by how the models were given."""
    policy, is_weighed = defined.table.policy, isinstance(defined.table.models, dict)
    if policy is None:
        return _WEIGHTED if is_weighed else usual
    at: Path = (*path, "policy")
    if policy not in policies:
        draft.wrong(
            at,
            f"unknown policy '{policy}', {suggestion(policy, policies, 'known policies')}",
            document=defined.document,
        )
    elif is_weighed and policy != _WEIGHTED:
        draft.wrong(at, f"'{policy}' does not use weights, list the models or say weighted", document=defined.document)
    return policy
