"""Requests on whose length or number two parsers might disagree: the corpus of T53, made from tables.

Every vector is what one client writes into one connection. Most end in a request for /smuggled, which is a request of its
own only for a parser that takes the vector apart otherwise than RFC 9112 says. The ideas are those of the published
collections (request smuggling by CL.TE, TE.CL and TE.TE, HTTP Garden); the bytes are written here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED_BODY = b"5\r\nhello\r\n0\r\n\r\n"


class Vector(NamedTuple):
    """What is sent, and a name to find it by."""

    name: str
    data: bytes

    def tagged(self, number: int) -> bytes:
        """The same bytes with paths that are this vector's alone, of the same lengths: /00042 and /s-000042."""
        return self.data.replace(b"/first", b"/%05d" % number).replace(b"/smuggled", b"/s-%06d" % number)


def _post(*lines: bytes, body: bytes = b"hello", version: bytes = b"1.1", rest: bytes = SMUGGLED) -> bytes:
    head = b"POST /first HTTP/%b\r\nHost: x\r\n" % version
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body + rest


def _get(*lines: bytes, rest: bytes = SMUGGLED) -> bytes:
    return b"GET /first HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + rest


TRANSFER_ENCODINGS = (
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: CHUNKED",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding: chunke",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding\x00: chunked",
    b"Transfer-Encoding\x0b: chunked",
    b" Transfer-Encoding: chunked",
    b"\tTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"Transfer-Encoding:chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding:  chunked  ",
    b"Transfer-Encoding: chunked\t",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding:\x0cchunked",
    b"Transfer-Encoding: \x00chunked",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding: chunk\x00ed",
    b"Transfer-Encoding: \xffchunked",
    b"Transfer-Encoding: chunked\xff",
    b"Transfer-Encoding: chun\xc5\xb7ed",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: 'chunked'",
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: chunked;",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked chunked",
    b"Transfer-Encoding: cow, chunked",
    b"Transfer-Encoding: chunked, cow",
    b"Transfer-Encoding: cow",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: ,",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: \r\n\tchunked",
    b"Transfer-Encoding: chunked\r\n , identity",
    b"Transfer_Encoding: chunked",
    b"Transfer Encoding: chunked",
    b"Transfer-Encoding; chunked",
    b"Transfer-Encoding chunked",
    b"Transfer-Encoding: chunked\r",
    b"Transfer-Encoding: chunked\r\r",
    b"Transfer-Encoding\r\n: chunked",
    b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
    b"TE: chunked",
    b"TE: gzip, chunked",
    b"Content-Encoding: chunked",
)

LENGTHS = (
    *(b"5", b"+5", b"-5", b"-0", b"0x5", b"0X5", b"5, 5", b"5,5", b"5, 6", b"5;", b"5 5", b"5 ", b" 5"),
    *(b"\t5", b"5\t", b"5\x0b", b"\x0c5", b"5\x00", b"\x005", b"05", b"00000000000000000000000005", b"5.0"),
    *(b"5e0", b"5_0", b"0_5", b"1_0", b"five", b"", b" ", b"5L", b"5h", b"#5", b"'5'", b'"5"', b"\xb2"),
    *(b"\xd9\xa5", b"4294967301", b"18446744073709551621", b"340282366920938463463374607431768211461"),
    *(b"9" * 25, b"9" * 400, b"5\r\n 0", b"\r\n 5", b"5\r\n\t", b"5\n", b"5\r", b"NaN", b"inf", b"0b101"),
    b"5%20",
)

LENGTH_NAMES = (
    b"Content-Length : 5",
    b"Content-Length\t: 5",
    b" Content-Length: 5",
    b"Content_Length: 5",
    b"Content-Length\x00: 5",
    b"Content-Length 5",
    b"X: y\nContent-Length: 5",
    b"X: y\rContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 0\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 0",
    b"Content-Length: 5\r\ncontent-length: 35",
    b"Content-Length: 5\r\nContent-Length: ",
    b"Content-Length: 5\r\nX: y\r\nContent-Length: 05",
    b"Content-Length: 5\r\nConnection: Content-Length",
)

