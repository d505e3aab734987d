"""A hundred at once, the smallest load that the first product asks for: all answered, and nothing left behind."""

import asyncio
from contextlib import suppress
from pathlib import Path

from tests.rig import Rig
from turnout.core.simulation.world import World

AT_ONCE = 100


def open_files():
    """File descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def open_sockets():
    """Those of them that are connections; a gateway also opens files, when it first needs them."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that listed them
            found += str(one.readlink()).startswith("socket:")
    return found


async def settled(condition, seconds=5.0):
    """Wait for `condition`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def ask(client, number):
    """One conversation, whole or streamed; returns its text."""
    stream = number % 2 == 0
    reply = await client.chat.completions.create(
        model=("task:work", "first", "third")[number % 3],
        messages=[{"role": "user", "content": f"Hej nummer {number}"}],
        stream=stream,
        user=f"user-{number}",
    )
    if not stream:
        return reply.choices[0].message.content
    text, reasons = "", []
    async for chunk in reply:
        text += chunk.choices[0].delta.content or ""
        reasons += [chunk.choices[0].finish_reason] if chunk.choices[0].finish_reason else []
    assert reasons == ["stop"]
    return text


async def test_a_hundred_at_once_are_all_answered_and_nothing_is_left(tmp_path):
    """Streams and not, three models, two protocols; twice, so that a leak would show as growth."""
    async with Rig(tmp_path, world=World.instant(seed=1)) as rig:
        telemetry = rig.service.telemetry
        files, tasks = [], []
        most = 0
        for _ in range(2):
            async with rig.openai() as client:
                asked = [asyncio.ensure_future(ask(client, number)) for number in range(AT_ONCE)]
                while not all(one.done() for one in asked):
                    most = max(most, telemetry.in_flight)
                    await asyncio.sleep(0)
                texts = [one.result() for one in asked]
            assert len(texts) == AT_ONCE
            assert all(text.startswith("[simuleret]") for text in texts)
            await settled(lambda: telemetry.in_flight == 0)
            await settled(lambda: not rig._server.server_state.connections)
            await settled(lambda: not rig._server.server_state.tasks)
            await rig.service.flush_traces()
            await settled(lambda: len(asyncio.all_tasks()) <= 3 + len(rig.vendor.connections))
            files.append(open_files())
            tasks.append(len(asyncio.all_tasks()))
        assert most > AT_ONCE / 2
        assert files[1] <= files[0] + 2
        assert tasks[1] <= tasks[0]
        assert all(load.in_flight == 0 for load in rig.service.engine.health.loads().values())
        assert {trace.outcome for trace in rig.traces(300)} == {"ok"}
        assert len(rig.traces(300)) == rig.world.witness.count == 2 * AT_ONCE
        assert {one.outcome for one in rig.world.witness.dispatches} == {"complete"}


async def test_a_hundred_at_once_survive_a_vendor_that_refuses_half_of_them(tmp_path):
    """Each fallback is somebody's answer: nobody sees an error, and no healthy candidate is put to rest for it."""
    world = World.instant(seed=1)
    async with Rig(tmp_path, world=world) as rig, rig.openai() as client:
        world.queue.extend(["503", ""] * (AT_ONCE // 2))
        texts = await asyncio.gather(*(ask(client, 3 * number) for number in range(AT_ONCE)))
        await settled(lambda: rig.service.telemetry.in_flight == 0)
        await rig.service.flush_traces()
        traces = rig.traces(300)
    assert all(text.startswith("[simuleret]") for text in texts)
    assert {trace.outcome for trace in traces} == {"ok"}
    assert sum(len(trace.attempts) for trace in traces) == world.witness.count


async def test_clients_that_leave_in_the_middle_leave_nothing_behind(tmp_path):
    """A hundred streams that stall; every client gives up."""
    async with Rig(tmp_path) as rig, rig.http() as client:
        rig.world.by_model["vendor/first"] = "stall-event=3"
        before = open_sockets()
        body = {"model": "first", "stream": True, "messages": [{"role": "user", "content": "hej"}]}

        async def begin_and_leave():
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                await anext(answer.aiter_bytes())

        await asyncio.gather(*(begin_and_leave() for _ in range(AT_ONCE)))
        await settled(lambda: rig.service.telemetry.in_flight == 0)
        await settled(lambda: not rig._server.server_state.connections)
        await settled(lambda: not rig.vendor.connections)
        await settled(lambda: open_sockets() <= before)
        await rig.service.flush_traces()
        assert {trace.status for trace in rig.traces(300)} == {499}
