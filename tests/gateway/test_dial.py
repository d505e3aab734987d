from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl

import pytest
import trustme

from tests.gateway.wire import serving
from turnout.errors import UpstreamUnreachable
from turnout.gateway.dial import Dialer
from turnout.gateway.http1 import parse_target

NOWHERE = "http://127.0.0.1:1/"  # tcpmux: nobody listens


class End(asyncio.Protocol):
    """What is connected."""

    def __init__(self):
        self.transport = None
        self.got = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if not self.got.done():
            self.got.set_result(data)


async def dial(url, *, proxy="", ca_file=""):
    end = End()
    await Dialer().dial(parse_target(url, proxy, ca_file).origin, end)
    return end


async def refusal(url, **options):
    """What a failed dial says, and that it took no time."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(UpstreamUnreachable) as caught:
        await dial(url, **options)
    assert not caught.value.is_ambiguous
    assert loop.time() - started < 2.0
    return caught.value.message


async def hello(peer):
    """Answer one line."""
    assert await peer.reader.readline() == b"hi\n"
    await peer.answer(b"ho\n")


async def talk(end):
    """Say hi, hear ho, leave."""
    end.transport.write(b"hi\n")
    assert await end.got == b"ho\n"
    end.transport.abort()


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


def serves(ca, *names, **validity):
    """A server's TLS context for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, **validity).configure_cert(context)
    return context


# ── without TLS ──


async def test_a_plain_connection_is_just_opened():
    """By address or by name."""
    async with serving(hello) as server:
        await talk(await dial(f"http://127.0.0.1:{server.port}/"))
        await talk(await dial(f"http://localhost:{server.port}/"))


async def test_a_refused_connection_is_unreachable_and_says_where():
    """T01: nothing was sent, and the message names host and port."""
    assert await refusal(NOWHERE) == "127.0.0.1:1: no connection: Connection refused"


@pytest.mark.parametrize("host", ["1.2.3.4.5", "a" * 70 + ".example"])
async def test_a_name_that_does_not_resolve_is_unreachable(host):
    """T01: unknown, or no name at all."""
    assert f"{host}:80: the name of {host} cannot be resolved" in await refusal(f"http://{host}/")


# ── TLS ──


