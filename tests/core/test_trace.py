"""core/trace.py: why a request went where it went."""

from __future__ import annotations

import msgspec

from tests.core.worlds import CHEAP, decided, model, snapshot
from turnout.core.catalog import FREE, Rollout, Task
from turnout.core.eligible import Ask
from turnout.core.plan import Plan
from turnout.core.trace import AttemptTrace, Trace, begin, make_impersonal, plan_told, render, render_plan
from turnout.core.usage import Usage

ASK = Ask("auto", task="email-draft", user="42")


def planned(ask: Ask = ASK, percent: float = 100) -> Plan:
    """Two free models of which one also goes by litellm, and one that costs too much."""
    made = decided(
        ask,
        snapshot(
            [model("glm"), model("gemma"), model("haiku", "anthropic", CHEAP)],
            tasks=[Task("email-draft", ("glm", "haiku"), "professional writing", FREE)],
            rollouts=[Rollout("litellm", percent, provider="litellm")] if percent else [],
            default_fallbacks=("gemma",),
        ),
    )
    assert isinstance(made, Plan)
    return made


def test_a_trace_begins_with_the_plan():
    """Everything that decided is in it, the draw too."""
    trace = begin("req_1", 1_795_246_041.0, "rev1", ASK, planned())
    assert (trace.asked_name, trace.asked_task, trace.user) == ("auto", "email-draft", "42")
    assert (trace.choices, trace.draw, trace.rollout, trace.arm) == (
        ("glm@litellm", "glm@openrouter"),
        0.5,
        "litellm",
        "candidate",
    )
    assert [one.model for one in trace.filtered] == ["haiku", "haiku"]


def test_a_trace_without_a_plan_keeps_what_was_asked():
    """An unknown name leaves a trace, too."""
    trace = begin("req_1", 0.0, "rev1", Ask("glmm"), None)
    assert (trace.asked_name, trace.target, trace.choices) == ("glmm", "", ())


def test_a_trace_survives_the_store():
    """Written as JSON, read again, the same."""
    trace = begin("req_1", 1.5, "rev1", ASK, planned())
    trace.attempts.append(AttemptTrace("glm", "litellm", "candidate", 0.001, usage=Usage(3, 4), cost_nano_usd=0))
    assert trace == msgspec.json.decode(msgspec.json.encode(trace), type=Trace)


def test_a_wait_for_a_turn_is_told():
    """How long, and with which priority; one that nobody would notice is not."""
    trace = begin("req_1", 0.0, "rev1", ASK, planned())
    trace.priority, trace.waited_s = "low", 12.34
    assert "waited 12.3 s in all for its turn, with low priority" in render(trace)
    trace.waited_s = 0.001
    assert not any("waited" in line for line in render(trace))


def test_two_traces_do_not_share_their_attempts():
    """Each begins with none."""
    one, other = begin("a", 0.0, "r", ASK, None), begin("b", 0.0, "r", ASK, None)
    one.attempts.append(AttemptTrace("m", "p", "control", 0.0))
    assert other.attempts == []


def test_the_story_of_a_fallback():
    """Line by line: when, what was asked, why this arm and order, who was passed over, each attempt, the end."""
    trace = begin("req_1", 1_795_246_041.0, "rev1", ASK, planned())
    trace.attempts = [
        AttemptTrace(
            "glm", "litellm", "candidate", 0.001, None, 0.121, "upstream_throttled", 429, "slow\x1b down\n", "next"
        ),
        AttemptTrace(
            "glm", "openrouter", "control", 0.121, 1.021, 2.5, "ok", 200, usage=Usage(120, 50), cost_nano_usd=150_000
        ),
    ]
    trace.outcome, trace.status, trace.total_s, trace.cost_nano_usd = "ok", 200, 2.5, 150_000
    assert [
        "request req_1, 2026-11-21 07:27:21 UTC, config rev1",
        "asked for: task email-draft, model auto, user 42",
        "task email-draft: professional writing",
        f"rollout litellm: candidate arm, because {trace.arm_reason}",
        "order (priority): glm@litellm, glm@openrouter",
        "passed over: haiku (anthropic) costs $0.15 in, $0.6 out per million tokens; the price ceiling is free",
        "passed over: haiku (litellm) costs $0.15 in, $0.6 out per million tokens; the price ceiling is free",
        "attempt 1: glm by litellm, at 0.001 s: upstream_throttled (status 429) after 0.120 s",
        r"  slow\x1b down\n",
        "  then: next",
        "attempt 2: glm by openrouter, at 0.121 s: ok after 2.379 s",
        "  first content after 0.900 s",
        "  120 tokens in, 50 out (exact), $0.000150",
        "answered, status 200, after 2.500 s; cost $0.000150",
    ] == render(trace)


