"""Sending OpenAI requests: the client's bytes but for the model and the usage wish, our headers only, quirks as data."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import Account, Candidate, Model, Timeouts
from turnout.core.contracts import Call
from turnout.core.messages import ChatRequest, Message, Text
from turnout.core.openai_fields import split
from turnout.core.openai_wire import QUIRKS, OpenAIProvider
from turnout.core.pieces import LARGE_BYTES, Pieces
from turnout.core.secret import Secret
from turnout.errors import UpstreamRejected

FIXTURES = Path(__file__).parents[1] / "fixtures/compatible"
PROVIDER = OpenAIProvider("compatible")


def candidate(
    id_: str = "vendor/m", base_url: str = "https://api.example.com/v1", key: str = "sk-canary", **quirks
) -> Candidate:
    account = Account("acme", "compatible", base_url=base_url, api_key=Secret(key) if key else None, quirks=quirks)
    return Candidate("m@acme", Model("m", "acme", id_), account, id_, None)


def call(body: bytes, *, kind="chat", stream=False) -> Call:
    return Call(kind, "openai_chat", split(body), "m", stream=stream)


def sent(body: bytes, *, stream=False, request=None, **quirks):
    return PROVIDER.encode(call(body, stream=stream), request, candidate(**quirks)).body


def test_everything_but_the_model_is_byte_for_byte():
    """Numbers keep their spelling, strings their escapes, unknown fields their place; the model keeps its own."""
    body = b'{"x": [1.50, 1e5, "\\u00e6"] ,"model":"m","z":{"b":1,"a":2},"messages":[ ]}'
    assert sent(body) == b'{"x":[1.50, 1e5, "\\u00e6"],"model":"vendor/m","z":{"b":1,"a":2},"messages":[ ]}'
    assert sent(b'{"messages":[]}') == b'{"messages":[],"model":"vendor/m"}'


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5)), st.text(max_size=9))
def test_any_members_pass(members, id_):
    """What a client sends and we do not know is the vendor's to judge."""
    body = json.dumps(members).encode()
    wanted = {**members, "model": id_}
    assert wanted == json.loads(PROVIDER.encode(call(body), None, candidate(id_)).body)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (b"", b'{"include_usage":true}'),
        (b',"stream_options":null', b'{"include_usage":true}'),
        (b',"stream_options":{"include_usage":false,"x":1.0}', b'{"include_usage":true,"x":1.0}'),
        (b',"stream_options":7', b"7"),
    ],
)
def test_a_stream_is_asked_for_its_usage(given_, wanted):
    """Whatever else the client wants of it stays."""
    fields = split(sent(b'{"stream":true' + given_ + b"}", stream=True))
    assert wanted == bytes(fields["stream_options"])
    assert b"stream_options" not in sent(b'{"stream":false}')


def test_url_headers_and_the_secret():
    """Our headers only; the secret in one of them, and nowhere else."""
    going = PROVIDER.encode(call(b"{}"), None, candidate())
    assert going.url == "https://api.example.com/v1/chat/completions"
    assert going.headers == (("content-type", "application/json"), ("authorization", "Bearer sk-canary"))
    assert b"sk-canary" not in going.body
    assert (
        PROVIDER.encode(call(b"{}", kind="embedding"), None, candidate()).url == "https://api.example.com/v1/embeddings"
    )
    assert PROVIDER.encode(call(b"{}"), None, candidate(key="")).headers == (("content-type", "application/json"),)


def test_what_the_account_says():
    """Timeouts, proxy, CA file and extra headers."""
    account = Account(
        "a",
        "compatible",
        base_url="https://a",
        headers=(("x-title", "Friday"),),
        timeouts=Timeouts(connect_s=1),
        proxy_url="http://p",
        ca_file="/ca",
    )
    going = PROVIDER.encode(call(b"{}"), None, Candidate("m@a", Model("m", "a", "m"), account, "m", None))
    assert going.headers[-1] == ("x-title", "Friday")
    assert (going.timeouts, going.proxy_url, going.ca_file) == (Timeouts(connect_s=1), "http://p", "/ca")


