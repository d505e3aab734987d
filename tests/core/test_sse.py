"""Cutting and reading server-sent events: the same events however the bytes are cut, bounded, never raising."""

import timeit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnout.core.sse import BOM, EVENT_LIMIT_BYTES, Framer, SseParser, parse

ENDS = (b"\n", b"\r\n", b"\r")
LINES = (
    b"data: a",
    b"data:b",
    b"data:  c",
    b"data",
    b": note",
    b"event: kind",
    b"id: 1",
    b"retry: 9",
    b"",
    b"data: \xc3\xa6",
)


@st.composite
def streams(draw, ends):
    """Lines of any meaning, each with a line end, perhaps after a BOM, perhaps cut off."""
    lines = draw(st.lists(st.sampled_from(LINES), max_size=12))
    text = b"".join(line + draw(ends) for line in lines)
    return draw(st.sampled_from((b"", BOM))) + text


@st.composite
def cuts(draw, data):
    """`data` in pieces."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def oracle(data: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's algorithm, line by line."""
    events, kind, values = [], b"", []
    lines = data.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    for line in lines:
        name, _, value = line.partition(b":")
        if not line:
            if values:
                events.append((kind, b"\n".join(values)))
            kind, values = b"", []
        elif name == b"data":
            values.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.removeprefix(b" ")
    return events


def fed(pieces, limit: int = EVENT_LIMIT_BYTES):
    parser = SseParser(limit)
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize("end", ENDS)
def test_every_line_end_and_a_bom(end):
    """LF, CRLF and CR; a BOM; comments; joined data; an event name; `id` ignored; one leading space dropped."""
    lines = [b": hello", b"", b"event: x", b"id: 7", b"data: one", b"data:two", b"data:  three", b"", b"data", b"", b""]
    wanted = [(b"x", b"one\ntwo\n three"), (b"", b"")]
    assert wanted == fed([BOM + end.join(lines)])


@given(st.data())
@example(None)
def test_any_cut_gives_the_standards_events(data):
    """Split-invariance, also with line ends mixed: the events are the oracle's."""
    text = BOM + b"data: a\r\n\r\ndata: b\n\r\n" if data is None else data.draw(streams(st.sampled_from(ENDS)))
    pieces = [text[i : i + 1] for i in range(len(text))] if data is None else data.draw(cuts(text))
    wanted = oracle(text)
    # A CR that may be half of a CRLF is waited for: the oracle, which sees the end, does not have to.
    got = fed([*pieces, b": end\n\n"])
    assert wanted == got[: len(wanted)]
    assert fed([text, b": end\n\n"]) == got


@given(st.data(), st.sampled_from(ENDS))
def test_frames_are_the_bytes_themselves(data, end):
    """With one kind of line end the frames are the same for any cut, and are the input up to the last blank line."""
    text = data.draw(streams(st.just(end)))
    whole = Framer()
    frames = whole.feed(text)
    pieced = Framer()
    assert frames == [frame for piece in data.draw(cuts(text)) for frame in pieced.feed(piece)]
    assert text.startswith(b"".join(frames))
    assert whole.is_idle == (b"".join(frames) == text)


def test_unfinished_is_nothing():
    """An event without its blank line is held back, and is_idle says so."""
    framer = Framer()
    assert framer.is_idle
    assert framer.feed(b"data: a\n") == []
    assert not framer.is_idle
    assert framer.feed(b"\n") == [b"data: a\n\n"]
    assert framer.is_idle
    assert framer.feed(b"") == []


def test_a_frame_without_data_is_no_event():
    """A comment says nothing."""
    assert parse(b": OPENROUTER PROCESSING\n\n") is None
    assert parse(b"data: x\r\r") == (b"", b"x")


@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_an_endless_event_is_a_failure_and_no_memory(cut):
    """Over the limit: what came before is given out, then nothing, and nothing is kept."""
    parser = SseParser(limit_bytes=20)
    text = b"data: ok\n\n" + b"data: " + b"x" * 30
    events = [event for i in range(0, len(text), cut) for event in parser.feed(text[i : i + cut])]
    assert events == [(b"", b"ok")]
    assert parser.failure == "one event is longer than 20 bytes"
    assert parser.feed(b"\n\ndata: y\n\n") == []


@pytest.mark.parametrize("cut", [36, 10])
def test_a_whole_event_over_the_limit_is_refused_too(cut):
    """The bound does not depend on how the bytes came."""
    parser = SseParser(limit_bytes=20)
    text = b"data: " + b"x" * 28 + b"\n\n"
    assert [event for i in range(0, 36, cut) for event in parser.feed(text[i : i + cut])] == []
    assert parser.failure


def test_a_mebibyte_in_single_bytes_is_linear():
    """T09: 1 MiB in one event; the cost of a byte does not grow with what is held."""
    text = b"data: " + b"x" * 2**20 + b"\n\n"
    parser = SseParser()
    assert parser.feed(text) == [(b"", text[6:-2])]

    def cost(size: int) -> float:
        framer = Framer()
        return timeit.timeit(lambda: [framer.feed(b"x") for _ in range(size)], number=1) / size

    assert cost(60_000) < 10 * cost(6_000)
