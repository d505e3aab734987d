"""core/plan.py: who may answer, in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.worlds import CHEAP, DEAR, decided, filtered, keys, model, snapshot
from turnout.core.catalog import FREE, BreakerRule, Rollout, Route, Task
from turnout.core.eligible import Ask
from turnout.core.health import Health
from turnout.core.plan import Plan, larger, plan
from turnout.core.targets import Index
from turnout.errors import InvalidRequest, ModelNotFound, NoCandidate
from turnout.policies import POLICIES

TASK = Task("email-draft", ("glm", "gpt-oss", "gemma"), because="professional writing", price_ceiling=FREE)
MODELS = [model("glm"), model("gpt-oss"), model("gemma")]
DRAFT = Ask("", task="email-draft", user="42")


def resting(*names: str, now: float = 100.0) -> Health:
    """A Health in which these keys have just opened their breakers, the later named the later."""
    health = Health(BreakerRule(failures=1))
    for at, name in enumerate(names):
        health.begin(name, now)
        health.failed(name, now + at)
    return health


def test_a_task_gives_its_models_in_order_with_the_reason():
    """Order, reason, policy, retries and time are the task's."""
    made = decided(DRAFT, snapshot(MODELS, tasks=[TASK]))
    assert keys(made) == ["glm@openrouter", "gpt-oss@openrouter", "gemma@openrouter"]
    assert (made.target, made.task, made.policy) == ("task email-draft", "email-draft", "priority")
    assert (made.because, made.max_retries, made.total_s) == ("professional writing", 2, 600.0)
    assert (made.rollout, made.arm, made.arm_reason, made.draw) == ("", "control", "", 0.5)


def test_an_unknown_name_is_a_value_not_a_raise():
    """Failures of the look-up come back as they are."""
    over = snapshot(MODELS, tasks=[TASK])
    assert isinstance(decided(Ask("glmm"), over), ModelNotFound)
    assert isinstance(decided(Ask(""), over), InvalidRequest)


def test_no_more_than_one_and_max_retries_are_kept():
    """The rest is named as cut."""
    made = decided(DRAFT, snapshot(MODELS, tasks=[Task("email-draft", TASK.models, max_retries=1)]))
    assert keys(made) == ["glm@openrouter", "gpt-oss@openrouter"]
    assert filtered(made) == [("gemma", "cut")]
    assert made.filtered[0].detail == "comes after the 2 that may be tried"


def test_a_route_orders_by_its_policy():
    """least_busy puts a busy one behind."""
    health = Health(BreakerRule())
    health.begin("glm@openrouter", 0.0)
    made = decided(Ask("fast"), snapshot(MODELS, routes=[Route("fast", ("glm", "gemma"))]), health)
    assert (made.target, made.policy, keys(made)) == (
        "route fast",
        "least_busy",
        ["gemma@openrouter", "glm@openrouter"],
    )


def test_weights_follow_who_is_left():
    """When one of a weighted route cannot serve, the others keep their own weights."""
    models = [model("blind", can=frozenset({"json"})), model("never"), model("always")]
    over = snapshot(models, routes=[Route("mix", ("blind", "never", "always"), "weighted", (5.0, 0.0, 1.0))])
    ask = Ask("mix", needs=frozenset({"vision"}))
    assert {("always@openrouter", "never@openrouter")} == {
        tuple(keys(decided(ask, over, draw=draw / 20))) for draw in range(20)
    }


# ── filters ──


def test_what_the_request_cannot_use_is_passed_over():
    """Abilities, streaming and kind are looked at per request."""
    models = [model("glm", can=frozenset({"json"})), model("gpt-oss", streams=False), model("gemma")]
    over = snapshot(models, tasks=[TASK])
    made = decided(Ask("", task="email-draft", stream=True, needs=frozenset({"tools", "stream"})), over)
    assert keys(made) == ["gemma@openrouter"]
    assert filtered(made) == [("glm", "tools"), ("gpt-oss", "stream")]


def test_nobody_left_names_each_and_what_helps():
    """The error is for a person: who, why, what to do."""
    models = [model("haiku", "anthropic", CHEAP), model("mystery", price=None), model("glm", "missing")]
    error = decided(
        Ask("", task="t"), snapshot(models, tasks=[Task("t", ("haiku", "mystery", "glm"), price_ceiling=FREE)])
    )
    assert isinstance(error, NoCandidate)
    for part in (
        "nobody can serve task t: ",
        "haiku (anthropic) costs $0.15 in, $0.6 out per million tokens; the price ceiling is free",
        "mystery (openrouter) has no known price",
        "glm (missing) provider missing is not configured",
        "remove or raise tasks.t.price_ceiling",
        "say what it costs in models.mystery.price",
        "configure provider missing",
    ):
        assert part in error.message


