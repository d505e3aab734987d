"""Plays the clients of the soak: whole answers, streams, tools, embeddings, bad requests, slow readers, and those who leave.

Which request comes next, how long a client thinks and when it leaves are drawn by the seed; so are the faults, which one in
twenty calls at the vendor meets. Every request has to end: with an answer, an error, or the end of its connection.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from tests.faults.crowd import Client
from turnout.core.simulation.faults import KINDS

CLIENTS = 24
THINK_S = 0.25
PATIENCE_S = 20.0
"""Twice what the soak's config gives a request: who waits longer was forgotten."""
FAULT_SHARE = 0.05
SLOW_FOR_S = 4.0

CONFIG = """
defaults: false
fallbacks: []
server: {{max_answer: 1MiB, send_timeout: 2s}}
traces: {{rows: 2000}}
timeouts: {{connect: 2s, first_chunk: 1s, idle: 500ms, total: 10s}}
retry: {{backoff: 10ms, max_backoff: 100ms}}
breaker: {{rest: 1s, max_rest: 2s}}
providers:
  first: {{kind: compatible, base_url: "{url}", api_key: sk-canary-first-key-1}}
  second: {{kind: compatible, base_url: "{url}", api_key: sk-canary-second-key-2}}
  claude: {{kind: anthropic, base_url: "{origin}", api_key: sk-canary-claude-key-3}}
models:
  small: {{provider: first, id: small, price: free, can: [tools, json]}}
  large: {{provider: second, id: large, price: free, can: [tools, json]}}
  long: {{provider: first, id: long, price: free}}
  claude: {{provider: claude, id: claude, price: {{input: 3, output: 15}}, can: [tools, json]}}
  vectors: {{provider: first, id: vectors, price: free, mode: embedding}}
tasks:
  work: {{models: [small, large, claude], because: "cheapest first"}}
  translated: {{models: [claude, large]}}
"""
VENDOR = ("--fault-for", "long", "long=2000000")

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "book_visit",
            "description": "Book a visit",
            "parameters": {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
        },
    }
]


def fault_queue(seed: int, calls: int) -> list[str]:
    """Return what each of the vendor's next calls meets: mostly nothing, else any fault, with its usual argument."""
    chance = Random(f"faults {seed}")
    names = list(KINDS)
    return [chance.choice(names) if chance.random() < FAULT_SHARE else "" for _ in range(calls)]


class Tally:
    """What became of all requests. outcomes: by kind of request and end. forgotten: those that nobody answered in time."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.forgotten: list[str] = []

    @property
    def count(self) -> int:
        """How many have ended."""
        return self.outcomes.total()


class Player:
    """One client, which asks, waits and thinks, until it is told to stop."""

    def __init__(self, port: int, key: str, seed: str, tally: Tally) -> None:
        self._port = port
        self._key = key
        self._chance = Random(seed)
        self._tally = tally
        self._client = Client(port)
        self._kinds: dict[str, tuple[int, Callable[[], Awaitable[str]]]] = {
            "chat": (28, lambda: self._ask(self._chat("task:work", stream=False))),
            "stream": (28, lambda: self._ask(self._chat("task:work", stream=True))),
            "tools": (8, lambda: self._ask(self._chat("task:work", stream=self._coin(), tools=TOOLS))),
            "translated": (8, lambda: self._ask(self._chat("task:translated", stream=self._coin()))),
            "embeddings": (8, self._embed),
            "bad request": (8, self._err),
            "leaves": (8, self._leave),
            "reads slowly": (3, self._read_slowly),
        }

    async def play(self, stopped: asyncio.Event) -> None:
        """Ask and think until `stopped`; what is under way then is seen to its end."""
        names = list(self._kinds)
        weights = [weight for weight, _ in self._kinds.values()]
        while not stopped.is_set():
            (name,) = self._chance.choices(names, weights)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    ended = await self._kinds[name][1]()
            except TimeoutError:
                ended = "FORGOTTEN"
                self._tally.forgotten.append(name)
                await self._client.close()
            except (ConnectionError, asyncio.IncompleteReadError):
                ended = "connection ended"
                await self._client.close()
            self._tally.outcomes[name, ended] += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), self._chance.expovariate(1 / THINK_S))
        await self._client.close()

    def _coin(self) -> bool:
        return self._chance.random() < 0.5

    def _post(self, path: str, body: bytes, key: str | None = None) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key or self._key}\r\n"
        return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body

    def _chat(self, model: str, *, stream: bool, **more: object) -> bytes:
        text = f"Skriv til kunde {self._chance.randrange(1000)} om tilbud på vinduespolering. " * self._chance.randint(
            1, 40
        )
        asked = {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], **more}
        return self._post("/v1/chat/completions", json.dumps(asked).encode())

    async def _ask(self, request: bytes) -> str:
        answer = await self._client.tell(request)
        if not answer:
            return "connection ended"
        status = answer[9:12].decode()
        return "broken stream" if status == "200" and b'"code":"stream_interrupted"' in answer else status

    async def _embed(self) -> str:
        texts = [f"tekst {self._chance.randrange(1000)}"] * self._chance.randint(1, 8)
        return await self._ask(self._post("/v1/embeddings", json.dumps({"model": "vectors", "input": texts}).encode()))

    async def _err(self) -> str:
        good = self._chat("task:work", stream=False)
        return await self._ask(
            self._chance.choice(
                [
                    good.replace(b"Bearer ", b"Bearer wrong-"),
                    self._chat("nothing", stream=False),
                    self._post("/v1/nothing", b"{}"),
                    self._post("/v1/chat/completions", b'{"model":'),
                    self._post("/v1/chat/completions", b"[" * 1000),
                    b"hello\r\n\r\n",
                    good.replace(b"host: x", b"host: x\r\nx-long: " + b"x" * 70_000),
                ]
            )
        )

    async def _leave(self) -> str:
        """Before the request is whole, before the answer, or in it."""
        request = self._chat("task:work", stream=True)
        cut, after = self._chance.choice([(len(request) // 2, b""), (len(request), b""), (len(request), b"\r\n\r\n")])
        await self._client.tell(request[:cut], leaves_after=after)
        return "left"

    async def _read_slowly(self) -> str:
        """Take a little of a long stream now and then; the gateway ends it when nothing was taken for long."""
        request = self._chat("long", stream=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1024)
        try:
            writer.write(request)
            taken, pause_s = 0, self._chance.choice([0.05, 0.5, SLOW_FOR_S])
            async with asyncio.timeout(SLOW_FOR_S):
                while data := await reader.read(2048):
                    taken += len(data)
                    await asyncio.sleep(pause_s)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        return "left"
