"""Placeholders come back in streams, however they are cut; everything else goes through as it came."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.privacy.answers import StreamRestorer
from turnout.core.privacy.kinds import ALL
from turnout.core.privacy.masking import Mask
from turnout.core.sse import SseParser

DONE = b"data: [DONE]\n\n"


def masked(*values):
    """A mask that has hidden these."""
    mask = Mask(ALL)
    for value in values:
        mask.hide(value)
    return mask


def chunk(delta, index=0, reason=None, **more):
    """One event of OpenAI's."""
    told = {"choices": [{"index": index, "delta": delta, "finish_reason": reason}], **more}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def event(kind, **members):
    """One event of Anthropic's."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def events(data):
    """The events of a stream, decoded where they are JSON."""
    parser = SseParser()
    return [json.loads(text) if text[:1] == b"{" else text for _, text in parser.feed(data)]


def texts(data):
    """What each text of a chat stream adds up to, by choice and name."""
    out = {}
    for one in events(data):
        for choice in one.get("choices", []) if isinstance(one, dict) else []:
            delta = choice["delta"]
            said = {name: text for name, text in delta.items() if isinstance(text, str)}
            for call in delta.get("tool_calls", []):
                said[f"call {call['index']}"] = call["function"]["arguments"]
            for name, text in said.items():
                out[choice["index"], name] = out.get((choice["index"], name), "") + text
    return out


def restored(mask, *pieces):
    """Everything that the client gets."""
    restorer = StreamRestorer(mask)
    return b"".join([restorer.feed(piece) for piece in pieces]) + restorer.finish()


def test_events_without_a_sign_of_one_go_through_as_they_came():
    """To the byte: comments, other fields, odd spaces."""
    stream = b': ping\n\ndata:  {"choices": [ {"delta": {"content":"Hej\\n"}}]}\n\nid: 7\ndata: x\n\n' + DONE
    assert stream == restored(masked("a@x.dk"), stream)


def test_events_with_a_sign_but_no_placeholder_go_through_as_they_came():
    """HTML, code, what another request's placeholder would be."""
    stream = chunk({"content": "<b>x</b> a < b && c"}) + chunk({"content": "<EMAIL_9> "}) + DONE
    assert stream == restored(masked("a@x.dk"), stream)


def test_a_placeholder_in_one_event_comes_back_in_it():
    """And nothing else of the event changes."""
    assert chunk({"content": "Til a@x.dk!"}) == restored(masked("a@x.dk"), chunk({"content": "Til <EMAIL_1>!"}))


@given(
    st.lists(
        st.sampled_from(
            ["<EMAIL_1>", "<EMAIL_2>", "&lt;EMAIL_1&gt;", "<b>", "<", "Hej", " ", "æ", "EMAIL_1>", "\\u003c"]
        )
    ),
    st.data(),
)
def test_a_text_is_the_same_however_it_is_cut(parts, data):
    """The text in pieces of any length, the stream in pieces of any length: the sum is what the whole would be."""
    mask = masked("a@x.dk", "b@x.dk")
    whole = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    said = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    stream = b"".join([chunk({"content": one}) for one in said]) + chunk({}, reason="stop") + DONE
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
    out = restored(mask, *pieces)
    assert mask.show(whole.encode()).decode() == texts(out).get((0, "content"), "")
    assert b"[DONE]" == events(out)[-1]
    assert "stop" == events(out)[-2]["choices"][0]["finish_reason"]


def test_texts_beside_each_other_are_told_apart():
    """Choices, reasoning and content, tool calls: each holds its own end."""
    stream = (
        chunk({"content": "<EMA"})
        + chunk({"content": "<EMAIL_"}, index=1)
        + chunk({"reasoning": "x <EMAI"})
        + chunk({"tool_calls": [{"index": 1, "id": "t", "function": {"name": "f", "arguments": '{"to": "<EM'}}]})
        + chunk({"content": "IL_1>"})
        + chunk({"content": "2>"}, index=1)
        + chunk({"reasoning": "L_2>"})
        + chunk({"tool_calls": [{"index": 1, "function": {"arguments": 'AIL_2>"}'}}]})
        + chunk({}, reason="tool_calls")
        + chunk({}, index=1, reason="stop")
        + DONE
    )
    expected = {
        (0, "content"): "a@x.dk",
        (1, "content"): "b@x.dk",
        (0, "reasoning"): "x b@x.dk",
        (0, "call 1"): '{"to": "b@x.dk"}',
    }
    assert expected == texts(restored(masked("a@x.dk", "b@x.dk"), stream))


