"""Every provider, whoever wrote it: valid JSON out, the secret in headers only, and nothing a vendor sends can break it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import Account, Candidate, Model
from turnout.core.messages import Ended, Failed, Finished
from turnout.core.secret import Secret
from turnout.dialects import DIALECTS
from turnout.errors import InvalidRequest, UpstreamError, UpstreamThrottled
from turnout.providers import PROVIDERS

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = sorted(PROVIDERS)
SECRET = "sk-canary-5d1f"
CHAT = DIALECTS["openai_chat"]


def folder(name: str) -> Path:
    """Its own fixtures, or those of the format that it shares."""
    own = FIXTURES / name
    return own if own.is_dir() else FIXTURES / "compatible"


def candidate(name: str) -> Candidate:
    account = Account("acme", name, base_url="https://api.example.com/v1", api_key=Secret(SECRET))
    return Candidate("m@acme", Model("m", "acme", "vendor/m"), account, "vendor/m", None)


def outgoing(name: str, body: bytes):
    call = CHAT.decode(body)
    provider = PROVIDERS[name]
    request = None if CHAT.name in provider.dialects else CHAT.to_messages(call)
    return provider.encode(call, request, candidate(name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fixture", ["compatible", "anthropic"])
def test_a_request_is_json_and_the_secret_is_in_the_headers_only(name, fixture):
    """The model's id, not our alias; lower-case header names; no header of a client's, as none is known here."""
    going = outgoing(name, (FIXTURES / fixture / "request.json").read_bytes())
    assert json.loads(going.body)["model"] == "vendor/m"
    assert SECRET.encode() not in going.body
    assert SECRET not in going.url
    assert sum(SECRET in value for _, value in going.headers) == 1
    assert all(header == header.lower() for header, _ in going.headers)
    assert not {"host", "content-length", "connection", "accept-encoding", "cookie"} & dict(going.headers).keys()
    assert SECRET not in repr(candidate(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_other_form_is_its_own(name):
    """Translated or not, what is sent as a stream is asked for as one."""
    streamed = json.loads(outgoing(name, (folder(name) / "request.json").read_bytes()).body)
    assert streamed["stream"] is True
    whole = json.loads(outgoing(name, b'{"model":"m","messages":[{"role":"user","content":"hi"}]}').body)
    assert not whole.get("stream")


BODIES = st.binary(max_size=60) | st.recursive(
    st.none() | st.integers(-5, 5) | st.text(max_size=4) | st.just("context_length_exceeded"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(("error", "message", "type", "code", "choices", "content", "usage", "delta", "index")), inner, max_size=4),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(("retry-after", "retry-after-ms", "x-ratelimit-reset", "content-type")), st.text(max_size=12)
)


@pytest.mark.parametrize("name", NAMES)
@given(st.integers(100, 599), HEADERS, BODIES)
def test_classify_never_raises_and_never_blames_the_client_for_our_key(name, status, headers, body):
    """Any status, any headers, any body: an UpstreamError with a message; a throttle only for a 429; never a 401."""
    error = PROVIDERS[name].classify(status, headers, body, 1763700000.0)
    assert isinstance(error, UpstreamError)
    assert error.vendor_status == status
    assert error.message
    assert error.status not in {401, 402}
    assert isinstance(error, UpstreamThrottled) == (status == 429)
    assert error.retry_after_s is None or 0 <= error.retry_after_s <= 300


@pytest.mark.parametrize("name", NAMES)
@given(BODIES)
def test_decode_never_raises(name, body):
    """A reply, or what is wrong."""
    decoded = PROVIDERS[name].decode(body)
    assert isinstance(decoded, UpstreamError) or isinstance(decoded.parts, tuple)


@pytest.mark.parametrize("name", NAMES)
def test_its_recorded_reply_is_read(name):
    """With usage and a reason."""
    reply = PROVIDERS[name].decode((folder(name) / "reply.json").read_bytes())
    assert reply.parts
    assert reply.usage.input_tokens > 0
    assert reply.finish_reason in {"stop", "tool_calls"}


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_a_stream_gives_the_same_events_for_any_cut(name, data):
    """Split-invariance over the recorded stream, with any line end."""
    end = data.draw(st.sampled_from((b"\n", b"\r\n", b"\r")))
    text = (folder(name) / "stream.sse").read_bytes().replace(b"\n", end)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=9)))
    pieced, whole = PROVIDERS[name].decoder(), PROVIDERS[name].decoder()
    pieces = zip([0, *places], [*places, len(text)], strict=True)
    events = [event for a, b in pieces for event in pieced.feed(text[a:b])]
    assert events == list(whole.feed(text))
    assert events[-1] == Ended()


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_cut_anywhere_never_ends(name):
    """R5: at every byte offset; and no reason is invented before the vendor gave one."""
    text = (folder(name) / "stream.sse").read_bytes()
    decoder = PROVIDERS[name].decoder()
    seen = [event for i in range(len(text) - 1) for event in decoder.feed(text[i : i + 1])]
    assert Ended() not in seen
    assert sum(isinstance(event, Finished) for event in seen) == 1
    assert not any(isinstance(event, Failed) for event in seen)


@pytest.mark.parametrize("name", NAMES)
@given(st.lists(BODIES, max_size=4))
def test_a_decoder_never_raises(name, bodies):
    """Whatever stands in a data line; after the last event there is none."""
    decoder = PROVIDERS[name].decoder()
    events = [event for body in bodies for event in decoder.feed(b"data: " + body + b"\n\n")]
    last = [at for at, event in enumerate(events) if isinstance(event, Ended | Failed)]
    assert last in ([], [len(events) - 1])


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_taken_as_they_are_or_refused(name):
    """There is nothing to translate them to."""
    embeddings = DIALECTS["openai_embeddings"]
    call = embeddings.decode(b'{"model":"m","input":"hi"}')
    if embeddings.name in PROVIDERS[name].dialects:
        going = PROVIDERS[name].encode(call, None, candidate(name))
        assert going.url.endswith("/embeddings")
        assert json.loads(going.body) == {"model": "vendor/m", "input": "hi"}
    else:
        with pytest.raises(InvalidRequest):
            embeddings.to_messages(call)
