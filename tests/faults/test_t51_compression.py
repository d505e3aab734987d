"""T51: nothing is ever unpacked: a compressed request is a 415, a vendor's compressed answer is refused, memory + 8 MiB at most.

We ask vendors for no compression (`accept-encoding: identity`). One that sends some all the same, or says that it does, is
told from what came: JSON is JSON and goes on without the label, anything else is no answer.
"""

import asyncio
import gzip
import json
import re
import zlib

import pytest

from tests.faults.hostile import forget_peak, peak_kib, post, resident_kib
from tests.process import Served, SimulatedVendor
from tests.rig import CONFIG

MIB = 1024 * 1024
GROWTH_KIB = 8 * 1024

ZERO_BLOCK = (2 | 131072 << 3).to_bytes(3, "little") + b"\0"
"""A zstd block that says: 128 KiB of zeros (RFC 8878 §3.1.1.2)."""

GZIP_BOMB = gzip.compress(bytes(MIB), mtime=0) * 960
"""1 GiB: gzip members one behind the other (RFC 1952 §2.2)."""

ZSTD_BOMB = b"\x28\xb5\x2f\xfd\x00\x58" + ZERO_BLOCK * (MIB // 4)
"""32 GiB."""

BOMBS = {
    "gzip": GZIP_BOMB,
    "GZip": GZIP_BOMB,
    "x-gzip": GZIP_BOMB,
    "zstd": ZSTD_BOMB,
    "deflate": zlib.compress(bytes(16 * MIB)),
    "br": bytes.fromhex("cbffff3f00e000c0ff") * 100_000,
    "gzip, gzip": gzip.compress(GZIP_BOMB),
    "identity, gzip": GZIP_BOMB,
    "gzip, identity": GZIP_BOMB,
    "compress": b"\x1f\x9d\x90" * 300_000,
    "exi": b"$EXI" * 1000,
    "": b"{}",
    "*": b"{}",
}


async def test_t51_a_compressed_request_is_not_taken(tmp_path, size, proof):
    """415 whatever it is compressed with, and however often; without the label it is no JSON: 400."""
    async with SimulatedVendor(tmp_path) as vendor:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin))
        async with Served(tmp_path, "--port", "0", vendor=vendor) as gateway:
            process_id = gateway.process.pid
            await post(gateway, b"\x1f" * 10 * MIB)  # what the allocator keeps for bodies of the largest size
            before = resident_kib(process_id)
            forget_peak(process_id)
            labelled, bare = {}, {}
            for _ in range(size(1, 10)):
                for encoding, body in BOMBS.items():
                    labelled[encoding] = (await post(gateway, body, f"content-encoding: {encoding}\r\n")).status
                    bare[encoding] = (await post(gateway, body)).status
            grown = peak_kib(process_id) - before
        received = vendor.witnessed()
    assert dict.fromkeys(BOMBS, 415) == labelled
    assert dict.fromkeys(BOMBS, 400) == bare
    assert [] == received
    assert grown <= GROWTH_KIB
    proof(f"{len(BOMBS)} compressed requests, up to 32 GiB unpacked: all 415; memory + {max(0, grown) / 1024:.1f} MiB")


REPLY = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hej"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
STREAM = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"content":"hej"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
REFUSAL = b'{"error":{"message":"no","type":"invalid_request_error"}}'
LONG_REFUSAL = b'{"error":{"message":"' + b"no " * 100_000 + b'"}}'
"""More than is read of a refusal: what is left is broken JSON, which must not go out."""

