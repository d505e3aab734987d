"""The simulated world on a socket: every fault is what the other side's socket sees, and the witness hears of it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest

from turnout.api.simulator import MOST_BODY_BYTES, SimulatorServer, WitnessLog
from turnout.core.simulation.profiles import Profile
from turnout.core.simulation.witness import Dispatch
from turnout.core.simulation.world import World

HELLO: list[Any] = [{"role": "user", "content": "Hej æøå"}]


@pytest.fixture
async def server() -> AsyncIterator[SimulatorServer]:
    """A world without latency on a free port."""
    async with SimulatorServer(World.instant()) as running:
        yield running


class Raw:
    """A client on a bare socket, with h11 as a second opinion on framing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.connection = h11.Connection(h11.CLIENT)

    def post(self, fault: str = "", *, stream: bool = False, more: bytes = b"") -> None:
        """Send a chat request."""
        body = json.dumps({"model": "m", "stream": stream, "messages": HELLO}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-fault: {fault}\r\ncontent-length: {len(body)}\r\n"
        self.writer.write(head.encode() + more + b"\r\n" + body)

    async def all(self) -> tuple[bytes, bool]:
        """Return every byte until the connection ends, and whether it ended with RST."""
        received = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while data := await self.reader.read(65536):
                received += data
            return bytes(received), False
        return bytes(received), True

    async def answer(self) -> tuple[int, bytes]:
        """Return status and body of one answer, as h11 reads them."""
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
        status, body = 0, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await self.reader.read(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body


@pytest.fixture
async def raw(server: SimulatorServer) -> AsyncIterator[Raw]:
    """A bare connection."""
    async with opened(server) as one:
        yield one


@contextlib.asynccontextmanager
async def opened(server: SimulatorServer) -> AsyncIterator[Raw]:
    """Open a bare connection, and close it."""
    one = Raw(*await asyncio.open_connection(server.host, server.port))
    try:
        yield one
    finally:
        one.writer.close()
        with contextlib.suppress(OSError):
            await one.writer.wait_closed()


def last(server: SimulatorServer) -> Dispatch:
    """Return the newest dispatch that the witness saw."""
    return server.world.witness.dispatches[-1]


async def ended(server: SimulatorServer) -> Dispatch:
    """Return the newest dispatch, once it has ended."""
    async with asyncio.timeout(5):
        while not last(server).outcome:
            await asyncio.sleep(0.001)
    return last(server)


# ── what the socket sees ──


async def test_connections_are_kept_and_pipelined_requests_are_answered_in_order(
    server: SimulatorServer, raw: Raw
) -> None:
    """Three on one connection: two whole, one streamed, as h11 reads them."""
    raw.post()
    assert (await raw.answer())[0] == 200
    raw.post("503")
    raw.post(stream=True, more=b"connection: close\r\n")
    received, is_reset = await raw.all()
    assert not is_reset
    assert received.index(b"HTTP/1.1 503 Service Unavailable") < received.index(b"HTTP/1.1 200 OK")
    assert b"connection: close\r\n" in received
    assert received.endswith(b"0\r\n\r\n")
    assert {one.connection for one in server.world.witness.dispatches} == {1}


@pytest.mark.parametrize(
    ("fault", "outcome"), [("reset", "reset"), ("reset-at=7", "reset"), ("reset-event=2", "reset")]
)
async def test_a_reset_is_a_real_reset(server: SimulatorServer, raw: Raw, fault: str, outcome: str) -> None:
    """RST on the wire, after what was to be sent before it."""
    raw.post(fault, stream=True)
    received, is_reset = await raw.all()
    assert is_reset
    assert last(server).outcome == outcome
    assert (b"HTTP/1.1 200" in received) == (fault != "reset")


@pytest.mark.parametrize("fault", ["close", "close-at=7", "close-event=2", "bad-http", "bad-chunk"])
async def test_a_close_is_a_fin(server: SimulatorServer, raw: Raw, fault: str) -> None:
    """Without the last chunk."""
    raw.post(fault, stream=True)
    received, is_reset = await raw.all()
    assert not is_reset
    assert not received.endswith(b"0\r\n\r\n")
    assert last(server).outcome == "cut"


async def test_a_cut_ends_in_order(server: SimulatorServer, raw: Raw) -> None:
    """The last chunk is there, the terminal event is not; the connection serves on."""
    raw.post("cut", stream=True)
    _, body = await raw.answer()
    assert b"[DONE]" not in body
    assert last(server).outcome == "cut"
    raw.post()
    assert (await raw.answer())[0] == 200


async def test_without_a_length_the_connection_ends_the_body(server: SimulatorServer, raw: Raw) -> None:
    """Neither length nor chunks."""
    raw.post("until-close")
    received, is_reset = await raw.all()
    assert not is_reset
    assert b"content-length" not in received
    assert b"transfer-encoding" not in received
    assert last(server).outcome == "complete"


async def test_a_status_without_a_body_has_no_length(raw: Raw) -> None:
    """204, and the connection serves on."""
    raw.post("204")
    assert await raw.answer() == (204, b"")
    raw.post("299")
    assert (await raw.answer())[0] == 299


async def test_idle_connections_that_go_bad(server: SimulatorServer) -> None:
    """FIN after an answer that promised to stay; RST to the next request; also to one that is there already."""
    async with opened(server) as one:
        one.post("close-after")
        received, is_reset = await one.all()
        assert b"HTTP/1.1 200" in received
        assert not is_reset
    async with opened(server) as two:
        two.post("reset-next")
        assert (await two.answer())[0] == 200
        two.post()
        assert (await two.all())[1]
    async with opened(server) as three:
        three.post("reset-next")
        three.post()
        assert (await three.all())[1]
    assert server.world.witness.count == 3


async def test_a_connection_can_be_reset_at_once(server: SimulatorServer) -> None:
    """Before anything is read; the next one is served."""
    server.world.queue.append("reset-accept")
    async with opened(server) as one:
        assert await one.all() == (b"", True)
    async with opened(server) as two:
        two.post()
        assert (await two.answer())[0] == 200
    assert server.world.witness.refused_connections == 1


async def test_a_client_that_leaves_is_noticed_at_once(server: SimulatorServer) -> None:
    """While we stall, and while we wait for our time to come: the witness has the instant (T39)."""
    for fault in ("stall", "stall-event=2", "delay=60"):
        async with opened(server) as one:
            one.post(fault, stream=True)
            async with asyncio.timeout(5):
                while server.world.witness.open == 0:
                    await asyncio.sleep(0.001)
            left_at = server.clock.now()
        seen = await ended(server)
        assert seen.outcome == "client-closed"
        assert seen.ended_at is not None
        assert seen.ended_at - left_at < 1.0
    assert len(server.tasks) == 0


async def test_a_client_that_does_not_read_holds_us_back(server: SimulatorServer, raw: Raw) -> None:
    """An endless body waits for its reader while others are served, and ends when the reader leaves."""
    raw.post("endless-error=502")
    await raw.reader.readexactly(1_000_000)
    endless = last(server)
    async with opened(server) as other:
        for _ in range(300):
            other.post()
            assert (await other.answer())[0] == 200
    assert endless.sent_bytes < 32 * 1024 * 1024
    raw.writer.transport.abort()
    async with asyncio.timeout(5):
        while not endless.outcome:
            await asyncio.sleep(0.001)
    assert endless.outcome == "client-closed"


async def test_a_big_body_is_whole(server: SimulatorServer, raw: Raw) -> None:
    """As long as it says."""
    raw.post("big-error=3000000")
    status, body = await raw.answer()
    assert (status, len(body)) == (500, last(server).sent_bytes)
    assert len(body) > 3_000_000


async def test_a_huge_event_comes_whole(raw: Raw) -> None:
    """1 MiB in one event, in one chunk."""
    raw.post("huge-event", stream=True)
    _, body = await raw.answer()
    assert max(map(len, body.split(b"\n\n"))) > 1_048_576
    assert body.endswith(b"data: [DONE]\n\n")


async def test_slow_bodies_are_the_same_bodies(raw: Raw) -> None:
    """One byte at a time, or torn inside characters: the same kind of answer arrives."""
    for fault in ("slow", "split", "slice=5;line-ends=crlf"):
        raw.post(fault, stream=True)
        _, body = await raw.answer()
        assert body.replace(b"\r\n", b"\n").endswith(b"data: [DONE]\n\n")
        assert "æøå" in "".join(
            json.loads(event[6:])["choices"][0]["delta"].get("content", "")
            for event in body.decode().replace("\r\n", "\n").split("\n\n")[:-2]
        )


async def test_interims_come_first(raw: Raw) -> None:
    """A thousand 103s, then the answer."""
    raw.post("1xx=1000", more=b"connection: close\r\n")
    received, _ = await raw.all()
    assert received.count(b"HTTP/1.1 103 Early Hints\r\n") == 1000
    assert received.index(b"HTTP/1.1 200 OK") > received.rindex(b"103")


async def test_latency_is_real() -> None:
    """The profile's seconds pass between the events."""
    world = World(1, {"*": Profile(first_token_s=0.04, per_token_s=0.002)})
    async with SimulatorServer(world) as server, opened(server) as one:
        started = server.clock.now()
        one.post(stream=True)
        await one.answer()
        assert server.clock.now() - started > 0.04 + 0.002 * (last(server).output_tokens - 2)


# ── requests ──


async def test_a_request_may_wait_for_leave_to_send_its_body(raw: Raw) -> None:
    """`Expect: 100-continue` is answered."""
    raw.writer.write(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 25\r\n\r\n")
    assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue")
    raw.writer.write(b'{"model":"m","input":"a"}')
    assert (await raw.answer())[0] == 200


async def test_what_is_no_http_is_refused(raw: Raw) -> None:
    """400 and the end."""
    raw.writer.write(b"nonsense\r\n\r\n")
    received, _ = await raw.all()
    assert received.startswith(b"HTTP/1.1 400")


async def test_a_body_beyond_the_bound_is_refused(raw: Raw) -> None:
    """413 once it is passed, not when it is all there."""
    raw.writer.write(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
    block = b"x" * (1024 * 1024)
    with contextlib.suppress(OSError):
        for _ in range(MOST_BODY_BYTES // len(block) + 8):
            raw.writer.write(block)
            await raw.writer.drain()
    received, _ = await raw.all()
    assert received == b"" or received.startswith(b"HTTP/1.1 413")


async def test_pages_of_the_world(raw: Raw) -> None:
    """Health, the book, and faults set from outside."""
    body = b'{"queue": ["503"]}'
    raw.writer.write(b"PUT /faults HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    assert (await raw.answer())[0] == 200
    raw.post()
    assert (await raw.answer())[0] == 503
    raw.writer.write(b"GET /witness HTTP/1.1\r\nhost: x\r\n\r\n")
    assert json.loads((await raw.answer())[1])["count"] == 1


# ── life ──


async def test_stopping_ends_every_connection() -> None:
    """Also one that stalls; what was under way is a reset by us; stopping again does nothing."""
    server = SimulatorServer(World.instant())
    await server.start()
    async with opened(server) as idle, opened(server) as busy:
        busy.post("stall-first", stream=True)
        await busy.reader.readuntil(b"\n\n")
        await server.stop()
        await server.stop()
        assert [(await one.all())[0] for one in (idle, busy)] == [b"", b"\r\n"]
    assert last(server).outcome == "reset"
    assert (len(server.connections), len(server.tasks)) == (0, 0)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(server.host, server.port)


async def test_an_address_that_is_taken_is_an_error(server: SimulatorServer) -> None:
    """Nobody shares a port by accident."""
    with pytest.raises(OSError, match="address already in use"):
        await SimulatorServer(World.instant(), port=server.port).start()


async def test_addresses_are_written_as_urls_have_them() -> None:
    """IPv6 in brackets."""
    assert SimulatorServer(World.instant(), "::1", 9100).base_url == "http://[::1]:9100/v1"
    assert SimulatorServer(World.instant(), "127.0.0.1", 9100).origin == "http://127.0.0.1:9100"


async def test_a_bug_in_the_world_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for an answer that cannot come, and the log tells."""

    def broken(record: dict[str, object]) -> None:
        raise RuntimeError(record["event"])

    async with SimulatorServer(World.instant(observe=broken)) as server, opened(server) as one:
        one.post()
        assert (await one.all())[0] == b""
    assert "simulated connection 1 failed" in caplog.text


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Return the records of a log."""
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


async def test_the_log_is_on_disk_before_the_answer(tmp_path: Path) -> None:
    """Received before anything was sent, ended when it had ended; a second log goes on in the same file."""
    path = tmp_path / "witness.jsonl"
    for _ in range(2):
        log = WitnessLog(path)
        async with SimulatorServer(World.instant(observe=log)) as server, opened(server) as one:
            one.post("stall")
            async with asyncio.timeout(5):
                while server.world.witness.open == 0:
                    await asyncio.sleep(0.001)
            assert list(lines(path))[-1]["event"] == "received"
        log.close()
    assert [(record["event"], record["outcome"]) for record in lines(path)] == [
        ("received", ""),
        ("ended", "reset"),
    ] * 2
