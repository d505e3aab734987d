"""Starts, pins, watches and ends the processes of the benchmark, each by its own id."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.bench import procfs
from tests.bench.interrupts import Interrupts

STOP_S = 5.0
POLL_S = 0.001


class StartError(Exception):
    """A process that did not become ready; carries the end of what it printed."""


class Cores:
    """Which core the gateway under test runs on, and which one carries the stub and the load."""

    def __init__(self) -> None:
        self.allowed = sorted(os.sched_getaffinity(0))
        self.load = self.allowed[0]
        self.gateway = self.allowed[-1]

    @property
    def is_shared(self) -> bool:
        """Whether there is one core for everything, so that figures disturb each other."""
        return self.load == self.gateway


def free_port() -> int:
    """A port on loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One started program on one core, in a session of its own so that its whole group can be ended by id."""

    def __init__(self, command: Sequence[str], core: int, env: Mapping[str, str], folder: Path, log: Path) -> None:
        here = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # the child inherits it; no code runs between fork and exec
        try:
            with log.open("ab") as output:
                self.popen = subprocess.Popen(
                    list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    env=dict(env), cwd=folder, start_new_session=True,
                )  # fmt: skip
        finally:
            os.sched_setaffinity(0, here)
        self.started = time.perf_counter()
        self.log = log
        self.pids = [self.popen.pid]

    def wait_ready(self, port: int, path: str, limit_s: float) -> float:
        """Poll `path` each millisecond until it answers 200; return the seconds since the start.

        Raises StartError if the process ends or `limit_s` passes first.
        """
        while True:
            if answers(port, path):
                ready_s = time.perf_counter() - self.started
                self.pids = procfs.tree_of(self.popen.pid)
                return ready_s
            if self.popen.poll() is not None:
                raise StartError(f"ended with {self.popen.returncode}: {self.last_words()}")
            if time.perf_counter() - self.started > limit_s:
                raise StartError(f"not ready after {limit_s:.0f} s: {self.last_words()}")
            time.sleep(POLL_S)

    def last_words(self) -> str:
        """The end of what the process printed, in one line."""
        text = self.log.read_text(errors="replace")[-600:]
        return " | ".join(line.strip() for line in text.splitlines() if line.strip())

    def cpu_s(self) -> float:
        """CPU seconds of the whole tree so far."""
        self.pids = procfs.tree_of(self.popen.pid)
        return procfs.cpu_s(self.pids)

    def pss_bytes(self) -> int:
        """Memory of the whole tree now."""
        return procfs.pss_bytes(procfs.tree_of(self.popen.pid))

    def stop(self) -> None:
        """End the tree: ask, wait, then insist. Ends each process by id; safe to call twice."""
        tree = procfs.tree_of(self.popen.pid) if self.popen.poll() is None else []
        if tree:
            self.popen.terminate()
            try:
                self.popen.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(STOP_S)
        for pid in tree[1:]:
            fields = procfs.stat_fields(pid)
            # Its session is still the one that we opened, so the number was not given to a stranger meanwhile.
            if fields and int(fields[3]) == self.popen.pid:
                os.kill(pid, signal.SIGKILL)


def answers(port: int, path: str) -> bool:
    """Whether `GET path` gets status 200 now."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
            return link.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    except OSError:
        return False


def fetch(port: int, path: str) -> bytes:
    """The body of the reply to `GET path`. For the stub's knobs: a short reply in one piece."""
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as link:
        link.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        return link.recv(65536).partition(b"\r\n\r\n")[2]


class Workshop:
    """The temporary folder and every process of one benchmark; leaving it ends and removes them all."""

    def __init__(self, interrupts: Interrupts) -> None:
        self.interrupts = interrupts
        self.folder = Path(tempfile.mkdtemp(prefix="turnout-bench-"))
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.interrupts.ignore()
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, command: Sequence[str], core: int, env: Mapping[str, str], name: str) -> Process:
        """Start a process in a folder of its own."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        with self.interrupts.held():
            process = Process(command, core, env, folder, folder / "output.log")
            self.processes.append(process)
        return process
