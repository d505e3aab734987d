"""Splitting a body into members: their bytes untouched, and every way not to be a JSON object refused (T49, T50)."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.openai_fields import NUMBER, TEXT, join, read, refuse_repeats, split, take_task
from turnout.core.pieces import LARGE_BYTES, Pieces
from turnout.errors import InvalidRequest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), VALUES), st.booleans(), st.sampled_from((None, 2)))
def test_members_keep_their_order_and_their_bytes(value, ascii_only, indent):
    """What is not looked into is not changed: numbers keep their spelling, strings their escapes."""
    encoded = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    fields = split(encoded)
    assert list(value) == list(fields)
    assert value == {name: json.loads(bytes(raw)) for name, raw in fields.items()}
    assert all(bytes(raw) in encoded for raw in fields.values())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"a","x":1.50,"model":"b"}', "model"),
        (b'{"model": "a", "x": 1, "model": "a"}', "model"),
        (b'{"x":1,"model":"a","mod\\u0065l":"b"}', "model"),
        (b'{"n":12,"n":1}', "n"),
        (b'{"a":0,"n":1,"n":12}', "n"),
        (b'{"n":12,"a":0,"n":1}', "n"),
        (b'{"n":1,"a":0,"n":1}', "n"),
        (b'{"a":1,"a":1,"a":1}', "a"),
        (b'{"a":1,"a":1,"b":2}', "a"),
        (b'{"a":12,"b":3,"a":1}', "a"),
        (b'{"":1,"":1}', ""),
        (b'{"a":[{"x":1}],"a":[{"x":1}]}', "a"),
        (b'{"a":1,"b\n":1,"b\n":1}'.replace(b"\n", b"\\n"), "b"),
    ],
)
@pytest.mark.parametrize("pad", [b"", b" " * 5000])
def test_a_member_given_twice_is_refused(body, param, pad):
    """Parsers do not agree on which of the two counts, so what we check might not be what the vendor reads (T49)."""
    with pytest.raises(InvalidRequest, match="given twice") as refused:
        split(body + pad)
    assert param == refused.value.param


def written(pairs, draw) -> bytes:
    """The object of those pairs, repeats and all, with white space wherever JSON allows it."""

    def gap():
        return draw(st.sampled_from(("", "", " ", "\n\t")))

    members = [f"{gap()}{json.dumps(name)}{gap()}:{gap()}{json.dumps(value)}{gap()}" for name, value in pairs]
    return (gap() + "{" + ",".join(members) + (gap() if not members else "") + "}" + gap()).encode()


@given(st.data(), st.booleans())
def test_exactly_the_repeats_are_refused(data, is_long):
    """The oracle sees the pairs: any names, any values, any white space, short and long texts."""
    names = st.sampled_from(("a", "b", "model", "é", '"', "\\", "")) | st.text(max_size=3)
    values = st.sampled_from((1, 12, 1.5, "", '","a":', "x")) | VALUES
    pairs = data.draw(st.lists(st.tuples(names, values), max_size=6))
    if is_long:
        pairs = [("long", " " * 5000), *pairs]
    body = written(pairs, data.draw)
    if len(dict(pairs)) < len(pairs):
        with pytest.raises(InvalidRequest, match="given twice"):
            split(body)
    else:
        assert [name for name, _ in pairs] == list(split(body))


def test_a_long_name_given_twice_is_told_short():
    """A megabyte of a name, with a line end in it, is no message."""
    name = json.dumps("a\nb" * 10_000)
    with pytest.raises(InvalidRequest) as refused:
        split(f"{{{name}:1,{name}:2}}".encode())
    assert refused.value.param == ("a b" * 100)[:300]
    assert len(refused.value.message) < 400


@pytest.mark.parametrize(
    ("value", "param"),
    [
        (b'{"a":1}', None),
        (b'{"a": 1, "b": "a"}', None),
        (b'{"a":1,"a":2}', "x.a"),
        (b'{"a": 1, "\\u0061": 1}', "x.a"),
        (b'{"b":[1,2],"a":1,"a":1}', "x.a"),
    ],
)
def test_repeats_in_one_member(value, param):
    """For an object inside that decides something; the name says where it is."""
    fields = split(b'{"x":' + value + b"}")
    refused = None
    try:
        refuse_repeats(fields, "x")
    except InvalidRequest as error:
        refused = error.param
    assert param == refused


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":[Infinity]}', "not valid JSON"),
        (b'{"a":{"b":[1,]}}', "not valid JSON"),
        (b'{"a":1}x', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"a":"\\ud800 and more text"}', "not valid JSON"),
        (b'{"a":["\\udc00\\ud800"]}', "not valid JSON"),
        (b'{"a":"\x00"}', "not valid JSON"),
        (b'{"a":"\xff"}', "not valid UTF-8 (byte 6)"),
        (b'{"a":["\xc0\x80"]}', "not valid UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not valid UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not valid UTF-8"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"[" * 100_000, "must be a JSON object"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_object(body, words):
    """Each is refused with what is wrong, and none of the body in the message."""
    with pytest.raises(InvalidRequest, match=words.replace("(", "\\(").replace(")", "\\)")):
        split(body)


def test_reading_one_member():
    """Absent and null are the same; a wrong type names the member, down to the place inside."""
    fields = split(b'{"model":"m","user":null,"n":"x","deep":[1,"a"]}')
    assert read(fields, "model", TEXT) == "m"
    assert read(fields, "user", TEXT) is None
    assert read(fields, "absent", TEXT) is None
    with pytest.raises(InvalidRequest, match=r"`n`: expected `int \| null`, got `str`") as wrong:
        read(fields, "n", NUMBER)
    assert wrong.value.param == "n"
    with pytest.raises(InvalidRequest) as wrong:
        read(fields, "deep", msgspec.json.Decoder(list[int]))
    assert wrong.value.param == "deep[1]"


@pytest.mark.parametrize(
    ("metadata", "task", "left"),
    [
        (b'{"task":"email-draft"}', "email-draft", None),
        (b'{"x":1.50,"task":"chat"}', "chat", b'{"x":1.50}'),
        (b'{"x":1}', "", b'{"x":1}'),
        (b'{"task":""}', "", b'{"task":""}'),
        (b'{"task":null}', "", b'{"task":null}'),
        (b"null", "", b"null"),
    ],
)
def test_the_task_is_ours_and_stays_here(metadata, task, left):
    """A vendor that takes no metadata is not given any for our word's sake; other members go on."""
    fields = split(b'{"metadata":' + metadata + b"}")
    assert task == take_task(fields)
    assert left == (bytes(fields["metadata"]) if "metadata" in fields else None)
    assert take_task({}) == ""


