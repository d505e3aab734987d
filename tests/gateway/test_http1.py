from __future__ import annotations

import base64
import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import InternalError
from turnout.gateway.http1 import HEAD_BYTES, ResponseReader, decode_headers, encode_connect, parse_target

# ── addresses ──


def test_a_url_becomes_an_origin_and_a_request_line():
    """Host, port, path and query are split; the host header leaves a default port out."""
    target = parse_target("https://API.Example.com/v1/chat?beta=1#part")
    origin = target.origin
    assert (origin.host, origin.port, origin.is_tls) == ("api.example.com", 443, True)
    assert target.fixed.startswith(" /v1/chat?beta=1 HTTP/1.1\r\nhost: api.example.com\r\n")
    assert (origin.key, origin.label) == ("https://api.example.com:443", "api.example.com:443")


def test_a_bare_host_is_asked_for_its_root_and_keeps_its_port():
    """No path means "/"; a port that is not the scheme's stands in the host header."""
    assert parse_target("http://h:8080").fixed.startswith(" / HTTP/1.1\r\nhost: h:8080\r\n")
    assert parse_target("http://h").origin.port == 80


def test_an_ipv6_host_is_bracketed_where_it_meets_a_port():
    """The socket gets the bare address, the wire the bracketed one."""
    target = parse_target("http://[::1]:8080/x")
    assert (target.origin.host, target.origin.label) == ("::1", "[::1]:8080")
    assert "host: [::1]:8080\r\n" in target.fixed


@pytest.mark.parametrize(
    "url",
    ["", "ftp://h/", "h/x", "http://", "http:///x", "http://h:99999/", "http://h:x/", "http://[::1/", "http://h/a b",
     "http://h/\r\nx: y", "http://h/\t", "http://h/\x7f", "http://h\u00e9/", "http://h/\u00e9"],
)  # fmt: skip
def test_what_is_no_url_is_refused_without_repeating_it(url):
    """An address that cannot be asked is a bug of whoever let it through; it may hold a secret."""
    with pytest.raises(InternalError) as caught:
        parse_target(url + "?key=sk-canary" if url else url)
    assert "sk-canary" not in caught.value.message


def test_a_credential_in_a_url_is_refused():
    """It would be pooled and shown; a header is its place."""
    with pytest.raises(InternalError) as caught:
        parse_target("http://user:sk-canary@h/")
    assert "sk-canary" not in caught.value.message


def test_a_proxy_is_part_of_the_origin_but_its_credential_is_not():
    """Two proxy accounts never share connections, and the pool's key shows neither of them."""
    one = parse_target("https://h/", "http://ann:sk-canary@proxy:3128").origin
    two = parse_target("https://h/", "http://bob:sk-canary@proxy:3128").origin
    assert one.key != two.key
    assert "sk-canary" not in one.key + repr(one)
    assert "by proxy:3128#" in one.key
    assert parse_target("https://h/", "http://proxy:3128", "/ca.pem").origin.key.endswith(" trusting /ca.pem")


def test_a_tunnel_is_asked_for_by_host_and_port_with_basic_credentials():
    """Percent-escapes in the proxy's user and password are undone; without a user there is no such header."""
    origin = parse_target("https://h/", "http://a%40b:p%3Aw@proxy:3128").origin
    token = base64.b64encode(b"a@b:p:w")
    expected = b"CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\nproxy-authorization: Basic " + token + b"\r\n\r\n"
    assert expected == encode_connect(origin)
    plain = parse_target("http://[::1]/", "http://proxy").origin
    assert encode_connect(plain) == b"CONNECT [::1]:80 HTTP/1.1\r\nhost: [::1]:80\r\n\r\n"
    assert parse_target("http://h/", "http://user@proxy").origin.proxy.authorization.reveal() == "Basic dXNlcjo="


def test_a_proxy_is_spoken_to_in_plain_http_only():
    """TLS inside TLS is not spoken: better an error than a surprise."""
    with pytest.raises(InternalError, match="must begin with http://"):
        parse_target("https://h/", "https://proxy:3128")


# ── responses ──


def reader_of(*pieces):
    reader = ResponseReader()
    reader.begin()
    faults = [reader.feed(piece) for piece in pieces]
    return reader, next(filter(None, faults), "")


