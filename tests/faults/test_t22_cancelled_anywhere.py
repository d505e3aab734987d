"""T22: a request that is cancelled, killed or times out, at whichever step, leaves no money set aside: what budgets enforce is what the ledger says, to the nano-dollar."""

from __future__ import annotations

import asyncio
import json
import types

import pytest

from tests.faults.killing import until
from tests.gateway.lab import Client, read
from tests.invariants import kept
from tests.process import Served, SimulatedVendor, turnout
from tests.rig import Rig
from turnout.core.books.statements import Sql
from turnout.core.plan import Ask
from turnout.core.principal import Who
from turnout.errors import GatewayError

CONFIG = """
defaults: false
providers:
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}
  other: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-other-key-2}}
models:
  first: {{provider: stub, id: vendor/first, price: {{input: 1, output: 2}}}}
  second: {{provider: other, id: vendor/second, price: {{input: 3, output: 4}}}}
tasks: {{work: {{models: [first, second]}}}}
budgets: {{all: 100/month, user:*: 50/day, workspace:tight: 0.0001/month}}
timeouts: {{connect: 1, first_chunk: 5, idle: 5, total: 10}}
"""
QUIET_S = 10.0
LIMIT = 100 * 10**9
MORE = (("", False), ("503", True), ("error-event=1", False), ("error-event=1", True))


@types.coroutine
def cut_at(step, work):
    """Run `work`; cancel the task that runs it at its `step`-th wait, as a client that leaves does."""
    waits = 0
    send, value = work.send, None
    while True:
        try:
            waited = send(value)
        except StopIteration as end:
            return waits, end.value
        waits += 1
        if waits == step:
            asyncio.current_task().cancel()
        send = work.send
        try:
            value = yield waited
        except BaseException as error:  # noqa: BLE001 - handed on to `work`, whatever it is
            send, value = work.throw, error


async def serve(rig, number, workspace, *, stream):
    """One exchange, without a client's socket. Its user is new, so the books are asked for a part of their budget."""
    call = read({"model": "work", "max_tokens": 20, "stream": stream, "messages": [{"role": "user", "content": "Hej"}]})
    who = Who(user=f"user-{number}", workspace=workspace)
    ask = Ask(call.name, stream=stream, input_tokens=call.input_tokens, max_output_tokens=20, who=who)
    await rig.service.engine.serve(call, ask, f"req_{number:032x}", Client())


def sums():
    """(what a budget has spent, what the ledger has of it)."""
    ((spent,),) = yield Sql("SELECT sum(spent_nano_usd) FROM budget_period WHERE scope = 'all'")
    ((booked,),) = yield Sql("SELECT sum(cost_nano_usd) FROM entry")
    return spent, booked


@pytest.mark.parametrize(
    ("fault", "stream"),
    [("", True), ("503", False), *(pytest.param(*each, marks=pytest.mark.prove) for each in MORE)],
)
@pytest.mark.amplifies("most requests are cancelled, and each step is a request")
async def test_t22_cancelled_at_each_step(tmp_path, proof, fault, stream):
    """The first wait, the second, … until a request has none left; also where a first vendor failed, and of who has no money."""
    async with Rig(tmp_path, config=CONFIG) as rig:
        rig.world.by_model["vendor/first"] = fault
        number = steps = 0
        budgets = rig.service.books.budgets
        for workspace in ("roomy", "tight"):
            for step in range(1, 500):
                number += 1
                work = cut_at(step, serve(rig, number, workspace, stream=stream))
                task = asyncio.create_task(_run(work))
                await asyncio.wait([task])
                error = None if task.cancelled() else task.exception()
                assert error is None or isinstance(error, GatewayError)
                assert 0 == sum(purse.reserved for purse in budgets.known(9999))
                if not task.cancelled():
                    break
                steps += 1
        loop = asyncio.get_running_loop()
        deadline = loop.time() + QUIET_S
        while True:  # what was settled last is on its way to the books
            spent, booked = await rig.service.database.read(sums)
            left = {purse.account.charge.budget: purse.left_nano_usd for purse in budgets.known(9999)}["all"]
            if spent == booked == LIMIT - left:
                break
            assert loop.time() < deadline, (spent, booked, left)
            await asyncio.sleep(0.02)
    assert steps
    proof(
        f"cancelled at each of {steps} waits: 0 reservations open, {spent:,} nano-dollars enforced = {booked:,} in the ledger"
    )


async def _run(work):
    return await work


@pytest.mark.prove
async def test_t22_killed_with_money_set_aside(tmp_path, size, proof):
    """What a killed gateway had reserved is booked as an estimate by the next one, and what it had leased is free again."""
    requests = size(5, 50)
    async with SimulatedVendor(tmp_path, "--fault-for", "*", "stall") as vendor:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin), encoding="utf-8")
        killed = Served(tmp_path, "--port", "0")
        await killed.__aenter__()
        async with killed.http() as client:
            body = {"model": "first", "max_tokens": 20, "messages": [{"role": "user", "content": "Hej"}]}
            asking = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(requests)]
            await until(lambda: len(vendor.witnessed()) == requests)
            killed.process.kill()
            await killed.process.wait()
            await asyncio.wait(asking)
            assert all(one.exception() for one in asking)

        async def standing():
            _, told, _ = await turnout(tmp_path, "budget", "status", "--json")
            return {one["budget"]: one for one in json.loads(told)["budgets"]}["all"]

        before = await standing()
        # Not compared with its traces, which know nothing of what the killed one asked; with its entries, below.
        async with Served(tmp_path, "--port", "0"):
            loop = asyncio.get_running_loop()
            began = loop.time()
            while (after := await standing())["held_nano_usd"] or not after["spent_nano_usd"]:
                assert loop.time() - began < QUIET_S, after
            took = loop.time() - began
        called = {one["request_id"]: "orphaned" for one in vendor.witnessed()}
    books = kept(tmp_path / "home")
    assert books is not None
    assert called == {name: outcome for name, (_, outcome) in books.entries.items()}
    assert before["held_nano_usd"] > 0
    proof(
        f"killed with {requests} reservations open: {before['held_usd']} dollars held, {took:.1f} s after the next start 0, and "
        f"{after['spent_nano_usd']:,} nano-dollars booked as estimates"
    )
