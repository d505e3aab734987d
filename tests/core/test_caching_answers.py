"""Which answers may be given again, and which are still held."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core import caching
from turnout.core.caching import (
    ENTRY_BYTES,
    Kept,
    Shelf,
    flaw,
    kept_of,
    pack,
    unpack,
)
from turnout.dialects import DIALECTS

HEJ = {"model": "first", "messages": [{"role": "user", "content": "Hej"}]}
FUNCTION = {"type": "function", "function": {"name": "getCompanyInfo"}}
SAFE = frozenset({"getCompanyInfo"})


def read(body, dialect="openai_chat"):
    """A request, from its JSON or from a text."""
    return DIALECTS[dialect].decode(body if isinstance(body, bytes) else json.dumps(body).encode())


# ── answers ──


def completion(reason="stop", calls=(), **message):
    """A whole answer of OpenAI's form."""
    called = [{"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}} for name in calls]
    told = {"role": "assistant", "content": "Hej", "tool_calls": called or None, **message}
    return json.dumps({"choices": [{"index": 0, "message": told, "finish_reason": reason}]}).encode()


def message(reason="end_turn", calls=(), kind="tool_use"):
    """A whole answer of Anthropic's form."""
    blocks = [
        {"type": "text", "text": "Hej"},
        *({"type": kind, "name": name, "input": {"name": "x"}} for name in calls),
    ]
    return json.dumps({"type": "message", "content": blocks, "stop_reason": reason}).encode()


def stream(*deltas, reason="stop", spaced=True):
    """A stream of OpenAI's form."""
    separators = (", ", ": ") if spaced else (",", ":")
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    return b"".join(b"data: " + json.dumps(one, separators=separators).encode() + b"\n\n" for one in chunks)


def calling(name, arguments="{}"):
    """The delta that begins a tool call."""
    return {"tool_calls": [{"index": 0, "id": "1", "function": {"name": name, "arguments": arguments}}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (completion(), ""),
        (completion("tool_calls", ["getCompanyInfo"]), ""),
        (completion("tool_calls", ["getCompanyInfo", "createBooking"]), "it calls createBooking"),
        (completion("function_call", function_call={"name": "createBooking"}), "it calls createBooking"),
        (completion("function_call", function_call={"name": "getCompanyInfo"}), ""),
        (completion("length"), "it ended with length"),
        (completion("content_filter"), "it ended with content_filter"),
        (completion(None), "it ended with no reason"),
        (b'{"choices": []}', "it ended with no reason"),
        (b'{"choices": [{"finish_reason": 5}]}', "it cannot be read"),
        (b"<html>", "it cannot be read"),
    ],
)
def test_a_whole_answer_is_kept_if_it_may_be_given_again(body, expected):
    """As long as its model wanted it, and calling only what may be called twice."""
    assert expected == flaw(read(HEJ), body, SAFE)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (message(), ""),
        (message("stop_sequence"), ""),
        (message("tool_use", ["getCompanyInfo"]), ""),
        (message("tool_use", ["createBooking"]), "it calls createBooking"),
        (message("end_turn", ["web_search"], kind="server_tool_use"), "it calls web_search"),
        (message("max_tokens"), "it ended with max_tokens"),
        (message("pause_turn"), "it ended with pause_turn"),
        (message(None), "it ended with no reason"),
    ],
)
def test_anthropics_answers_are_read_as_well(body, expected):
    """Its input is an object, whose members are no names of tools."""
    assert expected == flaw(read(HEJ, "anthropic_messages"), body, SAFE)


def test_of_several_answers_each_must_have_ended_well():
    """One of them may have been cut long before the others end."""
    call = read(HEJ | {"stream": True, "n": 2})
    body = stream({"content": "a"}, reason="length") + stream(*[{"content": "b" * 1000}] * 9)
    assert flaw(call, body, SAFE) == "it ended with length, stop"


def test_a_call_that_nobody_offered_is_found_by_the_reason():
    """Whoever makes it up."""
    body = stream(calling("createBooking"), reason="tool_calls")
    assert flaw(read(HEJ | {"stream": True}), body, SAFE) == "it calls createBooking"


