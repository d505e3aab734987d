"""The books of an exchange that has ended: counters and trace."""

import asyncio
import json

import pytest

from tests.gateway.lab import ANSWER, CONFIG, OK, Lab, chunk, refusal
from turnout.core.catalog import Model
from turnout.errors import UpstreamFault
from turnout.gateway.memory_transport import Scripted
from turnout.gateway.recording import NOBODY, count, label, to_trace
from turnout.gateway.telemetry import Telemetry


async def booked(lab, *arguments, **more):
    """One exchange, however it ends; returns its counters and its trace."""
    try:
        await lab.ask(*arguments, **more)
    except Exception:  # noqa: BLE001  whichever it is, the exchange has it
        assert lab.ended[-1].outcome is not None
    telemetry = Telemetry(0.0)
    count(telemetry, lab.ended[-1])
    return telemetry, to_trace(lab.ended[-1])


async def test_an_answer_is_counted_with_its_tokens_its_cost_and_its_time(tmp_path):
    """Under names of the config."""

    def slowly(_):
        lab.clock.at += 2.5
        return OK

    lab = Lab(tmp_path, slowly)
    telemetry, trace = await booked(lab, "task:paid")
    assert dict(telemetry.requests) == {("first", "paid", 200): 1}
    assert dict(telemetry.attempts) == {("first", "stub", "ok"): 1}
    assert dict(telemetry.tokens) == {("first", "input", "exact"): 10, ("first", "output", "exact"): 5}
    assert dict(telemetry.cost_nano_usd) == {("first", "stub"): 20_000}
    assert telemetry.durations["first", "paid"].total == 2.5
    assert telemetry.first_chunks["first", "paid"].total == 2.5
    assert dict(telemetry.fallbacks) == {}
    assert (trace.request_id, trace.target, trace.task) == ("req_1", "task paid", "paid")
    assert (trace.outcome, trace.status, trace.total_s, trace.cost_nano_usd) == ("ok", 200, 2.5, 20_000)
    (attempt,) = trace.attempts
    assert (attempt.started_s, attempt.first_content_s, attempt.ended_s) == (0.0, 2.5, 2.5)


async def test_a_fallback_is_counted_with_the_attempts_before_it(tmp_path):
    """What it cost is the sum; what was decided after a failure is told where the story ended badly."""
    lab = Lab(tmp_path, {"stub": [refusal(500)], "backup": [OK]})
    telemetry, trace = await booked(lab, "task:work")
    assert dict(telemetry.fallbacks) == {"work": 1}
    assert dict(telemetry.attempts) == {("first", "stub", "upstream_fault"): 1, ("second", "backup", "ok"): 1}
    assert [(one.outcome, one.status) for one in trace.attempts] == [("upstream_fault", 500), ("ok", None)]
    assert trace.attempts[0].usage.basis == "estimated"  # a 500 may have been billed
    assert trace.cost_nano_usd == trace.attempts[0].cost_nano_usd > 0
    assert dict(telemetry.inexact_nano_usd) == {("first", "stub"): trace.cost_nano_usd}


async def test_a_failure_is_nobodys_answer(tmp_path):
    """The last attempt says why nothing followed it."""
    lab = Lab(tmp_path, {"stub": [refusal(401)]})
    telemetry, trace = await booked(lab, "task:paid")
    assert dict(telemetry.requests) == {(NOBODY, "paid", 502): 1}
    assert telemetry.durations == {}
    assert (trace.outcome, trace.status) == ("upstream_fault", 502)
    assert trace.attempts[-1].decision == "1 attempts were made"
    assert trace.message.startswith("first at stub: ")


