"""Binds the application to a socket and serves on it until it is told to stop; then lets go of it without breaking anything.

How it stops (docs/how-to/upgrade-reload-stop.md says it for operators):
1. Not ready any more, at once. Answers that begin now say `connection: close`.
2. For `server.lame_duck`, new connections are still taken: a load balancer sends until it has seen that we are not ready.
   There is nothing to wait for when nobody is connected, or a person pressed Ctrl-C, or another process serves on the
   same socket already.
3. The listener closes. What is under way may finish, within `server.grace` from the signal.
4. At its end, or at a second signal, the rest is ended honestly: a stream by an error event and a connection without its
   last chunk, any other request by a 503 that says when to come again.

uvicorn closes its listener and idle connections at once, and tells nobody why it cancels; so this part is ours.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import uvicorn

from turnout.api.app import App
from turnout.api.door import Door
from turnout.api.ending import State
from turnout.api.server import BoundedProtocol, bounded
from turnout.errors import GatewayStopping
from turnout.gateway.service import Service

if TYPE_CHECKING:
    from uvicorn._types import ASGIApplication

UNSENT_BYTES = 64 * 1024
"""How much of an answer the kernel takes that it cannot send yet. Left to itself, Linux takes 4 MB for each client that
does not read, so a vendor would be read, and paid, that far ahead. What is on its way to the client does not count.
"""

BACKLOG = 2048
"""Connections that wait to be accepted: uvicorn's own."""

LOOK_S = 0.05
"""How often we look whether there is something left to wait for."""

QUIET_S = 0.2
"""Nobody is connected if nobody has been for so long: where each request has a connection of its own, there are gaps."""

FAREWELL_S = 0.5
"""For requests that are ended to say so, and once more for what they say to leave: exit is within `grace` + 2 s."""

_log = logging.getLogger("turnout.serving")