def test_a_response_with_a_length_is_read_to_its_end():
    """Status, headers and body are there, and the connection may serve again."""
    reader, fault = reader_of(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b \t\r\nx-empty:\r\n\r\nhi")
    assert (fault, reader.status, reader.take()) == ("", 200, b"hi")
    assert decode_headers(reader.head) == {"content-length": "2", "x-a": "b", "x-empty": ""}
    assert (reader.is_complete, reader.is_keep_alive, reader.has_surplus) == (True, True, False)


def test_repeated_headers_are_joined():
    """RFC 9110 §5.3."""
    assert decode_headers(b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nA: 3") == {"a": "1, 2, 3"}
    assert decode_headers(b"HTTP/1.1 200 OK") == {}


def test_a_head_is_there_before_its_body():
    """Taking what has come leaves the rest to come."""
    reader, _ = reader_of(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
    assert (reader.has_head, reader.is_complete, reader.take()) == (True, False, b"")
    reader.feed(b"ab")
    assert (reader.buffered, reader.take(), reader.buffered, reader.take()) == (2, b"ab", 0, b"")
    reader.feed(b"c")
    reader.feed(b"d")
    assert (reader.take(), reader.is_complete) == (b"cd", True)


def test_the_next_response_on_the_connection_knows_nothing_of_the_last():
    """`begin` forgets, whether or not the body was taken."""
    reader, _ = reader_of(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\nx-a: 1\r\n\r\nhi")
    reader.begin()
    assert (reader.status, reader.head, reader.take(), reader.is_touched) == (0, b"", b"", False)
    reader.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (
        reader.status, decode_headers(reader.head), reader.is_complete, reader.is_keep_alive
    ) == (204, {}, True, True)  # fmt: skip


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_content_ends_with_its_head(status):
    """RFC 9112 §6.3: whatever its content-length says."""
    reader, fault = reader_of(b"HTTP/1.1 %d X\r\ncontent-length: 5\r\n\r\n" % status)
    assert (fault, reader.is_complete, reader.is_keep_alive, reader.take()) == ("", True, True, b"")


def test_a_body_without_length_ends_with_the_connection():
    """And the connection cannot serve again."""
    reader, _ = reader_of(b"HTTP/1.1 200 OK\r\n\r\nab", b"cd")
    assert (reader.is_complete, reader.end(), reader.take(), reader.is_keep_alive) == (False, True, b"abcd", False)


@pytest.mark.parametrize(
    "pieces",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
     b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"],
)  # fmt: skip
def test_a_cut_response_is_not_whole(pieces):
    """An end of the connection ends nothing that has a length of its own."""
    reader, _ = reader_of(pieces)
    assert (reader.end(), reader.is_complete) == (False, False)


def test_informational_responses_are_passed_over():
    """Their headers are not the response's."""
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    reader, fault = reader_of(
        b"\r\n" + early + early, early[:20], early[20:] + b"\r\nHTTP/1.1 200 OK\r\nx-a: 1\r\n\r\n"
    )
    assert (fault, reader.status, decode_headers(reader.head)) == ("", 200, {"x-a": "1"})


def test_a_flood_of_informational_responses_is_a_fault():
    """T19: a hundred are borne, one more is not."""
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert reader_of(early * 100 + b"HTTP/1.1 204 X\r\n\r\n")[1] == ""
    assert "more than 100 informational" in reader_of(early * 1000)[1]


@pytest.mark.parametrize("headers", [b"", b"connection: upgrade\r\nupgrade: websocket\r\n"])
def test_an_upgrade_is_refused(headers):
    """Nobody asked for another protocol."""
    assert "change the protocol" in reader_of(b"HTTP/1.1 101 Switching\r\n" + headers + b"\r\nabc")[1]


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity"])
def test_a_transfer_coding_that_we_did_not_ask_for_is_a_fault(coding):
    """We send no `te`; passing gzip on as text would be worse than an error."""
    assert "transfer-encoding" in reader_of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: " + coding + b"\r\n\r\n")[1]


def test_a_value_that_mentions_transfer_encoding_is_no_transfer_coding():
    """Only the header counts, and its value has no case."""
    reply = b"HTTP/1.1 200 OK\r\nx-note: transfer-encoding\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    reader, fault = reader_of(reply)
    assert (fault, reader.take(), reader.is_complete) == ("", b"hi", True)


@pytest.mark.parametrize(
    "reply",
    [b"<html>", b"\x16\x03\x01", b"HTTP/1.1 99 X\r\n\r\n", b"HTTP/1.1 200 OK\nx: y\n\n", b"HTTP/1.1 200 OK\r\nx y\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: \0\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"],
)  # fmt: skip
def test_what_is_not_http_is_a_fault(reply):
    """Doubtful framing included: two readers could disagree about it."""
    assert "it is not HTTP/1.1" in reader_of(reply)[1]


def test_bytes_after_the_end_are_surplus_and_change_nothing():
    """In the same read or a later one, with and without keep-alive."""
    for close in (b"", b"connection: close\r\n"):
        reply = b"HTTP/1.1 200 OK\r\n" + close + b"content-length: 2\r\n\r\nhi"
        for pieces in ((reply + b"HTTP/1.1 500 Evil\r\nx: y\r\n\r\n",), (reply + b"H",), (reply, b"more")):
            reader, fault = reader_of(*pieces)
            assert (fault, reader.status, reader.take(), reader.has_surplus) == ("", 200, b"hi", True)


def test_before_anything_was_asked_everything_is_surplus():
    """A connection that speaks first is of no use."""
    reader = ResponseReader()
    assert (reader.feed(b"HTTP/1.1 200 OK\r\n\r\n"), reader.has_surplus) == ("", True)


def test_a_head_is_bounded_whether_it_ends_or_not():
    """64 KiB in one read, in many, and with a body behind it."""
    endless = b"HTTP/1.1 200 OK\r\nx: " + b"a" * HEAD_BYTES
    assert f"more than {HEAD_BYTES} bytes of headers" == reader_of(endless)[1]
    assert f"more than {HEAD_BYTES} bytes of headers" == reader_of(endless + b"\r\n\r\nbody")[1]
    pieces = [endless[start : start + 1000] for start in range(0, len(endless), 1000)]
    assert f"more than {HEAD_BYTES} bytes of headers" == reader_of(*pieces)[1]
    fits = b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\nx: " + b"a" * (HEAD_BYTES - 100) + b"\r\n\r\n"
    reader, fault = reader_of(fits + b"b" * 200_000)
    assert (fault, reader.is_complete) == ("", True)


def test_what_is_neither_head_nor_body_is_bounded_too():
    """Trailers and chunk extensions without end; body bytes between them start the count anew."""
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    fault = f"more than {HEAD_BYTES} bytes of trailers or chunk extensions"
    assert fault == reader_of(chunked, b"2;x=" + b"e" * HEAD_BYTES)[1]
    assert fault == reader_of(chunked + b"0\r\n", *[b"t: 1\r\n"] * 11_000)[1]
    pieces = [b"1;" + b"e" * 1000 + b"\r\nx\r\n"] * 100
    reader, none = reader_of(chunked, *pieces, b"0\r\nt: 1\r\n\r\n")
    assert (none, reader.take(), reader.is_complete, reader.is_keep_alive) == ("", b"x" * 100, True, True)


def test_many_tiny_chunks_are_kept_as_few_objects():
    """A megabyte in one-byte chunks must not cost forty."""
    reader, fault = reader_of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 10_000)
    assert (fault, reader.buffered, len(reader._parts)) == ("", 20_000, 1)
    assert reader.take() == b"ab" * 10_000


# ── the same as h11 ──

TOKENS = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True).filter(
    lambda name: (
        name.lower() not in {"content-length", "transfer-encoding", "connection", "upgrade", "keep-alive"}
        and not name.lower().startswith(("proxy-", "te"))
    )
)
VALUES = st.from_regex(r"([\x21-\x7e]([\x20-\x7e\t]{0,30}[\x21-\x7e])?)?", fullmatch=True)


@st.composite
def responses(draw):
    """Bytes of a valid response, whether its end is the connection's end, and how it is split."""
    status = draw(st.sampled_from([200, 201, 204, 302, 304, 400, 429, 500, 599]))
    body = draw(st.binary(max_size=200))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    lines = [b"HTTP/%b %d %b" % (version, status, draw(st.sampled_from([b"", b"OK", b"Too Many"])))]
    for name, value in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=8)):
        blank = draw(st.sampled_from([b"", b" ", b"\t "]))
        lines.append(name.encode() + b":" + blank + value.encode() + draw(st.sampled_from([b"", b"  "])))
    framing = draw(st.sampled_from(["length", "chunked", "eof"])) if version == b"1.1" else "length"
    if status in {204, 304}:
        framing, body = "none", b""
    if framing == "length":
        lines.insert(draw(st.integers(1, len(lines))), b"Content-Length: %d" % len(body))
        wire = body
    elif framing == "chunked":
        lines.insert(draw(st.integers(1, len(lines))), b"Transfer-Encoding: chunked")
        cuts = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=5))})
        chunks = [body[start:end] for start, end in itertools.pairwise(cuts)]
        wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    else:
        wire = body
    if draw(st.booleans()):
        lines.append(b"Connection: close")
    early = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * draw(st.integers(0, 2))
    whole = early + b"\r\n".join(lines) + b"\r\n\r\n" + wire
    cuts = sorted({0, len(whole), *draw(st.lists(st.integers(0, len(whole)), max_size=12))})
    return [whole[start:end] for start, end in itertools.pairwise(cuts)], framing == "eof"


