"""Lists what may be asked for: models, routes, aliases and tasks, in the shape of OpenAI's `GET /v1/models`.

What Turnout knows besides stands under `turnout`, where OpenAI's SDKs pass it on unread. A key with a grant is shown what it
may ask for, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from turnout.core.catalog import Model
from turnout.core.eligible import ungranted
from turnout.core.principal import EVERYTHING, Grant
from turnout.core.targets import Index


def _entry(name: str, owned_by: str, **told: object) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owned_by, "turnout": told}


def _entries(index: Index, grant: Grant) -> Iterator[dict[str, object]]:
    snapshot = index.snapshot
    granted = {model.name for model in snapshot.models.values() if _is_granted(index, model, grant)}
    for model in snapshot.models.values():
        if model.name not in granted or grant.tasks:
            continue
        yield _entry(
            model.name,
            model.provider,
            kind="model",
            mode=model.mode,
            configured=(model.name, model.provider) in snapshot.candidates,
            context=model.context_tokens,
            can=sorted(model.can) if model.can is not None else None,
            price=_price(model),
        )
    for route in snapshot.routes.values():
        models = [name for name in route.models if name in granted]
        if models and not grant.tasks:
            yield _entry(route.name, "turnout", kind="route", policy=route.policy, models=models)
    tasks = {name: task for name, task in snapshot.tasks.items() if not grant.tasks or name in grant.tasks}
    left = {name: [one for one in task.models if grant == EVERYTHING or one in granted] for name, task in tasks.items()}
    for name, target in snapshot.aliases.items():
        if grant == EVERYTHING or _is_reachable(index, index.finals.get(name, target), granted, left, grant):
            yield _entry(name, "turnout", kind="alias", target=target)
    for name, models in left.items():
        if models:
            yield _entry(f"task:{name}", "turnout", kind="task", models=models, because=tasks[name].because)


def _is_granted(index: Index, model: Model, grant: Grant) -> bool:
    candidate = index.snapshot.candidates.get((model.name, model.provider))
    if candidate is None:  # not configured; it is listed so for whoever may know
        return not grant.models or not grant.models.isdisjoint(index.leading[model.name])
    return ungranted(candidate, grant, index.leading[model.name]) is None


def _is_reachable(index: Index, final: str, granted: set[str], left: Mapping[str, Sequence[str]], grant: Grant) -> bool:
    """Whether what an alias leads to is shown. left: what is of each task's models."""
    if final not in index.snapshot.models and final not in index.snapshot.routes:
        return bool(left.get(final.removeprefix("task:")))
    route = index.snapshot.routes.get(final)
    return not grant.tasks and (final in granted or (route is not None and not granted.isdisjoint(route.models)))


def _price(model: Model) -> object:
    """USD per million tokens, "free", or None when unknown."""
    if model.price is None:
        return None
    if model.price.is_free:
        return "free"
    return {"input": model.price.input / 1000, "output": model.price.output / 1000}


def list_models(index: Index, grant: Grant = EVERYTHING) -> bytes:
    """Return the JSON body. grant: what the asker is narrowed to. O(names)."""
    return msgspec.json.encode({"object": "list", "data": list(_entries(index, grant))})
