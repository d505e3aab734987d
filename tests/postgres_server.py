"""Runs a real PostgreSQL as a process of its own: started, killed, frozen as a test wants.

with PostgresServer() as postgres:
    url = postgres.new_database()         # postgresql://…, over TCP on loopback; the port stays over restarts
    postgres.freeze(); postgres.thaw()
    postgres.kill(); postgres.start()     # as after a crash

It refuses to run as root, so then it runs as `nobody`, from a copy where that user cannot read .venv.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any, Self

import pytest

SERVER = Path(__file__).parent.parent / ".venv" / "postgres"
NOBODY = 65534
PATIENCE_S = 30.0
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_wal_size=256MB")
"""A test needs no disk; one that kills the machine says so with settings of its own."""


class PostgresServer:
    """One server on loopback with an empty cluster. settings: NAME=VALUE, beside (or instead of) those that make it fast."""

    def __init__(self, *settings: str, is_fast: bool = True) -> None:
        if not (SERVER / "bin" / "postgres").exists():
            pytest.skip("needs PostgreSQL: .venv/bin/python scripts/postgres_server.py")
        self._settings = (*(FAST if is_fast else ()), *settings)
        self._user = NOBODY if os.geteuid() == 0 else None
        self.home = Path(tempfile.mkdtemp(prefix="turnout-postgres-", dir="/tmp"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.host = "127.0.0.1"
        self._process: Popen[bytes] | None = None
        self._made = 0

    def __enter__(self) -> Self:
        server = SERVER
        if self._user is not None:
            os.chown(self.home, NOBODY, NOBODY)
            if not self._may_read(SERVER / "bin" / "postgres"):
                server = self.home / "server"
                shutil.copytree(SERVER, server, symlinks=True)
                self.home.chmod(0o755)
        self._bin = server / "bin"
        self._run("initdb", "-D", self._data, "-U", "turnout", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8")
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self.home / "data")

    def _may_read(self, path: Path) -> bool:
        return subprocess.run(["test", "-x", str(path)], user=self._user, group=self._user, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments],
            **self._how(),
            stdout=DEVNULL,
            check=True,
        )

    def _how(self) -> dict[str, Any]:
        return {"user": self._user, "group": self._user, "extra_groups": [], "cwd": self.home} if self._user else {}

    @property
    def process(self) -> Popen[bytes]:
        """The process, once it was started."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start and wait until it answers."""
        settings = [word for one in (f"port={self.port}", *self._settings) for word in ("-c", one)]
        with (self.home / "log").open("ab") as log:
            self._process = Popen(
                [
                    *(str(self._bin / "postgres"), "-D", self._data, "-k", str(self.home)),
                    *("-c", "listen_addresses=127.0.0.1", *settings),
                ],
                **self._how(),
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + PATIENCE_S
        ready = [str(self._bin / "pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)

    def move(self) -> None:
        """Listen at another port from the next start on."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def log(self) -> str:
        """What the server said."""
        return (self.home / "log").read_text(errors="replace")

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run SQL as an operator with psql; return its rows, `|` between columns."""
        done = subprocess.run(
            [
                *(str(self._bin / "psql"), "-h", self.host, "-p", str(self.port), "-U", "turnout"),
                *("-d", database, "-AtqX", "-v", "ON_ERROR_STOP=1", "-c", text),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    def new_database(self, template: str = "template1") -> str:
        """Make a database of its own, as a copy of `template`; return its address."""
        self._made += 1
        name = f"books{self._made}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Take a database away again: a few hundred of them are a hundred thousand files to delete at the end."""
        self.sql(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"postgresql://turnout@{self.host}:{self.port}/{database}"

    def freeze(self) -> None:
        """All of its processes keep their connections and do nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """They go on."""
        self._signal(signal.SIGCONT)

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End it, at once and all of it unless told. Safe to call twice, and when it is frozen."""
        if self.process.poll() is None:
            if sig == signal.SIGKILL:
                self._signal(sig)
            else:
                self.process.send_signal(sig)
        self.process.wait(PATIENCE_S)

    def _signal(self, sig: signal.Signals) -> None:
        """To the first process, then to those that it made: each of them leads a process group of its own."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        for pid in (self.process.pid, *map(int, children.split())):
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                continue