async def test_what_vendors_said_is_in_no_trace(tmp_path):
    """They may quote the prompt. Told are our own words for it, by one candidate, by several, and in mid-stream."""
    alone = Lab(tmp_path, {"stub": [refusal(400, "'Dear Mette' is too long")]})
    _, trace = await booked(alone, "task:paid")
    assert trace.message == "first at stub: the provider rejected the request (400)"
    assert trace.attempts[0].message == "the provider rejected the request (400)"

    several = Lab(
        tmp_path, {"stub": [refusal(500, "Mette.")], "backup": [refusal(429, "Mette")], "claude": [refusal(503)]}
    )
    _, trace = await booked(several, "task:work")
    assert trace.message == f"Every candidate failed ({len(trace.attempts)} tries)."
    assert "Mette" not in str(trace)

    broken = UpstreamFault("the provider reported an error inside its answer", words="Mette")
    stream = Lab(tmp_path, {"stub": [Scripted(200, {}, (chunk("hej"), broken))]})
    _, trace = await booked(stream, "task:paid", stream=True)
    assert trace.outcome == "stream_interrupted"
    assert trace.message == "first at stub: The answer broke off: the provider reported an error inside its answer"
    assert "Mette" not in str(trace)


async def test_what_followed_each_failure_is_told(tmp_path):
    """In words: who was passed over because it was failing too, and what was tried once more."""
    config = CONFIG + "retry: {budget: 0, budget_floor: 0}\n"
    lab = Lab(tmp_path, {"stub": [refusal(503)], "claude": [refusal(503)]}, config=config)
    lab.health.failed("second@backup", 0.0)
    _, trace = await booked(lab, "task:work")
    assert [(one.model, one.decision) for one in trace.attempts] == [
        ("first", "a later candidate, past 1 that are failing too"),
        ("third", "the retry budget is spent"),
    ]
    again = Lab(tmp_path, {"backup": [refusal(503), OK]})
    _, trace = await booked(again, "task:alone")
    assert [one.decision for one in trace.attempts] == ["the same once more, after 0.00 s", ""]


async def test_what_was_not_planned_is_booked_too(tmp_path):
    """Under no model and no task, whatever was asked for."""
    telemetry, trace = await booked(Lab(tmp_path, {}), "nope")
    assert dict(telemetry.requests) == {(NOBODY, "", 404): 1}
    assert (trace.asked_name, trace.target, trace.outcome, trace.attempts) == ("nope", "", "model_not_found", [])
    assert trace.cost_nano_usd == 0


async def test_what_has_no_price_has_no_cost(tmp_path):
    """Unknown is not nothing."""
    telemetry, trace = await booked(Lab(tmp_path, {"stub": [OK]}), "unpriced")
    assert dict(telemetry.cost_nano_usd) == {}
    assert (trace.cost_nano_usd, trace.attempts[0].cost_nano_usd) == (None, None)


@pytest.mark.parametrize("counts", [None, {"prompt_tokens": -1}, {"prompt_tokens": 10, "completion_tokens": 10**18}])
async def test_a_usage_that_cannot_be_believed_is_estimated_and_flagged(tmp_path, counts):
    """The answer is passed on all the same; a broken answer's estimate is no suspicion, nor is a count that fits."""
    told = Scripted(body=(json.dumps({**ANSWER, "usage": counts}).encode(),))
    lab = Lab(tmp_path, {"stub": [refusal(500)], "backup": [told]})
    _, trace = await booked(lab, "task:work")
    assert [(one.outcome, one.usage.basis, one.usage_suspect) for one in trace.attempts] == [
        ("upstream_fault", "estimated", False),
        ("ok", "estimated", True),
    ]
    _, trace = await booked(Lab(tmp_path, {"backup": [OK]}), "task:alone")
    assert [one.usage_suspect for one in trace.attempts] == [False]


async def test_a_client_that_left_is_booked_as_499(tmp_path):
    """Its attempt is neither a success nor a failure of the candidate."""
    never = asyncio.Event()
    lab = Lab(tmp_path, {"stub": [Scripted(body=(chunk("Hej"), never))]})
    task = asyncio.ensure_future(lab.ask("first", stream=True))
    while not lab.transport.open_responses:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    telemetry = Telemetry(0.0)
    count(telemetry, lab.ended[0])
    assert {status for _, _, status in telemetry.requests} == {499}
    assert dict(telemetry.attempts) == {("first", "stub", "client_disconnected"): 1}
    assert to_trace(lab.ended[0]).attempts[0].outcome == "client_disconnected"


