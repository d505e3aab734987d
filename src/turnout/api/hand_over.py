"""Passes a listening socket from one process to another, so that not one connection is refused or lost between them.

Two pairs talk this way: a gateway and the one that takes over from it (they meet at a Unix socket in TURNOUT_HOME), and
the supervisor of `--workers` and each worker (their stdin). Three steps, whoever they are:

1. the holder sends `listener`, with the socket itself beside it (SCM_RIGHTS);
2. the taker gets ready, accepts connections from it, and says `ready`;
3. the holder lets go. If the taker's end closes before it said so, nothing has happened: the holder serves on.

Both hold the same socket with the same queue in between, so whoever accepts, nobody is turned away (docs/adr/0013-hand-over.md).
Only the same user may talk: the socket's mode is 0600, and the kernel is asked who is at the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from turnout.errors import StoreError
from turnout.gateway.tasks import Tasks

LISTENER, READY = b"listener\n", b"ready\n"

RECEIVE_S = 10.0
"""A holder answers at once, unless another taker is being served."""

TAKE_S = 120.0
"""How long a taker may take to be ready: twice what a local model is given to load."""

LONGEST_NAME = 100
"""Bytes. A Unix socket's name has room for 107 (unix(7)), and we bind a longer one first, to rename it."""

_log = logging.getLogger("turnout.hand_over")


def door_of(home: Path, port: int) -> Path:
    """Return where the gateway that listens on `port` can be met."""
    return home / f"take-over-{port}.sock"


def knock(door: Path) -> socket.socket | None:
    """Return a connection to the gateway behind `door`, None if nobody is there. Raises StoreError, OSError."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _name(door) as name:
            connection.connect(name)
        _check(connection)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def receive(connection: socket.socket) -> socket.socket | None:
    """Return the listening socket that comes over `connection`, None if the holder has let go of it and is on its way out.

    Blocks, at most RECEIVE_S. Raises StoreError.
    """
    connection.settimeout(RECEIVE_S)
    try:
        said, descriptors, _, _ = socket.recv_fds(connection, len(LISTENER), 1)
    except OSError as error:
        raise StoreError(f"The running gateway did not hand over ({error}): is another one taking over?") from error
    if said != LISTENER or not descriptors:
        return None
    listener = socket.socket(fileno=descriptors[0])
    listener.set_inheritable(False)
    listener.setblocking(False)
    connection.setblocking(False)
    return listener


def give(connection: socket.socket, listener: socket.socket) -> None:
    """Send the listening socket. Raises OSError."""
    socket.send_fds(connection, [LISTENER], [listener.fileno()])


def tell_ready(connection: socket.socket) -> None:
    """Say that connections are accepted here. A holder that is gone needs no telling."""
    with contextlib.suppress(OSError):
        connection.send(READY)


async def until_ready(connection: socket.socket) -> bool:
    """Wait until the taker says that it is ready; return False if it ends before. The connection must not block."""
    said = b""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while READY not in said and (data := await loop.sock_recv(connection, 64)):
            said += data
    return READY in said


async def until_gone(connection: socket.socket) -> None:
    """Wait until the other end of a connection is closed, by whatever happened to it."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while await loop.sock_recv(connection, 64):
            pass


class Door:
    """Where one that takes over may knock. Raises OSError if none can be made."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self._path = path
        self._listener = listener
        self._socket = socket.socket(socket.AF_UNIX)
        fresh = path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                with _name(fresh) as name:
                    self._socket.bind(name)
            finally:
                os.umask(before)
            self._socket.listen(8)
            self._socket.setblocking(False)
            self._inode = fresh.stat().st_ino
            fresh.replace(path)  # in one step: there is always somebody to meet
        except BaseException:
            self._socket.close()
            raise

    async def serve(self, on_taken: Callable[[], object]) -> None:
        """Hand over to the first that gets ready, then call `on_taken` and return. One that fails changes nothing."""
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._socket)
            with connection:
                try:
                    connection.setblocking(False)
                    _check(connection)
                    give(connection, self._listener)
                    async with asyncio.timeout(TAKE_S):
                        is_taken = await until_ready(connection)
                except (OSError, StoreError) as error:
                    _log.warning("nobody took over, this process serves on: %s", error)
                    continue
            if is_taken:
                _log.warning("another process serves now; this one ends when its requests are done")
                on_taken()
                return
            _log.warning("nobody took over, this process serves on: the other one ended before it was ready")

    def close(self) -> None:
        """Close the door, unless it is somebody else's by now."""
        self._socket.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


class Succession:
    """Whom this process has its listening socket from, and whom it may give it to.

    holder: the connection that it came over, None if it was opened here. door: where to wait for one that takes over,
    None for a worker, whose holder is its supervisor and life line.
    """

    def __init__(
        self, listener: socket.socket, *, holder: socket.socket | None = None, door: Path | None = None
    ) -> None:
        self._listener = listener
        self._holder = holder
        self._path = door
        self._door: Door | None = None
        self._tasks = Tasks()

    def begin(self, on_end: Callable[[], object]) -> None:
        """Connections are accepted here: tell the holder. From now on `on_end` may be called, once: another has taken over,
        or the supervisor is gone.
        """
        if self._holder is not None:
            tell_ready(self._holder)
        if self._path is None or sys.platform == "win32":  # which passes no descriptors
            if self._holder is not None:
                self._tasks.start(self._outlive(self._holder, on_end), "wait for the supervisor's end")
            return
        try:
            self._door = Door(self._path, self._listener)
        except OSError as error:
            _log.warning("nobody can take over from this process: %s: %s", self._path, error)
        else:
            self._tasks.start(self._door.serve(on_end), "wait for one that takes over")

    async def _outlive(self, holder: socket.socket, on_end: Callable[[], object]) -> None:
        await until_gone(holder)
        _log.warning("the supervisor is gone: this worker ends when its requests are done")
        on_end()

    async def close(self) -> None:
        """Nobody can take over any more. Safe to call before `begin`."""
        await self._tasks.stop()
        if self._door is not None:
            self._door.close()
        if self._holder is not None:
            self._holder.close()


def _check(connection: socket.socket) -> None:
    """Raise StoreError unless the other end is of the same user (Linux; elsewhere the file's mode says so)."""
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _pid, uid, _gid = struct.unpack("3i", credentials)
        if uid != os.geteuid():
            raise StoreError(f"The process at the other end belongs to user {uid}, not to this one.")


@contextlib.contextmanager
def _name(path: Path) -> Iterator[str]:
    """Give a name for `path` that a Unix socket can have; a long one by way of its open folder (Linux)."""
    if len(os.fsencode(path)) <= LONGEST_NAME:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
