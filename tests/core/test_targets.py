"""core/targets.py: what a name stands for, prepared once per Snapshot."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.core.worlds import CHEAP, model, snapshot
from turnout.core.catalog import FREE, Candidate, Model, Price, Quota, Rollout, Route, Snapshot, Task
from turnout.core.eligible import Ask, Choice, Filtered, Terms
from turnout.core.targets import UNBOUNDED, Index, Line, Target, find, make_line, stand_ins
from turnout.errors import GatewayError, InvalidRequest, ModelNotFound


def world(**more) -> Snapshot:
    """Three free models and one that costs, a task, a route, aliases of each kind."""
    parts = {
        "tasks": [Task("email-draft", ("glm", "haiku"), because="professional writing", price_ceiling=FREE)],
        "routes": [Route("production-chat", ("haiku", "glm"), "weighted", (0.6, 0.4))],
        "aliases": {
            "gpt-4": "production-chat",
            "g": "glm",
            "gg": "g",
            "drafts": "email-draft",
            "said": "task:email-draft",
            "direct": "openrouter/vendor/new:free",
        },
    } | more
    return snapshot([model("glm"), model("gemma"), model("kimi"), model("haiku", "anthropic", CHEAP)], **parts)


def found(ask: Ask, over: Snapshot | None = None) -> Target:
    """The Target that `ask` names."""
    target = find(Index.of(over or world()), ask)
    assert isinstance(target, Target), target
    return target


def refused(ask: Ask, over: Snapshot | None = None) -> GatewayError:
    """The error that `ask` is answered with."""
    error = find(Index.of(over or world()), ask)
    assert isinstance(error, GatewayError), error
    return error


def names(line: Line | None) -> list[str]:
    """The candidates of a line."""
    assert line is not None
    return [choice.candidate.key for choice in line.choices]


# ── names ──


@pytest.mark.parametrize(
    ("name", "task", "label"),
    [
        ("task:email-draft", "", "task email-draft"),
        ("email-draft", "", "task email-draft"),
        ("production-chat", "", "route production-chat"),
        ("gpt-4", "", "route production-chat"),
        ("glm", "", "model glm"),
        ("gg", "", "model glm"),
        ("drafts", "", "task email-draft"),
        ("said", "", "task email-draft"),
        ("openrouter/vendor/glm", "", "model glm"),
        ("openrouter/vendor/new:free", "", "model openrouter/vendor/new:free"),
        ("direct", "", "model openrouter/vendor/new:free"),
        ("", "email-draft", "task email-draft"),
        ("", "task:email-draft", "task email-draft"),
        ("", "drafts", "task email-draft"),
        ("", "said", "task email-draft"),
        ("auto", "email-draft", "task email-draft"),
        ("gpt-4", "email-draft", "task email-draft"),
        ("task:unknown", "email-draft", "task email-draft"),
        ("glm", "email-draft", "model glm"),
    ],
)
def test_every_spelling_of_a_name(name, task, label):
    """Models, routes, aliases (of aliases), tasks, task:NAME, ACCOUNT/ID, and the task said apart."""
    assert label == found(Ask(name, task=task)).label


def test_a_bare_name_means_a_model_then_a_route_then_an_alias_then_a_task():
    """A task has a spelling of its own, so it gives way."""
    tasks = [Task(name, ("glm",)) for name in ("m", "r", "a", "t")]
    routes = [Route(name, ("glm",)) for name in ("m", "r")]
    aliases = {"m": "glm", "r": "glm", "a": "glm"}
    over = snapshot([model("glm"), model("m")], tasks=tasks, routes=routes, aliases=aliases)
    assert [found(Ask(name), over).label for name in "mrat"] == ["model m", "route r", "model glm", "task t"]
    assert [found(Ask("task:m"), over).label] == ["task m"]


def test_auto_is_a_name_like_any_other_where_it_is_configured():
    """Only where nothing is called auto does it mean: let the task choose."""
    assert found(Ask("auto", task="t"), snapshot([model("auto")], tasks=[Task("t", ("auto",))])).label == "model auto"


def test_aliases_in_a_circle_end():
    """Config refuses them; here they only must not hang."""
    assert isinstance(refused(Ask("x"), snapshot([model("glm")], aliases={"x": "y", "y": "x"})), ModelNotFound)


def test_neither_model_nor_task_is_an_invalid_request():
    """And says where either can be said."""
    for name in ("", "auto"):
        error = refused(Ask(name))
        assert isinstance(error, InvalidRequest)
        assert error.param == "model"
        assert "x-turnout-task" in error.message


def test_an_unknown_model_lists_the_nearest():
    """Aliases and tasks are near, too; a name of any length is answered in few words."""
    error = refused(Ask("glmm"))
    assert isinstance(error, ModelNotFound)
    assert "there is no model, route, alias or task 'glmm'. Did you mean glm or gemma?" in error.message
    assert "/v1/models" in error.message
    assert len(refused(Ask("x" * 100_000)).message) < 300


def test_an_unknown_model_beside_a_task_is_not_swallowed():
    """Whoever misspells the model that they force gets an error, not another model."""
    error = refused(Ask("glmm", task="email-draft"))
    assert 'Send "auto" as `model` to let the task choose.' in error.message


@pytest.mark.parametrize("name", ["nobody/x", "openrouter/", "openrouter"])
def test_an_account_must_exist_and_an_id_be_given(name):
    """Request data never makes a destination."""
    assert isinstance(refused(Ask(name)), ModelNotFound)


def test_an_unknown_task_lists_all():
    """FACTS §1: an unknown task is an error that lists the known ones."""
    error = refused(Ask("", task="email-drfat"))
    assert isinstance(error, ModelNotFound)
    assert (error.param, "Did you mean email-draft? The tasks are: email-draft." in error.message) == ("task", True)
    assert "The tasks are: none." in refused(Ask("task:qqq"), world(tasks=[])).message


# ── targets ──


def test_a_task_carries_its_own_terms():
    """What the config says of the task decides who may serve."""
    over = world(tasks=[Task("t", ("glm",), price_ceiling=CHEAP, max_retries=5, total_s=9.0, policy="lowest_cost")])
    target = found(Ask("task:t"), over)
    assert (5, 9.0, "lowest_cost", Terms("tasks.t", CHEAP)) == (
        target.max_retries,
        target.total_s,
        target.policy,
        target.terms,
    )


def test_what_the_config_refuses_is_set_aside_with_the_reason():
    """A price beyond the ceiling, a model that is not there, an account that does not offer it."""
    task = Task("t", ("glm", "haiku", "nothing", "orphan"), price_ceiling=FREE)
    over = snapshot([model("glm"), model("haiku", "anthropic", CHEAP), model("orphan", "missing")], tasks=[task])
    line = found(Ask("task:t"), over).control
    assert names(line) == ["glm@openrouter"]
    assert [(one.model, one.code) for one in line.filtered] == [
        ("haiku", "price"),
        ("nothing", "not_configured"),
        ("orphan", "not_configured"),
    ]
    assert line.filtered[1].detail == "is not among the models: add models.nothing"


def test_weights_stay_with_their_models():
    """Who is set aside takes the weight along."""
    route = Route("r", ("nothing", "glm", "gemma"), "weighted", (0.5, 0.3, 0.2), max_retries=0)
    target = found(Ask("r"), world(routes=[route]))
    assert (target.control.weights, target.max_retries) == ((0.3, 0.2), 0)


def test_a_named_model_is_followed_by_its_own_fallbacks():
    """Explicit lists are explicit: they may cost."""
    over = snapshot(
        [model("glm", fallbacks=("haiku",)), model("haiku", price=CHEAP), model("x")], default_fallbacks=("x",)
    )
    target = found(Ask("glm"), over)
    assert (names(target.control), target.model) == (["glm@openrouter", "haiku@openrouter"], "glm")


def test_anything_else_falls_back_to_what_is_free():
    """A fallback that nobody asked for never costs, and is never the model itself."""
    models = [model("glm"), model("haiku", price=CHEAP), model("mystery", price=None), model("e", mode="embedding")]
    over = snapshot(
        [*models, model("m", price=CHEAP)], default_fallbacks=("haiku", "mystery", "e", "nothing", "glm", "m")
    )
    assert names(found(Ask("m"), over).control) == ["m@openrouter", "glm@openrouter"]
    assert names(found(Ask("glm"), over).control) == ["glm@openrouter"]


def test_an_embedding_model_has_no_fallback_that_nobody_listed():
    """Vectors of another model are no substitute."""
    over = snapshot([model("glm"), model("e", mode="embedding")], default_fallbacks=("glm",))
    assert names(found(Ask("e"), over).control) == ["e@openrouter"]


def test_a_forced_model_stands_under_the_task_s_terms():
    """The task still gives its label, ceiling, retries and time; a model that it forbids brings nobody else in."""
    task = Task("t", ("glm",), price_ceiling=FREE, max_retries=1, total_s=9.0)
    over = snapshot([model("glm"), model("haiku", price=CHEAP)], tasks=[task], default_fallbacks=("glm",))
    target = found(Ask("haiku", task="t"), over)
    assert (target.label, target.task, target.max_retries, target.total_s) == ("model haiku", "t", 1, 9.0)
    assert (names(target.control), [(one.model, one.code) for one in target.control.filtered]) == (
        [],
        [("haiku", "price")],
    )


@pytest.mark.parametrize(("name", "price"), [("openrouter/z/new:free", FREE), ("openrouter/z/new", None)])
def test_a_name_with_its_account_is_taken_as_it_is(name, price):
    """Free if the vendor's name says so, else of unknown price; asked for by the id, under a key of its own."""
    candidate = found(Ask(name, kind="embedding")).control.candidates[0]
    assert (f"{name}@openrouter", name.removeprefix("openrouter/"), price, "embedding") == (
        candidate.key,
        candidate.id,
        candidate.price,
        candidate.model.mode,
    )


