"""The fast lane: bytes as they came, and everything that must be seen is seen, however the bytes are cut."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.openai_relay import ChatRelay, content_bytes, ordinary
from turnout.core.sse import BOM
from turnout.core.usage import Usage
from turnout.errors import UpstreamFault, UpstreamThrottled

STREAM = (Path(__file__).parents[1] / "fixtures/compatible/stream.sse").read_bytes()
USAGE = {"prompt_tokens": 24, "completion_tokens": 3}
DONE = b"data: [DONE]\n\n"


def event(**body) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def chunk(content="x", finish=None, **more) -> bytes:
    delta = {"content": content} if isinstance(content, str) else content
    return event(id="c", model="m", choices=[{"index": 0, "delta": delta, "finish_reason": finish}], **more)


def relayed(pieces, *, drops_usage=False):
    relay = ChatRelay(drops_usage=drops_usage)
    return b"".join(relay.feed(piece) for piece in pieces), relay


def told(relay):
    """All that a relay says, but for output_bytes, which is approximate."""
    failure = relay.failure
    return (
        relay.has_content,
        relay.is_ended,
        relay.usage,
        relay.finish_reason,
        failure and (type(failure), failure.message),
    )


EVENTS = st.sampled_from(
    [
        chunk({"role": "assistant", "content": ""}), chunk("Kære"), chunk(' "quoted" \\ '), chunk("\n"), chunk("usage"), chunk("error"),
        chunk("a" * 300), chunk({"reasoning": "hm"}), chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}),
        chunk({}), chunk({}, "stop"), chunk("last", "length"), chunk("x", usage=None), chunk("x", usage=USAGE), chunk("x").replace(b":", b": "),
        event(choices=[], usage=USAGE), event(choices=[], usage={"prompt_tokens": 1, "completion_tokens": -1}), event(choices=[]),
        event(error={"message": "boom", "code": 502}), event(object="error", message="boom"), b": note\n\n", b"event: error\ndata: {}\n\n",
        b"data: {broken\n\n", b"data: 7\n\n", b'data: {"choices":[7,{"delta":7}]}\n\n', b"data: <h1>502</h1>\n\n", DONE, chunk("x", x="\u2028"),
        b"data: {\ndata: }\n\n",
    ]
)  # fmt: skip


@st.composite
def cuts(draw, data):
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=10)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.data(), st.lists(EVENTS, max_size=10), st.booleans(), st.sampled_from((b"\n", b"\r\n", b"\r")), st.booleans())
def test_any_cut_gives_the_same_bytes_and_the_same_story(data, events, drops_usage, end, has_bom):
    """Split-invariance: whole, in random pieces, and in single bytes."""
    text = (BOM if has_bom else b"") + b"".join(events).replace(b"\n", end)
    out, relay = relayed([text], drops_usage=drops_usage)
    for pieces in (data.draw(cuts(text)), [text[i : i + 1] for i in range(len(text))]):
        again, other = relayed(pieces, drops_usage=drops_usage)
        assert out == again
        assert told(relay) == told(other)
    if events and relay.failure is None and not drops_usage and not relay.is_ended:
        assert text == out
    assert relay.finish_reason in {"", "stop", "length"}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_legal_stream_passes_byte_for_byte(end):
    """Golden pass-through: comments, role, text with quotes, tool calls, usage, the end."""
    text = STREAM.replace(b"\n", end)
    out, relay = relayed([text])
    assert text == out
    assert told(relay) == (True, True, Usage(24, 31, cache_read_input_tokens=8), "tool_calls", None)


def test_our_usage_chunk_stays_here():
    """The client did not ask: everything but that chunk goes on."""
    out, relay = relayed([STREAM], drops_usage=True)
    frames = STREAM.split(b"\n\n")
    assert b"\n\n".join(frames[:-3] + frames[-2:]) == out
    assert relay.usage is not None


def test_usage_in_a_chunk_with_content_goes_on():
    """Only a chunk that is nothing but usage is dropped."""
    text = chunk("x", usage=USAGE)
    out, relay = relayed([text], drops_usage=True)
    assert (text, Usage(24, 3, basis="estimated")) == (out, relay.usage)


def test_a_count_that_comes_before_the_end_is_an_estimate():
    """A vendor may count as it goes; what it said is believed once the answer is over."""
    relay = ChatRelay(drops_usage=False)
    assert relay.usage is None
    relay.feed(chunk("x" * 40, usage=USAGE))
    assert relay.usage == Usage(24, 10, basis="estimated")
    relay.feed(chunk({}, "stop", usage={"prompt_tokens": 24, "completion_tokens": 12}))
    assert relay.usage == Usage(24, 12)


def test_content_is_not_a_role_or_a_comment():
    """The first byte rule: nothing that could still fail over counts as content."""
    relay = ChatRelay(drops_usage=False)
    for text in (b": hi\n\n", chunk({"role": "assistant", "content": ""}), chunk({}), event(choices=[])):
        assert text == relay.feed(text)
        assert not relay.has_content
    relay.feed(chunk("x"))
    assert relay.has_content


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"}, {"reasoning": "x"}, {"reasoning_content": "x"}, {"refusal": "no"}, {"tool_calls": [{"function": {"name": "f"}}]},
        {"tool_calls": "odd"}, {"tool_calls": [7]}, {"tool_calls": [{"function": 7}]}, {"function_call": {"name": "f"}}, {"audio": {"id": "a"}},
        {"content": [{"type": "text"}]},
    ],
)  # fmt: skip
def test_every_kind_of_content(delta):
    """Text, reasoning, a refusal, tool calls, audio; also in shapes that nobody documents."""
    assert content_bytes(delta) > 0
    assert relayed([chunk(delta)])[1].has_content


@pytest.mark.parametrize(
    "delta", [{}, {"content": ""}, {"content": None}, {"role": "assistant"}, {"tool_calls": []}, None, 7]
)
def test_what_is_no_content(delta):
    """Empty, null, a role."""
    assert content_bytes(delta) == 0


def test_arguments_count_as_output():
    """A tool call is its arguments' size and one for being there."""
    assert content_bytes({"tool_calls": [{"function": {"arguments": "æ"}}]}) == 3


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (event(error={"message": "boom\nboom", "code": "server_error"}), UpstreamFault, "boom boom"),
        (event(error={"message": "slow down", "code": 429}), UpstreamThrottled, "slow down"),
        (event(error={"code": "rate_limit_exceeded"}), UpstreamThrottled, "not now"),
        (event(error={"type": "rate_limit_error"}), UpstreamThrottled, "not now"),
        (event(object="error", message="vLLM"), UpstreamFault, "vLLM"),
        (
            event(choices=[{"delta": {"content": "y"}, "error": {"message": "gone", "code": 502}}]),
            UpstreamFault,
            "gone",
        ),
        (b'event: error\ndata: {"message":"named"}\n\n', UpstreamFault, "named"),
        (b"data: {broken\n\n", UpstreamFault, "not a JSON object"),
        (b"data: [1]\n\n", UpstreamFault, "not a JSON object"),
        (b"data: " + b"[" * 100_000 + b"\n\n", UpstreamFault, "not a JSON object"),
        (b"data: <html>\n\n", UpstreamFault, "not a JSON object"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_errors_stop_the_stream(text, kind, words, before):
    """Neither an error event nor unreadable data goes on, nor anything after it; what was before does."""
    good = chunk("x") * before
    out, relay = relayed([good + text + chunk("late"), chunk("later"), DONE])
    assert good == out
    assert kind is type(relay.failure)
    assert words in relay.failure.message
    assert len(relay.failure.body) <= 2048
    assert not relay.is_ended


def test_an_endless_event_is_a_failure():
    """Two megabytes without a blank line: not kept, not forwarded."""
    out, relay = relayed([chunk("x"), b"data: {" + b"x" * (3 << 20)])
    assert chunk("x") == out
    assert "longer than" in relay.failure.message
    assert relayed([chunk("x") + DONE + b"x" * (3 << 20)])[1].failure is None


@pytest.mark.parametrize("before", [b"", b": note\n\n", event(choices=[], usage=USAGE), chunk({"role": "assistant"})])
def test_an_end_without_an_answer_is_a_failure(before):
    """No content and no reason for there being none; with a reason it is an empty answer, which is one."""
    out, relay = relayed([before + DONE])
    assert before == out
    assert relay.failure is not None
    assert relay.failure.is_ambiguous
    assert not relay.is_ended
    assert relayed([before, chunk({}, "stop") + DONE])[1].is_ended


def test_nothing_after_the_end():
    """[DONE] is the last."""
    out, relay = relayed([chunk("x") + DONE + chunk("y"), chunk("z")])
    assert chunk("x") + DONE == out
    assert relay.is_ended


@given(st.integers(0, len(STREAM) - 1))
def test_a_cut_stream_never_ends(cut):
    """R5: cut at any byte, the end is not seen, and no reason is invented."""
    _, relay = relayed([STREAM[:cut]])
    assert not relay.is_ended or STREAM[:cut].endswith(b"[DONE]\n\n")
    assert relay.finish_reason in {"", "tool_calls"}
    assert relay.finish_reason == "" or b'"finish_reason":"tool_calls"' in STREAM[:cut]


def test_ordinary_chunks():
    """What may pass unparsed: one or more lines of data, saying nothing but content."""
    plain = chunk("x")
    assert ordinary(plain) == 1
    assert ordinary(plain * 3) == 3
    assert ordinary(chunk("x", usage=None)) == 1
    assert ordinary(chunk("x", usage=None).replace(b"null", b" null")) == 1
    assert ordinary(chunk('say \\"error\\" and "usage"')) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", chunk("x")[:-1], DONE, b": note\n\n", chunk("x", "stop"), chunk("x", "stop").replace(b":", b": "), chunk("x", usage=USAGE),
        event(error=None), chunk("x") + DONE, chunk("x") + b": note\n\n" + chunk("x"), b"data: {}\r\n\r\n", b"data: {\n\ndata: }\n\n",
        b"data: {}\ndata: {}\n\n", b"data: {}\r\rdata: {}\n\n",
    ],
)  # fmt: skip
def test_what_is_not_ordinary(data):
    """Everything that may say more, or is cut elsewhere."""
    assert ordinary(data) == 0