@pytest.mark.parametrize("spaced", [True, False])
@pytest.mark.parametrize(
    ("deltas", "reason", "expected"),
    [
        ([{"content": "Hej"}], "stop", ""),
        ([{"content": '"finish_reason": "length", "name": "x", "tool_calls": ['}], "stop", ""),
        ([calling("getCompanyInfo", '{"name": "x"}')], "tool_calls", ""),
        ([calling("getCompanyInfo"), calling("createBooking")], "tool_calls", "it calls createBooking"),
        ([{"function_call": {"name": "createBooking"}}], "function_call", "it calls createBooking"),
        ([{"content": "Hej"}], "length", "it ended with length"),
        ([{"content": "Hej"}], None, "it ended with no reason"),
    ],
)
def test_a_stream_is_kept_if_it_may_be_given_again(deltas, reason, spaced, expected):
    """What stands inside a text is not taken for what stands around it."""
    for more in ({}, {"tools": [FUNCTION]}, {"functions": []}):
        call = read(HEJ | {"stream": True} | more)
        assert expected == flaw(call, stream(*deltas, reason=reason, spaced=spaced), SAFE)


def test_a_stream_of_anthropics_is_kept_if_it_may_be_given_again():
    """The name stands in the block that begins."""
    call = read(HEJ | {"stream": True}, "anthropic_messages")
    end = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"tool_use"}}\n\n'
    for kind, name, expected in (
        ("tool_use", "getCompanyInfo", ""),
        ("tool_use", "createBooking", "it calls createBooking"),
        ("server_tool_use", "web_search", "it calls web_search"),
    ):
        block = {"type": kind, "id": "1", "name": name, "input": {}}
        begin = b"event: content_block_start\ndata: " + json.dumps({"content_block": block}).encode() + b"\n\n"
        assert expected == flaw(call, begin + end, SAFE)


@pytest.mark.parametrize(
    ("body", "reason", "expected"),
    [
        ({}, "stop", ""),
        ({}, "end_turn", ""),
        ({}, "length", "it cannot be read"),
        ({}, "", "it cannot be read"),
        ({"n": 2}, "stop", "it cannot be read"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "stop", "it cannot be read"),
        ({"functions": []}, "stop", "it cannot be read"),
    ],
)
def test_an_answer_that_can_only_be_one_text_is_not_read_again(body, reason, expected):
    """Its reason is known, and without tools it calls none."""
    assert expected == flaw(read(HEJ | body), b"no JSON", frozenset(), reason)


def test_embeddings_have_no_flaws():
    """They are vectors, whole or not there at all."""
    assert flaw(read({"model": "v", "input": "Hej"}, "openai_embeddings"), b"{}", frozenset()) == ""


def test_comments_are_not_kept():
    """They were for those who waited; events that hold one stay as they are."""
    call = read(HEJ | {"stream": True})
    said = b': waiting\n\n: again\n\ndata: {"a":1}\n\n: OPENROUTER PROCESSING\n\ndata: x\n: y\n\ndata: [DONE]\n\n'
    kept = kept_of(call, said, 1.0, 300.0, 5, "w")
    assert kept == Kept(b'data: {"a":1}\n\ndata: x\n: y\n\ndata: [DONE]\n\n', 1.0, 300.0, 5, "w")
    assert (
        kept_of(call, b"data: 1\r\n\r\n: c\r\n\r\ndata: 2\r\n\r\n", 1.0, 1.0, 0, "").body
        == b"data: 1\r\n\r\ndata: 2\r\n\r\n"
    )
    assert kept_of(call, b"data: 1\r\r: c\r\rdata: 2\r\r", 1.0, 1.0, 0, "").body == b"data: 1\r\rdata: 2\r\r"
    plain = b'data: {"a":": b"}\n\n'
    assert kept_of(call, plain, 1.0, 1.0, 0, "").body is plain
    assert kept_of(read(HEJ), b"{\n:}", 1.0, 1.0, 0, "").body == b"{\n:}"


# ── between gateways ──


def test_what_is_packed_has_its_age_by_the_walls_clock():
    """Another gateway's steady clock counts from elsewhere."""
    kept = Kept(b"Hej", 1000.0, 300.0, 5, "w")
    data = pack(kept, 1010.0, 5000.0)
    assert Kept(b"Hej", 70.0, 300.0, 5, "w") == unpack(data, 100.0, 5020.0)


def test_a_clock_behind_makes_nothing_younger_than_new():
    """What comes from the future is new, not fresh for ever."""
    data = pack(Kept(b"Hej", 1000.0, 300.0), 1000.0, 5000.0)
    assert unpack(data, 100.0, 4000.0).at == 100.0