def test_a_name_with_its_account_may_be_forced_on_a_task():
    """Known by its id or not."""
    assert found(Ask("openrouter/vendor/glm", task="email-draft")).label == "model glm"
    target = found(Ask("openrouter/z/new:free", task="email-draft"))
    assert (target.task, names(target.control)) == ("email-draft", ["openrouter/z/new:free@openrouter"])


def test_of_two_models_with_one_id_the_first_is_meant():
    """As in the file."""
    first, second = Model("one", "openrouter", "same"), Model("two", "openrouter", "same")
    assert found(Ask("openrouter/same"), snapshot([first, second])).label == "model one"


# ── rollouts ──


def rollout_of(ask: Ask, *rollouts: Rollout) -> str:
    """The name of the rollout that concerns `ask`."""
    rollout = found(ask, world(rollouts=list(rollouts))).rollout
    return "" if rollout is None else rollout.name


def test_the_first_rollout_by_name_that_is_not_off():
    """One that is off does not stand in another's way; if all are off, the first is named."""
    off, on, later = Rollout("a", 0, provider="x"), Rollout("b", 5, provider="x"), Rollout("c", 5, provider="x")
    assert rollout_of(Ask("task:email-draft"), later, on, off) == "b"
    assert rollout_of(Ask("task:email-draft"), off) == "a"
    assert rollout_of(Ask("task:email-draft")) == ""


