"""T53: no bytes make the gateway see another request than a strict parser does: it agrees, or says 400 and closes.

The strict parser is h11, which shares no code with ours; two things that RFC 9112 lets a server overlook are left out for
it (tests/faults/edge.py, `tolerated`). Behind a proxy no bytes of one client change what another gets, and the gateway
takes no request that the proxy did not send.
"""

import asyncio
import re

import pytest

from tests.faults.edge import Edge, h11_reads, statuses, tell
from tests.faults.fronts import FRONTS
from tests.faults.smuggling import corpus
from tests.rig import CONFIG, Rig
from turnout.core.catalog import Bounds

SHORT_S = 0.3
"""A receive deadline by which every connection of a vector ends by itself."""

BATCH = 64
"""Vectors at once, as many as the proxies keep connections to the gateway: each connection is used again by others."""


def difference(vector, answer, seen):
    """Say how the gateway differs from the strict parser on this vector; empty if it does not."""
    expected = h11_reads(vector.data)
    given = statuses(answer)
    is_refused = bool(given) and 400 <= given[-1] < 500 and b"\r\nconnection: close\r\n" in answer
    if any(status >= 500 for status in given):
        return f"{vector.name}: answered {given}"
    if seen != expected.requests[: len(seen)]:
        return f"{vector.name}: seen {seen}, not {expected.requests}"
    if is_refused:
        return ""
    if expected.is_refused:
        return f"{vector.name}: taken as {seen}, answered {given}, though it is wrong"
    if len(seen) < len(expected.requests):
        return f"{vector.name}: {len(seen)} of {len(expected.requests)} requests seen, answered {given}"
    return ""


def strangers(number, answer):
    """The paths in this answer that belong to another connection than vector `number`'s."""
    tags = {b"/%05d" % number, b"/s-%06d" % number}
    told = re.findall(rb"^x-path: (/\d{5}|/s-\d{6}|/victim-\d+)", answer, re.MULTILINE)
    return [path for path in told if path not in tags]


async def test_t53_alone(proof):
    """Each vector by a connection of its own, against the gateway's HTTP edge."""
    vectors = corpus()
    async with Edge(Bounds(header_s=SHORT_S, body_s=SHORT_S), SHORT_S) as edge:
        told = await asyncio.gather(*(edge.tell(vector.data) for vector in vectors))
    wrong = [line for line in map(difference, vectors, *zip(*told, strict=True)) if line]
    refused = sum(1 for answer, _ in told if 400 in statuses(answer))
    assert wrong == []
    assert len(vectors) >= 300
    proof(
        f"{len(vectors)} of {len(vectors)} vectors alone: {refused} refused with 400, the others read as h11 reads them"
    )


async def test_t53_the_whole_gateway(tmp_path, proof):
    """The same bytes against the whole of it: what is no request of its own reaches no route, and nothing is a 5xx."""
    config = CONFIG + f"server: {{{{header_timeout: {SHORT_S}, body_timeout: {SHORT_S}}}}}\n"
    vectors = corpus()
    async with Rig(tmp_path, config=config) as rig:
        told = await asyncio.gather(
            *(tell(rig.port, close(vector.tagged(number))) for number, vector in enumerate(vectors))
        )
        async with rig.http() as client:
            assert (await client.get("/health")).status_code == 200
    wrong = []
    for number, (vector, (answer, _)) in enumerate(zip(vectors, told, strict=True)):
        expected = h11_reads(close(vector.tagged(number)))
        paths = {request.path for request in expected.requests} | {expected.begun}
        reached = {path.decode() for path in re.findall(rb"There is no (/\S*) here", answer)}
        if reached - paths or any(status >= 500 for status in statuses(answer)):
            wrong.append(f"{vector.name}: {reached - paths}, {statuses(answer)}")
    assert wrong == []
    proof(f"{len(vectors)} of {len(vectors)} vectors at the whole gateway: no smuggled request reached a route, no 5xx")


def close(data):
    """The same, and the last of the requests says that it is: a connection that waits for more would stay for 75 s."""
    return data.replace(b"\r\nHost: x\r\n\r\n", b"\r\nHost: x\r\nConnection: close\r\n\r\n")


@pytest.mark.prove
@pytest.mark.parametrize("kind", sorted(FRONTS))
async def test_t53_behind_a_proxy(kind, tmp_path, proof):
    """With a victim after each vector, on the connections that the vectors have used."""
    vectors = list(enumerate(corpus()))
    wrong, victims = [], 0
    async with (
        Edge(Bounds(header_s=SHORT_S, body_s=SHORT_S), 5.0) as edge,
        FRONTS[kind](tmp_path, edge.port) as front,
    ):
        for batch in batched(vectors):
            told = await asyncio.gather(*(tell(front.port, vector.tagged(number)) for number, vector in batch))
            for (number, vector), (answer, _) in zip(batch, told, strict=True):
                if found := strangers(number, answer):
                    wrong.append(f"{vector.name}: got the answer of {found}")
            asks = [f"/victim-{victims + extra}".encode() for extra in range(BATCH)]
            victims += BATCH
            hosted = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            got = await asyncio.gather(*(tell(front.port, b"GET " + path + hosted) for path in asks))
            for path, (answer, _) in zip(asks, got, strict=True):
                if statuses(answer) != [200] or b"\r\nx-path: " + path + b"\r\n" not in answer:
                    wrong.append(f"a victim after {batch[0][1].name}: {answer[:200]!r}")
        taken = edge.paths()
        sent = front.paths()
    # Each request that the gateway took is one that the proxy took from its client; none was made on the way.
    wrong += [f"{path}: {times} times, and {sent[path]} sent" for path, times in taken.items() if times > sent[path]]
    assert wrong == []
    proof(
        f"{len(vectors)} of {len(vectors)} vectors behind {kind}: {sum(taken.values())} requests taken, all sent by it; "
        f"{victims} of {victims} victims got their own answers"
    )


def batched(items):
    """In pieces of BATCH."""
    for begin in range(0, len(items), BATCH):
        yield items[begin : begin + BATCH]
