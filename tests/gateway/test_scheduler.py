"""gateway/scheduler.py: who gets a turn, when, and what is given back. In virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.line import A, B, choice, minute, played
from turnout.core.catalog import Quota
from turnout.core.quota_window import SPAN_S
from turnout.errors import QuotaExhausted

# ── the moment ──


def test_whoever_finds_room_goes_at_once():
    """And nothing of it is a wait."""

    async def scene(lab):
        turn = await lab.turn()
        assert (A, 0.0, 0) == (turn.choice, turn.waited_s, len(lab.scheduler))
        turn.end(0)

    played(scene, minute(2))


def test_with_plenty_of_room_nothing_is_weighed():
    """After one that was; not while somebody waits, room is kept for a conversation, or the config has just changed."""

    async def scene(lab):
        scheduler = lab.scheduler
        await asyncio.sleep(2)  # it began at midnight, when calls may count for two days
        assert scheduler.easy(A, 10, "high") is None
        first = scheduler.free_now([A], lab.want())
        assert first is not None
        turn = scheduler.easy(A, 10, "high")
        assert turn is not None
        assert (A, 1, 1) == (turn.choice, scheduler.granted["high"], scheduler.granted["medium"])
        turn.end(20)
        first.end(0)
        (gauge,) = lab.gauges("requests_minute")
        assert 2 == gauge.used
        talk = await lab.turn(follow_ups=2)
        assert scheduler.easy(A, 10, "high") is None
        talk.end(0)
        assert scheduler.easy(A, 10, "high") is not None
        scheduler.install({"free": Quota("free", "free", requests_minute=1)})
        assert scheduler.easy(A, 10, "high") is None

    played(scene, Quota("free", "free", requests_minute=1000, at_once=40))


def test_who_finds_none_waits_for_the_moment_when_there_is_some():
    """No earlier, and not a timer's grain later; and it knows how long it waited."""

    async def scene(lab):
        for _ in range(2):
            (await lab.turn()).end(0)
        turn = await lab.turn()
        assert SPAN_S <= turn.waited_s <= SPAN_S + 0.3
        assert turn.waited_s == pytest.approx(lab.at(), abs=0.01)
        assert {"high": 0, "medium": 1, "low": 0} == lab.scheduler.waited
        assert {"high": 0, "medium": 3, "low": 0} == lab.scheduler.granted

    played(scene, minute(2))


def test_an_end_frees_a_place_for_the_next_in_the_same_instant():
    """A grant is an event: nobody looks whether there is room."""

    async def scene(lab):
        await lab.calls(*[lab.call(str(number), takes_s=2.5) for number in range(3)])
        assert [("0", 0.0), ("1", 2.5), ("2", 5.0)] == lab.order

    played(scene, Quota("free", "free", at_once=1))


def test_the_first_that_is_free_is_taken_whichever_it_is():
    """Candidate and moment are chosen together: the second one now is better than the first one later."""

    async def scene(lab):
        (await lab.turn(choice("a", "one"))).end(0)
        turn = await lab.turn(choice("a", "one"), choice("b", "two"))
        assert ("b@free", 0.0) == (turn.choice.candidate.key, lab.at())

    played(scene, Quota("one", "free", requests_minute=1), Quota("two", "free", requests_minute=1))


def test_who_waits_for_two_gets_the_one_that_is_free_first():
    """And has left the line for the other."""

    async def scene(lab):
        one, two = choice("a", "one"), choice("b", "two")
        first = await lab.turn(one)
        second = await lab.turn(two)
        lab.loop.call_later(3, second.end, 0)
        turn = await lab.turn(one, two)
        assert (two, 3.0, 0) == (turn.choice, lab.at(), len(lab.scheduler))
        first.end(0)

    played(scene, Quota("one", "free", at_once=1), Quota("two", "free", at_once=1))


def test_high_goes_before_medium_and_callers_take_turns():
    """As core/queueing.py says."""

    async def scene(lab):
        first = await lab.turn()
        waiting = lab.calls(
            lab.call("m1", caller="m"),
            lab.call("m2", caller="m"),
            lab.call("n1", caller="n"),
            lab.call("h", priority="high"),
        )
        await asyncio.sleep(1)
        first.end(0)
        await waiting
        assert ["h", "m1", "n1", "m2"] == [name for name, _ in lab.order]

    played(scene, Quota("free", "free", at_once=1))


def test_a_scarce_quota_of_its_own_keeps_only_its_own_model_waiting():
    """The account's other models go on."""

    async def scene(lab):
        (await lab.turn(B)).end(0)
        waiting = lab.calls(lab.call("b", B), lab.call("a", A))
        await waiting
        assert [("a", 0.0)] == lab.order[:1]
        assert lab.order[1][1] > 60

    played(scene, minute(10), Quota("b", "free", requests_minute=1))


# ── no moment ──


