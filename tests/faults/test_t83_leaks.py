"""T83: no path leaks, least of all those of errors: net growth is at most 1 KiB per 1,000 requests.

The gateway runs in this process, where tracemalloc sees every byte of Python's; its vendor runs in another one, because a
witness remembers on purpose. Growth is a slope over six looks (the median of the slopes between any two of them), so that
a cache that fills once, or a connection more or less, is no leak; a leak is what grows with every request. Of 300 requests
a slope is known to some KiB per 1,000; an object a request would be 64 or more, and what is kept of it mostly far more.

No path may leave reference cycles behind either: the collector would find them much later, and what hangs on them, such as a
request of 10 MiB, would stay until then.
"""

import asyncio
import contextlib
import gc
import json
import logging
import random
import re
import statistics
import sys
import tracemalloc
from array import array
from itertools import combinations
from typing import NamedTuple

import pytest
import uvloop

from tests.faults.crowd import Client
from tests.process import SimulatedVendor
from tests.rig import KEY, Rig

LOOKS = 6
SCRIPTS = {
    "sound": "",
    "500": "500",
    "429": "429;retry-after=0",
    "400": "400",
    "html": "html",
    "bad-http": "bad-http",
    "reset": "reset",
    "silent": "stall",
    "cut": "cut-event=4",
    "reset-event": "reset-event=4",
    "stall-event": "stall-event=4",
    "malformed": "malformed",
    "error-event": "error-event=3",
}
CONFIG = """
defaults: false
server: {{{{max_body: 4KiB, max_header: 2KiB, header_timeout: 5}}}}
retry: {{{{max_retries: 1, backoff: 0, max_backoff: 0}}}}
traces: {{{{rows: 500}}}}
timeouts: {{{{first_chunk: 5, idle: 5, connect: 1}}}}
providers:
  vendor: {{{{kind: compatible, base_url: "{url}", api_key: sk-canary-stub-key-1}}}}
  brisk: {{{{kind: compatible, base_url: "{url}", api_key: sk-canary-stub-key-2, timeouts: {{{{first_chunk: 5ms}}}}}}}}
  pausing: {{{{kind: compatible, base_url: "{url}", api_key: sk-canary-stub-key-5, timeouts: {{{{idle: 5ms}}}}}}}}
  claude: {{{{kind: anthropic, base_url: "{origin}", api_key: sk-canary-stub-key-3}}}}
  nobody: {{{{kind: compatible, base_url: "http://127.0.0.1:9/v1", api_key: sk-canary-stub-key-4}}}}
models:
{models}
tasks:
  falls-back: {{{{models: ["500", sound]}}}}
"""
PATIENCE_S = 20.0
GLANCES = 5


def config(vendor):
    """A model for each script; the silent ones are not waited for."""
    lines = []
    for name in SCRIPTS:
        provider = {"silent": "brisk", "stall-event": "pausing"}.get(name, "vendor")
        lines.append(f'  "{name}": {{{{provider: {provider}, id: "{name}", price: free}}}}')
        lines.append(f'  "claude-{name}": {{{{provider: claude, id: "{name}", price: free}}}}')
    lines.append("  nobody: {{provider: nobody, id: nobody, price: free}}")
    return CONFIG.format(url=vendor.base_url, origin=vendor.origin, models="\n".join(lines))


