"""Speaks HTTP/1.1 to an upstream: a request becomes bytes, response bytes become a head and a body.

Rules: no sockets, no clock, no tasks; what is wrong with a response is a value (a text), not a raise. Everything that an
upstream may send is bounded: the head, the trailers and chunk extensions (`HEAD_BYTES`), informational responses
(`INFORMATIONAL_RESPONSES`), and by the caller the body. No redirects, no cookies, no decompression: identity is asked for,
and whatever comes is handed on. An upgrade is refused. A proxy is always asked for a tunnel (CONNECT), for plain http as
well, so that it never sees a provider's key.

Sources: RFC 9112 (framing), RFC 9110 (names, values, 1xx, 204, 304). The parser is llhttp by way of httptools, which has
no limits of its own and does not know where a body ends that only the end of the connection ends; both are added here.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from hashlib import blake2b
from urllib.parse import SplitResult, unquote, urlsplit

import httptools
import msgspec

from turnout.core.secret import Secret
from turnout.errors import InternalError

HEAD_BYTES = 64 * 1024
"""A response head, all of a response's trailers, or bytes without any body among them, may be this long. Twice what
common servers accept for a request head (Apache, Node: 8 to 16 KiB), and what we accept from a client."""

INFORMATIONAL_RESPONSES = 100
"""1xx responses before the final one. Source: RELIABILITY T19."""

_MANY_PARTS = 64  # a chunk of one byte costs 8 bytes in the list and up to 34 for its object: join before that adds up

_METHODS = frozenset(
    {"GET", "POST", "PUT", "PATCH", "DELETE"}
)  # HEAD would need a body-less parse that httptools lacks
_OURS = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})
_NEVER = frozenset({"te", "trailer", "upgrade", "expect", "keep-alive", "proxy-connection", "proxy-authorization"})
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_URL = re.compile(r"[\x21-\x7e]+")
_KNOWN_NAMES = 1024  # header names come from config and code: few; a flood of them is not remembered
_KNOWN_LINES = 64  # one for each account in use; they hold its key, so those of an earlier config are not kept for long

Headers = tuple[tuple[str, str], ...]


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy. authorization: the value of proxy-authorization, empty for none."""

    host: str
    port: int
    authorization: Secret


class Origin(msgspec.Struct, frozen=True):
    """Where connections of one kind go. key: under which they are pooled; holds no credential (a proxy's is hashed).

    label: "host:port" for messages. proxy: None for a direct connection. ca_file: one more CA to trust, "" for none.
    """

    key: str
    label: str
    host: str
    port: int
    is_tls: bool
    proxy: Proxy | None
    ca_file: str


class Target(msgspec.Struct, frozen=True):
    """A URL, ready to be asked. fixed: the head from after the method up to the headers that vary."""

    origin: Origin
    fixed: str


def parse_target(url: str, proxy_url: str = "", ca_file: str = "") -> Target:
    """Read an absolute http(s) URL once; the caller keeps the result.

    Raises InternalError (config checks addresses first) without repeating the URL, which may hold a secret. O(length).
    """
    parts, host, port = _split(url, "the upstream's URL")
    if parts.username is not None or parts.password is not None:
        raise InternalError("the upstream's URL holds a user or a password: put the credential into a header")
    is_tls = parts.scheme == "https"
    proxy = None
    key = f"{parts.scheme}://{_bracketed(host)}:{port}"
    if proxy_url:
        proxy = _parse_proxy(proxy_url)
        digest = blake2b(proxy_url.encode(), digest_size=8).hexdigest()
        key += f" by {_bracketed(proxy.host)}:{proxy.port}#{digest}"
    if ca_file:
        key += f" trusting {ca_file}"
    authority = _bracketed(host) if port == (443 if is_tls else 80) else f"{_bracketed(host)}:{port}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        origin=Origin(key, f"{_bracketed(host)}:{port}", host, port, is_tls, proxy, ca_file),
        fixed=f" {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: keep-alive\r\naccept-encoding: identity\r\n",
    )


def _parse_proxy(proxy_url: str) -> Proxy:
    parts, host, port = _split(proxy_url, "the proxy's URL")
    if parts.scheme != "http":
        raise InternalError("the proxy's URL must begin with http:// (TLS to the proxy itself is not spoken)")
    if parts.username is None:
        return Proxy(host, port, Secret(""))
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(host, port, Secret("Basic " + base64.b64encode(pair.encode()).decode()))


