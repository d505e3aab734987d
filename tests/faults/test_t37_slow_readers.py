"""T37: clients that read slowly, or stop, cost 64 KiB each, pause their upstream, hurt nobody, and are closed in time.

Two gateways, one with the slow clients and one without, answer the same quick requests in turn: what the machine does
besides hurts both, so their ratio tells what the slow clients do.
"""

import asyncio
from contextlib import AsyncExitStack

from tests.faults.crowd import (
    FEW_BYTES,
    chat,
    compare,
    is_closed,
    open_socket,
    read_by_drops,
    rss_bytes,
    two_gateways,
    warm,
    witness,
)
from tests.rig import CONFIG as RIG_CONFIG
from tests.rig import Rig
from turnout.api.descriptors import raise_descriptor_limit

LONG_BYTES = 10 * 1024 * 1024
MOST_EACH = 64 * 1024
SLACK_S = 2.0


async def standstill(vendor, count):
    """Wait until nothing more leaves the vendor for any of `count` streams; return the bytes that left for each."""
    before = None
    async with asyncio.timeout(60):
        while True:
            seen = [one["sent_bytes"] for one in (await witness(vendor, "long"))[-count:]]
            if len(seen) == count and all(seen) and seen == before:
                return seen
            before = seen
            await asyncio.sleep(0.25)


async def status_of(one):
    """The status that a socket is answered with; the rest is left to be read."""
    head = b""
    while len(head) < len(b"HTTP/1.1 200"):
        head += await asyncio.get_running_loop().sock_recv(one, len(b"HTTP/1.1 200") - len(head))
    return int(head[-3:])


async def test_t37_slow_readers_hold_little_hurt_nobody_and_are_closed(tmp_path, size, proof):
    """Half of them read a byte a second, half stop for good."""
    async with AsyncExitStack() as stack:
        proof(await slow_readers(stack, tmp_path, size))


async def slow_readers(stack, folder, size):
    """Let them come, look, let them be closed; return what was seen."""
    clients, pairs, send_s = size(40, 500), size(100, 3000), size(2, 25)
    share, most_ratio = size((0.5, 1.5), (0.99, 1.1))  # in the short run the other tests share the machine
    raise_descriptor_limit()
    fault = ("--fault-for", "long", f"long={LONG_BYTES}")
    burdened, free, vendor = await two_gateways(stack, folder, *fault, send_s=send_s)
    await asyncio.gather(*(warm(one, ["quick", "long"], size(2, 8)) for one in (burdened, free)))
    pid = burdened.process.pid
    before = rss_bytes(pid)

    request = chat(burdened, "long", stream=True)
    sockets = []
    stack.callback(lambda: [one.close() for one in sockets])
    refused = 0
    while len(sockets) < clients:
        one = await open_socket(burdened, request, window=FEW_BYTES)
        sockets.append(one)
        if await status_of(one) == 503:  # so many beginning at once are an overload: as SDKs do, it comes again
            sockets.pop().close()
            refused += 1
            assert refused < clients
            await asyncio.sleep(0.1)
    last_began = asyncio.get_running_loop().time()
    reading = asyncio.create_task(read_by_drops(sockets[::2], 1.0))
    sent = await standstill(vendor, clients)
    assert max(sent) < LONG_BYTES / 4, "the upstream was read ahead of its client"
    each = (rss_bytes(pid) - before) / clients
    assert each <= MOST_EACH

    beside_s, without_s, ratio = await compare(burdened, free, pairs, share)
    assert ratio <= most_ratio
    assert sent == await standstill(vendor, clients)  # all that time

    async with asyncio.timeout(send_s + SLACK_S + 30):
        while not all(one["outcome"] == "client-closed" for one in (await witness(vendor, "long"))[-clients:]):
            await asyncio.sleep(0.1)
    closed_s = asyncio.get_running_loop().time() - last_began
    assert closed_s <= send_s + SLACK_S
    reading.cancel()
    assert all(await asyncio.gather(*(is_closed(one) for one in sockets)))
    async with burdened.http() as client:
        metrics = (await client.get("/metrics")).text
    assert "turnout_concurrent_requests 0.0" in metrics
    assert f'model="long",status="499",task=""}} {clients}.0' in metrics
    return (
        f"{clients} slow readers of 10 MiB ({refused} of them refused at first): {each / 1024:.0f} KiB each; their vendor stood still at "
        f"{sum(sent) / clients / 1024:.0f} KiB; p{share * 100:.0f} of quick clients {beside_s * 1e3:.1f} ms beside them, "
        f"{without_s * 1e3:.1f} ms without ({ratio:.2f}×); all closed after {closed_s:.1f} s of a limit of {send_s} s"
    )


async def test_t37_a_client_that_takes_its_answer_slowly_but_takes_it_gets_it_whole(tmp_path):
    """The limit is for taking nothing: this one needs several times as long for one event, and is served to the end."""
    send_s, event, step = 0.2, 800_000, 16 * 1024
    config = RIG_CONFIG + f"server: {{{{send_timeout: {send_s}}}}}\n"
    async with Rig(tmp_path, config=config.replace("total: 5", "total: 60")) as rig:
        rig.world.queue.append(f"huge-event={event}")
        one = await open_socket(rig, chat(rig, "first", stream=True), window=step)
        loop, got = asyncio.get_running_loop(), b""
        began = loop.time()
        while not got.endswith(b"0\r\n\r\n"):
            await asyncio.sleep(0.02)
            data = await loop.sock_recv(one, step)
            assert data, "it was closed"
            got += data
        one.close()
        (trace,) = await rig.traced()
    assert loop.time() - began > 4 * send_s
    assert len(got) > event
    assert trace.outcome == "ok"
