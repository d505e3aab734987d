"""Runs `turnout` as a process of its own, as a person's shell or a service manager does.

async with Served(tmp_path, "--port", "0") as gateway:
    gateway.said ...                   # what it printed, line by line
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx2

from tests.rig import KEY

TURNOUT = (sys.executable, "-c", "from turnout.cli import main; main()")
PATIENCE_S = 30.0
"""For a start or an end on a very busy machine; nothing here waits for it when all is well."""


def environment(home: Path, **variables: str) -> dict[str, str]:
    """What the process is given: nothing of ours but the path."""
    return {"PATH": os.environ["PATH"], "TURNOUT_HOME": str(home / "home"), **variables}


async def turnout(home: Path, *arguments: str, **variables: str) -> tuple[int | None, str, str]:
    """Run a command to its end in the folder `home`; return exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *TURNOUT, *arguments, cwd=home, env=environment(home, **variables), stdout=PIPE, stderr=PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    except TimeoutError:
        process.kill()
        raise
    return process.returncode, out.decode(), err.decode()


class Served:
    """`turnout serve` in the folder `home`, with its state in `home`/home. env: variables; without a key of ours it makes
    its own. said: the lines that it printed so far.
    """

    def __init__(self, home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.said: list[str] = []
        self.url = ""
        self.key = KEY
        self.exit_code: int | None = None
        self._arguments = arguments
        self._env = {"TURNOUT_MASTER_KEY": KEY} if env is None else dict(env)
        self._changed = asyncio.Event()
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The process, once it was started."""
        assert self._process is not None
        return self._process

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *TURNOUT,
            "serve",
            *(self._arguments or ("--port", "0")),
            cwd=self.home,
            env=environment(self.home, **self._env),
            stderr=PIPE,
        )
        self._reading = asyncio.get_running_loop().create_task(self._read())
        line = await self.until_said("Listening on ")
        self.url = line.split("Listening on ")[1].split("/v1")[0]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.said.append(line.decode().rstrip("\n"))
            self._changed.set()
        self._changed.set()

    async def until_said(self, text: str) -> str:
        """Wait for a line that holds `text`; return it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self._changed.clear()
                found = [line for line in self.said if text in line]
                if found:
                    return found[0]
                assert not self._reading.done(), "\n".join(self.said)
                await self._changed.wait()

    async def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end, by force if it does not come. Safe to call twice."""
        if self.exit_code is None:
            if self.process.returncode is None:
                self.process.send_signal(sig)
            try:
                self.exit_code = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
            except TimeoutError:
                self.process.kill()
                raise
            await self._reading
        return self.exit_code

    def http(self) -> httpx2.AsyncClient:
        """A plain HTTP client with the master key."""
        return httpx2.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.key}"})
