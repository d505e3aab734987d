"""The provider `anthropic`: address, headers, and what an account needs; the wire is tested in tests/core."""

import json
from pathlib import Path

import pytest

from turnout.core.catalog import Account, Candidate, Model
from turnout.core.contracts import Call
from turnout.core.messages import ChatRequest, Ended, Message, Text
from turnout.core.openai_fields import split
from turnout.core.pieces import LARGE_BYTES, Pieces
from turnout.core.secret import Secret
from turnout.errors import InvalidRequest, UpstreamThrottled
from turnout.providers.anthropic import PROVIDER

FIXTURES = Path(__file__).parents[1] / "fixtures/anthropic"
REQUEST = ChatRequest((Message("user", (Text("hi"),)),))
CALL = Call("chat", "openai_chat", split(b'{"messages":[]}'), "m")


def candidate(base_url: str = "", key: str = "sk-canary", **more) -> Candidate:
    account = Account("acme", "anthropic", base_url=base_url, api_key=Secret(key) if key else None, **more)
    return Candidate("m@acme", Model("m", "acme", "claude-x", max_output_tokens=77), account, "claude-x", None)


def test_a_request():
    """The secret in its own header only; the version; the model's id and its bound."""
    going = PROVIDER.encode(CALL, REQUEST, candidate(headers=(("x-a", "b"),)))
    assert going.url == "https://api.anthropic.com/v1/messages"
    assert going.headers == (
        ("content-type", "application/json"), ("anthropic-version", "2023-06-01"), ("x-api-key", "sk-canary"), ("x-a", "b"),
    )  # fmt: skip
    body = json.loads(going.body)
    assert (body["model"], body["max_tokens"]) == ("claude-x", 77)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:9100", "http://127.0.0.1:9100/v1"])
def test_another_address(base_url):
    """With or without the version in it; without a key where none is needed."""
    going = PROVIDER.encode(CALL, REQUEST, candidate(base_url, key=""))
    assert going.url == "http://127.0.0.1:9100/v1/messages"
    assert "x-api-key" not in dict(going.headers)


def test_what_it_cannot_do():
    """No embeddings."""
    with pytest.raises(InvalidRequest, match="m cannot serve"):
        PROVIDER.encode(Call("embedding", "openai_embeddings", {}, "m"), REQUEST, candidate())


def test_a_client_of_this_format_keeps_its_members():
    """In their order, with the model renamed, and with the bound that is required here."""
    fields = split(b'{"model":"m","top_k":5,"messages":[ ]}')
    call = Call("chat", "anthropic_messages", fields, "m")
    assert PROVIDER.encode(call, None, candidate()).body == (
        b'{"model":"claude-x","top_k":5,"messages":[ ],"max_tokens":77}'
    )
    bounded = Call("chat", "anthropic_messages", split(b'{"max_tokens":9}'), "m", max_output_tokens=9)
    assert PROVIDER.encode(bounded, None, candidate()).body == b'{"max_tokens":9,"model":"claude-x"}'


@pytest.mark.parametrize(
    ("account", "wanted"),
    [
        (candidate().account, ""),
        (candidate(key="").account, "provider acme needs a key: set ANTHROPIC_API_KEY"),
        (candidate("https://api.anthropic.com", key="").account, "provider acme needs a key: set ANTHROPIC_API_KEY"),
        (candidate("http://127.0.0.1:9100", key="").account, ""),
    ],
)
def test_what_is_missing(account, wanted):
    """A key, at Anthropic's own address."""
    assert wanted == PROVIDER.check(account)


def test_answers_are_anthropics():
    """decode, decoder and classify are its readers."""
    assert PROVIDER.decode((FIXTURES / "reply.json").read_bytes()).id == "msg_1"
    assert PROVIDER.decoder().feed((FIXTURES / "stream.sse").read_bytes())[-1] == Ended()
    error = PROVIDER.classify(429, {"anthropic-ratelimit-requests-reset": "2025-11-21T04:40:45Z"}, b"", 1763700000.0)
    assert isinstance(error, UpstreamThrottled)
    assert error.retry_after_s == 45.0


def test_a_large_request_of_this_format_goes_out_in_pieces():
    """The same bytes as a small one's, but referred to: it is held once."""
    body = b'{"model":"m","messages":["%b"],"max_tokens":9}' % (b"a" * LARGE_BYTES)
    call = Call("chat", "anthropic_messages", split(body), "m", max_output_tokens=9, size=len(body))
    going = PROVIDER.encode(call, None, candidate()).body
    assert isinstance(going, Pieces)
    assert body.replace(b'"m"', b'"claude-x"') == bytes(going)


def test_nothing_is_prepared():
    """Headers cost little beside a translation."""
    assert PROVIDER.prepare(candidate()) is None