@pytest.mark.parametrize(
    ("ask", "advice"),
    [
        (Ask("glm", kind="embedding"), "name a model of the kind that the request is for"),
        (Ask("glm", stream=True), "send the request without `stream`"),
        (Ask("glm", input_tokens=10_000), "shorten the prompt or name a model with a larger window"),
        (Ask("glm", needs=frozenset({"vision"})), "name a model that can do vision"),
    ],
)
def test_advice_fits_the_reason(ask, advice):
    """Each reason has its own way out."""
    only = model("glm", streams=False, context_tokens=1000, can=frozenset({"tools"}))
    assert advice in decided(ask, snapshot([only])).message


def test_region_advice_names_the_place():
    """Regions that nobody is in can be widened."""
    error = decided(Ask("r"), snapshot(MODELS, routes=[Route("r", ("glm",), regions=frozenset({"eu"}))]))
    assert "widen routes.r.regions" in error.message


def test_an_empty_route_says_so():
    """No models, no reasons to list."""
    assert "route r has no models" in decided(Ask("r"), snapshot(MODELS, routes=[Route("r", ())])).message


def test_a_named_model_that_cannot_serve_is_an_error_not_another_model():
    """Its fallbacks are for its failures, not for a request that it cannot take."""
    models = [model("glm", can=frozenset(), fallbacks=("gemma",)), model("gemma")]
    error = decided(Ask("glm", needs=frozenset({"tools"})), snapshot(models))
    assert isinstance(error, NoCandidate)
    assert "glm (openrouter) cannot do tools" in error.message


def test_a_prompt_too_large_goes_to_the_context_fallbacks_in_place():
    """They take the place of the model; those that cannot serve, or are there already, do not."""
    models = [
        model("small", context_tokens=1000, context_fallbacks=("large", "tiny", "gone", "next"), fallbacks=("next",)),
        model("large", context_tokens=100_000),
        model("tiny", context_tokens=100),
        model("gone", "missing"),
        model("next"),
    ]
    made = decided(Ask("small", input_tokens=5000), snapshot(models))
    assert keys(made) == ["large@openrouter", "next@openrouter"]
    assert filtered(made) == [("small", "context"), ("tiny", "context"), ("gone", "not_configured")]


def test_a_context_fallback_takes_over_the_weight():
    """A weighted route stays weighted."""
    models = [model("small", context_tokens=10, context_fallbacks=("large",)), model("large"), model("next")]
    over = snapshot(models, routes=[Route("mix", ("small", "next"), "weighted", (1.0, 0.0))])
    assert keys(decided(Ask("mix", input_tokens=500), over)) == ["large@openrouter", "next@openrouter"]


# ── health ──


def test_whoever_rests_goes_behind_whoever_is_well():
    """A resting candidate stays in the order, at its end, the earliest end of rest first."""
    over = snapshot(MODELS, tasks=[TASK])
    health = resting("gpt-oss@openrouter", "glm@openrouter")
    assert keys(decided(DRAFT, over, health)) == ["gemma@openrouter", "gpt-oss@openrouter", "glm@openrouter"]


def test_when_all_rest_all_are_tried():
    """Never eject the last: the earliest end of rest first."""
    health = resting("gemma@openrouter", "glm@openrouter", "gpt-oss@openrouter")
    made = decided(DRAFT, snapshot(MODELS, tasks=[TASK]), health)
    assert keys(made) == ["gemma@openrouter", "glm@openrouter", "gpt-oss@openrouter"]


def test_after_its_rest_a_candidate_has_its_place_again():
    """The probe is an ordinary request, in the ordinary order."""
    health = resting("glm@openrouter")
    assert keys(decided(DRAFT, snapshot(MODELS, tasks=[TASK]), health, now=131.0))[0] == "glm@openrouter"


def test_a_known_cool_down_is_left_out():
    """Asking before the vendor's own instant costs quota and brings nothing."""
    health = Health(BreakerRule())
    health.throttled("glm@openrouter", 100.0, 7.0, 0.0)
    made = decided(DRAFT, snapshot(MODELS, tasks=[TASK]), health, now=101.0)
    assert keys(made) == ["gpt-oss@openrouter", "gemma@openrouter"]
    assert [(one.model, one.code, one.detail) for one in made.filtered] == [
        ("glm", "resting", "was told to wait 6.0 s more")
    ]


def test_when_all_cool_down_the_first_that_is_done_is_tried_alone():
    """One attempt is the price of finding out whether the hint was too long; three would be three refusals."""
    health = Health(BreakerRule())
    for name, hint_s in (("glm", 9.0), ("gpt-oss", 3.0), ("gemma", 6.0)):
        health.throttled(f"{name}@openrouter", 100.0, hint_s, 0.0)
    made = decided(DRAFT, snapshot(MODELS, tasks=[TASK]), health)
    assert keys(made) == ["gpt-oss@openrouter"]
    assert filtered(made) == [("gemma", "resting"), ("glm", "resting")]


