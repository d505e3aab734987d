"""Lists what may be asked for: models, routes, aliases and tasks, in the shape of OpenAI's `GET /v1/models`.

What Turnout knows besides stands under `turnout`, where OpenAI's SDKs pass it on unread.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from turnout.core.catalog import Model, Snapshot


def _entry(name: str, owned_by: str, **told: object) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owned_by, "turnout": told}


def _entries(snapshot: Snapshot) -> Iterator[dict[str, object]]:
    for model in snapshot.models.values():
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
        yield _entry(route.name, "turnout", kind="route", policy=route.policy, models=route.models)
    for name, target in snapshot.aliases.items():
        yield _entry(name, "turnout", kind="alias", target=target)
    for task in snapshot.tasks.values():
        yield _entry(f"task:{task.name}", "turnout", kind="task", models=task.models, because=task.because)


def _price(model: Model) -> object:
    """USD per million tokens, "free", or None when unknown."""
    if model.price is None:
        return None
    if model.price.is_free:
        return "free"
    return {"input": model.price.input / 1000, "output": model.price.output / 1000}


def list_models(snapshot: Snapshot) -> bytes:
    """Return the JSON body. O(names)."""
    return msgspec.json.encode({"object": "list", "data": list(_entries(snapshot))})
