"""The drill: one day, three ways, and two records of it that fit together."""

import asyncio
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.catalog import Quota, Snapshot
from turnout.core.simulation.verdict import Safe, Verdict, judge, most_within
from turnout.core.simulation.working_day import HOUR_S, TOOLS, Errand, errands
from turnout.gateway.drill import WAYS, Door, Played, Way, play, safe_of, without_quotas
from turnout.gateway.virtual_time import VirtualLoop, run_virtually

QUOTA = Quota("openrouter", "openrouter", "*:free", requests_minute=16, requests_day=1000, at_once=2, margin=0.25)


@cache
def configured() -> tuple[Snapshot, Quota]:
    """What is shipped, as the command has it."""
    path = Path(__file__).parents[2] / "src/turnout/cli/free_tier.yaml"
    snapshot = load(path, Environment({"OPENROUTER_API_KEY": "k", "TURNOUT_HOME": "."})).snapshot
    return snapshot, snapshot.quotas["openrouter"]


def played(way: Way, wanted: list[Errand], hours: float = 1.0, **more: object) -> Played:
    """These errands, one way."""
    return play(wanted, way, *configured(), hours=hours, **more)  # type: ignore[arg-type]


def chat(number: int, at_s: float = 0.0, **more: object) -> Errand:
    """One question."""
    return Errand(f"chat {number}", at_s, f"visitor {number}", "chat", f"Hej, jeg er gæst {number}.", **more)  # type: ignore[arg-type]


@cache
def verdicts(way: Way, seed: int) -> Verdict:
    """A working day after one of learning, judged."""
    day = played(way, errands(seed, 48), hours=24, learning_hours=24, seed=seed)
    return judge(day.asked, day.sent, safe_of(configured()[1]), 24 * HOUR_S)


def test_what_is_safe_is_what_the_margin_leaves() -> None:
    """12 of 16, 750 of 1,000: in whole calls, whatever fractions do in a computer."""
    assert Safe(12, 750, 2) == safe_of(QUOTA)
    assert Safe(9, 9, 0) == safe_of(Quota("a", "a", requests_minute=10, requests_day=10, margin=0.1))


def test_quotas_can_be_taken_from_a_configuration() -> None:
    """Of the snapshot and of every candidate; nothing else changes."""
    snapshot = configured()[0]
    ignorant = without_quotas(snapshot)
    assert not ignorant.quotas
    assert not any(one.quotas for one in ignorant.candidates.values())
    assert any(one.quotas for one in snapshot.candidates.values())
    assert ignorant.tasks == snapshot.tasks


@pytest.mark.parametrize("seed", [1, 2])
def test_a_days_quota_is_used_up_and_nobody_is_wronged(seed: int) -> None:
    """The promise of the drill: all of the safe quota while there is demand, no 429, nobody starves, no wrong refusal."""
    verdict = verdicts("turnout", seed)
    assert verdict.share >= 0.98
    assert (0, 0, 0) == (verdict.throttled, verdict.starved, verdict.refused_wrongly)
    assert verdict.most_a_minute <= 12
    assert verdict.most_a_day <= 750
    assert verdict.most_at_once <= 2


def test_the_other_ways_are_worse_for_whom_it_matters() -> None:
    """First come first served starves; falling back is refused by the vendor; each loses more of what is urgent."""
    turnout, first_come, fall_back = (verdicts(way, 1) for way in WAYS)
    assert first_come.starved > 0
    assert fall_back.throttled > 100
    assert fall_back.share < turnout.share
    lost = [one.waits["high"].wanted - one.waits["high"].answered for one in (turnout, first_come, fall_back)]
    assert lost[0] <= min(lost[1:])


def test_the_same_seed_is_the_same_day() -> None:
    """To the last instant of both records, and another seed is another day."""
    wanted = errands(5, 9.0)
    first, again = (played("turnout", wanted, 9.0, seed=5) for _ in range(2))
    assert first == again
    assert first != played("turnout", wanted, 9.0, seed=6)


@pytest.mark.parametrize("way", WAYS)
def test_both_records_tell_of_every_call(way: Way) -> None:
    """Who was answered was sent, once or again after a fault; a vendor's refusal is no answer."""
    day = played(way, [chat(number, number * 10.0) for number in range(30)])
    assert 30 == len(day.asked)
    taken = [one for one in day.sent if one.status == 200]
    answered = [one for one in day.asked if one.how == "answered"]
    assert len(answered) == len(taken) > 20
    assert {one.at for one in taken} == {one.sent for one in answered}
    assert day.codes.keys() == set() if len(answered) == 30 else day.codes


