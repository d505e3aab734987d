"""Binds the application to a socket: uvicorn's server with our protocol, our signals and every default said aloud."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, cast

import uvicorn

from turnout.api.app import App
from turnout.api.server import bounded
from turnout.gateway.service import Service

if TYPE_CHECKING:
    from uvicorn._types import ASGIApplication

KEEP_ALIVE_S = 75
"""How long an idle client connection stays: nginx's `keepalive_timeout`, longer than SDKs' pools keep theirs."""

BACKLOG = 2048
"""Connections that wait to be accepted: uvicorn's own."""


class Server(uvicorn.Server):
    """uvicorn's server. SIGHUP reads the config again; a signal to stop turns readiness off first.

    takes_signals: False inside a process that has its own handlers, such as a test.
    """

    def __init__(self, config: uvicorn.Config, service: Service, *, takes_signals: bool) -> None:
        super().__init__(config)
        self._service = service
        self._takes_signals = takes_signals

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGHUP besides what uvicorn takes."""
        if not self._takes_signals:
            yield
            return
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._service.reload)
        with super().capture_signals():
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking work: what is under way may finish, within the grace period."""
        self._service.is_ready = False
        super().handle_exit(sig, frame)
        # uvicorn raises what it captured once more when it has stopped. That would end the process by the signal: before
        # the last traces are written and local models are stopped, and with another exit code than 0.
        self._captured_signals.clear()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def make_server(service: Service, app: App, *, takes_signals: bool = True) -> Server:
    """Return a server for `app`, not yet serving: `await server.serve(sockets=[listener])`."""
    config = uvicorn.Config(
        cast("ASGIApplication", app),
        http=bounded(service.bounds),
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        ws="none",
        interface="asgi3",
        lifespan="off",
        access_log=False,
        server_header=False,
        log_config=None,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(service.snapshot.server.grace_s),
    )
    return Server(config, service, takes_signals=takes_signals)
