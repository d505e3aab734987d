"""What GET /v1/models says."""

import json

import msgspec
import pytest

from turnout.api.models import list_models
from turnout.core.catalog import FREE, Account, Candidate, Model, Price, Route, Server, Snapshot, Task
from turnout.core.principal import Grant
from turnout.core.targets import Index

ACCOUNT = Account("openrouter", "compatible")
GLM = Model("glm", "openrouter", "z/glm:free", FREE, 128_000, can=frozenset({"tools", "json"}))
PAID = Model("gpt", "openai", "gpt", Price(150, 600))
ODD = Model("odd", "openai", "odd")
SNAPSHOT = Snapshot(
    "r1",
    Server(),
    {"openrouter": ACCOUNT},
    {"glm": GLM, "gpt": PAID, "odd": ODD},
    {"prod": Route("prod", ("glm", "gpt"))},
    {"chat": Task("chat", ("glm",), because="good Danish")},
    {"best": "prod"},
    {},
    {("glm", "openrouter"): Candidate("glm@openrouter", GLM, ACCOUNT, GLM.id, FREE)},
)


def test_models_routes_aliases_and_tasks_are_listed_in_openais_shape():
    """With what we know besides under `turnout`."""
    body = json.loads(list_models(Index.of(SNAPSHOT)))
    assert body["object"] == "list"
    by_id = {entry["id"]: entry for entry in body["data"]}
    assert list(by_id) == ["glm", "gpt", "odd", "prod", "best", "task:chat"]
    assert all(set(entry) == {"id", "object", "created", "owned_by", "turnout"} for entry in body["data"])
    assert by_id["glm"]["turnout"] == {
        "kind": "model",
        "mode": "chat",
        "configured": True,
        "context": 128_000,
        "can": ["json", "tools"],
        "price": "free",
    }
    assert by_id["gpt"]["turnout"]["price"] == {"input": 0.15, "output": 0.6}
    assert (by_id["odd"]["turnout"]["price"], by_id["odd"]["turnout"]["configured"]) == (None, False)
    assert by_id["task:chat"]["turnout"]["because"] == "good Danish"
    assert by_id["best"]["turnout"]["target"] == "prod"


@pytest.mark.parametrize(
    ("grant", "shown"),
    [
        (Grant(models=frozenset({"glm"})), ["glm", "prod", "best", "task:chat"]),
        (Grant(models=frozenset({"gpt"})), ["gpt", "prod", "best"]),
        (Grant(models=frozenset({"best"})), ["glm", "gpt", "prod", "best", "task:chat"]),
        (Grant(models=frozenset({"openai/odd"})), ["odd"]),
        (Grant(price_ceiling=FREE), ["glm", "gpt", "odd", "prod", "best", "task:chat"]),
        (Grant(regions=frozenset({"eu"})), ["gpt", "odd", "prod", "best"]),
        (Grant(tasks=frozenset({"chat"})), ["writing", "task:chat"]),
        (Grant(tasks=frozenset({"other"})), []),
    ],
)
def test_a_key_is_shown_what_it_may_ask_for(grant, shown):
    """Models by any name that leads to them; a route and a task with those of their models that are left."""
    over = msgspec.structs.replace(SNAPSHOT, aliases={"best": "prod", "writing": "task:chat"})
    names = [entry["id"] for entry in json.loads(list_models(Index.of(over), grant))["data"]]
    assert shown == [name for name in names if name != "writing" or grant.tasks]


def test_openais_sdk_can_read_an_entry():
    """Its Model type takes it."""
    from openai.types import Model as SdkModel

    entry = json.loads(list_models(Index.of(SNAPSHOT)))["data"][0]
    assert SdkModel.model_validate(entry).id == "glm"
    assert msgspec.json.decode(list_models(Index.of(SNAPSHOT)))["data"][0] == entry