def test_output_bytes_of_ordinary_chunks():
    """Exact for a stream whose chunks differ in their text only; the role in the first does not matter."""
    texts = ["Kære", " Mette", '"', "\n", " tak", "æ"]
    stream = [chunk({"role": "assistant", "content": "H"}), *(chunk(text) for text in texts)]
    _, relay = relayed(stream)
    assert relay.output_bytes == 1 + sum(len(json.dumps(text, ensure_ascii=False).encode()) - 2 for text in texts)
    _, relay = relayed([stream[0], stream[1], b"".join(stream[2:])])
    assert relay.output_bytes == pytest.approx(22, abs=3)
    _, relay = relayed([stream[0], stream[1], b"".join(stream)[:-5], b"".join(stream)[-5:]])
    assert relay.output_bytes > 22


def test_a_changing_envelope_is_learned_only_so_often():
    """OpenAI's obfuscation: every chunk differs; the count stays near the truth."""
    stream = [chunk("abcd", obfuscation="x" * (3 + i % 2)) for i in range(60)]
    _, relay = relayed(stream)
    assert relay.output_bytes == pytest.approx(240, rel=0.2)


def test_an_envelope_without_text_is_no_envelope():
    """A stream that begins with tool calls learns nothing from them, and still counts."""
    calls = chunk({"tool_calls": [{"index": 0, "function": {"name": "f"}}]})
    out, relay = relayed([calls, calls, calls])
    assert calls * 3 == out
    assert relay.output_bytes > 0