CHUNKED_BODIES = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"005\r\nhello\r\n00\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"\t5\r\nhello\r\n0\r\n\r\n",
    b"5\t\r\nhello\r\n0\r\n\r\n",
    b"5\x00\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"0X5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"5_\r\nhello\r\n0\r\n\r\n",
    b"0_5\r\nhello\r\n0\r\n\r\n",
    b"5,\r\nhello\r\n0\r\n\r\n",
    b"5h\r\nhello\r\n0\r\n\r\n",
    b"'5'\r\nhello\r\n0\r\n\r\n",
    b"\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\rhello\r0\r\r",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhello\rX0\r\n\r\n",
    b"5\r\nhello \r\n0\r\n\r\n",
    b"5\r\nhello!\r\n0\r\n\r\n",
    b"5\r\nhell\r\n0\r\n\r\n",
    b"6\r\nhello\r\n0\r\n\r\n",
    b"4\r\nhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n",
    b"5\n\rhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n",
    b"5\r\nhello\r\n0",
    b"5\r\nhello\r\n",
    b"5\r\nhello\r\n0\r\n\r",
    b"5\r\nhello\r\n-0\r\n\r\n",
    b"5\r\nhello\r\n+0\r\n\r\n",
    b"5\r\nhello\r\n0x0\r\n\r\n",
    b"5\r\nhello\r\n0 \r\n\r\n",
    b"5\r\nhello\r\n0;end\r\n\r\n",
    b"100000005\r\nhello\r\n0\r\n\r\n",
    b"FFFFFFFF\r\nhello\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n",
    b"5;a\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\n\r\n",
    b"5; a=b; c=d\r\nhello\r\n0\r\n\r\n",
    b"5 ;a=b\r\nhello\r\n0\r\n\r\n",
    b'5;a="b c"\r\nhello\r\n0\r\n\r\n',
    b'5;a="b\\"c"\r\nhello\r\n0\r\n\r\n',
    b'5;a="b\r\nhello\r\n0\r\n\r\n',
    b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    b"5;a=b\nhello\r\n0\r\n\r\n",
    b"5;a=\nb\r\nhello\r\n0\r\n\r\n",
    b"5;a=\rb\r\nhello\r\n0\r\n\r\n",
    b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    b"5;\na\r\nhello\r\n0\r\n\r\n",
    b"5;=b\r\nhello\r\n0\r\n\r\n",
    b"5;a b\r\nhello\r\n0\r\n\r\n",
    b"5 a=b\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 35\r\n\r\n",
    b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"5\r\nhello\r\n0\r\nHost: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nAuthorization: Bearer other\r\n\r\n",
    b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n",
    b"5\r\nhello\r\n0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"5\r\nhello\r\n0\r\nExpect: 100-continue\r\n\r\n",
    b"5\r\nhello\r\n0\r\nConnection: keep-alive\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX y\r\n\r\n",
    b"5\r\nhello\r\n0\r\n X: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: y\n\r\n",
    b"5\r\nhello\r\n0\r\nX: y\x00\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\n\r\n0\r\n\r\n",
)

HOSTS = (
    b"Host: x\r\nHost: x",
    b"Host: x\r\nHost: y",
    b"Host: x\r\nhost: y",
    b"Host: x, y",
    b"Host: x y",
    b"Host:",
    b"Host: ",
    b"Host : x",
    b" Host: x",
    b"X: y",
    b"Host: x\r\n y",
    b"Host: x\x00",
    b"Host: x/?",
    b"Host: x#",
    b"Host: x@y",
    b"Host: x\\y",
    b"Host: [::1",
    b"Host: ::1",
    b"Host: x:port",
    b"Host: x:80:80",
    b"Host: http://x",
    b"Host: \xc3\xa6",
    b"Host: x\r\nX-Host: y",
)

HEADER_LINES = (
    b"X",
    b":",
    b": y",
    b"X Y: z",
    b"X: y\r\n z",
    b"X: y\r\n\tz",
    b"X: y\r\n  \r\n",
    b" X: y",
    b"X : y",
    b"X: y\nZ: z",
    b"X: y\n\rZ: z",
    b"X: y\rZ: z",
    b"X: y\r\rZ: z",
    b"X: y\r",
    b"X\r: y",
    b"X\n: y",
    b"X(: y",
    b"X\x7f: y",
    b"X\xe6: y",
    b"X: \xe6",
    b"X\x00: y",
    b"X: y\x00z",
    b"X: y\x7f",
    b"X: y\x08",
    b"X: y\x1b",
    b"X: y\x0b",
    b"X: y\x0c",
    b"X: y\n\nGET /smuggled HTTP/1.1\nHost: x",
    b"X: y\n\r\nGET /smuggled HTTP/1.1\r\nHost: x",
    b"X: y\r\n\nGET /smuggled HTTP/1.1\r\nHost: x",
    b"X: y\r\rGET /smuggled HTTP/1.1\r\nHost: x",
    b"X:" + b" " * 200 + b"y",
    b"Connection: close, Host",
    b"Connection: close",
    b"Connection: keep-alive, close",
    b"Connection: cl\x00ose",
    b"Connection: Keep-Alive\r\nConnection: close",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    b"Upgrade: cow\r\nConnection: upgrade",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"Expect: cow",
)