def _split(url: str, what: str) -> tuple[SplitResult, str, int]:
    # urlsplit drops tabs and line breaks in silence, so they are refused before it sees them.
    if not _URL.fullmatch(url):
        raise InternalError(f"{what} is empty or holds a blank, a control character or one outside ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InternalError(f"{what} cannot be read: its host or port is malformed") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InternalError(f"{what} must begin with http:// or https:// and name a host")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    return parts, parts.hostname, port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def encode_connect(origin: Origin) -> bytes:
    """Ask `origin.proxy` for a tunnel to the origin."""
    lines = f"CONNECT {origin.label} HTTP/1.1\r\nhost: {origin.label}\r\n"
    if origin.proxy and origin.proxy.authorization:
        lines += f"proxy-authorization: {origin.proxy.authorization.reveal()}\r\n"
    return f"{lines}\r\n".encode("latin-1")


class HeadWriter:
    """Writes request heads. Remembers the header names that it has found good, and the lines of what many requests share."""

    __slots__ = ("_lines", "_names")

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._lines: dict[Headers, str] = {}

    def encode(self, method: str, target: Target, headers: Headers, body_bytes: int) -> bytes:
        """Return the head of one request, blank line included.

        headers: without those that are written here (host, content-length, connection, accept-encoding). The last one may
        differ from request to request, as its id does; those before it cost little when they were written before.
        Raises InternalError on a name or value that would break the framing; the message never holds a value.
        O(size of the head): 0.5 µs.
        """
        if method not in _METHODS:
            raise InternalError(f"method {method!r} is not one of {', '.join(sorted(_METHODS))}")
        lines = self._lines.get(headers[:-1])
        if lines is None:
            lines = self._remember(headers[:-1])
        if headers:
            name, value = headers[-1]
            # What prints holds no line break. What does not may still be good: a tab, a no-break space.
            lines += (
                f"{name}: {value}\r\n" if name in self._names and value.isprintable() else self._write(headers[-1:])
            )
        length = f"content-length: {body_bytes}\r\n" if body_bytes or method != "GET" else ""
        try:
            return f"{method}{target.fixed}{length}{lines}\r\n".encode("latin-1")
        except UnicodeEncodeError:
            text = (
                f"header {_culprit(headers)} holds a character that HTTP cannot carry: refused before anything was sent"
            )
            raise InternalError(text) from None  # the cause would show the value

    def _remember(self, headers: Headers) -> str:
        lines = self._write(headers)
        if len(self._lines) >= _KNOWN_LINES:
            self._lines.clear()
        self._lines[headers] = lines
        return lines

    def _write(self, headers: Headers) -> str:
        for name, _ in headers:
            if name not in self._names:
                self._learn(name)
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        # One line break per header is ours; any other came in with a value.
        count = len(headers)
        if lines.count("\n") != count or lines.count("\r") != count or "\0" in lines:
            raise InternalError(
                f"header {_culprit(headers)} holds a line break or NUL: refused before anything was sent"
            )
        return lines

    def _learn(self, name: str) -> None:
        if not _NAME.fullmatch(name) or name in _OURS or name in _NEVER:
            raise InternalError(
                f"header name {name!r} cannot be sent: not a lower-case token, or written by the transport"
            )
        if len(self._names) < _KNOWN_NAMES:
            self._names.add(name)


def _culprit(headers: Headers) -> str:
    bad = re.compile("[\r\n\0\u0100-\U0010ffff]")
    return next(name for name, value in headers if bad.search(value))


class ResponseReader:
    """One connection's responses, one after another: `begin`, then `feed` until `is_complete`; `take` the body.

    status, head: valid once has_head; `decode_headers(head)` makes a mapping of it, for those who want one: llhttp has
    checked every line, but calling back for each costs more than all the rest of a small response (2.3 of 3 µs).
    buffered: body bytes not yet taken. is_touched: any byte came since `begin`. has_surplus: bytes came after the end,
    so the connection must not serve again; neither must it unless is_keep_alive.
    """

    __slots__ = (
        "_before",
        "_fault",
        "_informational",
        "_parser",
        "_parts",
        "_quiet",
        "buffered",
        "has_head",
        "has_surplus",
        "head",
        "is_complete",
        "is_keep_alive",
        "is_touched",
        "status",
    )

    def __init__(self) -> None:
        self._before: list[bytes] = []  # what came before the end of the head
        self._parts: list[bytes] = []
        self.begin()
        self.is_complete = True  # nothing was asked yet: whatever comes is surplus
        self._parser = httptools.HttpResponseParser(self)

    def begin(self) -> None:
        """A request goes out: forget the last response."""
        self.status = 0
        self.head = b""
        self.buffered = 0
        self.has_head = self.is_complete = self.is_keep_alive = self.is_touched = self.has_surplus = False
        self._informational = 0
        self._quiet = 0  # bytes since the last body byte
        self._fault = ""
        self._before.clear()
        self._parts.clear()

    def feed(self, data: bytes | memoryview) -> str:
        """Take what the socket gave; nothing of `data` itself is kept. Returns what is wrong with it, "" if nothing is. O(len(data)). Never raises."""
        if self.is_complete:
            self.has_surplus = True
            return ""
        if not self.has_head:
            self.is_touched = True
            self._before.append(bytes(data))
        self._quiet += len(data)
        buffered = self.buffered
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.is_complete and not self._fault:
                self.has_surplus = True
                return ""
            return self._fault or f"it is not HTTP/1.1 ({error})"
        if self.buffered != buffered:
            self._quiet = 0
            if len(self._parts) > _MANY_PARTS:
                self._parts[:] = [b"".join(self._parts)]
        elif self._quiet > HEAD_BYTES and not self.is_complete:
            where = "trailers or chunk extensions" if self.has_head else "headers"
            return f"more than {HEAD_BYTES} bytes of {where}"
        return ""

    def end(self) -> bool:
        """The connection has ended in good order. Returns whether the response is whole; it is then complete."""
        if self.has_head and not self.is_complete:
            headers = decode_headers(self.head)
            self.is_complete = "content-length" not in headers and "transfer-encoding" not in headers
        return self.is_complete

    def take(self) -> bytes:
        """Return the body bytes that have come since the last take, b"" if none."""
        parts = self._parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.buffered = 0
        return data

    def let_go(self) -> None:
        """No more will be fed: without the parser, which holds us as we hold it, reference counting frees both at once."""
        with suppress(AttributeError):  # done before
            del self._parser

    # ── what httptools calls ──

    def on_message_begin(self) -> None:
        """Bytes after the end of the response belong to nobody: stop before they change what was read."""
        if self.is_complete:
            raise httptools.HttpParserError("surplus")

    def on_headers_complete(self) -> None:
        """A head is there: the final one, or a 1xx that is counted and forgotten."""
        status = self._parser.get_status_code()
        if status < 200:
            self._informational += 1
            if status == 101:
                self._stop("it wants to change the protocol, which was not asked for")
            if self._informational > INFORMATIONAL_RESPONSES:
                self._stop(f"more than {INFORMATIONAL_RESPONSES} informational responses")
            return
        head = self._cut_head()
        if len(head) > HEAD_BYTES:
            self._stop(f"more than {HEAD_BYTES} bytes of headers")
        if b"transfer-encoding" in head.lower():
            coding = decode_headers(head).get("transfer-encoding", "chunked")
            if coding.lower() != "chunked":
                self._stop("a transfer-encoding other than chunked, which was not asked for")
        self.status = status
        self.head = head
        self.has_head = True

    def on_body(self, data: bytes) -> None:
        """Keep; nothing is copied until somebody takes it."""
        self._parts.append(data)
        self.buffered += len(data)

    def on_message_complete(self) -> None:
        """The end of a 1xx is not the end."""
        if self.has_head:
            self.is_complete = True
            self.is_keep_alive = self._parser.should_keep_alive()

    def _cut_head(self) -> bytes:
        """The lines of the final head, without its blank line: those of 1xx responses stand before it."""
        came = self._before[0] if len(self._before) == 1 else b"".join(self._before)
        self._before.clear()
        start = end = 0
        for _ in range(self._informational + 1):
            start = end
            while came[start] in b"\r\n":  # what ended the one before; llhttp lets blank lines stand before a head
                start += 1
            end = came.find(b"\r\n\r\n", start)
        return came[start:end]

    def _stop(self, fault: str) -> None:
        self._fault = fault
        raise httptools.HttpParserError(fault)


def decode_headers(head: bytes) -> dict[str, str]:
    """Read a response head that llhttp has found good: its lines end in CR LF and hold a colon each, none is folded.

    Returns names in lower case, values stripped, repeated values joined by ", ". Never raises. O(bytes).
    """
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
