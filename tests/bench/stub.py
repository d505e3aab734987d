"""A stub upstream: answers every chat request with the same bytes, as cheaply as a Python process can.

It speaks just enough HTTP/1.1 for a gateway's outgoing edge: keep-alive, Content-Length requests, one request at a time
on a connection. A body with `"stream":true` gets server-sent events, each its own write; any other POST gets one JSON reply.
The runner turns its knobs between measurements: `GET /bench?gap_us=4000&events=100` sets the pace of streams and answers
with the number of POSTs seen so far, which shows whether a gateway forwarded every request that it answered.

Run as a process of its own: `python -m tests.bench.stub` prints its port on the first line.
"""

import argparse
import asyncio
import heapq
import json
import os
import sys
from time import monotonic
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import uvloop

from tests.bench.timerfd import arm, new_timer

CREATED = 1_760_000_000
MODEL = "gpt-4o-mini"
USAGE = {"prompt_tokens": 24, "completion_tokens": 100, "total_tokens": 124}
HEADER_END = b"\r\n\r\n"
# Events after the content: finish_reason, usage, [DONE].
CLOSING_EVENTS = 3


def compact(value: object) -> bytes:
    """`value` as JSON without spaces, as vendors send it."""
    return json.dumps(value, separators=(",", ":")).encode()


def whole_reply() -> bytes:
    """The reply to a request that does not stream, head and body."""
    text = "The train is guided from one track to another, safely, while everything else keeps running. " * 2
    message = {"role": "assistant", "content": text.strip(), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = compact({
        "id": "chatcmpl-bench", "object": "chat.completion", "created": CREATED, "model": MODEL,
        "choices": [choice], "usage": USAGE, "system_fingerprint": "fp_bench",
    })  # fmt: skip
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def models_reply() -> bytes:
    """The reply to `GET /v1/models`: some gateways ask at start."""
    body = compact(
        {"object": "list", "data": [{"id": MODEL, "object": "model", "created": CREATED, "owned_by": "bench"}]}
    )
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def chunk_event(delta: dict[str, str], finish: str | None) -> bytes:
    """One streamed event of about 170 bytes, in HTTP chunk framing."""
    return framed(compact({
        "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": CREATED, "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }))  # fmt: skip


def framed(data: bytes) -> bytes:
    """`data` as one server-sent event in one HTTP chunk."""
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def stream_writes(events: int) -> list[bytes]:
    """The writes of one streamed reply: the head, `events` pieces of content, and the CLOSING_EVENTS."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    content = [chunk_event({"content": f" word{number:03d}"}, None) for number in range(events)]
    usage = framed(compact({
        "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": CREATED, "model": MODEL,
        "choices": [], "usage": USAGE,
    }))  # fmt: skip
    return [head, *content, chunk_event({}, "stop"), usage, framed(b"[DONE]") + b"0\r\n\r\n"]


class Knobs:
    """What the runner may change while the stub runs, and what the stub has seen."""

    def __init__(self) -> None:
        self.posts = 0
        self.gap_s = 0.0
        self.whole = whole_reply()
        self.models = models_reply()
        self.writes = stream_writes(100)

    def turn(self, query: str) -> bytes:
        """Apply a query string; return the reply that tells the count of POSTs."""
        wanted = dict(parse_qsl(query))
        if "gap_us" in wanted:
            self.gap_s = int(wanted["gap_us"]) / 1e6
        if "events" in wanted:
            self.writes = stream_writes(int(wanted["events"]))
        body = b"%d" % self.posts
        return b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


class Upstream(asyncio.Protocol):
    """One connection from a gateway."""

    def __init__(self, knobs: Knobs, pacer: "Pacer", loop: asyncio.AbstractEventLoop) -> None:
        self.knobs = knobs
        self.pacer = pacer
        self.loop = loop
        self.received = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write on."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport: a paced stream stops by itself."""
        del exc
        self.transport = None

    def data_received(self, data: bytes) -> None:
        """Answer when a whole request is there."""
        received = self.received + data if self.received else data
        self.received = received
        end = received.find(HEADER_END)
        if end < 0:
            return
        head = received[:end].lower()
        size = 0
        at = head.find(b"content-length:")
        if at >= 0:
            size = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(received) < end + 4 + size:
            return
        self.received = b""
        self.answer(head, received[end + 4 :])

    def answer(self, head: bytes, body: bytes) -> None:
        """Write the reply that `head` and `body` ask for."""
        assert self.transport is not None
        knobs = self.knobs
        if head.startswith(b"post"):
            knobs.posts += 1
            if b'"stream":true' in body or b'"stream": true' in body:
                # The first event follows the head at once, as a write of its own; the gaps lie between events.
                self.transport.write(knobs.writes[0])
                self.loop.call_soon(self.go_on, Stream(self, knobs.writes, knobs.gap_s))
            else:
                self.transport.write(knobs.whole)
            return
        target = urlsplit(head.split(b" ", 2)[1].decode())
        self.transport.write(knobs.turn(target.query) if target.path == "/bench" else knobs.models)

    def go_on(self, stream: "Stream") -> None:
        """Write one event and see to the next: after the gap, or in the next turn of the loop, so that each is a write."""
        if self.transport is None:
            return
        self.transport.write(stream.writes[stream.index])
        stream.index += 1
        if stream.index == len(stream.writes):
            return
        if stream.gap_s:
            self.pacer.add(stream)
        else:
            self.loop.call_soon(self.go_on, stream)


class Stream:
    """A streamed reply on its way."""

    __slots__ = ("connection", "due", "gap_s", "index", "writes")

    def __init__(self, connection: Upstream, writes: list[bytes], gap_s: float) -> None:
        self.connection = connection
        self.writes = writes
        self.gap_s = gap_s
        self.index = 1
        self.due = monotonic()

    def __lt__(self, other: "Stream") -> bool:
        return self.due < other.due


class Pacer:
    """Writes each event of each stream at its own time, to some ten microseconds.

    The loop's own timers tick in milliseconds, which would pack the chunks of many streams into one bunch: then a gateway
    reads several with one call of the kernel, as it does not when vendors write when they please.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting: list[Stream] = []
        self.timer = new_timer()
        loop.add_reader(self.timer, self.tick)

    def add(self, stream: Stream) -> None:
        """Plan the stream's next event, one gap after its last one was due."""
        stream.due += stream.gap_s
        heapq.heappush(self.waiting, stream)
        if self.waiting[0] is stream:
            arm(self.timer, stream.due)

    def tick(self) -> None:
        """Write what is due; sleep until the next."""
        os.read(self.timer, 8)
        now = monotonic()
        while self.waiting and self.waiting[0].due <= now:
            stream = heapq.heappop(self.waiting)
            stream.connection.go_on(stream)
        if self.waiting:
            arm(self.timer, self.waiting[0].due)


async def serve(port: int) -> None:
    """Listen on loopback until the process is ended; print the port."""
    loop = asyncio.get_running_loop()
    knobs, pacer = Knobs(), Pacer(loop)
    server = await loop.create_server(lambda: Upstream(knobs, pacer, loop), "127.0.0.1", port, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Parse the one option and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