def request(path="/v1/chat/completions", body=b"{}", *, method="POST", key=KEY, more=""):
    """A request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{more}"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def chat(model, *, stream):
    """A chat request."""
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hej"}]}
    return request(body=json.dumps(body).encode())


def asks(data, expected):
    """A path: send this, find these bytes in the answer."""

    async def once(client):
        answer = await client.tell(data)
        assert re.search(expected, answer, re.DOTALL), answer[-400:]

    return once


def leaves(data, after):
    """A path: send this, and leave when these bytes have come (at once if there are none)."""

    async def once(client):
        await client.tell(data, leaves_after=after)

    return once


NOT_WHOLE = rb'"code":"(stream_interrupted|upstream_fault)"'
"""A reset may overtake what was sent before it: then nothing has reached the client, and the error is an ordinary one."""
PATHS = {
    "200": asks(chat("sound", stream=False), rb"^HTTP/1.1 200"),
    "200 stream": asks(chat("sound", stream=True), rb"^HTTP/1.1 200.*\[DONE\]"),
    "200 translated": asks(chat("claude-sound", stream=False), rb"^HTTP/1.1 200"),
    "200 translated stream": asks(chat("claude-sound", stream=True), rb"^HTTP/1.1 200.*\[DONE\]"),
    "200 fallback": asks(chat("task:falls-back", stream=False), rb"^HTTP/1.1 200"),
    "400 no HTTP": asks(b"hello\r\n\r\n", rb"^HTTP/1.1 400"),
    "400 no JSON": asks(request(body=b'{"model":'), rb"^HTTP/1.1 400"),
    "400 no messages": asks(request(body=b'{"model":"sound"}'), rb"^HTTP/1.1 [45]"),
    "401 no such key": asks(request(key="sk-wrong"), rb"^HTTP/1.1 401"),
    "404 path": asks(request("/v1/nothing"), rb"^HTTP/1.1 404"),
    "404 model": asks(chat("nothing", stream=False), rb"^HTTP/1.1 404"),
    "405": asks(request(method="GET"), rb"^HTTP/1.1 405"),
    "413": asks(request(body=b"x" * 5000), rb"^HTTP/1.1 413"),
    "415": asks(request(more="content-encoding: gzip\r\n"), rb"^HTTP/1.1 415"),
    "431": asks(request(more=f"x-long: {'x' * 3000}\r\n"), rb"^HTTP/1.1 431"),
    "admin 401": asks(request("/admin/config", method="GET", key="sk-wrong"), rb"^HTTP/1.1 401"),
    "admin 404": asks(request("/admin/nothing", method="GET"), rb"^HTTP/1.1 404"),
    "admin 400": asks(request("/admin/rollouts/x", b"{", method="PUT"), rb"^HTTP/1.1 40"),
    "vendor refuses connections": asks(chat("nobody", stream=False), rb"^HTTP/1.1 502"),
    "vendor 500": asks(chat("500", stream=False), rb"^HTTP/1.1 502"),
    "vendor 429": asks(chat("429", stream=False), rb"^HTTP/1.1 429"),
    "vendor 400": asks(chat("400", stream=False), rb"^HTTP/1.1 400"),
    "vendor's web page": asks(chat("html", stream=False), rb"^HTTP/1.1 502"),
    "vendor speaks no HTTP": asks(chat("bad-http", stream=False), rb"^HTTP/1.1 502"),
    "vendor resets": asks(chat("reset", stream=False), rb"^HTTP/1.1 502"),
    "vendor is silent": asks(chat("silent", stream=False), rb"^HTTP/1.1 504"),
    "translated vendor 500": asks(chat("claude-500", stream=True), rb"^HTTP/1.1 502"),
    "stream cut": asks(chat("cut", stream=True), NOT_WHOLE),
    "stream reset": asks(chat("reset-event", stream=True), NOT_WHOLE),
    "stream stalls": asks(chat("stall-event", stream=True), NOT_WHOLE),
    "stream malformed": asks(chat("malformed", stream=True), NOT_WHOLE),
    "stream tells an error": asks(chat("error-event", stream=True), NOT_WHOLE),
    "translated stream reset": asks(chat("claude-reset-event", stream=True), NOT_WHOLE),
    "client leaves before its request is whole": leaves(request(body=b"x" * 100)[:-50], b""),
    "client leaves before its answer": leaves(chat("sound", stream=True), b""),
    "client leaves in its stream": leaves(chat("sound", stream=True), b"data: "),
}


class Seen(NamedTuple):
    """What grew with 1,000 requests. cycles: objects that only the cycle collector could free."""

    size_bytes: float
    objects: float
    cycles: float


async def look(rig, tasks):
    """Wait until nothing is under way but `tasks`; return bytes and objects that are alive, and how many were only in cycles."""
    await rig.service.flush_traces()
    async with asyncio.timeout(PATIENCE_S):
        while rig.service.telemetry.in_flight:
            await asyncio.sleep(0.001)
    with contextlib.suppress(
        TimeoutError
    ):  # the gateway may have begun one of its own since; one a request would be seen
        async with asyncio.timeout(1.0):
            while len(asyncio.all_tasks()) > tasks:
                await asyncio.sleep(0.001)
    await rig.service.books.ledger.flush()
    sys._clear_type_cache()  # Python's own, of attributes' names, which fills slowly: its documentation says, for this use
    cycles = gc.collect()
    least = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
    for _ in range(GLANCES):  # what the gateway does by itself meanwhile (a beat, a look at the books) is no growth
        await asyncio.sleep(0.01)
        least = min(least, (tracemalloc.get_traced_memory()[0], len(gc.get_objects())))
    return *least, cycles


def slope(values):
    """How much they grow from look to look: the median of the slopes between any two."""
    pairs = combinations(enumerate(values), 2)
    return statistics.median((after - before) / (two - one) for (one, before), (two, after) in pairs)


async def growth(rig, once, count):
    """Go one path `count` times, after a warm-up; return what that left behind."""
    client = Client(rig.port)
    tasks = len(asyncio.all_tasks())
    each = count // LOOKS
    warm_up = 2 * each
    places = array("q", [0] * LOOKS), array("q", [0] * LOOKS), array("q", [0] * LOOKS)  # looking makes nothing grow
    for number in range(warm_up + count):
        await once(client)
        place, rest = divmod(number + 1 - warm_up, each)
        if place >= 0 and not rest:
            for series, value in zip(places, await look(rig, tasks), strict=True):
                if place:
                    series[place - 1] = value
    await client.close()
    sizes, objects, cycles = places
    return Seen(slope(sizes) * 1000 / each, slope(objects) * 1000 / each, statistics.median(cycles) * 1000 / each)


async def all_paths(folder, names, count, most):
    """Go these paths; return the growth of each. What grew by more than `most` is gone once more: a leak leaks again, while
    what the process sets up once (a pool, a cache of a library's) does not.
    """
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(str(context)))
    faults = [word for name, script in SCRIPTS.items() if script for word in ("--fault-for", name, script)]
    async with (
        SimulatedVendor(folder, *faults, is_logged=False) as vendor,
        Rig(folder, config=config(vendor)) as rig,
    ):
        gc.collect()
        gc.freeze()  # what stands now is nobody's leak, and need not be looked at again and again
        gc.disable()  # what is in cycles waits for our looks
        tracemalloc.start(1)
        try:
            found = {name: await growth(rig, PATHS[name], count) for name in names}
            for name in [name for name, seen in found.items() if any(is_more(seen, most))]:
                found[name] = await growth(rig, PATHS[name], count)
        finally:
            tracemalloc.stop()
            gc.enable()
            gc.unfreeze()
    assert problems == []
    return found


@pytest.fixture(scope="module", autouse=True)
def uvloop_has_run():
    """uvloop opens a pipe for good with its first child: that is to stand before descriptors are counted."""

    async def child():
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()

    uvloop.run(child())


@pytest.mark.timeout(180)
def test_t83_no_path_leaks(tmp_path, size, proof, caplog, seed):
    """Each way in which a request may end, good or bad; some of them, drawn by the seed, in the short run. On uvloop, as in
    production: asyncio's loop keeps timers that were cancelled until there are a hundred of them.
    """
    # The short run sees an object a request (1,000 per 1,000), and no less: a few are the gateway's own, of the moment.
    count, most = size((120, Seen(96 * 1024, 500, 100)), (1200, Seen(1024, 10, 10)))
    names = size(random.Random(seed).sample(list(PATHS), 6), list(PATHS))
    caplog.set_level(logging.ERROR, "turnout")  # what pytest keeps of the log grows too
    found = uvloop.run(all_paths(tmp_path, names, count, most))
    for name, seen in found.items():
        print(f"{name:45} per 1,000: {seen.size_bytes:8.0f} B {seen.objects:8.1f} objects {seen.cycles:8.1f} in cycles")
    leaks = {name: seen for name, seen in found.items() if any(is_more(seen, most))}
    assert leaks == {}
    worst = max(found, key=lambda name: found[name].size_bytes)
    proof(
        f"{len(found)} paths, {count} times each: most growth {found[worst].size_bytes:.0f} B per 1,000 ({worst}), median "
        f"{statistics.median(seen.size_bytes for seen in found.values()):.0f} B; at most "
        f"{max(seen.cycles for seen in found.values()):.0f} objects per 1,000 left to the cycle collector"
    )


def is_more(seen, most):
    """Which of the three are above their limits."""
    return [value > limit for value, limit in zip(seen, most, strict=True)]
