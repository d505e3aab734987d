"""Anthropic's Messages API as clients speak it: what of a request decides a route, and what is refused."""

import json

import pytest

from turnout.core.messages import Reply, Text
from turnout.dialects.anthropic_messages import DIALECT, IMAGE_TOKENS
from turnout.errors import InvalidRequest, StreamInterrupted

TURNS = [{"role": "user", "content": "hej"}]


def decoded(**members):
    return DIALECT.decode(json.dumps({"model": "m", "messages": TURNS, **members}).encode())


def test_what_decides_a_route_is_read():
    """Name, task, user, limit, abilities; the rest stays as it came."""
    call = decoded(
        max_tokens=50, stream=True, tools=[{"name": "f"}], metadata={"user_id": "u1", "task": "chat"}, top_k=5
    )
    assert (call.name, call.task, call.user, call.max_output_tokens) == ("m", "chat", "u1", 50)
    assert (call.stream, call.tools, call.needs) == (True, 1, frozenset({"stream", "tools"}))
    assert bytes(call.fields["metadata"]) == b'{"user_id":"u1"}'
    assert bytes(call.fields["top_k"]) == b"5"


def test_what_is_not_said_is_not_needed():
    """An ordinary question."""
    call = decoded(metadata=None)
    assert (call.stream, call.tools, call.needs, call.user, call.max_output_tokens) == (False, 0, frozenset(), "", None)


def test_an_image_counts_as_one_and_not_as_its_bytes():
    """Base64 is not looked into."""
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 40_000}
    turns = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    call = decoded(messages=turns)
    assert call.needs == frozenset({"vision"})
    assert call.size > 40_000
    assert IMAGE_TOKENS < call.input_tokens < IMAGE_TOKENS + 200


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hej"}, "messages"),
        ({"model": 1}, "model"),
        ({"max_tokens": "1"}, "max_tokens"),
        ({"tools": {}}, "tools"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
    ],
)
def test_what_is_malformed_is_refused_with_its_name(members, param):
    """The field at fault."""
    with pytest.raises(InvalidRequest) as caught:
        decoded(**members)
    assert caught.value.param == param


def test_the_rest_of_the_dialect_is_there():
    """Each part answers for its piece of the format."""
    call = decoded()
    assert DIALECT.to_messages(call).messages[0].parts == (Text("hej"),)
    assert DIALECT.relay(call).feed(b"") == b""
    assert DIALECT.encoder(call, "r", 1) is not DIALECT.encoder(call, "r", 1)
    assert b'"type":"error"' in DIALECT.encode_error_event(StreamInterrupted("cut"))
    whole = {"content": [{"type": "text", "text": "Hej"}], "stop_reason": "end_turn"}
    seen = DIALECT.inspect(json.dumps(whole).encode())
    assert (seen.finish_reason, seen.usage) == ("stop", None)
    reply = Reply("x", "m", (Text("Hej"),), "stop")
    assert json.loads(DIALECT.encode_reply(reply, call, 1))["id"] == "msg_x"


@pytest.mark.parametrize(
    ("members", "needs"),
    [
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, {"json"}),
        ({"output_format": {"type": "json_schema", "schema": {}}}, {"json"}),
        ({"output_config": {"effort": "low"}}, set()),
    ],
)
def test_a_schema_is_an_ability(members, needs):
    """A candidate that cannot answer in JSON is not asked to."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **members}
    assert DIALECT.decode(json.dumps(body).encode()).needs == needs
