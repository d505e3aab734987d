"""What a client wants of the cache, what may come before it, and what is the same question."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.caching import (
    Wish,
    canonical,
    digest,
    objection,
    shelf_key,
    wish,
)
from turnout.core.catalog import Account, Candidate, Model
from turnout.core.contracts import Call
from turnout.core.pieces import LARGE_BYTES
from turnout.dialects import DIALECTS

HEJ = {"model": "first", "messages": [{"role": "user", "content": "Hej"}]}
FUNCTION = {"type": "function", "function": {"name": "getCompanyInfo"}}
SAFE = frozenset({"getCompanyInfo"})


def read(body, dialect="openai_chat"):
    """A request, from its JSON or from a text."""
    return DIALECTS[dialect].decode(body if isinstance(body, bytes) else json.dumps(body).encode())


def question(body, workspace=""):
    """Its digest."""
    return digest(read(body), workspace)


# ── what the client wants ──


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("", Wish()),
        ("no-cache", Wish(reads=False)),
        ("No-Store", Wish(reads=False, writes=False)),
        ("no-store, max-age=5", Wish(reads=False, writes=False, max_age_s=5)),
        ("max-age=60", Wish(max_age_s=60)),
        ('max-age="60" , max-age=30', Wish(max_age_s=30)),
        ("max-age=0", Wish(reads=False, max_age_s=0)),
        ("max-age=soon", Wish(reads=False, max_age_s=0)),
        ("max-age=-5", Wish(reads=False, max_age_s=0)),
        ("max-age", Wish(reads=False, max_age_s=0)),
        ("max-age=٣", Wish(reads=False, max_age_s=0)),
        (f"max-age={'9' * 400}", Wish(reads=False, max_age_s=0)),
        ("only-if-cached, min-fresh=5, ,=", Wish()),
    ],
)
def test_cache_control_is_read_and_what_is_unclear_means_fresh(told, expected):
    """A max-age that is no number asks for something fresh: that can only cost a call."""
    assert expected == wish(told)


@given(st.text())
def test_no_cache_control_raises(told):
    """Whatever stands in the header."""
    assert isinstance(wish(told), Wish)


# ── what may be cached at all ──


@pytest.mark.parametrize(
    ("more", "dialect", "expected"),
    [
        ({}, "openai_chat", ""),
        ({"store": False}, "openai_chat", ""),
        ({"store": None}, "openai_chat", ""),
        ({"store": True}, "openai_chat", "the vendor is asked to store it"),
        ({"plugins": [{"id": "web"}]}, "openai_chat", "it has `plugins`"),
        ({"web_search_options": {"a": 1}}, "openai_chat", "it has `web_search_options`"),
        ({"mcp_servers": []}, "openai_chat", ""),
        ({"tools": [FUNCTION]}, "openai_chat", ""),
        ({"tools": None}, "openai_chat", ""),
        ({"tools": [{"type": "web_search"}]}, "openai_chat", "a tool of it is run by the vendor"),
        ({"tools": [FUNCTION, {"type": "custom", "custom": {}}]}, "openai_chat", "a tool of it is run by the vendor"),
        ({"tools": [{"type": "function"}]}, "openai_chat", "a tool of it is run by the vendor"),
        ({"tools": ["x"]}, "openai_chat", "its tools cannot be read"),
        ({"tools": [{"name": "a", "input_schema": {}}]}, "anthropic_messages", ""),
        ({"tools": [{"name": "a", "type": "custom", "input_schema": {}}]}, "anthropic_messages", ""),
        (
            {"tools": [{"name": "web_search", "type": "web_search_20250305"}]},
            "anthropic_messages",
            "a tool of it is run by the vendor",
        ),
        ({"mcp_servers": [{"url": "https://x"}]}, "anthropic_messages", "it has `mcp_servers`"),
    ],
)
def test_what_has_effects_elsewhere_is_asked_every_time(more, dialect, expected):
    """What the vendor stores, searches or runs; a tool that the client runs is no such thing."""
    assert expected == objection(read(HEJ | more, dialect))


def test_very_long_requests_are_left_alone():
    """Their hash would hold everybody up."""
    assert objection(Call("chat", "openai_chat", {}, "first", size=LARGE_BYTES)) == ""
    assert objection(Call("chat", "openai_chat", {}, "first", size=LARGE_BYTES + 1)) != ""


# ── the same question ──

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value, draw):
    """The same value, with its members in another order."""
    if isinstance(value, dict):
        names = draw(st.permutations(list(value)))
        return {name: shuffled(value[name], draw) for name in names}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@given(JSON, st.data())
def test_order_white_space_and_escapes_do_not_count(value, data):
    """The same values, written otherwise, are the same question."""
    other = json.dumps(HEJ | {"x": shuffled(value, data.draw)}, indent=data.draw(st.sampled_from([None, 1, "\t"])))
    plain = json.dumps({"x": value} | HEJ, ensure_ascii=False, separators=(",", ":"))
    assert question(other.encode()) == question(plain.encode())
    assert question(plain.encode()) is not None


@given(JSON, JSON)
def test_whatever_differs_is_another_question(one, other):
    """In a member that we do not know."""
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert same == (question(HEJ | {"x": one}) == question(HEJ | {"x": other}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1.0", "1.00"),
        ("0.1", "0.10000000000000000001"),
        ("18446744073709551616", "18446744073709551617"),
        ("1e400", "1e401"),
        ('"1"', "1"),
        ('"1.5"', "1.5"),
        ("null", '""'),
        ("{}", "[]"),
        ('"\\u00e6"', '"ae"'),
        ('{"a": 1}', '{"a": 1, "b": null}'),
    ],
)
def test_values_that_a_vendor_may_tell_apart_are_told_apart(one, other):
    """Whatever a parser would make of them."""
    texts = [b'{"model": "m", "messages": [1], "x": %b}' % value.encode() for value in (one, other)]
    assert None not in (question(texts[0]), question(texts[1]))
    assert question(texts[0]) != question(texts[1])


@pytest.mark.parametrize(
    "twice",
    [
        '{"a": 1, "a": 2}',
        '[{"b": {"a": 1, "a": 1}}]',
        '{"a": "x:y", "\\u0061": 2}',
        '{"a": "\\u003a", "a": ":"}',
    ],
)
def test_a_member_given_twice_has_no_question(twice):
    """Parsers do not agree on which of the two counts."""
    assert question(b'{"model": "m", "messages": [1], "x": %b}' % twice.encode()) is None


def test_escaped_colons_are_no_repeats():
    """They are counted where they stand for members."""
    assert question(b'{"model":"m","messages":["\\u003a"]}') == question(b'{"model":"m","messages":[":"]}')
    assert question(b'{"model":"m","messages":["\\u003a"]}') is not None


def test_what_cannot_be_decoded_has_no_question():
    """It is passed on as it came."""
    assert canonical({"x": msgspec.Raw(b"[" * 100_000 + b"]" * 100_000)}) is None
    assert canonical({"x": msgspec.Raw(b"1e9999999999999999999")}) is None


def test_workspace_format_and_kind_are_part_of_the_question():
    """However their names are put together."""
    call = read(HEJ)
    others = [
        digest(call, "a"),
        digest(call, 'a","openai_chat'),
        digest(msgspec.structs.replace(call, dialect="anthropic_messages"), "a"),
        digest(msgspec.structs.replace(call, kind="embedding"), "a"),
        digest(call, ""),
    ]
    assert len(set(others)) == len(others)
    assert len(others[0]) == 32


def test_an_answer_belongs_to_a_model_at_an_address():
    """Also when the same name stands for something else later."""
    account = Account("stub", "compatible", base_url="http://a")
    model = Model("first", "stub", "vendor/first")
    candidate = Candidate("first@stub", model, account, "vendor/first", None)
    others = [
        candidate,
        msgspec.structs.replace(candidate, key="first@backup"),
        msgspec.structs.replace(candidate, id="vendor/other"),
        msgspec.structs.replace(candidate, account=msgspec.structs.replace(account, base_url="http://b")),
        msgspec.structs.replace(candidate, account=msgspec.structs.replace(account, kind="anthropic")),
    ]
    assert len({shelf_key(b"q" * 32, one) for one in others}) == len(others)
    assert shelf_key(b"q" * 32, candidate) != shelf_key(b"r" * 32, candidate)
