"""T92: no request names an address: whatever host a client writes wherever, the gateway connects to its vendors and nowhere else.

Every form of an internal address, those included that `ipaddress.is_global` calls global, in every field that other gateways
have believed: bodies, image URLs, headers, the target itself; and vendors that answer with a redirect. A listener stands at
the address, and strace sees every connection.
"""

import asyncio
import contextlib
import re
import socket
from urllib.parse import quote

import pytest

from tests.faults.audited import Events, Traced, watch
from tests.faults.edge import tell
from tests.process import Served, SimulatedVendor
from tests.rig import CONFIG, KEY

HOSTS = (
    *("127.0.0.1", "localhost", "localhost.", "LOCALHOST", "127.1", "127.0.1", "0", "0.0.0.0", "127.255.255.254"),
    *("2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.1.", "0300.0250.0.1"),
    *(
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
    ),
    *(
        "[2002:7f00:1::]",
        "[2002:a9fe:a9fe::]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::1]",
        "[fec0::1]",
    ),
    *("[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fd00:ec2::254]", "[2001:0:7f00:1::]", "[::ffff:169.254.169.254]"),
    *(
        "169.254.169.254",
        "169.254.170.2",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "metadata.google.internal",
    ),
    *(
        "192.0.0.192",
        "100.100.100.200",
        "100.64.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
    ),
    *("127.0.0.1.nip.io", "localtest.me", "spoofed.burpcollaborator.net", "ⓛocalhost", "１２７.0.0.1", "127。0。0。1"),
    *("user@127.0.0.1", "vendor.example@127.0.0.1", "127.0.0.1#.vendor.example", "127.0.0.1%2f.vendor.example"),
    *("host.docker.internal", "kubernetes.default.svc", "instance-data", "vendor.example\\@127.0.0.1"),
)
SCHEMES = ("http", "https", "file", "gopher", "ftp", "unix", "ws")
FIELDS = (
    *(
        "api_base",
        "base_url",
        "api_url",
        "endpoint",
        "url",
        "host",
        "callback_url",
        "webhook_url",
        "redirect_uri",
        "proxy",
    ),
    *(
        "proxies",
        "custom_llm_provider",
        "extra_headers",
        "openai_api_base",
        "azure_endpoint",
        "aws_bedrock_runtime_endpoint",
    ),
    *("vertex_location", "deployment_url", "model_url", "file_url", "schema_url", "mcp_servers", "web_search_options"),
)
HEADERS = (
    *(
        "x-api-base",
        "x-base-url",
        "x-portkey-custom-host",
        "x-litellm-api-base",
        "x-forwarded-host",
        "x-forwarded-proto",
    ),
    *("x-original-url", "x-rewrite-url", "forwarded", "x-turnout-task", "x-turnout-user", "referer", "origin", "via"),
    *(
        "x-http-destinationurl",
        "x-proxy-url",
        "proxy",
        "destination",
        "helicone-target-url",
        "helicone-openai-api-base",
    ),
)
SECRET = "sk-canary-of-the-client"
AWAY = """  away: {{kind: compatible, base_url: "{away}/v1", api_key: sk-canary-away-key-4}}
models:
  away: {{provider: away, price: free}}
"""


def addresses(port, is_full):
    """Every host in its URL; in full by more schemes."""
    for at, host in enumerate(HOSTS):
        for scheme in SCHEMES[: (len(SCHEMES) if at % 8 == 0 else 2) if is_full else 1]:
            yield f"{scheme}://{host}:{port}/latest/meta-data"
        yield f"//{host}:{port}/x"


def body(address):
    """A request that names the address wherever a body can."""
    image = {"type": "image_url", "image_url": {"url": address}}
    audio = {"type": "input_audio", "input_audio": {"data": address, "format": "wav"}}
    file = {"type": "file", "file": {"file_data": address, "file_id": address, "filename": address}}
    return {
        "model": "first",
        "messages": [{"role": "user", "content": [{"type": "text", "text": f"fetch {address}"}, image, audio, file]}],
        "metadata": dict.fromkeys(FIELDS[:10], address),
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object", "$ref": address, "$schema": address}},
            }
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": address}}},
        **dict.fromkeys(FIELDS, address),
        "api_key": SECRET,
    }