def test_the_story_of_a_failure():
    """What is not known is said to be unknown; a page of HTML is cut."""
    trace = begin("req_1", 0.0, "rev1", Ask(""), None)
    trace.attempts = [AttemptTrace("m", "p", "control", 0.0, usage=Usage(1, 2, basis="estimated"))]
    trace.outcome, trace.status, trace.message = "no_candidate", 503, "x" * 301
    assert [
        "request req_1, 1970-01-01 00:00:00 UTC, config rev1",
        "asked for: nothing by name",
        "attempt 1: m by p, at 0.000 s: not ended",
        "  1 tokens in, 2 out (estimated), cost unknown",
        "failed: no_candidate, status 503, after 0.000 s; cost unknown",
        f"  {'x' * 300}…",
    ] == render(trace)


def test_what_the_cache_did_is_told():
    """And whose answer was given again."""
    trace = begin("req_1", 0.0, "rev1", Ask(""), None)
    trace.cache = "miss"
    assert "cache: miss" in render(trace)
    trace.cache, trace.given = "hit", "glm@openrouter"
    assert "cache: hit, an answer of glm@openrouter" in render(trace)


def test_a_count_of_ours_in_place_of_the_vendors_is_told():
    """Why the usage of a good answer is an estimate."""
    trace = begin("req_1", 0.0, "rev1", Ask(""), None)
    trace.attempts = [AttemptTrace("m", "p", "c", 0.0, usage=Usage(1, 2, basis="estimated"), usage_suspect=True)]
    told = "  1 tokens in, 2 out (estimated: what the vendor counted is missing or absurd), cost unknown"
    assert told in render(trace)


def test_a_forced_model_is_told_with_its_task():
    """Two names, both said."""
    lines = render(begin("r", 0.0, "rev1", ASK, planned(Ask("glm", task="email-draft"), percent=0)))
    assert lines[2] == "model glm for task email-draft: the request names it"
    assert lines[3] == "order (priority): glm@openrouter, gemma@openrouter"


def test_what_would_happen():
    """Without a call: target, arm, the order with paths, ids and prices, and who would be passed over."""
    made = planned()
    assert [
        "task email-draft: professional writing",
        f"rollout litellm: candidate arm, because {made.arm_reason}",
        "order (priority), retries an arm: at most 2, 600 s in all:",
        "  1. glm by litellm as vendor/glm (free), candidate arm",
        "  2. glm by openrouter as vendor/glm (free), control arm",
    ] == render_plan(made)[:5]
    assert len(render_plan(made)) == 7


def test_what_would_happen_at_an_unknown_price():
    """Without a rollout no arm is named."""
    made = decided(Ask("m"), snapshot([model("m", price=None)]))
    assert render_plan(made) == [
        "model m: the request names it",
        "order (priority), retries an arm: at most 2, 600 s in all:",
        "  1. m by openrouter as vendor/m (price unknown)",
    ]


def test_a_plan_for_programs_is_plain_values():
    """For --json and the admin API: JSON as it stands, the arms and prices in it, no secret."""
    told = plan_told(planned())
    assert told == msgspec.json.decode(msgspec.json.encode(told))
    assert (told["target"], told["arm"], told["max_retries"]) == ("task email-draft", "candidate", 2)
    assert told["choices"] == [
        {"model": "glm", "provider": "litellm", "id": "vendor/glm", "arm": "candidate", "price": "free"},
        {"model": "glm", "provider": "openrouter", "id": "vendor/glm", "arm": "control", "price": "free"},
    ]
    assert [one["code"] for one in told["passed_over"]] == ["price", "price"]
    unpriced = plan_told(decided(Ask("m"), snapshot([model("m", price=None)])))
    assert [one["price"] for one in unpriced["choices"]] == [None]


def test_a_clients_words_stay_in_their_line():
    """Names are as asked: none makes a line of its own, or moves the cursor of who reads it."""
    nasty = "a\nanswered\x1b[2J\u2028\x9b"
    trace = begin("req_1", 0.0, "rev1", Ask(nasty, task=nasty, user=nasty), None)
    assert 3 == len(render(trace))
    assert all(line.isprintable() for line in render(trace))
    assert all(line.isprintable() for line in render_plan(planned(Ask("auto", task="email-draft", user=nasty))))


def test_what_is_personal_in_a_clients_words_is_taken_out():
    """The user's label, what was asked for by name, and a message; names of ours stay."""
    trace = Trace("req_1", 0.0, "r", "stub/ola@x.dk", "task", "010190-1234", message="no model 'ola@x.dk'")
    make_impersonal(trace)
    assert ("stub/<email>", "task", "<cpr>", "no model '<email>'") == (
        trace.asked_name,
        trace.asked_task,
        trace.user,
        trace.message,
    )


def test_words_without_anything_personal_stay_as_they_are():
    """As nearly all are."""
    trace = Trace("req_1", 0.0, "r", "task:chat", "chat", "user-4711", message="")
    make_impersonal(trace)
    assert ("task:chat", "chat", "user-4711", "") == (trace.asked_name, trace.asked_task, trace.user, trace.message)
