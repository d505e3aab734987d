"""T09: streams that are cut, torn, or oddly written."""

import re

import openai
import pytest

from tests.rig import Rig
from turnout.core.sse import SseParser

FORMS = ["slice=1", "split", "slice=7", "line-ends=crlf", "line-ends=cr", "line-ends=lf", "bom", "slow"]


async def body(home, script):
    """Return the stream that a client gets when the vendor writes so; the same world each time, but for its clock."""
    home.mkdir()
    async with Rig(home) as rig:
        rig.world.queue.append(script)
        got = await rig.stream_body("task:alone")
    return re.sub(rb'"created":[0-9]+', b'"created":0', got)


@pytest.mark.parametrize("script", FORMS)
async def test_t09_a_legal_stream_arrives_with_the_same_events_however_it_is_written(tmp_path, script):
    """One byte a write, torn characters, odd line ends, a byte order mark: nothing is lost or added."""
    expected, got = await body(tmp_path / "a", ""), await body(tmp_path / "b", script)
    assert events(got) == events(expected)
    assert got.count(b"[DONE]") == 1


@pytest.mark.parametrize("script", ["slice=1", "split", "slice=7", "slow"])
async def test_t09_bytes_are_identical_where_only_the_writes_differ(tmp_path, script):
    """A golden pass-through: the vendor's bytes, whatever the packets."""
    assert await body(tmp_path / "b", script) == await body(tmp_path / "a", "")


async def test_t09_one_event_of_a_mebibyte_passes_whole(tmp_path):
    """Bounds are for heads and errors; an event may be as large as an answer."""
    got = events(await body(tmp_path / "a", "huge-event=1048576"))
    assert max(map(len, got)) > 1_048_576
    assert got[-1] == b"[DONE]"


@pytest.mark.parametrize("events_sent", [2, 3, 5, 7])
@pytest.mark.parametrize("how", ["cut-event", "close-event", "reset-event"])
async def test_t09_a_cut_stream_is_an_error_and_no_finish_reason_is_invented(rig, how, events_sent):
    """R5: in good HTTP order, by FIN, or by RST."""
    rig.world.queue.append(f"{how}={events_sent}")
    async with rig.openai() as client:
        stream = await client.chat.completions.create(
            model="task:alone", messages=[{"role": "user", "content": "hej"}], stream=True
        )
        reasons = []
        with pytest.raises(openai.APIError):
            async for chunk in stream:
                reasons += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
    assert reasons == []
    assert rig.world.witness.count == 1


async def test_t09_a_stream_without_its_terminal_event_is_an_error_even_if_all_words_came(rig):
    """Everything but [DONE]."""
    rig.world.queue.append("no-done")
    answer = await rig.raw_stream("task:alone")
    assert b'"code":"stream_interrupted"' in answer
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "script", ["cut-event=1", "close-event=0", "error-event=0", "error-chunk=0", "malformed", "html"]
)
async def test_t09_a_stream_that_breaks_before_content_falls_over_unseen(rig, script):
    """The first byte rule: the next candidate answers and the client never knows."""
    rig.world.by_model["vendor/first"] = script
    async with rig.openai() as client:
        stream = await client.chat.completions.create(
            model="task:work", messages=[{"role": "user", "content": "hej"}], stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert stream.response.headers["x-turnout-model"] == "second"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/first", "vendor/second"]


def events(stream):
    """Return the data of every event of a stream."""
    return [data for _, data in SseParser().feed(stream) if data]