@pytest.mark.parametrize("metadata", [b"7", b'{"task":7}'])
def test_a_task_that_is_none(metadata):
    """It must be a text."""
    with pytest.raises(InvalidRequest, match="metadata"):
        take_task(split(b'{"metadata":' + metadata + b"}"))


@pytest.mark.parametrize("metadata", [b'{"task":"a","task":"b"}', b'{"x":1,"task":"a","task":null}', b'{"x":1,"x":2}'])
def test_metadata_with_a_member_twice(metadata):
    """The task that we read must be the only one there is."""
    with pytest.raises(InvalidRequest, match=r"`metadata\.(task|x)` is given twice"):
        take_task(split(b'{"metadata":' + metadata + b"}"))


# ── large bodies ──


@given(st.dictionaries(st.text(max_size=5), VALUES), st.lists(st.integers(0, 9000), max_size=3))
def test_members_joined_anew_are_the_same_whether_copied_or_referred_to(value, lengths):
    """Short and long members in any order; no size makes another object of them."""
    value.update({f"long{at}": "x" * length for at, length in enumerate(lengths)})
    fields = split(json.dumps(value).encode())
    copied, referred = join(fields, 0), join(fields, LARGE_BYTES + 1)
    assert isinstance(referred, Pieces)
    assert copied == bytes(referred) == msgspec.json.encode(fields)
    assert list(value.items()) == list(json.loads(copied).items())


def test_a_large_body_is_referred_to_from_the_buffer_to_the_wire():
    """Its long members are not copied on the way: what changes in the buffer changes in what goes out."""
    body = bytearray(b'{"model":"m","messages":["%b"],"n":1}' % (b"a" * LARGE_BYTES))
    going = join(split(body), len(body))
    body[100] = ord("b")
    assert bytes(body) == bytes(going)


@pytest.mark.parametrize("character", ["\u00e6", "\u6e05", "\U0001f600"])
@pytest.mark.parametrize("ahead", range(4))
def test_characters_across_the_steps_of_a_large_body(character, ahead):
    """UTF-8 is checked in steps, which may cut a character; a half one is told with its place."""
    encoded = character.encode()
    text = b"a" * (LARGE_BYTES - 6 - ahead) + encoded * 3 + b"b" * LARGE_BYTES
    body = bytearray(b'{"a":"' + text + b'"}')
    assert b'"' + text + b'"' == bytes(split(body)["a"])
    start = body.index(encoded)
    body[start + 1] = ord("a")
    with pytest.raises(InvalidRequest, match=rf"not valid UTF-8 \(byte {start}\)"):
        split(body)
    with pytest.raises(InvalidRequest, match=rf"not valid UTF-8 \(byte {start}\)"):
        split(body[: start + 1])


def test_a_large_body_with_spaces_and_with_a_member_twice():
    """The walk over its names compares the long values where they are."""
    long = b'"' + b"x" * LARGE_BYTES + b'"'
    assert ["a", "b"] == list(split(bytearray(b'{ "a": %b, "b": 1 }' % long)))
    with pytest.raises(InvalidRequest, match="given twice"):
        split(bytearray(b'{ "a": %b, "b": 1, "a": 2 }' % long))