ANSWERS = {
    "gzip": (200, "gzip", gzip.compress(REPLY), gzip.compress(STREAM), 502),
    "deflate": (200, "deflate", zlib.compress(REPLY), zlib.compress(STREAM), 502),
    "nested": (200, "gzip, gzip", gzip.compress(gzip.compress(REPLY)), gzip.compress(gzip.compress(STREAM)), 502),
    "unlabelled": (200, "", gzip.compress(REPLY), gzip.compress(STREAM), 502),
    "gzip-bomb": (200, "gzip", GZIP_BOMB, GZIP_BOMB, 502),
    "zstd-bomb": (200, "zstd", ZSTD_BOMB, ZSTD_BOMB, 502),
    "unknown": (200, "x-evil", b"\x00\x01" * 500_000, b"\x00\x01" * 500_000, 502),
    "zeros": (200, "identity", bytes(4 * MIB), bytes(4 * MIB), 502),
    "claims-gzip": (200, "gzip", REPLY, STREAM, 200),
    "claims-all": (200, "br, zstd, x-evil, gzip", REPLY, STREAM, 200),
    "identity": (200, "identity", REPLY, STREAM, 200),
    "refusal": (400, "gzip", gzip.compress(REFUSAL), gzip.compress(REFUSAL), 400),
    "refusal-bomb": (422, "gzip", GZIP_BOMB, GZIP_BOMB, 422),
    "refusal-cut": (400, "", LONG_REFUSAL, LONG_REFUSAL, 400),
    "failure-bomb": (500, "gzip", GZIP_BOMB, GZIP_BOMB, 502),
}
"""By model: what the vendor answers (status, Content-Encoding, whole body, stream), and what the client gets."""

MODELS = "\n".join(f"  {name}: {{provider: canned, id: {name}, price: free}}" for name in ANSWERS)
CANNED = f"""
providers:
  canned: {{kind: compatible, base_url: "http://127.0.0.1:PORT/v1", api_key: sk-canary-canned-key-1}}
models:
{MODELS}
timeouts: {{connect: 1, first_chunk: 5, idle: 5, total: 20}}
retry: {{max_retries: 0}}
breaker: {{failures: 1000}}
"""


class CannedVendor:
    """Answers each request as ANSWERS has it for its model. heads: what came, without bodies."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        length = re.search(rb"content-length: (\d+)", head)
        asked = json.loads(await reader.readexactly(int(length[1]) if length else 0))
        status, encoding, whole, stream, _ = ANSWERS[asked["model"]]
        is_stream = asked.get("stream") is True
        body = stream if is_stream else whole
        kind = "text/event-stream" if is_stream else "application/json"
        label = f"content-encoding: {encoding}\r\n" if encoding else ""
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{label}content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n".encode()
        )
        try:
            writer.write(body)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass  # refused before its end


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
async def test_t51_a_compressed_answer_is_not_unpacked(tmp_path, size, proof, is_stream):
    """Refused as no answer, or passed on if it is none in truth; never with a label that the client would act upon."""
    async with CannedVendor() as vendor:
        (tmp_path / "turnout.yaml").write_text(CANNED.replace("PORT", str(vendor.port)))
        async with Served(tmp_path, "--port", "0") as gateway:
            process_id = gateway.process.pid
            answers = {}
            for number in range(size(2, 20)):
                if number == 1:  # the first round shows what each needs at once, and what the allocator keeps of that
                    before = resident_kib(process_id)
                for name in ANSWERS:
                    body = {"model": name, "stream": is_stream, "messages": [{"role": "user", "content": "hej"}]}
                    async with gateway.http() as client:
                        answers[name] = await client.post("/v1/chat/completions", json=body)
            grown = resident_kib(process_id) - before
    assert {name: answer[-1] for name, answer in ANSWERS.items()} == {n: a.status_code for n, a in answers.items()}
    assert [] == [name for name, answer in answers.items() if "content-encoding" in answer.headers]
    for name, answer in answers.items():
        if answer.status_code != 200:
            assert {"message", "type", "code"} <= answer.json()["error"].keys(), name
            assert len(answer.content) < 2000
        else:
            assert answer.content == (STREAM if is_stream else REPLY)
    assert {True} == {b"accept-encoding: identity\r\n" in head for head in vendor.heads}
    assert grown <= GROWTH_KIB
    proof(
        f"{len(ANSWERS)} kinds of {'streams' if is_stream else 'answers'}, compressed or said to be: none unpacked, none "
        f"passed on with a label; memory + {max(0, grown) / 1024:.1f} MiB"
    )
