"""Every text of a request is looked at, in both formats; what is no text of a person's stays as it is."""

import json

import msgspec
import pytest

from turnout.core.openai_fields import split
from turnout.core.privacy.kinds import ALL
from turnout.core.privacy.masking import Mask
from turnout.core.privacy.requests import hidden


def sent(body, kinds=ALL):
    """What goes out of a request, decoded; and what was taken out."""
    mask = Mask(kinds)
    fields = hidden(split(json.dumps(body).encode()), mask)
    return msgspec.json.decode(msgspec.json.encode(fields)), mask


def test_a_chat_request_leaves_without_anything_personal():
    """Texts, parts, tool results, names of the client's making, descriptions of tools."""
    body, mask = sent(
        {
            "model": "x",
            "messages": [
                {"role": "system", "content": "Kontakt: a@x.dk"},
                {"role": "user", "content": [{"type": "text", "text": "Jeg er b@x.dk"}]},
                {"role": "tool", "tool_call_id": "c@x.dk", "content": "d@x.dk"},
            ],
            "user": "e@x.dk",
            "metadata": {"id": "f@x.dk"},
            "tools": [{"type": "function", "function": {"name": "f", "description": "fx g@x.dk"}}],
            "a_field_of_tomorrow": {"deep": ["h@x.dk"]},
        }
    )
    assert ["Kontakt: <EMAIL_1>", [{"type": "text", "text": "Jeg er <EMAIL_2>"}], "<EMAIL_3>"] == [
        message["content"] for message in body["messages"]
    ]
    assert "c@x.dk" == body["messages"][2]["tool_call_id"]
    assert ("<EMAIL_4>", {"id": "<EMAIL_5>"}, {"deep": ["<EMAIL_7>"]}) == (
        body["user"],
        body["metadata"],
        body["a_field_of_tomorrow"],
    )
    assert "fx <EMAIL_6>" == body["tools"][0]["function"]["description"]
    assert {"email": 7} == mask.counts


def test_an_anthropic_request_too():
    """System, blocks, the input of a tool call, its result."""
    body, _ = sent(
        {
            "model": "x",
            "system": [{"type": "text", "text": "a@x.dk"}],
            "messages": [
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t1", "input": {"data": "b@x.dk", "n": 5}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "c@x.dk"}]},
            ],
            "metadata": {"user_id": "d@x.dk"},
        }
    )
    assert "<EMAIL_1>" == body["system"][0]["text"]
    assert {"data": "<EMAIL_2>", "n": 5} == body["messages"][0]["content"][0]["input"]
    assert "<EMAIL_3>" == body["messages"][1]["content"][0]["content"]
    assert {"user_id": "<EMAIL_4>"} == body["metadata"]


def test_embeddings_inputs_too():
    """A text, or a list of them; tokens cannot be read."""
    assert "<EMAIL_1>" == sent({"model": "x", "input": "a@x.dk"})[0]["input"]
    assert ["<EMAIL_1>", "Hej"] == sent({"model": "x", "input": ["a@x.dk", "Hej"]})[0]["input"]
    assert [1, 20304050] == sent({"model": "x", "input": [1, 20304050]})[0]["input"]


def arguments(text, kinds=ALL):
    """The arguments of an earlier tool call, as they go out."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": text}}
    return sent({"messages": [{"role": "assistant", "tool_calls": [call]}]}, kinds)[0]["messages"][0]["tool_calls"][0][
        "function"
    ]["arguments"]


def test_the_arguments_of_a_tool_call_stay_json():
    """Names of members speak for what they hold; a number that is personal becomes a text; others keep their digits."""
    given = {"id": "x\nola@x.dk", "customerPhone": 20304050, "count": 20304050, "few": 12, "yes": True, "pi": 3.10}
    assert {
        **given,
        "id": "x\n<EMAIL_1>",
        "customerPhone": "<PHONE_1>",
    } == json.loads(arguments(json.dumps(given)))
    assert '{"a":1.10,"b":"<EMAIL_1>"}' == arguments('{"a":1.10,"b":"ola@x.dk"}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ola@x.dk, {", "<EMAIL_1>, {"), ("{}", "{}"), ('{"a": 1}', '{"a": 1}'), ('"ola@x.dk"', '"<EMAIL_1>"')],
)
def test_arguments_that_are_no_json_or_hold_nothing(text, expected):
    """A text is looked at as one; what holds nothing keeps its bytes."""
    assert expected == arguments(text)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa4111111111111111"}}],
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "4111111111111111"}}],
        [{"type": "thinking", "thinking": "x", "signature": "4111111111111111"}],
    ],
)
def test_data_and_signatures_are_not_looked_into(content):
    """A vendor must get them as they were."""
    assert content == sent({"messages": [{"role": "user", "content": content}]})[0]["messages"][0]["content"]


def test_a_text_that_only_begins_like_data_is_a_text():
    """It is where it stands that counts, not how it begins."""
    assert (
        "data: <EMAIL_1>"
        == sent({"messages": [{"role": "user", "content": "data: a@x.dk"}]})[0]["messages"][0]["content"]
    )


def test_names_of_the_clients_own_members_are_looked_at_too():
    """In arguments and metadata; those of the format are the format's."""
    assert '{"<EMAIL_1>":{"a":1}}' == arguments('{"ola@x.dk": {"a": 1}}')
    assert {"<EMAIL_1>": "x"} == sent({"metadata": {"a@x.dk": "x"}})[0]["metadata"]


@pytest.mark.parametrize("depth", [300, 2_000, 100_000])
def test_what_is_nested_too_deeply_is_looked_at_as_a_text(depth):
    """Nothing leaves because it could not be read; it stays what it was otherwise."""
    deep = "[" * depth + '"ola@x.dk"' + "]" * depth
    expected = deep.replace("ola@x.dk", "<EMAIL_1>")
    fields = {"odd": msgspec.Raw(deep.encode()), "broken": msgspec.Raw(b'"\xff a@x.dk"')}
    out = hidden(fields, Mask(ALL))
    assert expected == bytes(out["odd"]).decode()
    assert b'"\xff <EMAIL_2>"' == bytes(out["broken"])
    assert expected == arguments(deep)


def test_members_without_anything_personal_keep_their_bytes():
    """Spaces, forms of numbers, all; the model's name is none of a person's; what is no JSON is the vendor's to refuse."""
    fields = split(b'{"model": "a@x.dk", "temperature": 1.0, "messages": [ {"role":"user"} ], "x": "b@x.dk"}')
    fields["odd"] = msgspec.Raw(b'"\xff"')
    fields["deep"] = msgspec.Raw(b"[" * 100_000)
    out = hidden(fields, Mask(ALL))
    assert out["x"] is not fields["x"]
    assert all(out[name] is fields[name] for name in fields if name != "x")


def test_numbers_beside_what_is_taken_out_keep_their_digits():
    """A price of 1.10 is not 1.1 to everybody; a whole number has no bound."""
    mask = Mask(ALL)
    fields = split(b'{"x": [1.10, 12345678901234567890123, 1e400, "a@x.dk"]}')
    assert b'[1.10,12345678901234567890123,1E+400,"<EMAIL_1>"]' == bytes(hidden(fields, mask)["x"])
