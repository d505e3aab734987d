"""Every dialect, whoever wrote it: any bytes are a Call or an InvalidRequest, and its streams cannot be cut unnoticed."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.contracts import Call, Seen
from turnout.dialects import DIALECTS
from turnout.errors import InvalidRequest, StreamInterrupted, UpstreamError

FIXTURES = Path(__file__).parents[1] / "fixtures"
REASON = re.compile(rb'"(finish|stop)_reason": ?"')
NAMES = sorted(DIALECTS)
STREAMING = [name for name in NAMES if name != "openai_embeddings"]
STREAMS = {
    "openai_chat": (FIXTURES / "compatible/stream.sse").read_bytes(),
    "anthropic_messages": (FIXTURES / "anthropic/stream.sse").read_bytes(),
}
REQUESTS = {
    "anthropic_messages": b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"stream":true}',
    "openai_chat": b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}',
    "openai_embeddings": b'{"model":"m","input":"hi"}',
}
BODIES = st.binary(max_size=60) | st.dictionaries(
    st.sampled_from(("model", "messages", "input", "stream", "user", "metadata", "tools", "choices", "data", "usage", "error")),
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.none() | st.text(max_size=3), max_size=3),
).map(lambda value: json.dumps(value).encode())  # fmt: skip


def test_every_dialect_is_tested_here():
    """A dialect without a request, and a stream if it has any, is not under contract: add them above."""
    assert sorted(REQUESTS) == NAMES
    assert sorted(STREAMS) == STREAMING


@pytest.mark.parametrize("name", NAMES)
def test_a_request_is_a_call_of_this_dialect(name):
    """With its members as they came, in order."""
    call = DIALECTS[name].decode(REQUESTS[name])
    assert (call.dialect, call.name) == (name, "m")
    assert list(json.loads(REQUESTS[name])) == list(call.fields)
    assert all(bytes(raw) in REQUESTS[name] for raw in call.fields.values())


@pytest.mark.parametrize("name", NAMES)
@given(BODIES)
def test_any_bytes_are_a_call_or_refused(name, body):
    """Nothing else comes out; the message never holds what was sent."""
    try:
        call = DIALECTS[name].decode(body)
    except InvalidRequest as refused:
        call = refused
    assert isinstance(call, Call) or call.message


@pytest.mark.parametrize("name", NAMES)
@given(BODIES)
def test_inspect_never_raises(name, body):
    """What was seen, or what is wrong."""
    assert isinstance(DIALECTS[name].inspect(body), Seen | UpstreamError)


def relayed(name: str, pieces):
    relay = DIALECTS[name].relay(DIALECTS[name].decode(REQUESTS[name]))
    out = b"".join([relay.feed(piece) for piece in pieces])
    return out, (relay.has_content, relay.is_ended, relay.failure, relay.usage, relay.finish_reason)


@pytest.mark.parametrize("name", STREAMING)
@given(st.data())
def test_a_relay_is_split_invariant(name, data):
    """The same bytes and the same story for any cut and any line end."""
    end = data.draw(st.sampled_from((b"\n", b"\r\n", b"\r")))
    text = STREAMS[name].replace(b"\n", end)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=9)))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert relayed(name, [text]) == relayed(name, pieces)


@pytest.mark.parametrize("name", STREAMING)
def test_a_relay_never_ends_a_cut_stream_nor_invents_a_reason(name):
    """R5, at every byte offset."""
    text = STREAMS[name]
    relay = DIALECTS[name].relay(DIALECTS[name].decode(REQUESTS[name]))
    for at in range(len(text) - 1):
        relay.feed(text[at : at + 1])
        assert not relay.is_ended
        assert relay.finish_reason == "" or REASON.search(text[: at + 1])
    relay.feed(text[-1:])
    assert relay.is_ended
    assert relay.usage is not None


@pytest.mark.parametrize("name", STREAMING)
@given(st.lists(BODIES, max_size=4))
def test_a_relay_never_raises_and_forwards_nothing_unreadable(name, bodies):
    """What goes on is whole data lines of JSON objects."""
    out, _ = relayed(name, [b"data: " + body.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n" for body in bodies])
    for line in out.split(b"\n\n")[:-1]:
        assert isinstance(json.loads(line.removeprefix(b"data: ")), dict)


@pytest.mark.parametrize("name", STREAMING)
def test_an_error_event_is_one_event_and_no_end(name):
    """Its relay sees it as a failure, never as an end."""
    event = DIALECTS[name].encode_error_event(StreamInterrupted("broke off\nhere"))
    assert event.endswith(b"\n\n")
    _, (_, is_ended, failure, _, _) = relayed(name, [event])
    assert not is_ended
    assert failure is not None