def test_a_rollout_of_some_tasks_concerns_only_these():
    """Requests without a task are concerned by rollouts for all only."""
    some, every = Rollout("a", 5, frozenset({"email-draft"}), "x"), Rollout("b", 5, provider="x")
    assert [
        rollout_of(ask, some, every)
        for ask in (Ask("task:email-draft"), Ask("gpt-4"), Ask("glm"), Ask("glm", task="email-draft"))
    ] == ["a", "b", "b", "a"]


def test_a_rollout_of_other_models_leaves_a_named_model_alone():
    """A path may change under a forced model, the model may not."""
    assert [rollout_of(ask, Rollout("a", 5, models=("kimi",))) for ask in (Ask("glm"), Ask("gpt-4"))] == ["", "a"]


def test_the_candidate_arm_is_the_same_models_by_another_path_or_other_models():
    """With the weights of the route in the first case."""
    path = found(Ask("gpt-4"), world(rollouts=[Rollout("a", 5, provider="litellm")])).moved
    others = found(Ask("gpt-4"), world(rollouts=[Rollout("a", 5, models=("kimi",))])).moved
    assert path is not None
    assert others is not None
    assert (names(path), path.weights) == (["haiku@litellm", "glm@litellm"], (0.6, 0.4))
    assert (names(others), others.weights) == (["kimi@openrouter"], ())
    assert {"candidate"} == {choice.arm for choice in (*path.choices, *others.choices)}


# ── lines ──


def choice(**more) -> Choice:
    """A choice of a model like this."""
    one = model("m", **more)
    over = snapshot([one], by=())
    return Choice(over.candidates["m", "openrouter"], "control")


def test_a_line_knows_what_all_of_it_take():
    """The smallest window, the abilities in common."""
    line = make_line(
        [choice(context_tokens=1000, can=frozenset({"tools", "json"})), choice(can=frozenset({"json"}))], (), ()
    )
    assert (1000, frozenset({"json", "stream"}), "chat", True) == (
        line.smallest_tokens,
        line.can,
        line.mode,
        line.streams,
    )
    assert make_line([], (), ()).smallest_tokens == UNBOUNDED


