"""A scheduler in virtual time, and whoever asks it for turns."""

from __future__ import annotations

import asyncio
from typing import Any

from turnout.core.catalog import Account, Candidate, Model, Quota
from turnout.core.eligible import Choice
from turnout.gateway.scheduler import Scheduler
from turnout.gateway.virtual_time import VirtualClock, VirtualLoop, run_virtually
from turnout.gateway.waiting import Want

MONDAY = 1_795_392_000.0
ACCOUNT = Account("free", "compatible")


def choice(name="a", *quotas):
    model = Model(name=name, provider="free", id=name)
    return Choice(Candidate(f"{name}@free", model, ACCOUNT, name, None, quotas or ("free",)), "control")


A, B = choice("a"), choice("b", "free", "b")


class Lab:
    """A scheduler on a virtual loop, and everybody who asks it."""

    def __init__(self, loop: VirtualLoop, *quotas: Quota) -> None:
        self.loop = loop
        self.began = loop.time()
        self.scheduler = Scheduler({quota.name: quota for quota in quotas}, VirtualClock(loop, began=MONDAY))
        self.order: list[tuple[str, float]] = []

    def at(self) -> float:
        return round(self.loop.time() - self.began, 2)

    def want(self, caller: str = "me", priority: Any = "medium", wait_s: float = 600.0, **more: Any) -> Want:
        return Want(caller, priority, self.loop.time() + wait_s, **more)

    async def turn(self, *choices: Choice, **more: Any):
        return await self.scheduler.turn(choices or (A,), self.want(**more))

    async def call(self, name: str, *choices: Choice, takes_s: float = 1.0, **more: Any) -> None:
        """Wait for a turn, write down when it came, use it."""
        turn = await self.turn(*choices, **more)
        self.order.append((name, self.at()))
        await asyncio.sleep(takes_s)
        turn.end(0)

    def calls(self, *calls: Any) -> asyncio.Task[Any]:
        return self.loop.create_task(asyncio.wait([self.loop.create_task(call) for call in calls]))

    @property
    def under_way(self) -> int:
        return max(gauge.used for gauge in self.gauges("at_once"))

    def gauges(self, what: str):
        views = self.scheduler.quotas.views(self.loop.time(), MONDAY)
        return [gauge for view in views for gauge in view.gauges if gauge.what == what]


def played(scene, *quotas):
    """Run `scene(lab)` to its end; return what it returns."""

    async def main(loop):
        return await scene(Lab(loop, *quotas))

    return run_virtually(main)


def minute(count, **more):
    return Quota("free", "free", requests_minute=count, **more)
