"""Opens connections: name, TCP, a proxy's tunnel, TLS. Whatever fails here, nothing was sent and nothing is owed.

Rules: certificates are always verified, there is no switch; a `ca_file` adds to the system's CAs, it does not replace
them. Foreign exceptions become UpstreamUnreachable here, with host and port and never a secret. The deadline is the
caller's (`transport.py`). The first connection by a new `ca_file` reads the CA files on the loop: some 10 ms, once.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import cast

from turnout.errors import UpstreamUnreachable
from turnout.gateway.http1 import Origin, encode_connect

_PROXY_HEAD_BYTES = 16 * 1024  # a proxy's answer to CONNECT is a status line and a few headers


class Dialer:
    """Opens connections; keeps one TLS context per ca_file (they come from config: few)."""

    __slots__ = ("_contexts",)

    def __init__(self) -> None:
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def dial(self, origin: Origin, protocol: asyncio.BufferedProtocol) -> None:
        """Connect `protocol` to the origin, ready for the first request.

        Raises UpstreamUnreachable. On any failure, and when cancelled, no socket is left open.
        """
        try:
            context = self._context(origin.ca_file) if origin.is_tls else None
            if origin.proxy is None:
                await self._direct(origin, protocol, context)
            else:
                await self._through_proxy(origin, protocol, context)
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message or "it cannot be verified"
            raise UpstreamUnreachable(f"{origin.label}: the TLS certificate is not to be trusted: {why}") from error
        except ssl.SSLError as error:
            raise UpstreamUnreachable(f"{origin.label}: no TLS: {error.reason or error}") from error
        except (socket.gaierror, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a host name"
            host = origin.host if origin.proxy is None else f"its proxy {origin.proxy.host}"
            raise UpstreamUnreachable(f"{origin.label}: the name of {host} cannot be resolved: {reason}") from error
        except OSError as error:
            # asyncio and uvloop word it differently, and asyncio knows no errno when several addresses failed.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise UpstreamUnreachable(f"{origin.label}: no connection: {reason}") from error

    def _context(self, ca_file: str) -> ssl.SSLContext:
        context = self._contexts.get(ca_file)
        if context is None:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            if ca_file:
                try:
                    context.load_verify_locations(cafile=ca_file)
                except OSError as error:  # ssl.SSLError is one too
                    raise UpstreamUnreachable(f"ca_file {ca_file} cannot be read: {error.strerror or error}") from error
            self._contexts[ca_file] = context
        return context

    async def _direct(self, origin: Origin, protocol: asyncio.BufferedProtocol, context: ssl.SSLContext | None) -> None:
        await asyncio.get_running_loop().create_connection(
            lambda: protocol,
            origin.host,
            origin.port,
            ssl=context,
            server_hostname=origin.host if context else None,
        )

    async def _through_proxy(
        self, origin: Origin, protocol: asyncio.BufferedProtocol, context: ssl.SSLContext | None
    ) -> None:
        proxy = origin.proxy
        assert proxy is not None
        loop = asyncio.get_running_loop()
        tunnel = _Tunnel(loop, encode_connect(origin))
        transport: asyncio.Transport | None
        try:
            transport, _ = await loop.create_connection(lambda: tunnel, proxy.host, proxy.port)
            refusal = await tunnel.outcome
            if not refusal:
                if context is None:
                    transport.pause_reading()  # uvloop notices only at the next start that this one brings its own buffer
                    transport.set_protocol(protocol)
                    transport.resume_reading()
                else:
                    transport = await loop.start_tls(transport, protocol, context, server_hostname=origin.host)
        except BaseException:
            tunnel.abort()
            raise
        if refusal or transport is None:  # None: the peer left as the handshake ended
            tunnel.abort()
            reason = refusal or "closed the tunnel"
            raise UpstreamUnreachable(f"{origin.label}: the proxy {proxy.host}:{proxy.port} {reason}")
        protocol.connection_made(transport)


class _Tunnel(asyncio.Protocol):
    """Asks for a tunnel. outcome: what the proxy has against it, "" when the tunnel stands."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes) -> None:
        self.outcome: asyncio.Future[str] = loop.create_future()
        self._request = request
        self._answer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, blank, rest = self._answer.partition(b"\r\n\r\n")
        if blank:
            status = head.split(b"\r\n", 1)[0].split(b" ")
            is_open = status[0].startswith(b"HTTP/1.") and len(status) > 1 and status[1][:1] == b"2"
            if not is_open:
                code = status[1][:3].decode("latin-1") if len(status) > 1 else "nothing that is HTTP"
                self._settle(f"refused the tunnel: it answered {code}")
            else:
                self._settle("sent more than its answer" if rest else "")
        elif len(self._answer) > _PROXY_HEAD_BYTES:
            self._settle(f"answered with more than {_PROXY_HEAD_BYTES} bytes of headers")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._settle("closed the connection before it answered")

    def abort(self) -> None:
        """Close the connection to the proxy, if it stands."""
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, outcome: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)