class Server(uvicorn.Server):
    """uvicorn's server with our signals and our way to stop.

    takes_signals: False inside a process that has its own handlers, such as a test. on_started: called when connections
    are accepted.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, *, takes_signals: bool, on_started: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self.server_state = self._state = State()
        self._service = service
        self._takes_signals = takes_signals
        self._on_started = on_started
        self._to_hold: Callable[[], object] = lambda: None
        self._is_told = False
        self._is_urgent = False
        self._has_lame_duck = False

    # ── signals ──

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take ours, from now on; a second time, within the first, changes nothing."""
        if sys.platform == "win32" and self._takes_signals:
            with super().capture_signals():
                yield
            return
        loop = asyncio.get_running_loop()
        actions = self._actions() if self._takes_signals else {}
        self._takes_signals = False
        for sign, act in actions.items():
            loop.add_signal_handler(sign, act)
        try:
            yield
        finally:
            for sign in actions:
                loop.remove_signal_handler(sign)

    def _actions(self) -> Mapping[signal.Signals, Callable[[], object]]:
        return {
            signal.SIGTERM: self._told_to_stop,
            signal.SIGINT: lambda: self._told_to_stop(has_lame_duck=False),
            signal.SIGQUIT: lambda: self._told_to_stop(is_urgent=True),
            signal.SIGHUP: self._service.reload_soon,
            signal.SIGUSR1: lambda: _log.warning("SIGUSR1 means nothing here: logs go to stderr, nothing is reopened"),
            signal.SIGUSR2: lambda: _log.warning("SIGUSR2 means nothing here; `turnout serve --take-over` upgrades"),
        }

    def _told_to_stop(self, *, has_lame_duck: bool = True, is_urgent: bool = False) -> None:
        """A signal says stop; a second one says now."""
        self._is_urgent = self._is_urgent or is_urgent or self._is_told
        self._is_told = True
        self.stop(has_lame_duck=has_lame_duck)

    def stop(self, *, has_lame_duck: bool = False) -> None:
        """Begin to stop. has_lame_duck: whether load balancers must find out by themselves. Safe to call twice."""
        if not self.should_exit:
            self._service.is_ready = False
            self._state.is_draining = True
            self._drain(ends_idle=False)  # an answer that is under way says already that it is the last
            self._has_lame_duck = has_lame_duck
            self.should_exit = True
            self._to_hold()

    # ── serving ──

    async def get_ready(self) -> bool:
        """Start the service; return False if we were told to stop before it was ready (then nothing is left of it)."""
        starting = asyncio.current_task()
        assert starting is not None
        self._to_hold = starting.cancel
        try:
            await self._service.start()
        except asyncio.CancelledError:
            if not self.should_exit:
                raise
            starting.uncancel()
        finally:
            self._to_hold = lambda: None
        return not self.should_exit

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets=sockets)
        self._on_started()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: give new connections the bounds of a config that has come into force."""
        protocol, bounds = cast("type[BoundedProtocol]", self.config.http_protocol_class), self._service.bounds
        if protocol.bounds != bounds:
            self.config.http_protocol_class = bounded(bounds, protocol.door)
            self.config.timeout_keep_alive = bounds.idle_s  # type: ignore[assignment]  # as in make_server
        return await super().on_tick(counter)

    # ── the end ──

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go, as the top of this file says."""
        rule = self._service.snapshot.server
        now = asyncio.get_running_loop().time
        began = now()
        self._state.is_draining = True
        self._drain(ends_idle=False)
        if self._has_lame_duck:
            await self._wait_until(self._quiet_for(QUIET_S), began + min(rule.lame_duck_s, rule.grace_s))
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        await self._wait_until(lambda: not self._drain(ends_idle=True), began + rule.grace_s)
        await self._end_the_rest()

    def _drain(self, *, ends_idle: bool) -> bool:
        """Go over all connections; return whether something is worth waiting for."""
        needed = [one.drain(ends_idle=ends_idle) for one in self._connections()]
        return any(needed) or bool(self._state.tasks)

    def _connections(self) -> list[BoundedProtocol]:
        return cast("list[BoundedProtocol]", list(self._state.connections))

    def _quiet_for(self, seconds: float) -> Callable[[], bool]:
        """Return a condition: nobody is connected, and nobody has been for so long."""
        now = asyncio.get_running_loop().time
        last_seen = now()

        def is_quiet() -> bool:
            nonlocal last_seen
            if self._state.connections:
                last_seen = now()
            return now() - last_seen >= seconds

        return is_quiet

    async def _wait_until(self, is_over: Callable[[], bool], deadline: float) -> None:
        now = asyncio.get_running_loop().time
        while not (is_over() or self._is_urgent):
            left = deadline - now()
            if left <= 0:
                return
            await asyncio.sleep(min(LOOK_S, left))

    async def _end_the_rest(self) -> None:
        """End what had no time to finish, with a word to each client."""
        if tasks := list(self._state.tasks):
            _log.warning("%d requests had no time to finish and are told so", len(tasks))
            for task in tasks:
                task.cancel(GatewayStopping.code)
            await asyncio.wait(tasks, timeout=FAREWELL_S)
        for connection in self._connections():
            connection.transport.close()
        self._is_urgent = False
        now = asyncio.get_running_loop().time
        await self._wait_until(lambda: not self._state.connections, now() + FAREWELL_S)
        for connection in self._connections():
            connection.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol said aloud, or asyncio leaves Nagle's algorithm on: the end of a stream then waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # what is accepted inherits it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def make_server(
    service: Service, app: App, *, takes_signals: bool = True, on_started: Callable[[], object] = lambda: None
) -> Server:
    """Return a server for `app`, not yet serving: `await server.serve(sockets=[listener])`."""
    config = uvicorn.Config(
        cast("ASGIApplication", app),
        http=bounded(service.bounds, Door(service)),
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        ws="none",
        interface="asgi3",
        lifespan="off",
        access_log=False,
        server_header=False,
        log_config=None,
        proxy_headers=False,
        timeout_keep_alive=service.bounds.idle_s,  # type: ignore[arg-type]  # to uvicorn any number will do
    )
    return Server(config, service, takes_signals=takes_signals, on_started=on_started)