def by_h11(whole, *, ends):
    """What h11 makes of it: status, headers, body, whether the connection may serve again."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(whole)
    if ends:
        connection.receive_data(b"")
    status, headers, body = 0, {}, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
            for name, value in event.headers:
                key, text = name.decode("latin-1"), value.decode("latin-1")
                headers[key] = f"{headers[key]}, {text}" if key in headers else text
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, headers, body, connection.their_state is h11.DONE


@given(responses())
def test_a_valid_response_is_read_as_h11_reads_it(case):
    """Same status, headers and body in any chunking, and never kept alive where h11 would not."""
    pieces, ends = case
    status, headers, body, may_serve = by_h11(b"".join(pieces), ends=ends)
    reader, fault = reader_of(*pieces)
    assert fault == ""
    if ends:
        reader.end()
    assert (status, headers, body, True) == (
        reader.status, decode_headers(reader.head), reader.take(), reader.is_complete
    )  # fmt: skip
    assert may_serve or not reader.is_keep_alive


@given(st.binary(max_size=300), st.integers(0, 300))
def test_garbage_is_a_fault_or_waits_for_more_but_never_raises(data, cut):
    """Whatever an upstream sends, in a head or in a chunked body."""
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"):
        reader, fault = reader_of(start + data[:cut], data[cut:])
        assert isinstance(fault, str)
        assert len(reader.take()) <= len(data)
