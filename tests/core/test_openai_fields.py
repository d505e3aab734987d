"""Splitting a body into members: their bytes untouched, and every way not to be a JSON object refused (T49, T50)."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.openai_fields import NUMBER, TEXT, read, split, take_task
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


def test_a_member_given_twice_counts_once_the_last():
    """What we check is what the vendor reads, as only it goes on."""
    fields = split(b'{"model":"a","x":1.50,"model":"b"}')
    assert msgspec.json.encode(fields) == b'{"model":"b","x":1.50}'


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
