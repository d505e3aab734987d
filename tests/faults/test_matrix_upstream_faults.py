"""Matrix: every upstream fault, at every moment, ends as the fault matrix says: seen, tried again and booked.

For OpenAI chat, OpenAI embeddings and an Anthropic upstream; the table is tests/faults/matrix.py.
"""

import asyncio
import contextlib
import itertools
import json
import random
import socket
from typing import NamedTuple

import pytest
import trustme

from tests.faults.matrix import GROUPS, Cell, Row
from tests.faults.sdk import UPSTREAMS, ask, quick
from tests.rig import Rig

MOMENTS = ("N", "S0", "S1")

HEAD = """
server: {{max_answer: 1MiB}}
retry: {{ambiguous: AMBIGUOUS}}
breaker: {{failures: 1000}}
"""

ACCOUNTS = {
    "openai": '{{kind: compatible, base_url: "AT/v1", api_key: sk-canary-openai-key, ca_file: CA, timeouts: SOON}}',
    "claude": '{{kind: anthropic, base_url: "AT", api_key: sk-canary-claude-key, ca_file: CA, timeouts: SOON}}',
    "vectors": '{{kind: compatible, base_url: "AT/v1", api_key: sk-canary-vectors-key, ca_file: CA, timeouts: SOON}}',
    "good": '{{kind: compatible, base_url: "AT/v1", api_key: sk-canary-good-key}}',
}
"""The bad ones trust a CA of their own, so that they share no connection with the good one."""

SOON = "{{connect: 0.2, first_chunk: 0.2, idle: 0.2}}"
LATE = "{{connect: 5, first_chunk: 10, idle: 10}}"
"""Only what never comes is waited for: a busy machine is no fault."""

MODELS = {
    "openai": "{{provider: AT, id: ID, price: {{input: 1, output: 2}}}}",
    "claude": "{{provider: AT, id: ID, price: {{input: 3, output: 15}}, max_output: 4096}}",
    "vectors": "{{provider: AT, id: ID, price: {{input: 1}}, mode: embedding}}",
}


class Place(NamedTuple):
    """One cell of the table at one upstream. name: of its model, told from all others. at: its vendor's address."""

    fault: str
    row: Row
    upstream: str
    moment: str
    cell: Cell
    at: str

    @property
    def name(self):
        return f"{self.fault}-{self.upstream}-{self.moment}".lower().translate({ord(" "): "-", ord(","): None})

    @property
    def model_id(self):
        return f"bad-{self.name}" + ("-embedding" if self.upstream == "vectors" else "")

    @property
    def is_silent(self):
        return "stall" in self.cell.script or self.row.address == "black hole"


def config(places, ca_file, *, ambiguous):
    """An account and a model for every place, alone and beside a spare."""
    providers = {"good": ACCOUNTS["good"].replace("AT", "{url}")}
    models = {
        "spare-chat": "{{provider: good, id: good-chat, price: free}}",
        "spare-embeddings": "{{provider: good, id: good-embedding, price: free, mode: embedding}}",
    }
    routes = {}
    for place in places:
        account = ACCOUNTS[place.upstream].replace("AT", place.at or "{url}").replace(" CA,", f" {ca_file},")
        providers[place.name] = account.replace("SOON", SOON if place.is_silent else LATE)
        models[place.name] = MODELS[place.upstream].replace("AT", place.name).replace("ID", place.model_id)
        routes[f"{place.name}-alone"] = f"{{{{policy: priority, models: [{place.name}], max_retries: 0}}}}"
        spare = f"spare-{UPSTREAMS[place.upstream]}"
        routes[f"{place.name}-spare"] = f"{{{{policy: priority, models: [{place.name}, {spare}]}}}}"
    tables = {"providers": providers, "models": models, "routes": routes}
    lines = [
        f"{table}:\n" + "".join(f"  {name}: {row}\n" for name, row in rows.items()) for table, rows in tables.items()
    ]
    return HEAD.replace("AMBIGUOUS", str(ambiguous).lower()) + "".join(lines)


EMPTY = {"messages": {"content": []}, "embeddings": {"data": []}, "completions": {"choices": []}}
"""Good JSON with nothing in it. Anthropic's lacks its stop_reason, too: an empty answer that says why is one."""


@contextlib.asynccontextmanager
async def refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def no_such_name():
    yield "http://nobody.invalid"


@contextlib.asynccontextmanager
async def no_tls():
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def black_hole():
    """A listener whose queue is full: the kernel drops every further SYN."""
    with socket.socket() as server, contextlib.ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.asynccontextmanager