class Listener:
    """Stands at the address, on IPv4 and IPv6. seen: connections."""

    async def __aenter__(self):
        self.seen = []
        self._first = await asyncio.start_server(self._note, "127.0.0.1", 0)
        self.port = self._first.sockets[0].getsockname()[1]
        self._servers = [self._first]
        with contextlib.suppress(OSError):
            self._servers.append(await asyncio.start_server(self._note, "::1", self.port, family=socket.AF_INET6))
        return self

    async def _note(self, _reader, writer):
        self.seen.append(writer.get_extra_info("sockname"))
        writer.close()

    async def __aexit__(self, *exc):
        for server in self._servers:
            server.close()
            await server.wait_closed()


@contextlib.asynccontextmanager
async def redirecting():
    """A vendor that redirects to the address that the prompt names, with the status that it names."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))
            writer.write(
                f"HTTP/1.1 {serve.status} x\r\nlocation: {serve.to}\r\nrefresh: 0;url={serve.to}\r\n"
                f'alt-svc: h2="{serve.to}"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'.encode()
            )
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        serve.port = server.sockets[0].getsockname()[1]
        yield serve


async def ask_everywhere(gateway, client, address):
    """Name the address in bodies, headers, targets and on the admin plane; return how many requests that were."""
    port = int(gateway.url.rpartition(":")[2])
    sendable = address.encode("ascii", "backslashreplace").decode()
    await client.post("/v1/chat/completions", json=body(address))
    await client.post("/v1/chat/completions", json={"model": address, "messages": [{"role": "user", "content": "hej"}]})
    await client.post("/v1/embeddings", json={"model": "vectors", "input": address, **dict.fromkeys(FIELDS, address)})
    await client.post("/v1/messages", json=body(address) | {"max_tokens": 5}, headers=dict.fromkeys(HEADERS, sendable))
    await client.post("/admin/explain", json={"model": address, "api_base": address})
    await client.post("/admin/keys", json={"name": "x", "user": address, "callback_url": address})
    await client.put("/admin/rollouts/x", json={"percent": 1, "base_url": address})
    await client.get(f"/v1/models?base_url={quote(address)}&url={quote(address)}")
    for line in (f"GET {sendable}", f"CONNECT {sendable.partition('//')[2]}", f"GET /v1/models?x={quote(address)}"):
        head = f"{line} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n"
        await tell(port, head.encode())
    return 11


@pytest.mark.amplifies("the vendor answers with redirects, and those are tried elsewhere")
async def test_t92_no_request_names_an_address(tmp_path, size, proof):
    """All forms in all fields, answers that redirect there too: no connection but the vendor's, and no name is looked up."""
    if not Traced.is_there():
        pytest.skip("needs strace: apt-get install strace")
    count = 0
    async with Listener() as inside, redirecting() as away, SimulatedVendor(tmp_path) as vendor:
        config = CONFIG.replace("models:\n", AWAY, 1).format(url=vendor.origin, away=f"http://127.0.0.1:{away.port}")
        (tmp_path / "turnout.yaml").write_text(config)
        named = list(addresses(inside.port, size(False, True)))
        async with Served(tmp_path, "--port", "0", vendor=vendor, env=watch(tmp_path)) as gateway:
            async with gateway.http() as client:
                await ask_everywhere(gateway, client, "warm")
                events = Events(tmp_path)
                async with Traced(tmp_path, gateway.process.pid) as system:
                    for address in named[:: size(4, 1)]:
                        count += await ask_everywhere(gateway, client, address)
                    for address in named[:: size(24, 3)]:
                        away.to = address
                        for away.status in (201, 301, 302, 303, 307, 308):
                            await client.post("/v1/chat/completions", json=body(address) | {"model": "away"})
                            count += 1
            looked_up = events.named("socket.getaddrinfo", "socket.gethostbyname", "socket.connect")
    listed = [
        f'sin_port=htons({port}), sin_addr=inet_addr("127.0.0.1")'
        for port in (vendor.origin.rpartition(":")[2], away.port)
    ]
    connects = [call for call in system.calls if " connect(" in call]
    elsewhere = [call for call in connects if not any(one in call for one in listed)]
    assert [] == inside.seen
    assert [] == elsewhere
    assert [] == looked_up
    assert any(listed[1] in call for call in connects)
    assert len(vendor.witnessed()) > count / 10  # its connection may be an older one
    proof(
        f"{count} requests, {len(HOSTS)} forms of an internal address in {len(FIELDS) + len(HEADERS) + 12} places: 0 connections there, 0 names looked up"
    )


async def test_t92_the_listener_would_see_a_connection():
    """The control."""
    async with Listener() as inside:
        _, writer = await asyncio.open_connection("127.0.0.1", inside.port)
        async with asyncio.timeout(5):
            while not inside.seen:
                await asyncio.sleep(0)
        writer.close()
    assert 1 == len(inside.seen)