@pytest.mark.parametrize(
    ("ask", "takes"),
    [
        (Ask(""), True),
        (Ask("", input_tokens=500, stream=True, needs=frozenset({"json", "stream"})), True),
        (Ask("", input_tokens=501), False),
        (Ask("", needs=frozenset({"vision"})), False),
        (Ask("", kind="embedding"), False),
    ],
)
def test_a_line_takes_what_nobody_need_be_asked_about(ask, takes):
    """True is a promise, False only means: look at each."""
    assert takes == make_line([choice(context_tokens=1000, can=frozenset({"json"}))], (), ()).takes(ask)


def test_a_line_of_mixed_kinds_or_of_one_that_cannot_stream_looks_at_each():
    """Nothing in common, no promise."""
    assert not make_line([choice(), choice(mode="embedding")], (), ()).takes(Ask(""))
    assert not make_line([choice(streams=False)], (), ()).takes(Ask("", stream=True))
    assert make_line([choice(mode="embedding")], (), ()).takes(
        Ask("", kind="embedding", needs=frozenset({"embeddings"}))
    )


def test_stand_ins_are_judged_by_the_same_terms():
    """A context fallback beyond the ceiling stays out, with the reason."""
    models = [
        model("small", context_fallbacks=("large", "dear", "nothing")),
        model("large"),
        model("dear", price=CHEAP),
    ]
    over = snapshot(models)
    small = Choice(over.candidates["small", "litellm"], "candidate")
    out = stand_ins(over, small, Terms("tasks.t", FREE))
    assert [one.code if isinstance(one, Filtered) else one.candidate.key for one in out] == [
        "large@litellm",
        "price",
        "not_configured",
    ]
    control = Choice(over.candidates["small", "openrouter"], "control")
    assert isinstance(out[0], Choice)
    assert [one.candidate.key for one in stand_ins(over, control, Terms("", FREE)) if isinstance(one, Choice)] == [
        "large@openrouter"
    ]


def test_a_stand_in_that_the_path_does_not_offer_comes_by_its_own():
    """The arm is kept, the account is the model's."""
    over = snapshot([model("small", context_fallbacks=("large",)), model("large")])
    without: Mapping[tuple[str, str], Candidate] = {
        key: one for key, one in over.candidates.items() if key != ("large", "litellm")
    }
    small = Choice(over.candidates["small", "litellm"], "candidate")
    bare = Snapshot("r", over.server, over.accounts, over.models, {}, {}, {}, {}, without)
    (one,) = stand_ins(bare, small, Terms())
    assert isinstance(one, Choice)
    assert (one.candidate.key, one.arm) == ("large@openrouter", "candidate")


def test_an_index_does_not_hold_more_than_the_config():
    """Names that came with requests are never kept."""
    index = Index.of(world())
    before = len(index.names)
    find(index, Ask("openrouter/anything:free"))
    assert (before, len(world().candidates)) == (len(index.names), len(index.snapshot.candidates))


def test_a_model_made_for_one_request_counts_against_its_accounts_quotas():
    """Those whose pattern its id matches; a vendor's free tier holds for models that nobody listed."""
    held = world(quotas={"openrouter": Quota("openrouter", "openrouter", "*:free", at_once=1)})
    made = [found(Ask(f"openrouter/lab/{name}"), held).control.choices[0].candidate.quotas for name in ("x:free", "x")]
    assert [("openrouter",), ()] == made


def test_every_name_that_leads_to_a_model_is_known():
    """Its own, ACCOUNT/ID, routes that it is of, and aliases of any of these; a task is granted by its own name."""
    leading = Index.of(world()).leading
    assert {"glm", "openrouter/vendor/glm", "production-chat", "gpt-4", "g", "gg"} == leading["glm"]
    assert {"kimi", "openrouter/vendor/kimi"} == leading["kimi"]


def test_a_model_that_the_request_names_costs_what_is_listed():
    """By the vendor's id, whatever its case; a chat model that is listed for its input alone has no price."""
    held = world(list_prices={"openrouter": {"lab/x": Price(1, 2), "lab/e": Price(3)}})
    asks = [
        Ask("openrouter/Lab/X"),
        Ask("openrouter/lab/e"),
        Ask("openrouter/lab/e", kind="embedding"),
        Ask("openrouter/y"),
    ]
    assert [Price(1, 2), None, Price(3), None] == [found(ask, held).control.choices[0].candidate.price for ask in asks]