async def test_tls_is_verified_against_the_file_that_is_named(ca, ca_file):
    """By name, which the server is told (SNI), and by address; HTTP/1.1 is asked for."""
    seen = []
    context = serves(ca, "localhost", "127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    async with serving(hello, ssl=context) as server:
        for host in ("localhost", "127.0.0.1"):
            end = await dial(f"https://{host}:{server.port}/", ca_file=ca_file)
            assert end.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            await talk(end)
    assert seen == ["localhost", None]


async def test_an_unknown_issuer_is_refused(ca):
    """T01: self-signed, as far as this machine's CAs know; there is no way to switch that off."""
    async with serving(hello, ssl=serves(ca, "127.0.0.1")) as server:
        said = await refusal(f"https://127.0.0.1:{server.port}/")
    assert f"127.0.0.1:{server.port}: the TLS certificate is not to be trusted: " in said
    assert "self-signed" in said or "unable to get local issuer" in said


async def test_a_certificate_for_another_name_is_refused(ca, ca_file):
    """T01."""
    async with serving(hello, ssl=serves(ca, "other.example")) as server:
        said = await refusal(f"https://127.0.0.1:{server.port}/", ca_file=ca_file)
    assert "not to be trusted: IP address mismatch" in said


async def test_an_expired_certificate_is_refused(ca, ca_file):
    """T01."""
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    context = serves(ca, "127.0.0.1", not_before=past, not_after=past + dt.timedelta(days=1))
    async with serving(hello, ssl=context) as server:
        said = await refusal(f"https://127.0.0.1:{server.port}/", ca_file=ca_file)
    assert "not to be trusted: certificate has expired" in said


async def test_a_server_that_speaks_no_tls_is_unreachable():
    """T01: what it says is no handshake."""

    async def plain(peer):
        await peer.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(plain) as server:
        assert ": no TLS: " in await refusal(f"https://127.0.0.1:{server.port}/")


async def test_a_server_that_resets_the_handshake_is_unreachable():
    """T01: nothing of the request was sent."""

    async def reset(peer):
        await peer.reader.read(1)
        peer.reset()

    async with serving(reset) as server:
        assert f"127.0.0.1:{server.port}: no " in await refusal(f"https://127.0.0.1:{server.port}/")


@pytest.mark.parametrize("content", [None, "not a certificate"])
async def test_a_ca_file_that_cannot_be_read_is_named(tmp_path, content):
    """Missing or garbage: the operator must know which."""
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    assert f"ca_file {path} cannot be read: " in await refusal("https://127.0.0.1:1/", ca_file=str(path))


async def test_a_context_is_made_once_for_each_file(ca, ca_file):
    """Reading the system's CAs takes tens of milliseconds."""
    dialer = Dialer()
    assert dialer._context(ca_file) is dialer._context(ca_file)
    assert dialer._context(ca_file) is not dialer._context("")
    assert {dialer._context("").verify_mode, dialer._context(ca_file).verify_mode} == {ssl.CERT_REQUIRED}


# ── through a proxy ──


def proxying(port, heard):
    """A proxy that tunnels to a port here."""

    async def script(peer):
        heard.append(await peer.reader.readuntil(b"\r\n\r\n"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await peer.answer(b"HTTP/1.1 200 Connection established\r\n", b"via: x\r\n\r\n")

        async def pump(source, sink):
            try:
                while data := await source.read(65536):
                    sink.write(data)
            except ConnectionError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))

    return script


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_is_asked_for_a_tunnel(ca, ca_file, scheme):
    """For both schemes; its credential goes to it alone, and TLS is with the origin."""
    heard = []
    tls = serves(ca, "localhost") if scheme == "https" else None
    async with serving(hello, ssl=tls) as server, serving(proxying(server.port, heard)) as proxy:
        url = f"{scheme}://localhost:{server.port}/"
        await talk(await dial(url, proxy=f"http://u:p@127.0.0.1:{proxy.port}", ca_file=ca_file))
    connect = f"CONNECT localhost:{server.port} HTTP/1.1\r\nhost: localhost:{server.port}\r\n"
    assert heard == [connect.encode() + b"proxy-authorization: Basic dTpw\r\n\r\n"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", "refused the tunnel: it answered 407"),
        (b"HTTP/1.1 502\r\n\r\n", "refused the tunnel: it answered 502"),
        (b"nonsense\r\n\r\n", "refused the tunnel: it answered nothing that is HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "sent more than its answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 20_000, "answered with more than 16384 bytes of headers"),
        (b"", "closed the connection before it answered"),
    ],
)
async def test_a_proxy_that_does_not_tunnel_is_named(answer, said):
    """With what it answered, and without its credential; its connection is closed."""

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.answer(answer)
        if not answer:
            peer.finish()

    async with serving(script) as proxy:
        message = await refusal("https://h.example/", proxy=f"http://u:sk-canary@127.0.0.1:{proxy.port}")
        await asyncio.wait_for(proxy.all_closed.wait(), 5)
    assert message == f"h.example:443: the proxy 127.0.0.1:{proxy.port} {said}"


async def test_a_proxy_that_is_not_there_is_unreachable():
    """By address, and by a name that does not resolve."""
    assert await refusal("http://h.example/", proxy=NOWHERE) == "h.example:80: no connection: Connection refused"
    said = await refusal("http://h.example/", proxy="http://u:sk-canary@1.2.3.4.5:80")
    assert "the name of its proxy 1.2.3.4.5 cannot be resolved" in said
    assert "sk-canary" not in said


async def test_a_tunnel_that_ends_in_the_handshake_is_unreachable():
    """Whatever the loop makes of it."""

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.reader.read(1)
        peer.finish()

    async with serving(script) as proxy:
        assert "h.example:443: " in await refusal("https://h.example/", proxy=f"http://127.0.0.1:{proxy.port}")
        await asyncio.wait_for(proxy.all_closed.wait(), 5)


async def test_several_addresses_that_all_refuse_are_one_refusal():
    """A name with an IPv4 and an IPv6 address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connecting is refused
        port = taken.getsockname()[1]
        assert f"localhost:{port}: no connection: " in await refusal(f"http://localhost:{port}/")
