"""T01: connect refused, no such name, a certificate that is not to be trusted."""

import asyncio
import socket
import ssl
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import openai
import pytest
import trustme

from tests.rig import Rig

CONFIG = """
providers:
  broken: {{kind: compatible, base_url: "BROKEN/v1", api_key: sk-canary-broken-key, ca_file: CA}}
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key}}
models:
  bad: {{provider: broken, id: vendor/bad, price: free}}
  good: {{provider: stub, id: vendor/good, price: free}}
tasks:
  both: {{models: [bad, good]}}
  alone: {{models: [bad], max_retries: 0}}
retry: {{backoff: 0.01, max_backoff: 0.05}}
"""


def config(base_url, ca_file):
    return CONFIG.replace("BROKEN", base_url).replace("CA}}", f"{ca_file}}}}}")


@pytest.fixture
def authority(tmp_path):
    """Our own certificate authority, which the config trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


@asynccontextmanager
async def tls_server(certificate):
    """Accept TLS connections with `certificate`; gives the port and the list of what clients said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    heard = []

    async def serve(reader, writer):
        heard.append(await reader.read(10))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def judge(tmp_path, base_url, proof):
    """The fallback answers within 100 ms of the refusal; alone it is a 502; nothing is owed."""
    async with Rig(tmp_path, config=config(base_url, tmp_path / "ca.pem")) as rig, rig.openai() as client:
        began = time.perf_counter()
        raw = await client.chat.completions.with_raw_response.create(
            model="task:both", messages=[{"role": "user", "content": "hej"}]
        )
        took = time.perf_counter() - began
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="task:alone", messages=[{"role": "user", "content": "hej"}])
        await rig.service.flush_traces()
        traces = rig.traces()
    assert raw.headers["x-turnout-model"] == "good"
    assert raw.headers["x-turnout-attempts"] == "2"
    assert took < 1.0
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_unreachable"
    assert "canary" not in caught.value.message
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/good"]
    failed = [attempt for trace in traces for attempt in trace.attempts if attempt.model == "bad"]
    assert [(attempt.outcome, attempt.usage, attempt.cost_nano_usd) for attempt in failed] == [
        ("upstream_unreachable", None, 0)
    ] * len(failed)
    refused = next(trace for trace in traces if trace.outcome == "ok")
    gap_s = refused.attempts[1].started_s - refused.attempts[0].ended_s
    assert gap_s < 0.1
    proof(f"{failed[0].message}: 502, or the fallback {gap_s * 1000:.2f} ms after it; 0 sent, nothing owed")


async def test_t01_connection_refused(tmp_path, authority, proof):
    """Nobody listens."""
    await judge(tmp_path, f"http://127.0.0.1:{closed_port()}", proof)


async def test_t01_no_such_name(tmp_path, authority, proof):
    """RFC 6761: .invalid never resolves."""
    await judge(tmp_path, "http://nobody.invalid", proof)


async def test_t01_self_signed(tmp_path, authority, proof):
    """Signed by somebody else."""
    async with tls_server(trustme.CA().issue_cert("127.0.0.1")) as (port, heard):
        await judge(tmp_path, f"https://127.0.0.1:{port}", proof)
    assert not any(heard)


async def test_t01_wrong_name(tmp_path, authority, proof):
    """Ours, but for another host."""
    async with tls_server(authority.issue_cert("other.example")) as (port, heard):
        await judge(tmp_path, f"https://127.0.0.1:{port}", proof)
    assert not any(heard)


async def test_t01_expired(tmp_path, authority, proof):
    """Ours, for this host, but old."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    old = authority.issue_cert("127.0.0.1", not_before=yesterday - timedelta(days=1), not_after=yesterday)
    async with tls_server(old) as (port, heard):
        await judge(tmp_path, f"https://127.0.0.1:{port}", proof)
    assert not any(heard)


async def test_t01_a_good_certificate_of_our_own_authority_is_trusted(tmp_path, authority):
    """The control: the same server with a sound certificate is spoken to."""
    async with (
        tls_server(authority.issue_cert("127.0.0.1")) as (port, heard),
        Rig(tmp_path, config=config(f"https://127.0.0.1:{port}", tmp_path / "ca.pem")) as rig,
        rig.openai() as client,
    ):
        await client.chat.completions.create(model="task:both", messages=[{"role": "user", "content": "hej"}])
    assert heard[0] == b"POST /v1/c"
