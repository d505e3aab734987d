"""What of a request's head is refused: the rules of RFC 9112 that the parser beneath does not hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.api.heads import LENGTH_DIGITS, ONCE, check, split_target
from turnout.errors import GatewayError, InvalidRequest, RequestTooLarge

LIMIT = 1000

NO_HOSTS = [
    *b"| |x/?|x#|x@y|x y|x,y|http://x|::1|[::1|[]|[zz::1]|[:::::]|[::1]x|x:port|x:80:80|x:123456|x%00|{x}".split(b"|"),
    b"\xc3\xa6",
    b"x\\y",
    b"x" * 256,
]


def refusal(*pairs, version="1.1"):
    """The status and the header at fault, or None."""
    try:
        check(version, pairs, dict(pairs), LIMIT)
    except GatewayError as error:
        return error.status, error.param
    return None


@pytest.mark.parametrize(
    "host", [b"x", b"x:80", b"x:", b"api.example.com", b"10.0.0.1:4000", b"[::1]", b"[::1]:4000", b"my_box", b" x\t"]
)
def test_a_name_or_an_address_is_a_host(host):
    """With a port or without one."""
    assert refusal((b"host", host)) is None


@pytest.mark.parametrize("host", NO_HOSTS)
def test_anything_else_is_none(host):
    """BadHost: what a URL made of it would be taken apart elsewhere."""
    assert refusal((b"host", host)) == (400, "host")


def test_http_1_1_needs_a_host_and_http_1_0_does_not():
    """RFC 9112 §3.2."""
    assert refusal() == (400, "host")
    assert refusal(version="1.0") is None


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0"])
def test_other_versions_are_refused(version):
    """The parser takes some of them."""
    assert refusal((b"host", b"x"), version=version) == (400, None)


@pytest.mark.parametrize("name", sorted(ONCE))
def test_a_header_that_decides_something_stands_once(name):
    """Even with the same value: a proxy before us may go by the other one."""
    value = b"chunked" if name == b"transfer-encoding" else b"1"
    pairs = [] if name == b"host" else [(b"host", b"x")]
    assert refusal(*pairs, (name, value)) is None
    assert refusal(*pairs, (name, value), (b"a", b""), (name, value)) == (400, name.decode())


def test_any_other_header_may_stand_twice():
    """As lists may be written."""
    assert refusal((b"host", b"x"), (b"accept", b"a"), (b"accept", b"b")) is None


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED", b" chunked\t"])
def test_a_body_may_be_chunked(coding):
    """In HTTP/1.1 only: HTTP/1.0 has no such thing, and a proxy that speaks it sees another body."""
    assert refusal((b"host", b"x"), (b"transfer-encoding", coding)) is None
    assert refusal((b"host", b"x"), (b"transfer-encoding", coding), version="1.0") == (400, "transfer-encoding")


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"", b",chunked", b"chunked,", b"xchunked"])
def test_and_in_no_other_way(coding):
    """We undo none."""
    assert refusal((b"host", b"x"), (b"transfer-encoding", coding)) == (400, "transfer-encoding")


def test_a_length_over_the_limit_is_refused_before_a_byte_of_the_body_is_read():
    """413, and 400 for one that no integer holds."""
    assert refusal((b"host", b"x"), (b"content-length", b"1000 ")) is None
    assert refusal((b"host", b"x"), (b"content-length", b"1001")) == (413, None)
    for no_length in (b"0" * LENGTH_DIGITS + b"1", b"", b"+1", b"1_0", b"1 0"):
        assert refusal((b"host", b"x"), (b"content-length", no_length)) == (400, "content-length")
    with pytest.raises(RequestTooLarge, match=r"larger than 1000 bytes: send less, or raise server\.max_body"):
        check("1.1", [], {b"host": b"x", b"content-length": b"9999"}, LIMIT)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a?b=c", b"/a", b"b=c"),
        (b"/a?", b"/a", b""),
        (b"http://x", b"/", b""),
        (b"http://x/a?b", b"/a", b"b"),
        (b"http://other:80/a", b"/a", b""),
        (b"*", b"*", b""),
    ],
)
def test_a_target_is_split_into_path_and_query(target, path, query):
    """In origin form and in absolute form; the host of the latter routes nothing."""
    assert split_target(target) == (path, query)


@pytest.mark.parametrize("target", [b"/a#b", b"#", b"http://[", b"a", b"x:443"])
def test_a_target_with_a_fragment_or_in_another_form_is_refused(target):
    """No client of an HTTP API sends one."""
    with pytest.raises(InvalidRequest):
        split_target(target)


@given(st.binary(max_size=40))
def test_no_bytes_are_more_than_refused(value):
    """Whatever stands in a header or a target, the answer is an error of ours or none."""
    refusal((b"host", value))
    refusal((b"host", b"x"), (b"transfer-encoding", value))
    try:
        path, query = split_target(value)
    except InvalidRequest:
        return
    assert path
    assert len(path) + len(query) <= len(value) + 1