def test_a_shorter_chunk_than_the_envelope_passes():
    """Prefix and suffix of the last chunk may overlap in a shorter one: it is looked at anew."""
    first, second = chunk("x"), b'data: {"choices":[{"delta":{"content":""}}]}\n\n'
    tiny = b'data: {"content":"a"}\n\n'
    out, relay = relayed([first, first, second, tiny, tiny])
    assert first * 2 + second + tiny * 2 == out
    assert relay.failure is None


@pytest.mark.parametrize(
    "text", [rb"\q", b"odd\\", b"\\u12", b"\x01", b'"', b'","', b"\t", b"}\n\ndata: {", b"\xc3", b"a\xff"]
)
@pytest.mark.parametrize("before", [0, 1, 30])
def test_what_is_no_json_is_never_forwarded(text, before):
    """However well the stream went until then: a client's parser would break on it."""
    sound = chunk("x")
    broken = sound.replace(b'"x"', b'"' + text + b'"')
    out, relay = relayed([sound] * before + [broken])
    assert sound * before == out
    assert isinstance(relay.failure, UpstreamFault)


@pytest.mark.parametrize("text", [rb"\n", rb"\\", rb"\u00e6", rb"a\tb", rb"\"quoted\"", "æøå".encode(), rb"\\\\"])
def test_escapes_are_text(text):
    """A chunk whose text is written with escapes goes on, byte for byte."""
    sound = chunk("x")
    escaped = sound.replace(b'"x"', b'"' + text + b'"')
    out, relay = relayed([sound, sound, escaped, sound])
    assert sound * 2 + escaped + sound == out
    assert relay.failure is None
