"""Writes down what a gateway in its own process asks of Python and of the system: audit events, and system calls by strace.

env = watch(tmp_path)                          # for Served(..., env=env)
seen = Events(tmp_path)                        # of what comes from now on
"""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from tests.rig import KEY

LOG = "audit.jsonl"

HOOK = """
import json, os, sys

NAMES = frozenset(
    "open os.listdir os.scandir os.remove os.rename os.mkdir os.rmdir os.link os.symlink os.truncate os.chmod os.chown "
    "os.system os.exec os.posix_spawn os.spawn os.fork os.forkpty os.startfile os.putenv os.unsetenv subprocess.Popen "
    "compile exec import ctypes.dlopen ctypes.dlsym socket.connect socket.getaddrinfo socket.gethostbyname socket.bind "
    "sqlite3.connect sqlite3.load_extension shutil.rmtree shutil.copyfile shutil.move glob.glob pty.spawn marshal.loads "
    "pickle.find_class code.__new__ sys.addaudithook".split()
)
LOG = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(event, args):
    if event in NAMES:
        told = [repr(one)[:300] if not isinstance(one, (str, bytes)) else one[:300] for one in args]
        told = [one.decode("latin-1") if isinstance(one, bytes) else one for one in told]
        os.write(LOG, json.dumps([event, told]).encode() + b"\\n")


sys.addaudithook(note)
"""


class Event(NamedTuple):
    """One audit event. told: its arguments, as text."""

    name: str
    told: tuple[str, ...]


def watch(folder: Path) -> dict[str, str]:
    """Return the variables with which a process, from its first line on, writes its audit events to a file in `folder`."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    return {"TURNOUT_MASTER_KEY": KEY, "PYTHONPATH": str(site), "AUDIT_LOG": str(folder / LOG)}


class Events:
    """The audit events from when it was made on."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / LOG
        self._begin = self._log.stat().st_size

    def named(self, *names: str) -> list[Event]:
        """Those of that name, so far."""
        with self._log.open("rb") as file:
            file.seek(self._begin)
            events = [Event(name, tuple(told)) for name, told in map(json.loads, file)]
        return [event for event in events if event.name in names]


class Traced:
    """The system calls of a running process that start a program or another process, or connect, seen by strace.

    calls: one line each, once it has ended.
    """

    def __init__(self, folder: Path, process_id: int) -> None:
        self.calls: list[str] = []
        self._log = folder / "strace.txt"
        self._process_id = process_id

    @staticmethod
    def is_there() -> bool:
        """Whether strace is installed."""
        return shutil.which("strace") is not None

    async def __aenter__(self) -> Self:
        names = "trace=execve,execveat,fork,vfork,clone,clone3,connect"
        self._strace = await asyncio.create_subprocess_exec(
            *("strace", "-f", "-qq", "-s", "64", "-e", names, "-e", "signal=none"),
            *("-o", str(self._log), "-p", str(self._process_id)),
            stdout=DEVNULL,
            stderr=PIPE,
        )
        status = Path(f"/proc/{self._process_id}/status")
        while f"TracerPid:\t{self._strace.pid}" not in status.read_text(encoding="utf-8"):
            assert self._strace.returncode is None, (await self._strace.stderr.read()).decode()
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *exc: object) -> None:
        with suppress(ProcessLookupError):  # it ends by itself with the last process that it watches
            self._strace.terminate()
        await asyncio.wait_for(self._strace.communicate(), 10)
        self.calls = self._log.read_text(encoding="utf-8").splitlines()