# ── rollout ──


def rolled(percent: float, **more) -> Rollout:
    """The rollout named litellm."""
    return Rollout("litellm", percent, provider="litellm", **more)


def test_the_candidate_arm_comes_first_and_the_old_arm_after_it():
    """When every candidate of the new arm fails, the old arm answers; each arm has its own 1 + max_retries."""
    made = decided(DRAFT, snapshot(MODELS, tasks=[TASK], rollouts=[rolled(100)]))
    names = ("glm", "gpt-oss", "gemma")
    assert [f"{name}@{account}" for account in ("litellm", "openrouter") for name in names] == keys(made)
    assert [choice.arm for choice in made.choices] == ["candidate"] * 3 + ["control"] * 3
    assert (made.rollout, made.arm) == ("litellm", "candidate")
    assert "below 100" in made.arm_reason


def test_the_control_arm_is_the_config_as_it_stands():
    """Off the rollout, the new path is not touched, and the trace still says which rollout it was."""
    made = decided(DRAFT, snapshot(MODELS, tasks=[TASK], rollouts=[rolled(100, exclude=frozenset({"42"}))]))
    assert keys(made) == ["glm@openrouter", "gpt-oss@openrouter", "gemma@openrouter"]
    assert (made.rollout, made.arm, made.arm_reason) == ("litellm", "control", "this user is excluded")


def test_an_arm_that_serves_nobody_leaves_the_request_on_control():
    """The arm is decided first; if it has no one, control answers and the reason says so."""
    made = decided(DRAFT, snapshot(MODELS, by=(), tasks=[TASK], rollouts=[rolled(100)]))
    assert keys(made) == ["glm@openrouter", "gpt-oss@openrouter", "gemma@openrouter"]
    assert made.arm == "control"
    assert made.arm_reason.endswith(", but no candidate of that arm may serve this request now")
    assert filtered(made) == [("glm", "not_configured"), ("gpt-oss", "not_configured"), ("gemma", "not_configured")]


def test_an_arm_where_nobody_is_well_waits_while_the_other_has_somebody():
    """A new path that is down does not cost every user on it a failure first."""
    names = ("glm@litellm", "gpt-oss@litellm", "gemma@litellm")
    made = decided(DRAFT, snapshot(MODELS, tasks=[TASK], rollouts=[rolled(100)]), resting(*names))
    assert made.arm == "control"
    assert keys(made) == ["glm@openrouter", "gpt-oss@openrouter", "gemma@openrouter"]
    assert made.filtered[0].detail == "rests 30.0 s more after failures"


def test_the_resting_candidates_of_the_new_arm_are_the_last_resort():
    """If control has nobody at all, they are tried."""
    models = [model("glm", "missing")]
    over = snapshot(models, by=("litellm",), tasks=[Task("email-draft", ("glm",))], rollouts=[rolled(100)])
    made = decided(DRAFT, over, resting("glm@litellm"))
    assert (keys(made), made.arm) == (["glm@litellm"], "candidate")


def test_cooling_arms_share_the_last_resort():
    """When both arms only cool down, whoever is done first is tried, and the arm is his."""
    health = Health(BreakerRule())
    health.throttled("glm@litellm", 100.0, 9.0, 0.0)
    health.throttled("glm@openrouter", 100.0, 3.0, 0.0)
    over = snapshot([model("glm")], tasks=[Task("email-draft", ("glm",))], rollouts=[rolled(100)])
    made = decided(DRAFT, over, health)
    assert (keys(made), made.arm) == (["glm@openrouter"], "control")


def test_a_candidate_on_both_arms_is_tried_once():
    """An arm of other models may share some with control."""
    rollout = Rollout("other", 100, models=("gemma", "glm"))
    made = decided(DRAFT, snapshot(MODELS, tasks=[TASK], rollouts=[rollout]))
    assert keys(made) == ["gemma@openrouter", "glm@openrouter", "gpt-oss@openrouter"]


# ── a prompt that did not fit ──


def larger_world(**more):
    """small (1k) with two context fallbacks, then medium (8k) and unknown."""
    models = [
        model("small", context_tokens=1000, context_fallbacks=("large", "blind", "gone"), fallbacks=("medium", "vast")),
        model("medium", context_tokens=8000),
        model("vast"),
        model("large", context_tokens=100_000),
        model("blind", context_tokens=100_000, can=frozenset()),
        model("gone", "missing"),
    ]
    over = snapshot(models, **more)
    return over, Index.of(over), Ask("small", needs=frozenset({"tools"}))


