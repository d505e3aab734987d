"""Runs `turnout` as a process of its own, as a person's shell or a service manager does.

async with SimulatedVendor(tmp_path) as vendor:                  # the witness, in its own process
    (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin))
    async with Served(tmp_path, "--port", "0", vendor=vendor) as gateway:
        gateway.said ...               # what it printed, line by line
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx2
import msgspec

from tests.invariants import Books, dispatched, kept
from tests.rig import KEY
from turnout.core.trace import Trace

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


class SimulatedVendor:
    """`turnout simulate` without latency, quota or chance, in the folder `home`; its witness's records end in a file.

    arguments: more of its options. is_logged: False where nobody looks at the records, each of which waits for the disk.
    origin: http://HOST:PORT, base_url: the same with /v1.
    """

    def __init__(self, home: Path, *arguments: str, is_logged: bool = True) -> None:
        self.log = home / "witness.jsonl"
        self._home = home
        self._arguments = (*(("--log", str(self.log)) if is_logged else ()), *arguments)

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *TURNOUT,
            *("simulate", "--port", "0", "--instant", "--json", *self._arguments),
            cwd=self._home,
            env=environment(self._home),
            stdout=PIPE,
        )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)
        self.base_url = json.loads(line)["base_url"]
        self.origin = self.base_url.removesuffix("/v1")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.communicate(), PATIENCE_S)

    def witnessed(self, event: str = "received") -> list[dict[str, Any]]:
        """The records of that event so far."""
        records = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [record for record in records if record["event"] == event]


class Served:
    """`turnout serve` in the folder `home`, with its state in `home`/home. env: variables; without a key of ours it makes
    its own. vendor: the witness, if its books are to be compared at the end. said: the lines that it printed so far.

    books, lags: what every Served of this process left behind, and the longest hold-up of its event loop in seconds; the
    numbered tests clear and check them. A process that was killed leaves no whole books, so none are kept.
    """

    books: ClassVar[list[Books]] = []
    lags: ClassVar[list[float]] = []

    def __init__(
        self,
        home: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        vendor: SimulatedVendor | None = None,
    ) -> None:
        self.home = home
        self.said: list[str] = []
        self.url = ""
        self.key = KEY
        self.exit_code: int | None = None
        self._arguments = arguments
        self._env = {"TURNOUT_MASTER_KEY": KEY} if env is None else dict(env)
        self._vendor = vendor
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
            *(() if "--log-format" in self._arguments else ("--log-format", "text")),
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
                metrics = await self._last_metrics()
                self.process.send_signal(sig)
            else:
                metrics = ""
            try:
                self.exit_code = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
            except TimeoutError:
                self.process.kill()
                raise
            await self._reading
            if self.exit_code == 0:
                self._keep_books(metrics)
        return self.exit_code

    async def _last_metrics(self) -> str:
        try:
            async with self.http() as client:
                return (await client.get("/metrics", timeout=5)).text
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return ""  # it is not listening any more, or not for us

    def _keep_books(self, metrics: str) -> None:
        told = re.search(r"^turnout_loop_lag_seconds\{[^}]*max[^}]*\} (\S+)$", metrics, re.MULTILINE)
        if told:
            Served.lags.append(float(told[1]))
        database = self.home / "home" / "traces.sqlite3"
        lines: list[bytes] = []
        if database.exists():
            with sqlite3.connect(database) as rows:
                lines = [
                    line for (body,) in rows.execute("SELECT body FROM batch") for line in body.split(b"\n") if line
                ]
            rows.close()
        traces = [msgspec.json.decode(line, type=Trace) for line in lines]
        names = {attempt.provider for trace in traces for attempt in trace.attempts}
        ended = {one["number"]: one for one in self._vendor.witnessed("ended")} if self._vendor else {}
        received = self._vendor.witnessed() if self._vendor else []
        Served.books.append(
            Books(
                traces=traces,
                dispatched=dispatched(
                    (
                        one["request_id"],
                        (end := ended.get(one["number"], one))["outcome"] == "reset" and not end["sent_bytes"],
                    )
                    for one in received
                ),
                ours=frozenset(names) if self._vendor else frozenset(),
                metrics=metrics,
                texts=[*self.said, *(line.decode() for line in lines)],
                master_key=self.key,
                kept=kept(self.home / "home"),
            )
        )

    def http(self) -> httpx2.AsyncClient:
        """A plain HTTP client with the master key."""
        return httpx2.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.key}"})
