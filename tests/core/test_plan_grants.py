"""core/plan.py: whom a key's grant leaves to serve it."""

from __future__ import annotations

import msgspec
import pytest

from tests.core.worlds import CHEAP, decided, filtered, keys, model, snapshot
from turnout.core.catalog import FREE, Route, Task
from turnout.core.eligible import Ask
from turnout.core.plan import larger
from turnout.core.principal import Grant
from turnout.core.targets import Index
from turnout.errors import PermissionDenied

TASK = Task("email-draft", ("glm", "gpt-oss", "gemma"), because="professional writing", price_ceiling=FREE)
MODELS = [model("glm"), model("gpt-oss"), model("gemma")]


def granting(*models_: str, **more) -> Grant:
    """A grant of these models."""
    return Grant(models=frozenset(models_), **more)


def test_a_task_is_served_by_those_of_its_models_that_are_granted():
    """The others are passed over, with the code "grant"."""
    over = snapshot(MODELS, tasks=[TASK])
    made = decided(Ask("", task="email-draft", grant=granting("gemma", "gpt-oss")), over)
    assert ["gpt-oss@openrouter", "gemma@openrouter"] == keys(made)
    assert [("glm", "grant")] == filtered(made)


def test_a_model_that_is_named_and_not_granted_is_refused_with_those_that_are():
    """Never silently another model, though its fallbacks are granted."""
    over = snapshot([model("glm", fallbacks=("gemma",)), model("gemma")])
    refused = decided(Ask("glm", grant=granting("gemma")), over)
    assert isinstance(refused, PermissionDenied)
    assert "glm (openrouter) is not granted to this key, which may ask gemma" in refused.message
    assert ("model", "use a key that may ask more" in refused.message) == (refused.param, True)


def test_a_fallback_is_a_model_too():
    """One that is not granted is passed over."""
    over = snapshot([model("glm", fallbacks=("gemma", "kimi")), model("gemma"), model("kimi")])
    made = decided(Ask("glm", grant=granting("glm", "kimi")), over)
    assert (["glm@openrouter", "kimi@openrouter"], [("gemma", "grant")]) == (keys(made), filtered(made))


@pytest.mark.parametrize("name", ["fast", "quick", "glm", "openrouter/vendor/glm"])
def test_a_grant_holds_for_what_its_names_lead_to(name):
    """A route, an alias, ACCOUNT/ID: whichever of them is granted, the model may be asked by any of them."""
    over = snapshot(MODELS, routes=[Route("fast", ("glm",))], aliases={"quick": "fast"})
    for granted in ("fast", "quick", "glm", "openrouter/vendor/glm"):
        assert ["glm@openrouter"] == keys(decided(Ask(name, grant=granting(granted)), over))


def test_an_id_that_is_not_configured_is_granted_by_its_own_name_or_its_alias():
    """ACCOUNT/ID."""
    over = snapshot(MODELS, aliases={"direct": "openrouter/vendor/new:free"})
    for name, granted in (
        ("openrouter/vendor/new:free", "openrouter/vendor/new:free"),
        ("direct", "direct"),
        ("direct", "openrouter/vendor/new:free"),
    ):
        assert ["openrouter/vendor/new:free@openrouter"] == keys(decided(Ask(name, grant=granting(granted)), over))
    assert isinstance(decided(Ask("openrouter/vendor/new:free", grant=granting("glm")), over), PermissionDenied)


def test_a_key_for_tasks_asks_for_these_alone():
    """A model without a task is none of them; a model with one of them is."""
    over = snapshot(MODELS, tasks=[TASK, Task("chat", ("glm",))])
    grant = Grant(tasks=frozenset({"email-draft"}))
    assert 3 == len(keys(decided(Ask("", task="email-draft", grant=grant), over)))
    assert "glm@openrouter" == keys(decided(Ask("glm", task="email-draft", grant=grant), over))[0]
    other = decided(Ask("", task="chat", grant=grant), over)
    none = decided(Ask("glm", grant=grant), over)
    assert "this key may not ask for task chat: its tasks are email-draft." == other.message
    assert "this key asks for tasks only: its tasks are email-draft." == none.message
    assert [PermissionDenied] * 2 == [type(other), type(none)]


def test_nobody_left_because_of_the_grant_is_no_matter_for_another_try():
    """403, not 503, which SDKs repeat; and what else was in the way is told as well."""
    models = [model("haiku", "anthropic", CHEAP), model("glm")]
    over = snapshot(models, tasks=[Task("t", ("haiku", "glm"), price_ceiling=FREE)])
    refused = decided(Ask("", task="t", grant=Grant(regions=frozenset({"eu"}))), over)
    assert isinstance(refused, PermissionDenied)
    assert "remove or raise tasks.t.price_ceiling, or use a key that may ask more" in refused.message
    assert "task" == refused.param


def test_a_larger_window_must_be_granted_too():
    """Before an attempt and after one."""
    models = [
        model("small", context_tokens=1000, context_fallbacks=("large", "huge")),
        model("large", context_tokens=10_000),
        model("huge", context_tokens=90_000),
    ]
    over = snapshot(models)
    ask = Ask("small", input_tokens=5000, grant=granting("small", "huge"))
    made = decided(ask, over)
    assert (["huge@openrouter"], ("large", "grant")) == (keys(made), filtered(made)[-1])
    short = msgspec.structs.replace(ask, input_tokens=10)
    first = decided(short, over)
    after = larger(first, first.choices[0], first.choices[:1], short, Index.of(over))
    assert ["huge@openrouter"] == [choice.candidate.key for choice in after]