@pytest.mark.parametrize("way", WAYS)
def test_a_conversation_is_as_many_calls_as_it_wants(way: Way) -> None:
    """Each after the tool's work; high, since it declares three tools or more. A stream is answered like any other."""
    booking = Errand("booking", 60.0, "me", "calendar-create", "Book en tid.", calls=4, tools=TOOLS)
    stream = chat(1, 1200.0, is_stream=True)
    day = played(way, [booking, stream])
    assert ["high"] * 4 + ["medium"] == [one.priority for one in day.asked]
    assert ["answered"] * 5 == [one.how for one in day.asked]
    begun = [one.at for one in day.asked]
    assert 60.0 == begun[0]
    assert all(after - before > 2.0 for before, after in pairwise(begun))


def test_a_conversation_that_is_refused_does_not_go_on() -> None:
    """Thirty begin at once: who is refused asks no second time."""
    talks = [
        Errand(f"t{n}", 0.0, f"c{n}", "chat", f"Pris? {n}", calls=3, tools=TOOLS, patience_s=20.0) for n in range(30)
    ]
    day = played("turnout", talks)
    assert "refused" in {one.how for one in day.asked}
    answered = sum(one.how == "answered" for one in day.asked)
    assert len(talks) < len(day.asked) <= len(talks) + answered < 3 * len(talks)


def test_who_gives_up_has_starved_first_come_first_served() -> None:
    """Forty at once with 30 s of patience: the safe minute is for twelve, the others wait for nothing."""
    day = played("first come", [chat(number, patience_s=30.0) for number in range(40)])
    verdict = judge(day.asked, day.sent, safe_of(QUOTA), HOUR_S)
    assert verdict.starved >= 26
    assert verdict.throttled == verdict.refused == 0


def test_who_falls_back_is_refused_by_the_vendor() -> None:
    """Forty at once: sixteen a minute are taken, failed attempts count, and errors come out."""
    day = played("fall back", [chat(number, patience_s=30.0) for number in range(40)])
    assert sum(one.status == 429 for one in day.sent) > 20
    assert sum(one.how == "refused" for one in day.asked) >= 20
    assert day.codes.keys() <= {"upstream_throttled", "no_candidate", "upstream_fault"}


def test_what_still_waits_at_the_end_is_told_as_waiting() -> None:
    """A job for tomorrow is neither refused nor starved when the record ends."""
    jobs = [chat(number, by_s=40 * HOUR_S, patience_s=40 * HOUR_S) for number in range(200)]
    day = played("first come", jobs, 0.1)
    assert {"answered", "waiting"} == {one.how for one in day.asked}
    assert 200 == len(day.asked)


def test_days_of_learning_are_no_part_of_the_record() -> None:
    """Instants count from their end; what began before and waited is told, with the time at which it began."""
    wanted = [chat(1, 10.0), chat(2, HOUR_S + 10.0)]
    day = played("turnout", wanted, 1.0, learning_hours=1.0)
    assert [10.0] == [one.at for one in day.asked]
    assert 1 == len(day.sent)
    backlog = [chat(number, HOUR_S - 60.0, patience_s=HOUR_S) for number in range(30)]
    late = played("first come", backlog, 1.0, learning_hours=1.0)
    assert 0 < len(late.asked) < 30
    assert {-60.0} == {one.at for one in late.asked}
    assert min(one.at for one in late.sent) >= 0


def test_every_hour_is_told() -> None:
    """For a bar that moves; a part of an hour counts as one."""
    hours: list[int] = []
    played("turnout", [], 2.5, on_hour=hours.append)
    assert [1, 2, 3] == hours


def test_a_bug_of_ours_ends_the_drill() -> None:
    """Whatever a client meets that is no error of the gateway's comes out, instead of a day that looks quiet."""
    broken = Errand("broken", 1.0, "me", "chat", object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Encoding"):
        played("turnout", [broken])


def test_the_door_lets_in_who_came_first_as_fast_as_is_safe() -> None:
    """Two at once, three a minute, five a day; the next day begins anew. Who leaves makes room."""
    safe = Safe(3, 5, 2)
    went: list[tuple[int, float]] = []

    async def main(loop: VirtualLoop) -> None:
        door = Door(loop, safe)
        inside = 0

        async def client(number: int) -> None:
            nonlocal inside
            async with door.turn():
                went.append((number, loop.time() - 1000.0))
                inside += 1
                assert inside <= safe.at_once
                await asyncio.sleep(10.0)
                inside -= 1

        clients = [loop.create_task(client(number)) for number in range(8)]
        await asyncio.sleep(1.0)
        clients[3].cancel()
        await asyncio.wait(clients)

    run_virtually(main)
    assert [0, 1, 2, 4, 5, 6, 7] == [number for number, _ in went]
    times = [at for _, at in went]
    assert [0.0, 0.0, 10.0, 60.0, 60.0, 86_400.0, 86_400.0] == pytest.approx(times)
    assert most_within(times, 60.0) <= 3
