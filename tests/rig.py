"""Runs the whole gateway in the test's own event loop, over real sockets, against simulated vendors.

async with Rig(tmp_path) as rig:
    rig.world ...                      # the vendor: scripts faults, keeps the witness
    client = rig.openai()              # the official SDK, pointed at the gateway
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx2
import msgspec
import openai

from tests.invariants import Books, dispatched, kept
from turnout.api.app import App
from turnout.api.fault_proxy import FaultProxy
from turnout.api.serving import listen, make_server
from turnout.api.simulator import SimulatorServer
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.simulation.world import World
from turnout.core.trace import Trace
from turnout.gateway.clock import Clock, SystemClock
from turnout.gateway.service import Service

KEY = "sk-turnout-Zq7Lm2Xv9Tb4Rk8Wc1Yp6Nd3Hf5Jg0Ss"

CONFIG = """
providers:
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}
  backup: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-backup-key-2}}
  claude: {{kind: anthropic, base_url: "{url}", api_key: sk-canary-claude-key-3}}
models:
  first: {{provider: stub, id: vendor/first, price: free, context: 128000, can: [tools, json, vision]}}
  second: {{provider: backup, id: vendor/second, price: free, context: 128000, can: [tools, json, vision]}}
  third: {{provider: claude, id: claude-third, price: {{input: 3, output: 15}}, context: 200000, can: [tools, json, vision]}}
  vectors: {{provider: stub, id: vendor/vectors, price: free, mode: embedding}}
tasks:
  work: {{models: [first, second, third], because: "cheapest first"}}
  cheap: {{models: [first, third], price_ceiling: free}}
  alone: {{models: [first]}}
timeouts: {{connect: 1, first_chunk: 1, idle: 0.5, total: 5}}
retry: {{backoff: 0.01, max_backoff: 0.05}}
"""


BOOKS_ROWS = 100_000


class Rig:
    """One gateway and one simulated vendor, both on loopback. config: YAML with {url} for the vendor's address.

    wire: a plan of wire faults ("" for none yet): then {url} is the address of a fault proxy before the vendor, `proxy`.

    books: what every Rig of this process left behind; the numbered tests clear it and check it.
    """

    books: ClassVar[list[Books]] = []

    def __init__(
        self,
        home: Path,
        *,
        config: str = CONFIG,
        world: World | None = None,
        env: dict[str, str] | None = None,
        wire: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.world = world or World.instant(seed=1)
        self.home = home
        self._text = config
        self._env = env or {}
        self._wire = wire
        self._clock = clock or SystemClock()
        self._stack = AsyncExitStack()
        self.url = ""
        self.key = KEY

    async def __aenter__(self) -> Self:
        self.vendor = await self._stack.enter_async_context(SimulatorServer(self.world))
        self.vendor_url = self.vendor.origin
        if self._wire is not None:
            self.proxy = FaultProxy(self.vendor.host, self.vendor.port, self._wire)
            await self._stack.enter_async_context(self.proxy)
            self.vendor_url = f"http://{self.proxy.host}:{self.proxy.port}"
        self.config_path = self.home / "turnout.yaml"
        self.write_config(self._text)
        environment = Environment({"TURNOUT_HOME": str(self.home / "home"), "TURNOUT_MASTER_KEY": KEY, **self._env})
        loaded = load(self.config_path, environment)
        self.service = Service(loaded, environment, self._clock, config=self.config_path)
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        await self.service.start()
        self._server = make_server(self.service, App(self.service), takes_signals=False)
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.should_exit = True
        await self._serving
        await self.service.flush_traces()
        stored = self.service.traces.latest(BOOKS_ROWS)
        accounts = self.service.snapshot.accounts.values()
        books = Books(
            traces=[msgspec.json.decode(body, type=Trace) for body in stored],
            dispatched=dispatched(
                (one.request_id, one.outcome == "reset" and not one.sent_bytes) for one in self.world.witness.dispatches
            ),
            ours=frozenset(one.name for one in accounts if one.base_url.startswith(self.vendor_url)),
            in_flight=max(self.service.telemetry.in_flight, self.service.admission.in_flight),
            loads=sum(load.in_flight for load in self.service.engine.health.loads().values()),
            metrics=self.service.metrics().decode(),
            texts=[body.decode() for body in stored],
            master_key=self.key,
        )
        await self.service.stop()
        books.kept = kept(self.home / "home")
        Rig.books.append(books)
        await self._stack.aclose()

    def write_config(self, text: str) -> None:
        """Write the config file; the gateway notices it, or is told by `service.reload()`."""
        self.config_path.write_text(text.format(url=f"{self.vendor_url}/v1"), encoding="utf-8")

    def openai(self, **options: Any) -> openai.AsyncOpenAI:
        """The official SDK against the gateway; it makes no retries of its own unless told."""
        options.setdefault("max_retries", 0)
        options.setdefault("api_key", self.key)
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", **options)

    def http(self, **headers: str) -> httpx2.AsyncClient:
        """A plain HTTP client with the master key. headers: `_` stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.key}", **named})

    async def traced(self) -> list[Trace]:
        """All traces, written out first, newest first."""
        await self.service.flush_traces()
        return self.traces()

    def traces(self, count: int = 100_000) -> list[Trace]:
        """What `turnout explain` would find, newest first."""
        return [msgspec.json.decode(body, type=Trace) for body in self.service.traces.latest(count)]

    async def raw_stream(self, model: str) -> bytes:
        """Ask for a stream on a bare socket; return every byte until the connection ends."""
        body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "hej"}]}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (self.key.encode(), len(body), body)
        )
        answer = await reader.read()
        writer.close()
        return answer

    async def stream_body(self, model: str) -> bytes:
        """The same, without head and chunk framing. Fails if the framing is not whole."""
        head, _, framed = (await self.raw_stream(model)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        body = b""
        while True:
            size, _, framed = framed.partition(b"\r\n")
            if size == b"0":
                return body
            body += framed[: int(size, 16)]
            framed = framed[int(size, 16) + 2 :]
