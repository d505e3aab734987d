"""T39: the client leaves, at any moment, by FIN or RST: upstream is closed within a second, and the books say so."""

import asyncio
import json
import time

import pytest

LIMIT_S = 1.0


def request(rig, *, stream, model="task:alone"):
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hej"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {rig.key}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body), body


def leave(writer, how):
    """FIN: an ordinary close. RST: with what is unsent thrown away."""
    if how == "RST":
        writer.transport.abort()
    else:
        writer.close()


async def until(condition):
    """Wait for `condition`, at most the limit; return how long it took."""
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < LIMIT_S, "not within a second"
        await asyncio.sleep(0.005)
    return time.perf_counter() - began


async def settled(rig, before):
    """Everything that belonged to the request is gone."""
    await until(lambda: rig.service.telemetry.in_flight == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before)
    await rig.service.flush_traces()


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("moment", ["header", "body"])
async def test_t39_before_the_request_is_whole_nothing_goes_upstream(rig, moment, how):
    """And nothing is left behind."""
    before = len(asyncio.all_tasks())
    head, body = request(rig, stream=False)
    _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(head[:40] if moment == "header" else head + body[:10])
    await writer.drain()
    await asyncio.sleep(0.02)
    leave(writer, how)
    await settled(rig, before)
    assert rig.world.witness.count == 0
    assert rig.traces() == []


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("script", ["stall", "stall-at=0"], ids=["waiting", "after the head"])
async def test_t39_while_waiting_the_upstream_connection_is_closed_within_a_second(rig, script, stream, how):
    """One dispatch, one trace, counted as 499, no 5xx."""
    rig.world.queue.append(script)
    before = len(asyncio.all_tasks())
    _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.writelines(request(rig, stream=stream))
    await until(lambda: rig.world.witness.count == 1)
    (dispatch,) = rig.world.witness.dispatches
    leave(writer, how)
    await until(lambda: dispatch.outcome == "client-closed")
    await settled(rig, before)
    assert_booked(rig)


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("events", [2, 4, 7])
async def test_t39_in_mid_stream_the_upstream_connection_is_closed_within_a_second(rig, events, how):
    """What was said is booked as an estimate."""
    rig.world.queue.append(f"stall-event={events}")
    before = len(asyncio.all_tasks())
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.writelines(request(rig, stream=True))
    assert b"200 OK" in await reader.readuntil(b"data: ")
    (dispatch,) = rig.world.witness.dispatches
    leave(writer, how)
    await until(lambda: dispatch.outcome == "client-closed")
    await settled(rig, before)
    (trace,) = assert_booked(rig)
    assert trace.attempts[0].usage.basis == "estimated"
    assert trace.attempts[0].usage.output_tokens > 0


async def test_t39_after_the_last_byte_it_is_an_ordinary_success(rig):
    """Leaving is not a failure then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.writelines(request(rig, stream=True))
    await reader.readuntil(b"0\r\n\r\n")
    writer.transport.abort()
    await rig.service.flush_traces()
    (trace,) = rig.traces()
    assert (trace.outcome, trace.status) == ("ok", 200)


def assert_booked(rig):
    """One row, 499, nothing against the candidate's health."""
    traces = rig.traces()
    assert [(trace.outcome, trace.status) for trace in traces] == [("client_disconnected", 499)]
    statuses = {status for (_, _, status), count in rig.service.telemetry.requests.items() if count}
    assert statuses == {499}
    assert not rig.service.engine.health.is_failing("first@stub")
    return traces
