"""T09: however a stream is written, its events arrive whole or not at all; a cut one is an error, and no end is invented."""

import asyncio
import random
import re

import pytest

from tests.faults.sdk import ask, paid, quick
from tests.rig import Rig
from turnout.core.sse import SseParser

UPSTREAMS = ("openai", "claude")
FORMS = (
    "slice=1",
    "split",
    "slice=7",
    "line-ends=crlf",
    "line-ends=cr",
    "line-ends=lf",
    "bom",
    "slow",
    "slice=1;line-ends=crlf",
)
OTHER_WRITES = ("slice=1", "split", "slice=7", "slow")
"""The vendor's own bytes, only in other packets."""

BEFORE_CONTENT = (
    "cut-event=1",
    "close-event=0",
    "reset-event=1",
    "error-event=0",
    "tokens=1;malformed",
    "html",
    "cut-at=0",
)


async def body(home, script, upstream):
    """Return the stream that a client gets when the vendor writes so; the same world each time, but for its clock."""
    home.mkdir()
    async with Rig(home, config=paid()) as rig:
        rig.world.queue.append(script)
        got = await rig.stream_body(f"{upstream}-alone")
    # A translated stream that has no name yet has our request's.
    return re.sub(rb'"created":[0-9]+|chatcmpl-req_[0-9a-f]+', b'"":0', got)


def events(stream):
    """Return the data of every event of a stream."""
    return [data for _, data in SseParser().feed(stream) if data]


@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_t09_a_legal_stream_arrives_with_the_same_events_however_it_is_written(
    tmp_path, size, seed, proof, upstream
):
    """One byte a write, torn characters, odd line ends, a byte order mark: nothing is lost or added."""
    expected = await body(tmp_path / "sound", "", upstream)
    forms = random.Random(seed).sample(FORMS, size(4, len(FORMS)))
    for number, script in enumerate(forms):
        got = await body(tmp_path / str(number), script, upstream)
        assert events(got) == events(expected), script
        assert got.count(b"[DONE]") == 1, script
        if script in OTHER_WRITES or upstream == "claude":
            assert got == expected, script
    proof(f"{upstream}: {len(forms)} forms gave the same {len(events(expected))} events")


@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_t09_one_event_of_a_mebibyte_passes_whole(tmp_path, upstream):
    """Bounds are for heads and errors; an event may be as large as an answer."""
    got = events(await body(tmp_path / "a", "huge-event=1048576", upstream))
    assert max(map(len, got)) > 1_048_576
    assert got[-1] == b"[DONE]"


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("how", ["cut-event", "close-event", "reset-event"])
async def test_t09_a_cut_stream_is_an_error(tmp_path, size, proof, how, upstream):
    """R5: in good HTTP order, by FIN, or by RST, after each number of events."""
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:
        whole = await ask(client, f"{upstream}-alone", stream=True)
        assert whole.reasons == ["stop"]
        raised = 0
        for count in range(5, size(9, 25)):
            rig.world.queue.append(f"tokens=40;{how}={count}")
            told = await ask(client, f"{upstream}-alone", stream=True)
            assert (told.error, told.code, told.reasons) == ("APIError", "stream_interrupted", []), count
            raised += 1
        assert rig.world.witness.count == raised + 1
    proof(f"{upstream}, {how}: {raised} of {raised} raised, 0 invented finish reasons")


@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_t09_a_cut_at_any_byte_ends_in_an_error_or_whole(tmp_path, size, seed, proof, upstream):
    """Inside a character, a CRLF, a field's name: what the client got are whole events, then an error, then no last chunk."""
    runs = size(60, 1000)
    chance = random.Random(seed)
    async with Rig(tmp_path, config=paid()) as rig:
        good = await rig.stream_body(f"{upstream}-alone")
        sent = rig.world.witness.dispatches[-1].sent_bytes
        cut = 0
        for _ in range(runs):
            end, place = chance.choice(["lf", "crlf", "cr"]), chance.randrange(sent)
            rig.world.queue.append(f"line-ends={end};cut-at={place}")
            answer = await rig.raw_stream(f"{upstream}-alone")
            if rig.world.witness.dispatches[-1].sent_bytes < place:  # this answer was shorter: nothing was cut
                assert answer.endswith(b"0\r\n\r\n")
                continue
            head, _, framed = answer.partition(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 502"):
                continue
            cut += 1
            assert b'"code":"stream_interrupted"' in framed
            assert b"[DONE]" not in framed
            assert not framed.endswith(b"0\r\n\r\n")
    assert good.count(b"[DONE]") == 1
    assert cut > runs / 4
    proof(f"{upstream}: {runs} cuts at random bytes: {cut} error events, 0 invented ends")


@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_t09_without_its_terminal_event_it_is_an_error_even_if_all_words_came(tmp_path, upstream):
    """Everything but [DONE], or but message_stop."""
    async with Rig(tmp_path, config=paid()) as rig:
        rig.world.queue.append("no-done")
        answer = await rig.raw_stream(f"{upstream}-alone")
    assert b'"code":"stream_interrupted"' in answer
    assert b"[DONE]" not in answer
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.amplifies("every first candidate fails")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_t09_a_stream_that_breaks_before_content_falls_over_unseen(tmp_path, proof, upstream):
    """The first byte rule: the next candidate answers and the client never knows."""
    async with Rig(tmp_path, config=paid(retries=1)) as rig, quick(rig) as client:
        for script in BEFORE_CONTENT:
            rig.world.by_model = {"vendor*": script}
            told = await ask(client, f"{upstream}-spare", stream=True)
            assert (told.error, told.headers["x-turnout-model"], told.reasons) == ("", "spare", ["stop"]), script
            assert told.text, script
        asked = [one.model for one in rig.world.witness.dispatches]
    bad = "claude" if upstream == "claude" else "vendor/openai"
    assert [bad in one or one == "vendor-claude" for one in asked] == [True, False] * len(BEFORE_CONTENT)
    proof(f"{upstream}: {len(BEFORE_CONTENT)} of {len(BEFORE_CONTENT)} fell over unseen")


async def test_t09_many_torn_streams_at_once(tmp_path, size, seed, proof):
    """Both upstreams at the same time, in packets of every size: each comes whole, with one end."""
    runs = size(40, 400)
    chance = random.Random(seed)
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:

        async def one(number):
            rig.world.queue.append(f"slice={chance.randint(1, 40)};tokens={20 + number % 7}")
            words = [{"role": "user", "content": f"ordre {number}"}]
            return await ask(client, f"{chance.choice(UPSTREAMS)}-alone", stream=True, messages=words)

        told = []
        for begin in range(0, runs, 20):
            told += await asyncio.gather(*(one(number) for number in range(begin, min(begin + 20, runs))))
    whole = sum(one.error == "" and len(one.reasons) == 1 and bool(one.text) for one in told)
    assert whole == runs
    proof(f"{whole} of {runs} torn streams came whole, 20 at a time")
