"""A gateway for the desk's tests: a real HTTP server on loopback that answers as it is told, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request as it came. headers: lower-case names."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Told(NamedTuple):
    """How to answer. body: whole bytes. cut: end the connection before `content-length` is reached."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False
    closes: bool = False


Play = Callable[[Asked], Told]

OURS = (
    ("x-request-id", "req_1"),
    ("x-turnout-model", "glm-4.5-air-free"),
    ("x-turnout-provider", "openrouter-simulated"),
    ("x-turnout-attempts", "2"),
    ("x-turnout-cost", "0.000000"),
    ("x-turnout-cache", "miss"),
    ("x-turnout-queue-ms", "1.5"),
)


def completion(text: str) -> Told:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 40, "completion_tokens": 7}
    return Told(200, json.dumps({"choices": [choice], "usage": usage}).encode(), OURS)


def stream(*pieces: str, ends: bool = True) -> Told:
    """A streamed answer, with usage before its end marker."""
    events: list[dict[str, Any]] = [{"choices": [{"delta": {"role": "assistant"}}]}]
    events += [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    events += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    events += [{"choices": [], "usage": {"prompt_tokens": 40, "completion_tokens": len(pieces)}}]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return Told(200, (": hello\n\n" + "".join(lines) + ("data: [DONE]\n\n" if ends else "")).encode(), OURS)


def refused(status: int, message: str, *, code: str = "no_candidate", retry_after: str = "") -> Told:
    """An error in OpenAI's shape."""
    headers = (("retry-after", retry_after),) if retry_after else ()
    return Told(status, json.dumps({"error": {"message": message, "code": code}}).encode(), headers)


def usual(asked: Asked) -> Told:
    """What a healthy gateway does."""
    return stream("Kære ", "kunde") if asked.body.get("stream") else completion("Prioritet: høj")


class Gateway:
    """play: how to answer; may be changed at any time. asked: every request so far."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.play: Play = usual
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    def answer(self, asked: Asked) -> Told:
        """Note the request and play."""
        with self.lock:
            self.asked.append(asked)
        return self.play(asked)


@contextmanager
def running() -> Iterator[Gateway]:
    """A gateway while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told = gateway.answer(Asked(self.path, headers, body))
            self.send_response(told.status)
            for name, value in told.headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(told.body) + (10 if told.cut else 0)))
            self.end_headers()
            self.wfile.write(told.body)
            self.close_connection = told.cut or told.closes

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that left is part of some tests."""

    with Server(("127.0.0.1", 0), Handler) as server:
        gateway = Gateway(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()
