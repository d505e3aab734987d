"""A day's quota: who was let into the line has its turn, and what jobs ask for is nobody's demand. In virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.line import minute, played
from turnout.core.catalog import Quota
from turnout.core.queueing import JOB_LEAD_S

HOUR_S = 3600.0


def test_who_was_let_in_has_its_turn_before_its_time_is_over_at_the_reserves_cost():
    """Four of eight are high's until noon. Two are let in for the afternoon, but then high takes what they waited for: whose
    time is nearly over goes first, though it came last.
    """

    async def scene(lab):
        await asyncio.sleep(60)
        for _ in range(4):
            (await lab.turn()).end(0)
        patient = lab.loop.create_task(lab.turn(wait_s=20 * HOUR_S))
        await asyncio.sleep(1)
        hasty = lab.loop.create_task(lab.turn(wait_s=16 * HOUR_S))
        await asyncio.sleep(1)
        for _ in range(2):
            (await lab.turn(priority="high")).end(0)
        assert (await hasty).waited_s == pytest.approx(16 * HOUR_S - 60, abs=1)
        assert not patient.done()
        assert (await patient).waited_s == pytest.approx(20 * HOUR_S - 60, abs=1)

    played(scene, Quota("free", "free", requests_day=8, reserve=0.5))


def test_jobs_are_no_demand_that_anything_is_kept_for():
    """They take what others leave over: a forecast that counted them would keep it for them, from them."""

    async def scene(lab):
        await asyncio.sleep(60)
        by = lab.loop.time() + 20 * HOUR_S
        jobs = lab.calls(*(lab.call("job", by=by, wait_s=20 * HOUR_S) for _ in range(5)))
        for _ in range(3):
            (await lab.turn()).end(0)
        await asyncio.sleep(HOUR_S)
        (await lab.turn()).end(0)
        (meter,) = lab.scheduler.quotas._meters.values()
        assert meter.demand.hours[0] == 3.0
        await jobs
        assert len(lab.order) == 5

    played(scene, Quota("free", "free", requests_day=1000))


def test_a_job_goes_when_its_time_is_near_although_the_day_would_need_it():
    """Until then it takes what is left over: with a busy day expected, nothing."""

    async def scene(lab):
        by = lab.loop.time() + 3600
        await lab.turn(by=by, wait_s=3600)
        assert lab.at() <= 3600 - JOB_LEAD_S + 1

    played(scene, minute(1, requests_day=1000))


# ── another configuration ──