@pytest.mark.parametrize(
    ("answers", "arm", "told"),
    [
        ([OK], "candidate", "ok"),
        ([refusal(503), OK], "candidate", "upstream_fault"),
        ([refusal(422)], "candidate", "upstream_rejected"),
    ],
    ids=["answered", "saved by the other arm", "refused"],
)
async def test_an_arms_record_is_its_own(tmp_path, answers, arm, told):
    """An answer that the control arm saved is a failure of the candidate arm, or nobody would see it fail."""
    config = CONFIG.replace("models: [first, second, third]", "models: [second]")
    telemetry, trace = await booked(Lab(tmp_path, {"backup": answers}, config=config), "task:work", user="boss")
    assert dict(telemetry.arms) == {("beta", arm, told): 1}
    assert trace.arm == arm


async def test_a_request_without_a_rollout_is_on_no_arm(tmp_path):
    """Nothing is counted under the empty name."""
    telemetry, _ = await booked(Lab(tmp_path, {"backup": [OK]}), "task:alone")
    assert dict(telemetry.arms) == {}


async def test_the_number_of_series_is_not_a_clients_to_choose(tmp_path):
    """Models that only a request named share their account's label."""
    lab = Lab(tmp_path, {"stub": [OK]})
    seen = [await booked(lab, f"stub/made-up-{number}") for number in range(3)]
    assert {tuple(telemetry.requests) for telemetry, _ in seen} == {(("stub/*", "", 200),)}
    assert {tuple(telemetry.attempts) for telemetry, _ in seen} == {(("stub/*", "stub", "ok"),)}
    assert [trace.attempts[0].model for _, trace in seen] == [f"stub/made-up-{number}" for number in range(3)]
    snapshot = lab.engine.index.snapshot
    assert label(snapshot.models["first"], snapshot) == "first"
    assert label(Model("stub/x", "stub", "x"), snapshot) == "stub/*"


async def test_the_wait_for_a_turn_is_counted_by_priority(tmp_path):
    """Where a quota is concerned: a wait of no time too; one that was refused a turn did not wait for it."""
    config = CONFIG.replace("canary-backup}", "canary-backup, quota: {requests_per_minute: 1}}")
    lab = Lab(tmp_path, lambda _: OK, config=config)
    telemetry, _ = await booked(lab, "task:alone")
    assert {("medium",): 1} == {key: sum(waits.counts) for key, waits in telemetry.waits.items()}
    refused, trace = await booked(lab, "task:alone")
    assert (trace.outcome, dict(refused.waits)) == ("quota_exhausted", {})
    unconcerned, _ = await booked(lab, "task:paid")
    assert dict(unconcerned.waits) == {}


async def test_an_answer_from_the_cache_is_booked_as_such(tmp_path):
    """Under the model that gave it; without an attempt, a cost or a time of that model; and on no arm's record."""
    config = CONFIG.replace("\ntasks:", "\ncache: {ttl: 5m}\ntasks:").replace("percent: 0", "percent: 100")
    lab = Lab(tmp_path, {"stub": [OK], "backup": [OK]}, config=config)
    first, missed = await booked(lab, "task:work")
    telemetry, trace = await booked(lab, "task:work")
    assert (missed.cache, missed.given, len(missed.attempts)) == ("miss", "", 1)
    assert (trace.cache, trace.given, trace.attempts) == ("hit", "large@backup", [])
    assert (trace.outcome, trace.cost_nano_usd) == ("ok", 0)
    assert dict(telemetry.requests) == dict(first.requests) == {("large", "work", 200): 1}
    assert dict(first.arms) == {("beta", "candidate", "ok"): 1}
    assert (dict(telemetry.arms), dict(telemetry.attempts), telemetry.durations) == ({}, {}, {})
