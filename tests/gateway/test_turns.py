"""gateway/turns.py: how an exchange gets its turns. In virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.lab import OK, refusal
from tests.gateway.quotas_lab import CONFIG, MONDAY, TOOLS, calling, played, vendors
from turnout.core.quota_window import SPAN_S
from turnout.errors import QuotaExhausted, UpstreamFault, UpstreamThrottled, UpstreamUnreachable
from turnout.gateway.recording import to_trace

# ── whose turn, and where ──


def test_whoever_is_free_is_asked_in_the_order_of_the_plan(tmp_path):
    """The first while it has room, then the second, then the one that needs no quota; nobody waits."""

    async def scene(lab):
        answered = [await lab.say("work") for _ in range(4)]
        assert ["stub", "backup", "paid", "paid"] == lab.asked
        assert all("x-turnout-queue-ms" not in client.headers for client in answered)
        assert lab.at() == 0

    played(tmp_path, vendors(), scene)


def test_who_needs_no_quota_is_asked_if_all_others_begin_to_rest_meanwhile(tmp_path):
    """They were well when the plan was made."""

    def answer(outgoing):
        if "stub" not in outgoing.url:
            return OK
        for _ in range(5):
            labs[0].health.failed("second@backup", labs[0].clock.now())
        return refusal(503)

    async def scene(lab):
        labs.append(lab)
        assert (await lab.say("work")).ended == "answer"
        assert ["stub", "paid"] == lab.asked

    labs = []
    played(tmp_path, answer, scene)


def test_without_a_free_one_the_earliest_is_waited_for(tmp_path):
    """The answer says how long that was, and so do trace and record."""

    async def scene(lab):
        await lab.say("free")
        await asyncio.sleep(5)
        await lab.say("free")
        client = await lab.say("free")
        assert ["stub", "backup", "stub"] == lab.asked
        assert int(client.headers["x-turnout-queue-ms"]) == pytest.approx((SPAN_S - 5) * 1000, abs=300)
        trace = to_trace(lab.ended[-1])
        assert trace.priority == "medium"
        assert trace.waited_s == pytest.approx(SPAN_S - 5, abs=0.3)

    played(tmp_path, vendors(), scene)


def test_a_resting_candidate_is_not_taken_only_because_nobody_wants_it(tmp_path):
    """Waiting for one that works is better than asking one that fails."""

    async def scene(lab):
        for _ in range(5):
            lab.health.begin("third@paid", lab.clock.now())
            lab.health.failed("third@paid", lab.clock.now())
            lab.health.ended("third@paid", None)
        await lab.say("free")
        await lab.say("free")
        await lab.say("work")
        assert ["stub", "backup", "stub"] == lab.asked
        assert lab.at() > 60

    played(tmp_path, vendors(), scene)


def test_a_task_says_how_urgent_its_requests_are_and_a_request_may_say_otherwise(tmp_path):
    """Three tools make it high by themselves."""

    async def scene(lab):
        asked = [("later", {}, []), ("later", {"priority": "high"}, []), ("later", {}, TOOLS), ("alone", {}, [])]
        for task, said, tools in asked:
            fields = {"tools": tools} if tools else {}
            await lab.say(task, said=said, **fields)
        assert ["low", "high", "high", "medium"] == [exchange.priority for exchange in lab.ended]

    played(tmp_path, vendors(), scene)


# ── deadlines ──


@pytest.mark.parametrize("said", [{"timeout_s": 20.0}, {"by": MONDAY + 20.0}])
def test_a_request_that_cannot_be_served_in_time_is_refused_before_anything_is_sent(tmp_path, said):
    """429, and when to come again."""

    async def scene(lab):
        await lab.say("alone")
        with pytest.raises(QuotaExhausted) as refused:
            await lab.say("alone", said=said)
        assert refused.value.retry_after_s == pytest.approx(SPAN_S, abs=0.3)
        assert (["stub"], 1, 0.0) == (lab.asked, lab.used("stub"), lab.at())
        assert to_trace(lab.ended[-1]).outcome == "quota_exhausted"

    played(tmp_path, vendors(), scene)


def test_a_job_waits_longer_than_any_other_request_may(tmp_path):
    """And its own time for the answer begins with its turn."""
    config = CONFIG.replace("total: 600", "total: 30")

    async def scene(lab):
        await lab.say("alone")
        with pytest.raises(QuotaExhausted):
            await lab.say("alone")
        await lab.say("alone", said={"by": MONDAY + 3600})
        assert 60 < lab.at() < 62
        assert lab.ended[-1].deadline == pytest.approx(lab.clock.now() + 30)

    played(tmp_path, vendors(), scene, config)


def test_the_time_for_the_answer_is_not_waited_away(tmp_path):
    """A candidate that takes 10 s is no use to a client who has 65 s left, 60 of which it would wait."""

    async def scene(lab):
        await lab.say("alone")
        for _ in range(20):
            lab.health.begin("first@stub", lab.clock.now())
            lab.health.ended("first@stub", 10.0)
        with pytest.raises(QuotaExhausted):
            await lab.say("alone", said={"timeout_s": 65.0})
        await lab.say("alone", said={"timeout_s": 75.0})

    played(tmp_path, vendors(), scene)


# ── what fails ──


def test_a_call_that_never_reached_its_vendor_takes_nothing(tmp_path):
    """No connection: the next request has the whole quota."""

    async def scene(lab):
        with pytest.raises(UpstreamUnreachable):
            await lab.say("alone")
        assert (0, 0) == (lab.used("stub"), lab.at())

    away = UpstreamUnreachable("nobody there")
    config = CONFIG.replace("retry: {", "retry: {max_retries: 0, ")
    played(tmp_path, vendors(stub=[away]), scene, config)


def test_a_failed_call_counts_and_the_next_one_needs_a_turn_of_its_own(tmp_path):
    """Vendors count failures. The fallback's quota is its own; when none is left, that is what is said."""

    async def scene(lab):
        with pytest.raises(UpstreamFault) as failed:
            await lab.say("alone", said={"timeout_s": 10.0})
        assert (["stub"], 1) == (lab.asked, lab.used("stub"))
        assert failed.value.vendor_status == 503
        assert "no quota" in to_trace(lab.ended[-1]).attempts[-1].decision
        client = await lab.say("free")
        assert client.headers["x-turnout-model"] == "second"

    played(tmp_path, vendors(stub=[refusal(503)]), scene)


