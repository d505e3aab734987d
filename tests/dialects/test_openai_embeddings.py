"""OpenAI's embeddings from the client's side: no stream, no translation."""

import json

import pytest

from turnout.core.contracts import Seen
from turnout.core.messages import Reply
from turnout.core.usage import Usage
from turnout.dialects.openai_embeddings import DIALECT
from turnout.errors import InvalidRequest, Overloaded, UpstreamFault


def decode(**body):
    return DIALECT.decode(json.dumps({"model": "e", "input": "hello æ", **body}).encode())


@pytest.mark.parametrize(
    ("given", "tokens"), [("hello æ", 2), (["hello", "abcd"], 3), ([1, 2, 3], 3), ([[1, 2], [3]], 3), (["x" * 9], 3)]
)
def test_inputs(given, tokens):
    """A text, texts, tokens, lists of tokens; the estimate is bytes / 4, tokens are exact."""
    call = decode(input=given)
    assert call.input_tokens == tokens
    assert call.size > 0


def test_what_is_read():
    """Name, task, user; unknown members stay."""
    call = decode(user="u", metadata={"task": "t"}, dimensions=256, stream=False)
    assert (call.kind, call.dialect, call.name, call.task, call.user) == (
        "embedding",
        "openai_embeddings",
        "e",
        "t",
        "u",
    )
    assert call.needs == {"embeddings"}
    assert bytes(call.fields["dimensions"]) == b"256"
    assert not call.stream
    bare = DIALECT.decode(b'{"input":"x"}')
    assert (bare.name, bare.task, bare.user) == ("", "", "")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [1.5]}, "input[0]"),
        ({"stream": True}, "stream"),
        ({"model": 7}, "model"),
        ({"metadata": 7}, "metadata"),
    ],
)
def test_what_is_wrong_is_named(body, param):
    """The field at fault."""
    with pytest.raises(InvalidRequest) as refused:
        decode(**body)
    assert param == refused.value.param


def test_no_input_at_all():
    """It is what an embedding is of."""
    with pytest.raises(InvalidRequest, match="`input` is missing"):
        DIALECT.decode(b"{}")


def test_answers():
    """Usage is read; what is no answer is a fault."""
    assert DIALECT.inspect(b'{"data":[{}],"usage":{"prompt_tokens":5,"total_tokens":5}}') == Seen(Usage(5, 0))
    assert DIALECT.inspect(b'{"data":[{}]}') == Seen()
    for body in (b"{}", b"<html>", b'{"error":{"message":"boom"}}', b'{"data":[]}', b'{"data":[7]}'):
        assert isinstance(DIALECT.inspect(body), UpstreamFault)


def test_there_is_no_stream_and_nothing_to_translate():
    """Whoever asks is told that the provider has none."""
    call = decode()
    for attempt in (
        lambda: DIALECT.to_messages(call),
        lambda: DIALECT.relay(call),
        lambda: DIALECT.encode_reply(Reply("r", "m", (), "stop"), call, 0),
        lambda: DIALECT.encoder(call, "r", 0),
    ):
        with pytest.raises(InvalidRequest, match="has no embeddings"):
            attempt()
    assert DIALECT.encode_error_event(Overloaded("x")) == b""