def test_who_cannot_be_served_in_time_is_refused_at_once_and_told_when():
    """Nothing is spent on it, and Retry-After is when there is room."""

    async def scene(lab):
        (await lab.turn()).end(0)
        used = [gauge.used for gauge in lab.gauges("requests_minute")]
        with pytest.raises(QuotaExhausted) as refused:
            await lab.turn(wait_s=30)
        assert SPAN_S <= refused.value.retry_after_s <= SPAN_S + 0.3
        assert (0.0, 0) == (lab.at(), len(lab.scheduler))
        assert used == [gauge.used for gauge in lab.gauges("requests_minute")]
        assert {"high": 0, "medium": 1, "low": 0} == lab.scheduler.exhausted
        await asyncio.sleep(refused.value.retry_after_s)
        assert (await lab.turn(wait_s=0)).waited_s == 0.0

    played(scene, minute(1))


def test_those_ahead_count_in_what_it_is_told():
    """One a minute, two waiting: the third is told three minutes."""

    async def scene(lab):
        (await lab.turn()).end(0)
        waiting = lab.calls(lab.call("1"), lab.call("2"))
        await asyncio.sleep(0)
        with pytest.raises(QuotaExhausted) as refused:
            await lab.turn(wait_s=100)
        assert refused.value.retry_after_s == pytest.approx(3 * SPAN_S, abs=1)
        await waiting

    played(scene, minute(1))


def test_what_is_larger_than_its_quota_is_never_served_and_told_so():
    """There is no time at which to come again."""

    async def scene(lab):
        with pytest.raises(QuotaExhausted, match="larger than the quota") as refused:
            await lab.turn(tokens=1000)
        assert refused.value.retry_after_s is None

    played(scene, Quota("free", "free", tokens_minute=100))


def test_who_is_overtaken_has_its_turn_before_its_time_is_over():
    """It was let into the line, so it does not wait for nothing: in its last quarter it goes before whoever came later."""

    async def scene(lab):
        (await lab.turn()).end(0)
        late = lab.loop.create_task(lab.turn(wait_s=70))
        await asyncio.sleep(1)
        high = lab.loop.create_task(lab.turn(priority="high"))
        assert (await late).waited_s == pytest.approx(SPAN_S, abs=0.3)
        assert (await high).waited_s == pytest.approx(2 * SPAN_S - 1, abs=0.6)

    played(scene, minute(1))


def test_who_is_overtaken_until_its_time_is_over_is_refused_then():
    """By somebody whose time is nearly over too, and whose priority is higher."""

    async def scene(lab):
        (await lab.turn()).end(0)
        late = lab.loop.create_task(lab.turn(wait_s=70))
        await asyncio.sleep(1)
        high = lab.loop.create_task(lab.turn(priority="high", wait_s=65))
        with pytest.raises(QuotaExhausted) as refused:
            await late
        assert lab.at() == 70
        assert refused.value.retry_after_s == pytest.approx(2 * SPAN_S - 70, abs=1)
        assert (await high).waited_s < 61

    played(scene, minute(1))


def test_who_was_failed_by_its_vendor_is_not_refused_for_who_waits():
    """Nine jobs wait, and there is no time for one more; one whose call failed goes on, before its caller's later ones."""

    async def scene(lab):
        by = lab.loop.time() + 600
        (await lab.turn()).end(0)
        jobs = [lab.loop.create_task(lab.call(str(n), by=by, takes_s=0.0, caller=str(n))) for n in range(9)]
        await asyncio.sleep(1)
        with pytest.raises(QuotaExhausted):
            await lab.turn(by=by)
        again = lab.loop.create_task(lab.call("again", by=by, takes_s=0.0, is_again=True))
        await asyncio.wait([again, *jobs[:8]])
        assert "again" in {name for name, _ in lab.order}

    played(scene, minute(1))


def test_whoever_waits_for_today_is_told_at_once_that_the_day_is_over():
    """A vendor says that nothing is left: nobody waits for the deadline to hear it."""

    async def scene(lab):
        turn = await lab.turn()
        waiting = lab.loop.create_task(lab.turn())
        await asyncio.sleep(5)
        headers = {"x-ratelimit-limit": "50", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "36000"}
        turn.told(headers, 429)
        turn.end(0)
        with pytest.raises(QuotaExhausted) as refused:
            await waiting
        assert lab.at() == 5
        assert refused.value.retry_after_s > 3600

    played(scene, Quota("free", "free", requests_day=50, at_once=1))


# ── now or never ──


def test_now_or_never_takes_a_free_place_and_waits_for_none():
    """Neither does it take one from whoever waits for it."""

    async def scene(lab):
        turn = lab.scheduler.now_or_never([A], lab.want())
        assert turn is not None
        assert lab.scheduler.now_or_never([A], lab.want()) is None
        waiting = lab.calls(lab.call("waits"))
        await asyncio.sleep(0)
        turn.end(0)
        assert lab.scheduler.now_or_never([A], lab.want(caller="you")) is None
        await waiting
        assert len(lab.scheduler) == 0

    played(scene, Quota("free", "free", at_once=1))