def test_a_refusal_for_rate_is_waited_out_however_long(tmp_path):
    """A hint of 45 s would be too long for an open connection without a line; then the same candidate is asked again."""
    config = CONFIG.replace("requests_per_minute: 1}", "requests_per_minute: 10}", 1)

    async def scene(lab):
        client = await lab.say("alone")
        assert ["stub", "stub"] == lab.asked
        assert lab.at() == pytest.approx(45, abs=5)
        assert client.headers["x-turnout-queue-ms"].startswith("4")

    played(tmp_path, vendors(stub=[refusal(429, retry_after="45"), OK]), scene, config)


def test_a_refusal_that_is_too_long_for_the_client_is_passed_on_at_once(tmp_path):
    """With the vendor's own time."""
    config = CONFIG.replace("requests_per_minute: 1}", "requests_per_minute: 10}", 1)

    async def scene(lab):
        with pytest.raises(UpstreamThrottled) as refused:
            await lab.say("alone", said={"timeout_s": 20.0})
        assert (45, 0) == (refused.value.retry_after_s, lab.at())

    played(tmp_path, vendors(stub=[refusal(429, retry_after="45")]), scene, config)


def test_who_is_asked_while_everybody_cools_down_waits_for_the_first_that_may(tmp_path):
    """Asking at once would be refused, and count."""
    config = CONFIG.replace("requests_per_minute: 1}", "requests_per_minute: 10}", 1)

    async def scene(lab):
        lab.health.begin("first@stub", lab.clock.now())
        lab.health.throttled("first@stub", lab.clock.now(), 7.0, 0.0)
        lab.health.ended("first@stub", None)
        await lab.say("alone")
        assert lab.at() == pytest.approx(7.0)

    played(tmp_path, vendors(), scene, config)


def test_a_request_that_its_format_cannot_say_takes_nothing(tmp_path):
    """Nothing was sent."""
    config = CONFIG.replace(
        'kind: compatible, base_url: "http://stub.invalid/v1"', 'kind: anthropic, base_url: "http://stub.invalid"'
    )

    async def scene(lab):
        await lab.say("free", n=3)
        assert ["backup"] == lab.asked
        assert (0, 1) == (lab.used("stub"), lab.used("backup"))

    played(tmp_path, vendors(), scene, config)


# ── conversations ──


def conversation(calls):
    """A conversation's messages before call number `calls`."""
    said = [{"role": "user", "content": "Book"}]
    for number in range(calls):
        call = {"id": f"c{number}", "type": "function", "function": {"name": "tool0", "arguments": "{}"}}
        said.append({"role": "assistant", "content": None, "tool_calls": [call]})
        said.append({"role": "tool", "tool_call_id": f"c{number}", "content": "ok"})
    return said


def test_room_for_a_conversation_is_kept_while_its_answers_call_tools(tmp_path):
    """Of three calls in all: another request has to wait until an answer has called none."""
    config = CONFIG.replace("requests_per_minute: 1}", "requests_per_minute: 3}", 1)

    async def scene(lab):
        await lab.say("alone", said={"user": "ann"}, messages=conversation(0), tools=TOOLS)
        with pytest.raises(QuotaExhausted):
            await lab.say("alone", said={"user": "bob", "timeout_s": 5.0})
        await lab.say("alone", said={"user": "ann"}, messages=conversation(1), tools=TOOLS)
        await lab.say("alone", said={"user": "bob", "timeout_s": 5.0})
        assert (["stub"] * 3, 0.0) == (lab.asked, lab.at())

    played(tmp_path, vendors(stub=[calling(), OK]), scene, config)