def test_quirks():
    """Each by itself; every one that there is."""
    body = b'{"model":"m","max_tokens":7,"user":"u","stream":true,"stream_options":{"include_usage":true}}'
    assert "stream_options" not in split(sent(body, stream=True, no_stream_options=True))
    assert b'"max_completion_tokens":7' in sent(body, max_tokens_field="max_completion_tokens")
    assert b'"max_tokens":7' in sent(b'{"max_completion_tokens":7}', max_tokens_field="max_tokens")
    assert "user" not in split(sent(body, drop=["user"]))
    quirks = {"key_header": "api-key", "deployment_path": "/openai/deployments/{id}", "query": "api-version=2024-10-21"}
    going = PROVIDER.encode(call(body), None, candidate("gpt4", "https://r.openai.azure.com", **quirks))
    assert going.url == "https://r.openai.azure.com/openai/deployments/gpt4/chat/completions?api-version=2024-10-21"
    assert going.headers[1] == ("api-key", "sk-canary")
    sly = PROVIDER.encode(call(body), None, candidate("../x?y", "https://r.openai.azure.com", **quirks)).url
    assert sly.startswith("https://r.openai.azure.com/openai/deployments/..%2Fx%3Fy/chat/")
    assert {*quirks, "no_stream_options", "max_tokens_field", "drop", "version_path"} == QUIRKS


@pytest.mark.parametrize(
    ("base_url", "wanted"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/chat/completions"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/chat/completions"),
        ("http://h/own/path", "http://h/own/path/chat/completions"),
    ],
)
def test_an_address_without_a_path_gets_the_vendors(base_url, wanted):
    """`ollama: {base_url: http://127.0.0.1:11434}` is what people write."""
    assert wanted == PROVIDER.encode(call(b"{}"), None, candidate(base_url=base_url, version_path="/v1")).url


def test_a_translated_request():
    """From core messages: the model first, then what was said."""
    request = ChatRequest((Message("user", (Text("hi"),)),), stream=True)
    body = json.loads(sent(b"{}", stream=True, request=request))
    assert list(body) == ["model", "messages", "stream", "stream_options"]
    assert body["model"] == "vendor/m"


def test_answers_are_openais():
    """decode, decoder and classify are the shared readers."""
    assert PROVIDER.decode((FIXTURES / "reply.json").read_bytes()).finish_reason == "stop"
    assert len(PROVIDER.decoder().feed((FIXTURES / "stream.sse").read_bytes())) == 16
    assert isinstance(PROVIDER.classify(400, {}, b"{}", 0.0), UpstreamRejected)


def test_an_address_is_needed_unless_we_have_one():
    """A provider inside this process has one of its own."""
    assert PROVIDER.check(Account("acme", "compatible")) == "provider acme needs a base_url"
    assert PROVIDER.check(candidate().account) == ""
    inside = OpenAIProvider("simulated", "simulated://world/v1")
    assert inside.check(Account("sim", "simulated")) == ""
    assert inside.encode(call(b"{}"), None, candidate(base_url="")).url == "simulated://world/v1/chat/completions"


def test_the_calls_members_are_not_changed():
    """One call may be sent to several candidates."""
    one = call(b'{"model":"m","stream":true}', stream=True)
    before = msgspec.json.encode(one.fields)
    PROVIDER.encode(one, None, candidate(drop=["stream"]))
    assert msgspec.json.encode(one.fields) == before


def test_a_large_body_goes_out_in_pieces_and_as_often_as_it_is_tried():
    """The client's bytes for each candidate, with that one's model; nothing of the first try is in the second."""
    body = b'{"model":"m","messages":[{"content":"%b"}],"stream":true}' % (b"a" * LARGE_BYTES)
    large = msgspec.structs.replace(call(body, stream=True), size=len(body))
    for model in ("one", "another"):
        going = PROVIDER.encode(large, None, candidate(model)).body
        assert isinstance(going, Pieces)
        wanted = body.replace(b'"m"', b'"%b"' % model.encode())[:-1] + b',"stream_options":{"include_usage":true}}'
        assert wanted == bytes(going)


def test_what_is_prepared_is_used_and_tells_nothing():
    """The same request as without; the key is in it, so it does not print."""
    one = candidate()
    ready = Candidate(one.key, one.model, one.account, one.id, None, prepared=PROVIDER.prepare(one))
    body = call(b'{"model":"m"}')
    assert PROVIDER.encode(body, None, one) == PROVIDER.encode(body, None, ready)
    assert "Prepared(***)" == repr(ready.prepared)