async def empty():
    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        kind = head.split(b" ")[1].rsplit(b"/")[-1].decode()
        body = json.dumps({**EMPTY[kind], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


ADDRESSES = {
    "refused": refused, "no such name": no_such_name, "no TLS": no_tls, "black hole": black_hole, "empty": empty,
}  # fmt: skip


def places_of(fault, row, upstreams, at):
    """Every cell of a row at these upstreams; embeddings have no streams."""
    for upstream in upstreams:
        for moment, cell in zip(MOMENTS, (row.n, row.s0, row.s1), strict=True):
            if isinstance(cell, Cell) and (moment == "N" or upstream != "vectors"):
                yield Place(fault, row, upstream, moment, cell, at)


async def told_alone(rig, client, place):
    """What the SDK sees and the books say when nobody else may answer, against the cell."""
    name, kind, stream = f"{place.name}-alone", UPSTREAMS[place.upstream], place.moment != "N"
    cell = place.cell
    if place.row.warm:
        rig.world.queue.append(place.row.warm)
        assert not (await ask(client, name, kind, stream=stream)).error
    told = await ask(client, name, kind, stream=stream)
    problems = [*seen(told, cell)]
    trace, _ = await books(rig, told)
    problems += [] if cell.code in {None, trace.outcome} else [f"trace says {trace.outcome}"]
    problems += [] if len(trace.attempts) == 1 else [f"{len(trace.attempts)} attempts"]
    return [*problems, *booked(trace.attempts[0], cell)]


def seen(told, cell):
    """How what the SDK saw differs from the cell."""
    if cell.status == 0:
        if told.error or not told.text:
            yield f"no answer: {told.error} {told.message}"
        return
    status = told.status or (200 if told.error else 0)
    if status != cell.status:
        yield f"status {status} {told.message}"
    if cell.code not in {None, told.code}:
        yield f"code {told.code}"
    if status != 200 and not told.is_final:
        yield "the SDK may try again by itself"
    if told.reasons and not cell.says_why:
        yield f"finish_reason {told.reasons}"


def booked(attempt, cell):
    """How an attempt's books differ from the cell."""
    basis = attempt.usage.basis if attempt.usage else "none"
    if basis != cell.basis:
        yield f"basis {basis}"
    if (attempt.cost_nano_usd > 0) != (cell.basis != "none"):
        yield f"cost {attempt.cost_nano_usd}"
    if attempt.usage_suspect != cell.is_suspect:
        yield f"usage_suspect {attempt.usage_suspect}"


async def books(rig, told):
    """The trace of an answer, and which of its attempts arrived at the vendor."""
    name = told.headers["x-request-id"]
    (trace,) = [one for one in await rig.traced() if one.request_id == name]
    return trace, [one.model for one in rig.world.witness.dispatches if one.request_id.startswith(name)]


async def told_beside(rig, client, place, *, ambiguous):
    """Whether the spare answered, and who was asked, against the cell."""
    told = await ask(client, f"{place.name}-spare", UPSTREAMS[place.upstream], stream=place.moment != "N")
    trace, asked = await books(rig, told)
    again = place.cell.again
    is_again = again == "yes" or (again == "ambiguous" and ambiguous)
    is_well = is_again or place.cell.status == 0
    problems = [] if bool(told.error) != is_well else [f"error {told.error!r} {told.message}"]
    problems += [] if len(trace.attempts) == 1 + is_again else [f"{len(trace.attempts)} attempts"]
    problems += [] if sum(one.startswith("good") for one in asked) == is_again else [f"asked {asked}"]
    problems += [] if sum(one.startswith("bad") for one in asked) <= 1 else [f"asked {asked}"]
    return problems


async def check(rig, client, place, *, ambiguous):
    """One cell; what is wrong with it, in words."""
    found = await told_beside(rig, client, place, ambiguous=ambiguous)
    if ambiguous:
        found += await told_alone(rig, client, place)
    return [f"{place.name}, ambiguous {ambiguous}: {one}" for one in found]


async def check_all(rig, client, places, *, ambiguous):
    """All of them at the same time, but those whose connections must not be mixed up."""
    if any(place.row.warm for place in places):
        return [one for place in places for one in await check(rig, client, place, ambiguous=ambiguous)]
    found = await asyncio.gather(*(check(rig, client, place, ambiguous=ambiguous) for place in places))
    return list(itertools.chain(*found))


@pytest.mark.amplifies("every request meets its fault, and half of them may be tried elsewhere")
@pytest.mark.parametrize("group", GROUPS)
async def test_matrix_of_upstream_faults(tmp_path, proof, size, seed, group):
    """Alone, and beside a spare candidate with `retry.ambiguous` on and off; in quick, at one upstream a fault."""
    chance = random.Random(seed)
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    places = []
    async with contextlib.AsyncExitStack() as stack:
        for fault, row in GROUPS[group].items():
            at = await stack.enter_async_context(ADDRESSES[row.address]()) if row.address else ""
            upstreams = ["claude"] if not isinstance(row.n, Cell) else chance.sample([*UPSTREAMS], size(1, 3))
            places += places_of(fault, row, upstreams, at)
        rig = await stack.enter_async_context(Rig(tmp_path, config=config(places, ca_file, ambiguous=True)))
        client = await stack.enter_async_context(quick(rig))
        rig.world.by_model = {place.model_id: place.cell.script for place in places}
        problems = await check_all(rig, client, places, ambiguous=True)
        rig.write_config(config(places, ca_file, ambiguous=False))
        rig.service.reload()
        problems += await check_all(rig, client, places, ambiguous=False)
    assert not problems, "\n".join(problems)
    proof(f"{group}: {len(places)} cells of {len(GROUPS[group])} faults are as the table says")
