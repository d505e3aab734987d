"""T55: headers pass by allow-list in both directions: the vendor sees none of the client's, the client none of the
vendor's, and our key is seen by neither.
"""

import asyncio
import contextlib
import json
import re

import pytest

from tests.faults.edge import tell
from tests.rig import CONFIG, KEY, Rig

SENT_UPSTREAM = {
    "host",
    "connection",
    "accept-encoding",
    "content-length",
    "content-type",
    "authorization",
    "x-api-key",
    "x-request-id",
    "anthropic-version",
}
"""What docs/security.md says that a vendor gets."""

SENT_DOWNSTREAM = {
    "date",
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "cache-control",
    "x-request-id",
    "x-turnout-model",
    "x-turnout-provider",
    "x-turnout-arm",
    "x-turnout-attempts",
    "x-turnout-tried",
    "x-turnout-task",
    "x-turnout-cost",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "www-authenticate",
    "allow",
}
"""What docs/api.md says that a client gets."""

FROM_CLIENT = [
    ("Cookie", "session=client-secret"),
    ("X-Secret", "client-secret"),
    ("Connection", "close, x-secret, authorization, content-length"),
    ("Proxy-Authorization", "Basic client-secret"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy", "http://client-secret"),
    ("Keep-Alive", "timeout=5"),
    ("TE", "trailers, deflate"),
    ("Trailer", "X-Secret"),
    ("Forwarded", "for=client-secret"),
    ("X-Forwarded-For", "client-secret"),
    ("X-Forwarded-Host", "client-secret"),
    ("X-Real-IP", "client-secret"),
    ("Via", "1.1 client-secret"),
    ("X-Request-Id", "client-secret"),
    ("X-Turnout-User", "client-secret"),
    ("X-Turnout-Session", "client-secret"),
    ("Traceparent", "00-client-secret-01"),
    ("Baggage", "client-secret"),
    ("User-Agent", "client-secret"),
    ("Accept", "client-secret"),
    ("Accept-Encoding", "client-secret"),
    ("Accept-Language", "client-secret"),
    ("OpenAI-Organization", "client-secret"),
    ("OpenAI-Project", "client-secret"),
    ("OpenAI-Beta", "client-secret"),
    ("Anthropic-Beta", "client-secret"),
    ("X-Goog-Api-Key", "client-secret"),
    ("Api-Key", "client-secret"),
    ("X-Stainless-Lang", "client-secret"),
    ("Origin", "http://client-secret"),
    ("Referer", "http://client-secret"),
    ("Content-Language", "client-secret"),
    ("Range", "bytes=0-1"),
    ("If-None-Match", '"client-secret"'),
]
KEYS = {
    "bearer": [("Authorization", f"Bearer {KEY}"), ("X-Api-Key", "client-secret")],
    "x-api-key": [("Authorization", "Basic client-secret"), ("X-Api-Key", KEY)],
}

FROM_VENDOR = [
    b"Set-Cookie: vendor-secret=1; Path=/",
    b"Set-Cookie2: vendor-secret=1",
    b'Clear-Site-Data: "*"',
    b"Location: http://vendor-secret/",
    b"Content-Location: /vendor-secret",
    b"WWW-Authenticate: Basic realm=vendor-secret",
    b"Proxy-Authenticate: Basic realm=vendor-secret",
    b"Authentication-Info: vendor-secret",
    b"Strict-Transport-Security: max-age=1",
    b"Access-Control-Allow-Origin: *",
    b"Alt-Svc: h3=vendor-secret",
    b"Refresh: 0; url=http://vendor-secret/",
    b"Link: <http://vendor-secret/>; rel=preload",
    b"Server: vendor-secret",
    b"Via: 1.1 vendor-secret",
    b"Upgrade: vendor-secret",
    b"Trailer: X-Vendor",
    b"X-Request-Id: vendor-secret",
    b"X-Turnout-Model: vendor-secret",
    b"X-Turnout-Cost: vendor-secret",
    b"Openai-Organization: vendor-secret",
    b"X-Ratelimit-Limit-Requests: vendor-secret",
    b"Content-Disposition: attachment; filename=vendor-secret",
    b"Content-Language: vendor-secret",
    b"X-Should-Retry: vendor-secret",
]
SPLITS = [
    b"X-Split: a\r\n Set-Cookie: vendor-secret=1",
    b"X-Split: a\rSet-Cookie: vendor-secret=1",
    b"X-Split: a\nSet-Cookie: vendor-secret=1",
    b"X-Split: a\x00vendor-secret",
    b"Content-Type: application/json\rSet-Cookie: vendor-secret=1",
    b"Content-Type: text/event-stream\nSet-Cookie: vendor-secret=1",
    b"Retry-After: 1\r\n Set-Cookie: vendor-secret=1",
    b"Retry-After: 1%0d%0aSet-Cookie: vendor-secret=1",
]

CHAT = {"messages": [{"role": "user", "content": "hej"}], "max_tokens": 20}
ASKED = {
    "the fast lane": ("/v1/chat/completions", CHAT | {"model": "first"}),
    "a stream": ("/v1/chat/completions", CHAT | {"model": "first", "stream": True}),
    "translated": ("/v1/chat/completions", CHAT | {"model": "third"}),
    "embeddings": ("/v1/embeddings", {"model": "vectors", "input": "hej"}),
    "messages": ("/v1/messages", CHAT | {"model": "third"}),
}

WELL = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hej"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"hej"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


def request(path, body, headers):
    """A request on the wire."""
    sent = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(sent)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + sent


def names(answer):
    """The names of an answer's headers."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    return {line.partition(":")[0].lower() for line in re.split(r"\r\n|\r|\n", head)[1:]}


@contextlib.asynccontextmanager
async def vendor(said):
    """A vendor that answers everybody with the last of `said`; its address."""

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
        writer.write(said[-1])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def answered(home, *, is_stream):
    """Gives a function: a vendor's head to what the client got for it. The vendor's body is always well."""
    said = []
    kind, body = (b"text/event-stream", STREAM) if is_stream else (b"application/json", WELL)
    lines = b"Connection: close\r\nContent-Type: %b\r\n" % kind
    async with vendor(said) as url:
        config = CONFIG.replace(
            'stub: {{kind: compatible, base_url: "{url}', f'stub: {{{{kind: compatible, base_url: "{url}'
        )
        async with Rig(home, config=config) as rig:

            async def got(status, headers):
                said.append(b"HTTP/1.1 %d x\r\n%b%b\r\n\r\n%b" % (status, lines, headers, body))
                ask = CHAT | {"model": "first", "stream": is_stream}
                keys = [("Authorization", f"Bearer {KEY}"), ("Connection", "close")]
                return (await tell(rig.port, request("/v1/chat/completions", ask, keys)))[0]

            yield got


@pytest.mark.parametrize("key", sorted(KEYS))
async def test_t55_to_the_vendor(rig, key, proof):
    """In every lane: nothing but what is on the list, nothing that the client said, and no key of ours."""
    for path, body in ASKED.values():
        answer, _ = await tell(rig.port, request(path, body, [*KEYS[key], *FROM_CLIENT]))
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert names(answer) <= SENT_DOWNSTREAM
        assert b"client-secret" not in answer.partition(b"\r\n\r\n")[0]
    seen = [header for dispatch in rig.world.witness.dispatches for header in dispatch.headers]
    text = str(seen)
    assert len(rig.world.witness.dispatches) == len(ASKED)
    assert {name.lower() for name, _ in seen} <= SENT_UPSTREAM
    assert "client-secret" not in text
    assert KEY not in text
    assert KEY.encode() not in b"".join(dispatch.body for dispatch in rig.world.witness.dispatches)
    proof(
        f"{len(FROM_CLIENT) + 2} headers of the client's in {len(ASKED)} lanes: the vendor saw none of them, nor our key"
    )


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.amplifies("most of these answers are failures, and few requests give a retry budget of little")
async def test_t55_to_the_client(tmp_path, is_stream, proof):
    """Whatever the status: nothing but what is on the list, with values of ours."""
    statuses = [200, 201, 302, 307, 400, 401, 403, 407, 426, 500, 503, 429]
    async with answered(tmp_path, is_stream=is_stream) as got:
        for status in statuses:
            answer = await got(status, b"\r\n".join(FROM_VENDOR))
            assert answer.startswith(b"HTTP/1.1 200 ") == (status in {200, 201}), answer
            assert names(answer) <= SENT_DOWNSTREAM
            assert b"vendor-secret" not in answer
    proof(f"{len(FROM_VENDOR)} headers of the vendor's with {len(statuses)} statuses: the client saw none of them")


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.amplifies("most of these answers are failures, and few requests give a retry budget of little")
async def test_t55_line_breaks_in_the_vendors_values(tmp_path, is_stream, proof):
    """The client's answer is one answer, whose headers are ours; an answer that is no HTTP is the vendor's fault."""
    taken = 0
    async with answered(tmp_path, is_stream=is_stream) as got:
        for split in SPLITS:
            answer = await got(200, split)
            head, _, rest = answer.partition(b"\r\n\r\n")
            assert names(answer) <= SENT_DOWNSTREAM
            assert b"vendor-secret" not in head
            assert b"HTTP/1.1 200 OK" not in rest
            assert answer.split(b" ")[1] in {b"200", b"502"}
            taken += answer.startswith(b"HTTP/1.1 200 ")
    proof(
        f"{len(SPLITS)} line breaks in the vendor's headers: {taken} taken as folded lines, the others 502; none passed"
    )


async def test_t55_errors_of_ours(rig):
    """The gateway's own refusals have headers on the list too."""
    key = [("Authorization", f"Bearer {KEY}")]
    refused = [
        request("/v1/chat/completions", CHAT, [("Connection", "close")]),
        request("/v1/chat/completions", CHAT, [*key, ("Connection", "close")]),
        request("/v1/chat/completions", CHAT | {"model": "nobody"}, [*key, ("Connection", "close")]),
        request("/v1/models", {}, [*key, ("Connection", "close")]),
        request("/admin/config", {}, [*key, ("Connection", "close")]),
        request("/nowhere\r\nX: y", {}, []),
    ]
    for data in refused:
        answer, _ = await tell(rig.port, data)
        assert answer.split(b" ")[1][:1] == b"4"
        assert names(answer) <= SENT_DOWNSTREAM
