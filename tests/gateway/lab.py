"""An Engine without sockets: a config, a scripted transport, a client that remembers, and a clock that only the test moves."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.contracts import Call, Outgoing, Policy, Provider
from turnout.core.eligible import NOBODY
from turnout.core.health import Health
from turnout.core.plan import Ask, Index
from turnout.core.principal import Who
from turnout.dialects import DIALECTS
from turnout.errors import GatewayError
from turnout.gateway.accounting import Accounting
from turnout.gateway.clock import Clock
from turnout.gateway.downstream import Head
from turnout.gateway.engine import Engine
from turnout.gateway.exchange import Exchange
from turnout.gateway.memory_transport import MemoryTransport, Scripted
from turnout.policies import POLICIES
from turnout.providers import PROVIDERS

CONFIG = """
providers:
  stub: {kind: compatible, base_url: "http://stub.invalid/v1", api_key: sk-canary-stub}
  backup: {kind: compatible, base_url: "http://backup.invalid/v1", api_key: sk-canary-backup}
  claude: {kind: anthropic, base_url: "http://claude.invalid", api_key: sk-canary-claude}
models:
  first: {provider: stub, id: vendor/first, price: {input: 1, output: 2}, context: 1000, context_fallbacks: [large]}
  second: {provider: backup, id: vendor/second, price: free}
  third: {provider: claude, id: claude-third, price: {input: 3, output: 15}}
  large: {provider: backup, id: vendor/large, price: free, context: 100000}
  unpriced: {provider: stub, id: vendor/unpriced}
tasks:
  work: {models: [first, second, third]}
  alone: {models: [second]}
  paid: {models: [first], max_retries: 0}
rollouts:
  beta: {tasks: [work], percent: 0, candidate: {models: [large]}, include: [boss]}
timeouts: {first_chunk: 1, total: 30}
"""

ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hej"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
OK = Scripted(body=(json.dumps(ANSWER).encode(),))


def chunk(text: str) -> bytes:
    """One event of a stream."""
    told = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def refusal(status: int, message: str = "no", **headers: str) -> Scripted:
    """An error answer. headers: `_` stands for `-`."""
    body = json.dumps({"error": {"message": message}}).encode()
    return Scripted(status, {name.replace("_", "-"): value for name, value in headers.items()}, (body,))


class StillClock:
    """Time stands still unless the test moves it; chance is always the same."""

    def __init__(self) -> None:
        self.at = 1000.0
        self._numbers = itertools.count(1)

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return 1.8e9 + self.at

    def draw(self) -> float:
        return 0.0

    def request_id(self) -> str:
        return f"req_{next(self._numbers)}"

    def token(self) -> str:
        return "token"


class Client:
    """A Downstream that remembers what it was sent. ended: "answer", "finish" or "cut"."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = ""
        self.is_paused = False
        self.drains = 0
        self.on_gone: Callable[[], object] | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    @property
    def is_started(self) -> bool:
        return self.status != 0

    def start(self, status: int, headers: Head) -> None:
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}

    def answer(self, status: int, headers: Head, body: bytes) -> None:
        self.start(status, headers)
        self.body = body
        self.ended = "answer"

    def write(self, data: bytes) -> None:
        assert data
        self.body += data

    async def drain(self) -> None:
        self.drains += 1
        await self.may_go_on.wait()

    def finish(self) -> None:
        self.ended = "finish"

    def cut(self) -> None:
        self.ended = "cut"


class Lab:
    """One engine. answers: what each vendor's host says in turn, the last for ever; or a function of the request."""

    def __init__(
        self,
        folder: Path,
        answers: Mapping[str, list[Scripted | GatewayError]] | Callable[[Outgoing], Scripted | GatewayError],
        *,
        config: str = CONFIG,
        policies: Mapping[str, Policy] = POLICIES,
        providers: Mapping[str, Provider] = PROVIDERS,
        clock: Clock | None = None,
        accounting: Accounting | None = None,
    ) -> None:
        self.folder = folder
        self.clock: Any = clock or StillClock()
        self.transport = MemoryTransport(answers if callable(answers) else Vendors(answers))
        self.begun = 0
        self.ended: list[Exchange] = []
        index = self.index(config)
        self.health = Health(index.snapshot.breaker)
        self.engine = Engine(
            index,
            health=self.health,
            clock=self.clock,
            transports={"http": self.transport},
            dialects=DIALECTS,
            providers=providers,
            policies=policies,
            on_begin=self._on_begin,
            on_end=self.ended.append,
            accounting=accounting,
        )

    def _on_begin(self) -> None:
        self.begun += 1

    def index(self, config: str) -> Index:
        """A config, ready to plan on."""
        path = self.folder / "turnout.yaml"
        path.write_text(config, encoding="utf-8")
        return Index.of(load(path, Environment({"TURNOUT_HOME": str(self.folder)})).snapshot)

    async def ask(
        self, name: str, client: Client | None = None, user: str = "", who: Who = NOBODY, **fields: Any
    ) -> Client:
        """One exchange; returns the client, or raises what it would be told. fields: of the body."""
        client = client or Client()
        call = read({"model": name, "messages": [{"role": "user", "content": "Hej"}], **fields})
        asked = Ask(
            call.name,
            user=user,
            stream=call.stream,
            needs=call.needs,
            input_tokens=call.input_tokens,
            max_output_tokens=call.max_output_tokens,
            who=who,
        )
        await self.engine.serve(call, asked, self.clock.request_id(), client)
        return client

    @property
    def asked(self) -> list[str]:
        """The hosts that were asked, in order."""
        return [one.url.split("//")[1].split(".")[0] for one in self.transport.sent]


class Vendors:
    """Scripted answers by host."""

    def __init__(self, answers: Mapping[str, list[Scripted | GatewayError]]) -> None:
        self._answers = {host: list(some) for host, some in answers.items()}

    def __call__(self, outgoing: Outgoing) -> Scripted | GatewayError:
        some = self._answers[outgoing.url.split("//")[1].split(".")[0]]
        return some.pop(0) if len(some) > 1 else some[0]


def read(body: dict[str, Any]) -> Call:
    """A chat request."""
    return DIALECTS["openai_chat"].decode(json.dumps(body).encode())


def outcomes(lab: Lab) -> tuple[str | None, list[tuple[str, str | None]]]:
    """Of the one exchange that ended: its outcome and each attempt's."""
    (exchange,) = lab.ended
    assert lab.begun == 1
    assert lab.transport.open_responses == 0
    assert all(load.in_flight == 0 for load in lab.health.loads().values())
    attempts = [(one.choice.candidate.key, one.error and one.error.code) for one in exchange.attempts]
    return exchange.outcome and exchange.outcome.code, attempts
