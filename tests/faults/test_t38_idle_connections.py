"""T38: ten thousand idle connections cost 15 KiB and one descriptor each, hurt nobody, and are closed at their limit.

Two gateways, one with the idle connections and one without, answer the same requests in turn, 200 a second.
"""

import asyncio
from contextlib import AsyncExitStack

from tests.faults.crowd import (
    chat,
    compare,
    connections_to,
    descriptors,
    has_ended,
    is_closed,
    open_socket,
    rss_bytes,
    timed,
    two_gateways,
    warm,
)
from turnout.api.descriptors import raise_descriptor_limit

OWN_FILES = 8
"""What the gateway may open for itself meanwhile: a segment of its journal, one more connection to read the books by."""

MOST_EACH = 15 * 1024
AT_ONCE = 100
SOURCES = 4
"""Loopback addresses that clients come from: one alone has 28,000 ports, and those of other tests are still in TIME_WAIT."""
SLACK_S = 2.0


async def test_t38_idle_connections_cost_little_hurt_nobody_and_are_closed(tmp_path, size, proof):
    """Each was used once: for a completion, as a client's pool would have."""
    async with AsyncExitStack() as stack:
        proof(await idle_connections(stack, tmp_path, size))


async def idle_connections(stack, folder, size):
    """Let them come, look, let them be closed; return what was seen."""
    count, pairs, idle_s = size(1000, 10_000), size(60, 3000), size(8, 60)
    share, most_ratio = size((0.5, 1.5), (0.99, 1.2))  # in the short run the other tests share the machine
    raise_descriptor_limit()
    burdened, free, vendor = await two_gateways(stack, folder, idle_s=idle_s)
    await asyncio.gather(*(warm(one, ["quick"], 20) for one in (burdened, free)))
    pid = burdened.process.pid
    request = chat(burdened, "quick", stream=False)
    loop = asyncio.get_running_loop()
    sockets = []
    stack.callback(lambda: [one.close() for one in sockets])

    async def use(number):
        one = await open_socket(burdened, source=f"127.0.0.{2 + number % SOURCES}")
        sockets.append(one)
        await timed(one, request, b"}")

    await asyncio.gather(*(use(number) for number in range(AT_ONCE)))  # so many calls at once have been before
    upstream = int(vendor.origin.rpartition(":")[2])
    memory, files = rss_bytes(pid), descriptors(pid) - connections_to(upstream)
    for begin in range(AT_ONCE, count + AT_ONCE, AT_ONCE):
        await asyncio.gather(*(use(number) for number in range(begin, begin + AT_ONCE)))
    last_used = loop.time()
    each = (rss_bytes(pid) - memory) / count
    assert 0 <= descriptors(pid) - connections_to(upstream) - files - count <= OWN_FILES
    assert each <= MOST_EACH

    beside_s, without_s, ratio = await compare(burdened, free, pairs, share)
    assert ratio <= most_ratio
    assert [] == [one for one in sockets if has_ended(one)]  # nobody was closed before the limit

    assert all(await asyncio.gather(*(is_closed(one, idle_s + SLACK_S) for one in sockets)))
    closed_s = loop.time() - last_used
    assert idle_s - 0.1 <= closed_s <= idle_s + SLACK_S
    return (
        f"{count} idle connections: {each / 1024:.1f} KiB and 1 descriptor each; p{share * 100:.0f} at 200 requests/s "
        f"{beside_s * 1e3:.1f} ms beside them, {without_s * 1e3:.1f} ms without ({ratio:.2f}×); all closed after "
        f"{closed_s:.1f} s of a limit of {idle_s} s"
    )
