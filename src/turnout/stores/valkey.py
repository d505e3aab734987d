"""Speaks to a Valkey or Redis over one connection: many commands under way, answers in their order, none waited for long.

Rules. No request ever connects or reconnects: `connect` and `serve` are for a task of the gateway, and without a connection
`ask` fails at once. A command that is not answered within `budget_s` ends the connection, since what comes after it is no
better; so does anything that is no answer. Then everybody who waits is told, and a late answer can reach nobody. If
instead we ourselves were late (a busy event loop), only that command fails. An answer that is an error is its command's
failure alone.
One connection, not a pool: a pool makes requests connect, wait for each other, and find out one by one that a server is
gone. Commands are pipelined on it as they come, up to UNDER_WAY; one takes about 60 µs of ours.
No other module knows the client library (extra `redis`). Sources: RELIABILITY R6, F10, E1, T60, T62; DEPENDENCIES §5.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import sha1
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from turnout.errors import ConfigError, StoreError

BUDGET_S: Final = 0.05
"""For one command. Source: R6."""

CONNECT_S: Final = 1.0
"""For a new connection, which no request waits for."""

UNDER_WAY: Final = 128
"""Commands that wait for answers, at most. It is we who take 60 µs for each: more than these and the last would wait for us."""

LATE: Final = 1.5
"""A timer that fires this much later than asked says that we were busy, not that the server was."""

NEEDS_EXTRA: Final = "valkey.url is set, but its client is not installed: pip install 'turnout[redis]'"


class Store(Protocol):
    """What the gateway needs of a shared store; for tests a smaller one will do."""

    async def run(self, script: str, key: str, *arguments: str | bytes | int) -> bytes:
        """Run a Lua script over one key; return what it returns. Raises StoreError."""
        ...


class Valkey:
    """One server at `url` (redis://, rediss://, unix://). address: how to speak of it, without user and password.

    run_id: of the server that the connection leads to; another one after it restarted or another took over.
    Raises ConfigError if the client library is missing or `url` cannot be read.
    """

    def __init__(self, url: str, *, budget_s: float = BUDGET_S) -> None:
        self._library, self._make = _client(url)
        self._failures = (self._library.RedisError, *_ODD)
        parts = urlsplit(url)
        self.address = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
        self.run_id = ""
        self._budget_s = budget_s
        self._connection: Any = None
        self._reader: asyncio.Task[Any] | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._hashes: dict[str, str] = {}

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that nothing is known against."""
        return self._connection is not None

    async def connect(self) -> None:
        """Open a connection; `serve` must run beside. Raises StoreError. Not for requests: takes up to CONNECT_S."""
        connection = self._make()
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()
                info = await _command(connection, "INFO", "server")
        except self._library.ResponseError:
            info = b""  # not everybody may ask this; a restart is then found out by the loss of the data only
        except self._failures as error:
            await connection.disconnect(nowait=True)
            raise StoreError(_reason(error)) from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        found = [line for line in info.split(b"\r\n") if line.startswith(b"run_id:")] if isinstance(info, bytes) else []
        self.run_id = found[0].partition(b":")[2].decode("ascii", "replace") if found else ""
        self._connection = connection

    async def serve(self) -> None:
        """Give each answer to whoever waits for it, until the connection ends; then raise StoreError with the reason."""
        connection, waiting = self._connection, self._waiting
        self._reader = asyncio.current_task()
        reason = "the connection was closed"
        try:
            while True:
                try:
                    reply = await connection.read_response()
                except self._library.ResponseError as refusal:
                    _resolve(waiting, refusal=_caused_by(refusal))
                else:
                    _resolve(waiting, reply)
        except self._failures as error:
            reason = _reason(error)
        finally:
            self._lost(connection, reason)
            await connection.disconnect(nowait=True)
        raise StoreError(reason)

    def close(self) -> None:
        """End the connection; whoever waits is told. Safe to call twice."""
        self._lost(self._connection, "the connection was closed")

    def _lost(self, connection: Any, reason: str) -> None:
        if connection is None or connection is not self._connection:
            return
        self._connection = None
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            _resolve(waiting, refusal=StoreError(reason))
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()

    async def ask(self, *command: str | bytes | int) -> Any:
        """Send one command; return the answer, bytes as bytes. Raises StoreError, after `budget_s` at the latest.

        An error that leaves the connection, and has no cause, is our own: too much at once, or too busy.
        """
        connection = self._connection
        if connection is None:
            raise StoreError("there is no connection")
        if len(self._waiting) >= UNDER_WAY:
            raise StoreError("too many commands are under way")
        loop = asyncio.get_running_loop()
        began = loop.time()
        reply = loop.create_future()
        self._waiting.append(reply)  # nothing may be awaited from here until the command is written
        try:
            async with asyncio.timeout(self._budget_s):
                await connection.send_packed_command(connection.pack_command(*command), check_health=False)
                return await reply
        except TimeoutError:
            reason = f"no answer within {self._budget_s * 1000:.0f} ms"
            if loop.time() - began < self._budget_s * LATE:
                self._lost(connection, reason)
            raise StoreError(reason) from None
        except self._failures as error:
            self._lost(connection, _reason(error))
            raise StoreError(_reason(error)) from error
        finally:
            reply.cancel()

    async def run(self, script: str, key: str, *arguments: str | bytes | int) -> bytes:
        """Run a Lua script over one key; return what it returns. Raises StoreError."""
        name = self._hashes.get(script)
        if name is None:
            name = self._hashes[script] = sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            answer = await self.ask("EVALSHA", name, 1, key, *arguments)
        except StoreError as error:
            if not isinstance(error.__cause__, self._library.NoScriptError):
                raise
            answer = await self.ask("EVAL", script, 1, key, *arguments)
        if not isinstance(answer, bytes):
            raise StoreError("the script's answer is none of ours") from TypeError(type(answer).__name__)
        return answer

    async def listen(self, channel: str, told: Callable[[bytes], None], ready: Callable[[], None]) -> None:
        """Call `told` with every message of a channel, on a connection of its own, until that ends. Raises StoreError.

        ready: called once from when on nothing is missed.
        """
        connection = self._make()
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()
                await _command(connection, "SUBSCRIBE", channel)
            ready()
            while True:
                message = await connection.read_response()
                if isinstance(message, list) and message[:1] == [b"message"]:
                    told(message[-1])
        except self._failures as error:
            raise StoreError(_reason(error)) from error
        finally:
            await connection.disconnect(nowait=True)


_ODD: Final = (
    *(OSError, TimeoutError, EOFError, RuntimeError),
    *(ValueError, TypeError, AttributeError, LookupError, AssertionError),
)
"""What the client library raises besides its own errors when a server answers nonsense, such as a number to HELLO; and
uvloop, which calls it a RuntimeError to write where the other side has just reset the connection."""


def _client(url: str) -> tuple[Any, Callable[[], Any]]:
    """Return the library's errors, and a maker of connections. It has no retries and no time limits: those are ours."""
    try:
        from redis import exceptions  # noqa: PLC0415 - an optional dependency
        from redis.asyncio import connection  # noqa: PLC0415
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError:
        raise ConfigError((NEEDS_EXTRA,)) from None
    try:
        options: Mapping[str, Any] = connection.parse_url(url)
    except ValueError:
        raise ConfigError(("valkey.url cannot be read, write redis://HOST:PORT/0",)) from None
    ours = {
        "protocol": 2,  # HELLO of the third costs one more exchange, and we need nothing of it
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_S,
        "driver_info": None,
        "decode_responses": False,
        "health_check_interval": 0,
    }
    kind = cast("Callable[..., Any]", options.get("connection_class", connection.Connection))
    known = {name: value for name, value in options.items() if name != "connection_class"}
    return exceptions, lambda: kind(**{**known, **ours, "retry": Retry(NoBackoff(), 0)})


async def _command(connection: Any, *words: str) -> Any:
    await connection.send_packed_command(connection.pack_command(*words), check_health=False)
    return await connection.read_response()


def _resolve(waiting: deque[asyncio.Future[Any]], reply: object = None, *, refusal: StoreError | None = None) -> None:
    """Answer who has waited longest. An answer that nobody asked for is a StoreError's cause: it ends the connection."""
    if not waiting:
        raise ValueError("an answer without a question")
    future = waiting.popleft()
    if future.done():
        return  # its request left
    if refusal is None:
        future.set_result(reply)
    else:
        future.set_exception(refusal)


def _caused_by(error: BaseException) -> StoreError:
    ours = StoreError(_reason(error))
    ours.__cause__ = error
    return ours


def _reason(error: BaseException) -> str:
    """One line. The library takes a server's code ("READONLY") off its words and makes it the error's name."""
    return f"{type(error).__name__}: {error}".split("\n")[0][:200]