def test_now_or_never_is_not_stopped_by_those_who_wait_for_something_else():
    """They are not in its way."""

    async def scene(lab):
        (await lab.turn(B)).end(0)
        waiting = lab.calls(lab.call("b", B))
        await asyncio.sleep(0)
        assert lab.scheduler.now_or_never([A], lab.want()) is not None
        await waiting

    played(scene, minute(10), Quota("b", "free", requests_minute=1))


# ── jobs ──


def test_a_new_configuration_lets_go_who_waits():
    """From another thread, as configs are read."""

    async def scene(lab):
        (await lab.turn()).end(0)
        waiting = lab.calls(lab.call("waits"))
        await asyncio.sleep(1)
        await asyncio.to_thread(lab.scheduler.install, {"free": minute(2)})
        await waiting
        assert [("waits", 1.0)] == lab.order

    played(scene, minute(1))


def test_a_configuration_before_the_first_request_counts():
    """There is no loop yet."""

    async def scene(lab):
        lab.scheduler.install({"free": minute(1)})
        (await lab.turn()).end(0)
        with pytest.raises(QuotaExhausted):
            await lab.turn(wait_s=1)

    played(scene, minute(2))


# ── whatever happens ──

STEP = st.tuples(
    st.sampled_from(["a", "b", "ab"]),  # which choices
    st.sampled_from(["high", "medium", "low"]),
    st.integers(0, 2),  # whose it is
    st.floats(0, 30),  # when it comes
    st.floats(0, 200),  # how long it waits
    st.floats(0, 20),  # how long its call takes
    st.one_of(st.none(), st.floats(0, 120)),  # when it is cancelled, if it is
    st.sampled_from([(0, False), (2, False), (0, True)]),  # a conversation?
    st.integers(0, 60),  # tokens
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=1, max_size=25))
def test_nobody_is_lost_and_nothing_is_taken_twice(steps):
    """However they come, wait, leave and end: everybody is answered or refused in time, and no quota is ever exceeded."""
    quotas = (Quota("free", "free", requests_minute=5, tokens_minute=100, at_once=3), Quota("b", "free", at_once=1))
    ends: Counter[str] = Counter()

    async def scene(lab):
        sent = []
        under_way: Counter[str] = Counter()

        async def one(step):
            names, priority, caller, comes_s, waits_s, takes_s, _, (follow_ups, going_on), tokens = step
            await asyncio.sleep(comes_s)
            choices = [{"a": A, "b": B}[name] for name in names]
            more = {"follow_ups": follow_ups, "is_continuing": going_on, "tokens": tokens}
            came = lab.at()
            try:
                turn = await lab.turn(*choices, caller=caller, priority=priority, wait_s=waits_s, **more)
            except QuotaExhausted:
                ends["refused"] += 1
                assert lab.at() - came <= waits_s + 0.1
                return
            except asyncio.CancelledError:
                ends["left"] += 1
                return
            try:
                assert lab.at() - came <= waits_s + 0.1
                sent.append(lab.loop.time())
                under_way.update(turn.choice.candidate.quotas)
                assert under_way["free"] <= 3
                assert under_way["b"] <= 1
                await asyncio.sleep(takes_s)
                ends["answered"] += 1
            except asyncio.CancelledError:
                ends["left"] += 1
            finally:
                under_way.subtract(turn.choice.candidate.quotas)
                turn.end(tokens)

        tasks = [lab.loop.create_task(one(step)) for step in steps]
        for task, step in zip(tasks, steps, strict=True):
            if step[6] is not None:
                lab.loop.call_later(step[6], task.cancel)
        await asyncio.wait(tasks)
        ends["left"] += sum(task.cancelled() for task in tasks)
        assert all(task.cancelled() or task.exception() is None for task in tasks), tasks
        assert (0, 0) == (len(lab.scheduler), lab.under_way)
        for first, later in zip(sent, sent[5:], strict=False):
            assert later - first >= 60

    played(scene, *quotas)
    assert len(steps) == ends.total()


def test_whoever_can_never_go_in_a_lane_keeps_nobody_back_there():
    """It is too large for one quota and waits for another: small requests go on using the first."""

    async def scene(lab):
        large, other = choice("l", "large"), choice("o", "other")
        (await lab.turn(other)).end(0)
        waiting = lab.loop.create_task(lab.turn(large, other, tokens=5000))
        await asyncio.sleep(1)
        (await lab.turn(large, tokens=100)).end(100)
        assert lab.at() == 1
        assert (await waiting).choice is other

    played(scene, Quota("large", "free", tokens_minute=1000, margin=0.0), Quota("other", "free", requests_minute=1))