def test_an_end_that_is_no_placeholder_comes_before_its_text_is_over():
    """In an event of its own, like the last one but for a count of tokens; the other choice's stays held."""
    restorer = StreamRestorer(masked("a@x.dk"))
    restorer.feed(chunk({"content": "a <"}, id="x", usage={"n": 1}) + chunk({"content": "b <"}, index=1))
    first, last = events(restorer.feed(chunk({}, reason="stop")))
    assert {"id": "x", "choices": [{"index": 0, "delta": {"content": "<"}, "finish_reason": None}]} == first
    assert "stop" == last["choices"][0]["finish_reason"]
    assert [1] == [one["choices"][0]["index"] for one in events(restorer.finish())]
    assert b"" == restorer.finish()


def test_a_tool_calls_end_comes_as_a_tool_calls():
    """With its number."""
    restorer = StreamRestorer(masked("a@x.dk"))
    restorer.feed(chunk({"tool_calls": [{"index": 2, "id": "t", "function": {"name": "f", "arguments": "<"}}]}))
    (told,) = events(restorer.finish())
    assert {"tool_calls": [{"index": 2, "function": {"arguments": "<"}}]} == told["choices"][0]["delta"]


def test_the_last_event_says_all():
    """Nothing is held of a text that ends with it."""
    stream = chunk({"content": "x <"}, reason="stop")
    assert stream == restored(masked("a@x.dk"), stream)


@pytest.mark.parametrize(
    "last", [b'data: {"error": {"message": "x"}}\n\n', DONE, b"data: [1]\n\n", event("error", error={"message": "x"})]
)
def test_what_is_held_comes_before_the_end_and_before_an_error(last):
    """And before what cannot be read."""
    restorer = StreamRestorer(masked("a@x.dk"))
    restorer.feed(chunk({"content": "a <"}))
    out = restorer.feed(last)
    assert out.endswith(last)
    assert {(0, "content"): "<"} == texts(out.removesuffix(last))


def test_comments_and_counts_do_not_part_a_placeholder():
    """A keep-alive, a usage, an event of another block in between."""
    stream = [
        chunk({"content": "<EMAIL"}),
        b": keep-alive\n\n",
        b'data: {"choices": [], "usage": {}}\n\n',
        chunk({"role": "assistant"}),
        chunk({"content": "_1>"}),
    ]
    assert {(0, "content"): "a@x.dk", (0, "role"): "assistant"} == texts(restored(masked("a@x.dk"), *stream))


def test_anthropics_blocks_are_restored_too():
    """Text, thoughts and the pieces of a tool's input; each is whole before its block stops."""
    stream = (
        event("message_start", message={})
        + event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "<EMAIL"})
        + event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "_1> <"})
        + event("content_block_stop", index=0)
        + event("content_block_delta", index=1, delta={"type": "text_delta", "text": "til <"})
        + event("ping")
        + event("content_block_delta", index=1, delta={"type": "text_delta", "text": "EMAIL_1>."})
        + event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"a":"<EMAIL_1'})
        + event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '>"}'})
        + event("content_block_delta", index=3, delta={"type": "text_delta", "text": "<"})
        + event("message_delta", delta={"stop_reason": "end_turn"})
        + event("message_stop")
    )
    out = events(restored(masked("a@x.dk"), stream))
    said = {}
    for one in out:
        if one["type"] == "content_block_delta":
            _kind, text = one["delta"].items()
            said[one["index"]] = said.get(one["index"], "") + text[1]
    assert {0: "a@x.dk <", 1: "til a@x.dk.", 2: '{"a":"a@x.dk"}', 3: "<"} == said
    kinds = [one["type"] for one in out]
    assert "content_block_stop" == kinds[4]
    assert ["content_block_delta", "message_delta", "message_stop"] == kinds[-3:]


@pytest.mark.parametrize(
    "odd",
    [
        b"data: <\n\n",
        b"data: null <\n\n",
        b'data: {"choices": "<"}\n\n',
        b'data: {"choices": ["<", {"delta": "<"}, {"delta": {"content": 1, "tool_calls": [1, {"function": "<"}]}}]}\n\n',
        b'data: {"choices": [{"index": {}, "delta": {"tool_calls": [{"function": {"arguments": 1}}]}}], "x": "<"}\n\n',
        b'data: {"delta": "<", "index": []}\n\n',
        b": <EMAIL_2>\n\n",
        b"data: " + b"[" * 100_000 + b"<\n\n",
    ],
)
def test_what_is_no_event_of_these_formats_goes_through(odd):
    """And nothing raises."""
    assert odd == restored(masked("a@x.dk"), odd)
