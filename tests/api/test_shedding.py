"""What is refused for overload: how it is told, what it costs the connection, and what is never refused."""

import asyncio
import json
from typing import get_args

import pytest

from tests.rig import CONFIG, Rig
from turnout.api.shedding import ANSWERS, WAITS_S
from turnout.core.admission import Reason

CHAT = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}
PATH = "/v1/chat/completions"
OTHER = ("", "another")
ONE = CONFIG + "server: {{concurrency: 1}}\n"


@pytest.fixture
async def full(tmp_path):
    """A gateway with a single place, which somebody has."""
    async with Rig(tmp_path, config=ONE) as rig:
        rig.service.admission.enter(OTHER)
        yield rig
        if rig.service.admission.in_flight:
            rig.service.admission.leave(OTHER)


class Wire:
    """One bare connection."""

    def __init__(self, rig):
        self.rig = rig

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.rig.port)
        return self

    async def __aexit__(self, *exc):
        self.writer.close()

    def head(self, framing):
        """A request's head."""
        return f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.rig.key}\r\n{framing}\r\n\r\n".encode()

    async def answer(self):
        """Status, head and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        return int(head[9:12]), head, await self.reader.readexactly(length)


async def test_a_refusal_says_when_to_come_again_and_costs_the_vendor_nothing(full):
    """In the shape of every other error; counted as one, and by its reason."""
    async with full.http() as client:
        answer = await client.post(PATH, json=CHAT)
        metrics = (await client.get("/metrics")).text
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["source"]) == (503, "overloaded", "gateway")
    assert 1 <= int(answer.headers["retry-after"]) <= 3
    assert 1000 <= int(answer.headers["retry-after-ms"]) <= 3000
    assert answer.headers["x-request-id"].startswith("req_")
    assert "x-should-retry" not in answer.headers
    assert 'turnout_shed_total{reason="concurrency"} 1.0' in metrics
    assert 'turnout_errors_total{code="overloaded",status="503"} 1.0' in metrics
    assert full.world.witness.count == 0


async def test_the_place_is_there_again_when_it_is_left(full):
    """For whoever comes next."""
    full.service.admission.leave(OTHER)
    async with full.http() as client:
        assert [200, 200] == [(await client.post(PATH, json=CHAT)).status_code for _ in range(2)]
    assert full.service.admission.in_flight == 0


async def test_the_sdk_comes_again_by_itself_and_is_served(full):
    """After the time that the answer names."""
    asyncio.get_running_loop().call_later(0.3, full.service.admission.leave, OTHER)
    async with full.openai(max_retries=1) as client:
        reply = await client.chat.completions.create(**CHAT)
    assert reply.choices[0].finish_reason == "stop"
    assert full.service.telemetry.shed == {"concurrency": 1}


async def test_not_everybody_is_told_the_same_time():
    """A burst does not come back as a burst."""
    for reason in get_args(Reason):
        waits = [int(dict(head)[b"retry-after-ms"]) for head, _ in ANSWERS[reason]]
        assert [int(wait_s * 1000) for wait_s in WAITS_S] == waits
        assert len(set(waits)) == len(waits)


async def test_each_reason_has_words_of_its_own():
    """So that who reads them knows what to change."""
    messages = {json.loads(ANSWERS[reason][0][1])["error"]["message"] for reason in get_args(Reason)}
    assert len(messages) == len(get_args(Reason))


async def test_health_metrics_models_and_admin_are_never_refused(full):
    """Who repairs the gateway must get in."""
    async with full.http() as client:
        assert (await client.post(PATH, json=CHAT)).status_code == 503
        for path in ("/health", "/health/live", "/health/ready", "/metrics", "/v1/models", "/admin/rollouts"):
            assert (path, 200) == (path, (await client.get(path)).status_code)


async def test_who_has_no_key_is_told_that_and_not_that_there_is_no_room(full):
    """A stranger learns nothing about the load, and is nobody's share."""
    async with full.http(authorization="Bearer wrong") as client:
        assert (await client.post(PATH, json=CHAT)).status_code == 401


async def test_the_answer_comes_before_the_body_and_the_connection_lives_on(full):
    """The rest of the body is taken and forgotten; what follows it is the next request."""
    body = json.dumps(CHAT | {"pad": "x" * 100_000}).encode()
    async with Wire(full) as wire:
        wire.writer.write(wire.head(f"content-length: {len(body)}") + body[:100])
        status, head, _ = await wire.answer()
        assert (status, "connection: close" in head) == (503, False)
        full.service.admission.leave(OTHER)
        wire.writer.write(body[100:] + wire.head(f"content-length: {len(body)}") + body)
        assert (await wire.answer())[0] == 200


@pytest.mark.parametrize(
    ("framing", "said"),
    [
        ("transfer-encoding: chunked", b"5\r\nhello\r\n"),
        ("content-length: 5000\r\nexpect: 100-continue", b""),
    ],
)
async def test_where_the_end_of_the_body_is_not_certain_the_connection_ends(full, framing, said):
    """Chunks may go on for ever; who waits for 100 may never send the body."""
    async with Wire(full) as wire:
        wire.writer.write(wire.head(framing) + said)
        status, head, _ = await wire.answer()
        assert (status, "connection: close" in head) == (503, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{}", 400), (b"[" * 100, 400), (json.dumps(CHAT | {"model": "nobody"}).encode(), 404)],
)
async def test_a_place_is_given_back_after_any_error(full, body, status):
    """Of reading, or of planning."""
    full.service.admission.leave(OTHER)
    async with full.http() as client:
        assert (await client.post(PATH, content=body)).status_code == status
    assert full.service.admission.in_flight == 0


@pytest.mark.parametrize("fault", ["stall", "stall-event=2"])
async def test_a_place_is_given_back_when_the_client_leaves(full, fault):
    """While it waits, or in the middle of its stream."""
    admission = full.service.admission
    admission.leave(OTHER)
    full.world.by_model["vendor/first"] = fault
    body = json.dumps(CHAT | {"stream": True}).encode()
    async with Wire(full) as wire:
        wire.writer.write(wire.head(f"content-length: {len(body)}") + body)
        async with asyncio.timeout(5):
            while full.world.witness.count == 0:
                await asyncio.sleep(0.01)
        assert admission.in_flight == 1
        wire.writer.transport.abort()
    async with asyncio.timeout(5):
        while admission.in_flight:
            await asyncio.sleep(0.01)
    async with full.http() as client:
        full.world.by_model.clear()
        assert (await client.post(PATH, json=CHAT)).status_code == 200


async def test_the_user_in_the_header_is_whose_share_it_is(tmp_path):
    """One who holds all the room is refused, another is served."""
    async with Rig(tmp_path, config=CONFIG + "server: {{concurrency: 10}}\n") as rig:
        for _ in range(9):
            assert rig.service.admission.enter(("", "greedy")) is None
        async with rig.http() as client:
            asked = [
                await client.post(PATH, json=CHAT, headers={"x-turnout-user": user}) for user in ("greedy", "modest")
            ]
        for _ in range(9):
            rig.service.admission.leave(("", "greedy"))
    assert [503, 200] == [answer.status_code for answer in asked]
