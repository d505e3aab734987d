"""What the tests that kill gateways share: a config with money in it, strace that kills at a system call, and the reckoning.

A killed process leaves no traces of its last requests, so what is compared here is its ledger with the vendor's witness.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.bench.procfs import tree_of
from tests.invariants import kept
from tests.process import Served

CONFIG = """defaults: false
providers: {{stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}}}
models: {{quick: {{provider: stub, id: vendor/quick, price: {{input: 1, output: 4}}}}}}
tasks: {{work: {{models: [quick]}}}}
budgets: {{all: 1000/month}}
{more}
"""

CALLS = (
    *("read", "write", "pread64", "pwrite64", "readv", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg"),
    *("fsync", "fdatasync", "openat", "close", "unlink", "ftruncate", "lseek", "fcntl", "flock", "newfstatat", "fstat"),
    *("socket", "connect", "accept4", "shutdown", "epoll_ctl"),
)
"""What a request makes of system calls that change anything, and those around them."""

PATIENCE_S = 60.0


def configure(home: Path, url: str, more: str = "") -> None:
    """Write turnout.yaml."""
    (home / "turnout.yaml").write_text(CONFIG.format(url=url, more=more), encoding="utf-8")


async def until(holds):
    """Wait until `holds()`; return how long it took, in seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < PATIENCE_S, "it never came to be"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


def workers(gateway: Served) -> list[int]:
    """The processes that serve."""
    return tree_of(gateway.process.pid)[1:]


def journals(gateway: Served) -> tuple[int, int]:
    """How many writers live, and how many are dead and not booked yet."""
    folder = gateway.home / "home" / "journal"
    held = {line.split()[5].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines()}
    inodes = []
    for path in folder.glob("*.lock"):
        with contextlib.suppress(FileNotFoundError):
            inodes.append(str(path.stat().st_ino))
    alive = sum(inode in held for inode in inodes)
    return alive, len(inodes) - alive


def serving(gateway: Served) -> int:
    """The worker that wrote to its journal last."""
    folder = gateway.home / "home" / "journal"
    newest = max(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
    inode = str((folder / f"{newest.stem.rpartition('-')[0]}.lock").stat().st_ino)
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    (pid,) = {int(fields[4]) for fields in held if fields[5].rpartition(":")[2] == inode}
    return pid


async def settled(gateway: Served, count: int) -> float:
    """Wait until `count` workers serve and nothing of a dead one is left to be booked; return how long it took, in seconds."""
    return await until(lambda: journals(gateway) == (count, 0))


class Strace:
    """strace on running processes, which makes their system calls go wrong as `inject` says (see strace(1)).

    calls: which it looks at. path: only calls on this file, None for any.
    """

    def __init__(self, pids: Sequence[int], inject: str, *, calls: str, path: Path | None = None) -> None:
        self._pids = pids
        self._options = ("-e", f"trace={calls}", "-e", f"inject={calls}:{inject}")
        self._options += () if path is None else ("-P", str(path))

    async def __aenter__(self) -> Self:
        if shutil.which("strace") is None:
            pytest.skip("needs strace: apt-get install strace")
        attach = [part for pid in self._pids for part in ("-p", str(pid))]
        self._process = await asyncio.create_subprocess_exec(
            "strace", "-f", *self._options, "-o", "/dev/null", *attach, stdout=DEVNULL, stderr=PIPE
        )
        assert self._process.stderr is not None
        waiting = len(self._pids)
        while waiting:
            line = await asyncio.wait_for(self._process.stderr.readline(), PATIENCE_S)
            if not line or b"ptrace" in line:
                pytest.skip(f"strace may not look at our own processes here: {line.decode().strip()}")
            waiting -= b"attached" in line
        self._reading = asyncio.get_running_loop().create_task(self._process.stderr.read())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()
        await self._reading


def killer(pid: int, when: int, calls: str = ",".join(CALLS)) -> Strace:
    """Kill a process at its `when`-th call of one of `calls`; each thread counts its own, and each name for itself."""
    return Strace([pid], f"signal=SIGKILL:when={when}", calls=calls)


def reckon(gateway: Served, vendor) -> tuple[int, int, str]:
    """Compare the ledger of a gateway that has ended with the witness. Return dispatches, orphans, and what was spent."""
    books = kept(gateway.home / "home")
    assert books is not None
    seen = [one["request_id"] for one in vendor.witnessed()]
    assert len(seen) == len(set(seen))
    assert set() == set(seen) - books.entries.keys(), "lost"
    well = {name for name, (_, outcome) in books.entries.items() if outcome == "ok"}
    assert set() == well - set(seen), "booked, though the vendor was never asked"
    assert [] == list(books.faults)
    assert [] == list(books.left)
    assert (0, []) == (books.leased, list(books.overspent))
    Served.books.clear()  # its traces are not whole: those of a killed worker's last requests are gone
    orphans = sum(1 for _, outcome in books.entries.values() if outcome == "orphaned")
    return len(seen), orphans, f"{len(books.entries)} entries"