def test_an_overflow_goes_to_larger_windows_only():
    """The model's context fallbacks first, then whoever is left and known to hold more; unknown windows are no answer."""
    over, index, ask = larger_world()
    made = decided(ask, over)
    first = made.choices[0]
    assert [choice.candidate.key for choice in larger(made, first, [first], ask, index)] == [
        "large@openrouter",
        "medium@openrouter",
    ]


def test_an_overflow_does_not_come_back_to_whom_it_came_from():
    """gpt-4o and claude-3.5-sonnet name each other; the second overflow ends it."""
    over = snapshot([model("a", context_fallbacks=("b",)), model("b", context_fallbacks=("a",))])
    ask = Ask("a", input_tokens=100)
    made = decided(ask, over)
    (second,) = larger(made, made.choices[0], made.choices, ask, Index.of(over))
    assert second.candidate.key == "b@openrouter"
    assert larger(made, second, [*made.choices, second], ask, Index.of(over)) == ()


def test_an_overflow_keeps_to_the_number_of_attempts():
    """Attempts of the arm count, those before the overflow too."""
    over, index, ask = larger_world()
    made = decided(ask, over)
    first = made.choices[0]
    assert len(larger(made, first, [first, made.choices[2]], ask, index)) == 1


def test_an_overflow_on_the_new_arm_stays_on_its_path():
    """The stand-in is asked by the same account where that offers it."""
    over, index, ask = larger_world(rollouts=[rolled(100)])
    made = decided(ask, over)
    first = made.choices[0]
    assert first.candidate.key == "small@litellm"
    assert larger(made, first, [first], ask, index)[0].candidate.key == "large@litellm"


# ── for any input ──

NAMES = ("a", "b", "c", "d", "e")


@st.composite
def worlds(draw):
    """Random models, a task over them, rollouts, and candidates in every state of health."""
    models = [
        model(
            name,
            price=draw(st.sampled_from([FREE, CHEAP, DEAR, None])),
            context_tokens=draw(st.sampled_from([None, 100, 10_000])),
            can=draw(st.sampled_from([None, frozenset(), frozenset({"tools", "json"})])),
            streams=draw(st.booleans()),
            context_fallbacks=draw(st.sampled_from([(), ("a",), ("b", "c")])),
        )
        for name in NAMES
    ]
    task = Task(
        "t",
        tuple(draw(st.lists(st.sampled_from(NAMES), unique=True))),
        price_ceiling=draw(st.sampled_from([None, FREE, CHEAP])),
        policy=draw(st.sampled_from(sorted(POLICIES))),
        max_retries=draw(st.integers(0, 4)),
    )
    health = Health(BreakerRule(failures=1))
    for name in draw(st.sets(st.sampled_from(NAMES))):
        health.failed(f"{name}@openrouter", 90.0)
    for name in draw(st.sets(st.sampled_from(NAMES))):
        health.throttled(f"{name}@litellm", 95.0, draw(st.sampled_from([None, 3.0, 60.0])), 0.5)
    rollout = Rollout("litellm", draw(st.sampled_from([0.0, 50.0, 100.0])), provider="litellm")
    ask = Ask(
        draw(st.sampled_from(["", "auto", "a", "task:t"])),
        task="t",
        stream=draw(st.booleans()),
        needs=draw(st.sampled_from([frozenset(), frozenset({"tools"})])),
        input_tokens=draw(st.sampled_from([10, 1000])),
        max_output_tokens=draw(st.sampled_from([None, 90])),
    )
    return snapshot(models, tasks=[task], rollouts=[rollout]), ask, health, draw(st.floats(0, 1, exclude_max=True))


@given(worlds())
def test_a_plan_keeps_its_promises(world):
    """For any world: a Plan or a named error; each candidate once, the ceiling kept, each arm cut, nobody lost."""
    over, ask, health, draw = world
    made = plan(ask, Index.of(over), POLICIES, health, draw, 100.0)
    if not isinstance(made, Plan):
        assert isinstance(made, NoCandidate)
        return
    found = keys(made)
    assert len(set(found)) == len(found) > 0
    assert made.arm == made.choices[0].arm
    for arm in ("control", "candidate"):
        assert sum(choice.arm == arm for choice in made.choices) <= made.max_retries + 1
    ceiling = over.tasks["t"].price_ceiling
    for choice in made.choices:
        price = choice.candidate.price
        assert ceiling is None or (
            price is not None and price.input <= ceiling.input and price.output <= ceiling.output
        )
    wells = [health.resting_until(key) <= 100.0 for key in found]
    for arm in ("control", "candidate"):
        of_arm = [well for well, choice in zip(wells, made.choices, strict=True) if choice.arm == arm]
        assert sorted(of_arm, reverse=True) == of_arm
    assert made == plan(ask, Index.of(over), POLICIES, health, draw, 100.0)