@given(st.binary())
def test_what_cannot_be_read_is_not_there(data):
    """Broken, cut off, or of a version that is not ours yet."""
    assert unpack(data, 0.0, 0.0) is None
    other = msgspec.msgpack.encode((2, 0.0, 1.0, 0, "", data))
    assert unpack(other, 0.0, 0.0) is None


# ── the shelf ──


def kept(body=b"Hej", at=0.0, ttl_s=300.0, workspace=""):
    """An answer."""
    return Kept(body, at, ttl_s, 0, workspace)


def test_an_answer_is_there_until_it_is_too_old_for_itself_or_for_the_client():
    """By its own time it leaves; a client's `max-age` is that client's alone."""
    shelf = Shelf()
    shelf.put(b"k", kept(at=100.0), 100.0, 10_000)
    assert shelf.get(b"other", 100.0, 300.0) is None
    assert shelf.get(b"k", 399.9, 300.0) == kept(at=100.0)
    assert shelf.get(b"k", 161.0, 60.0) is None
    assert shelf.get(b"k", 160.0, 60.0) is not None
    assert shelf.get(b"k", 400.0, 900.0) is None
    assert (len(shelf), shelf.size_bytes) == (0, 0)


def test_the_longest_unused_leaves_first():
    """Being asked for counts as use."""
    shelf = Shelf()
    room = 3 * (ENTRY_BYTES + 4)
    for key in (b"a", b"b", b"c"):
        shelf.put(key, kept(), 0.0, room)
    shelf.get(b"a", 1.0, 300.0)
    shelf.put(b"d", kept(), 2.0, room)
    assert [key for key in (b"a", b"b", b"c", b"d") if shelf.get(key, 3.0, 300.0)] == [b"a", b"c", b"d"]
    assert (shelf.evicted, shelf.size_bytes) == (1, room)


def test_an_answer_that_alone_is_too_large_is_not_held():
    """And throws nobody out."""
    shelf = Shelf()
    shelf.put(b"a", kept(), 0.0, 2000)
    shelf.put(b"b", kept(b"x" * 2000), 0.0, 2000)
    assert (len(shelf), shelf.get(b"b", 0.0, 300.0)) == (1, None)
    shelf.put(b"a", kept(b"x" * 2000), 0.0, 2000)
    assert (len(shelf), shelf.size_bytes) == (0, 0)


def test_the_old_leave_without_being_asked_for():
    """Some with every answer that is added, so the work is bounded."""
    shelf = Shelf()
    for number in range(10):
        shelf.put(b"%d" % number, kept(ttl_s=1.0), 0.0, 100_000)
    shelf.put(b"new", kept(at=5.0), 5.0, 100_000)
    assert len(shelf) == 10 - caching._SWEPT + 1
    shelf.put(b"newer", kept(at=5.0), 5.0, 100_000)
    shelf.put(b"newest", kept(at=5.0), 5.0, 100_000)
    assert len(shelf) == 3


def test_one_workspace_may_be_cleared_alone():
    """Or all of them; how many is told."""
    shelf = Shelf()
    for number in range(6):
        shelf.put(b"%d" % number, kept(workspace="a" if number % 3 else "b"), 0.0, 100_000)
    assert (shelf.clear("a"), len(shelf), shelf.clear("a")) == (4, 2, 0)
    assert (shelf.clear(), len(shelf), shelf.size_bytes) == (2, 0, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.integers(0, 900), st.integers(1, 9), st.booleans()
        ),
        max_size=60,
    ),
    st.integers(0, 3000),
)
def test_the_shelf_never_holds_more_than_its_room_and_counts_what_it_holds(steps, room):
    """Whatever is put and asked for, in whatever order."""
    shelf = Shelf()
    now, held = 0.0, {}
    for key, size, ttl_s, is_put in steps:
        now += 1.0
        if is_put:
            held[key] = kept(b"x" * size, now, float(ttl_s))
            shelf.put(key, held[key], now, room)
        else:
            found = shelf.get(key, now, 1e9)
            assert found is None or (found == held[key] and now - found.at < found.ttl_s)
        assert 0 <= shelf.size_bytes <= room
    assert len(shelf) == shelf.clear()
    assert shelf.size_bytes == 0