REQUEST_LINES = (
    b"GET /first HTTP/1.1",
    b"GET  /first HTTP/1.1",
    b"GET /first  HTTP/1.1",
    b"GET\t/first HTTP/1.1",
    b"GET /first\tHTTP/1.1",
    b" GET /first HTTP/1.1",
    b"\r\nGET /first HTTP/1.1",
    b"\r\n\r\nGET /first HTTP/1.1",
    b"\nGET /first HTTP/1.1",
    b"\x00GET /first HTTP/1.1",
    b"\xef\xbb\xbfGET /first HTTP/1.1",
    b"GET /first HTTP/1.1 ",
    b"GET /first HTTP/1.1\t",
    b"GET /first HTTP/1.1\r",
    b"GET /first HTTP/1.1\nX: y",
    b"GET /first HTTP/1.1\rX: y",
    b"GET /fi rst HTTP/1.1",
    b"GET /fi\x00rst HTTP/1.1",
    b"GET /fi\x7frst HTTP/1.1",
    b"GET /fi\x0brst HTTP/1.1",
    b"GET /fi\xc3\xa6rst HTTP/1.1",
    b"GET /first#x HTTP/1.1",
    b"GET first HTTP/1.1",
    b"GET * HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET ?first HTTP/1.1",
    b"GET http://x/first HTTP/1.1",
    b"GET http://y/first HTTP/1.1",
    b"GET http:///first HTTP/1.1",
    b"GET http://x@y/first HTTP/1.1",
    b"GET http://x:99999/first HTTP/1.1",
    b"GET //x/first HTTP/1.1",
    b"GET /first",
    b"GET /first HTTP/0.9",
    b"GET /first HTTP/1.0",
    b"GET /first HTTP/1.2",
    b"GET /first HTTP/1.9",
    b"GET /first HTTP/2.0",
    b"GET /first HTTP/3.0",
    b"GET /first HTTP/11.1",
    b"GET /first HTTP/1.10",
    b"GET /first HTTP/1",
    b"GET /first HTTP/1.1.1",
    b"GET /first HTTP/01.1",
    b"GET /first HTTP/-1.1",
    b"GET /first http/1.1",
    b"GET /first HTTP1.1",
    b"GET /first HTTPS/1.1",
    b"GET /first ICE/1.0",
    b"get /first HTTP/1.1",
    b"G\x00ET /first HTTP/1.1",
    b"GE(T /first HTTP/1.1",
    b"COW /first HTTP/1.1",
    b"SOURCE /first HTTP/1.1",
    b"DESCRIBE /first HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"CONNECT x:443 HTTP/1.1",
    b"HEAD /first HTTP/1.1",
    b"DELETE /first HTTP/1.1",
    b"QUERY /first HTTP/1.1",
    b"TRACE /first HTTP/1.1",
    b"",
)


def _pairs() -> Iterator[Vector]:
    """Both ways to say the length at once, in both orders, for both of the bodies that they announce."""
    for encoding in TRANSFER_ENCODINGS:
        yield Vector(f"TE alone {encoding!r}", _post(encoding, body=CHUNKED_BODY))
        length = b"Content-Length: %d" % len(CHUNKED_BODY)
        yield Vector(f"CL.TE {encoding!r}", _post(length, encoding, body=CHUNKED_BODY))
        yield Vector(f"TE.CL {encoding!r}", _post(encoding, b"Content-Length: 5", body=b"0\r\n\r\n"))
        yield Vector(f"HTTP/1.0 TE {encoding!r}", _post(encoding, body=CHUNKED_BODY, version=b"1.0"))


def corpus() -> tuple[Vector, ...]:
    """Return every vector, each name once."""
    made = list(_pairs())
    made += [Vector(f"length {value!r}", _post(b"Content-Length: " + value)) for value in LENGTHS]
    made += [Vector(f"length 1.0 {value!r}", _post(b"Content-Length: " + value, version=b"1.0")) for value in LENGTHS]
    made += [Vector(f"length line {line!r}", _post(line)) for line in LENGTH_NAMES]
    made += [Vector(f"chunks {body!r}", _post(b"Transfer-Encoding: chunked", body=body)) for body in CHUNKED_BODIES]
    made += [Vector(f"host {line!r}", _get(line)) for line in HOSTS]
    made += [Vector(f"header {line!r}", _get(b"Host: x", line)) for line in HEADER_LINES]
    made += [Vector(f"first header {line!r}", _get(line, b"Host: x")) for line in HEADER_LINES]
    made += [Vector(f"header and body {line!r}", _post(line, b"Content-Length: 5")) for line in HEADER_LINES]
    made += [Vector(f"request line {line!r}", line + b"\r\nHost: x\r\n\r\n" + SMUGGLED) for line in REQUEST_LINES]
    made += [
        Vector(f"request line and body {line!r}", line + b"\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + SMUGGLED)
        for line in REQUEST_LINES
    ]
    made += [
        Vector("a body without a length", _post()),
        Vector("a GET with a body", b"GET /first HTTP/1.1\r\nHost: x\r\nContent-Length: 35\r\n\r\n" + SMUGGLED),
        Vector("LF alone throughout", b"GET /first HTTP/1.1\nHost: x\n\n" + SMUGGLED.replace(b"\r\n", b"\n")),
        Vector("CR alone throughout", b"GET /first HTTP/1.1\rHost: x\r\r" + SMUGGLED.replace(b"\r\n", b"\r")),
        Vector("no last CRLF", b"GET /first HTTP/1.1\r\nHost: x\r\n"),
        Vector("a body cut short", _post(b"Content-Length: 50", rest=b"")),
        Vector("a CRLF behind the body", _post(b"Content-Length: 5", rest=b"\r\n" + SMUGGLED)),
        Vector("an LF behind the body", _post(b"Content-Length: 5", rest=b"\n" + SMUGGLED)),
        Vector("two in order", _post(b"Content-Length: 5") + SMUGGLED),
    ]
    return tuple(made)
