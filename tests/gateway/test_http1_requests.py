from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import InternalError
from turnout.gateway.http1 import HeadWriter, parse_target


def encode(headers=(), *, method="POST", body_bytes=2):
    return HeadWriter().encode(method, parse_target("http://h/v1"), headers, body_bytes)


def test_a_request_head_holds_what_the_transport_writes_and_what_it_was_given():
    """Our four headers first, then the caller's in their order."""
    expected = (
        b"POST /v1 HTTP/1.1\r\nhost: h\r\nconnection: keep-alive\r\naccept-encoding: identity\r\n"
        b"content-length: 2\r\nauthorization: Bearer k\r\nx-a: \xe9\r\n\r\n"
    )
    assert expected == encode((("authorization", "Bearer k"), ("x-a", "é")))


def test_a_request_without_a_body_says_so_unless_it_is_a_get():
    """RFC 9110 §8.6: a POST without content sends content-length: 0; a GET need not."""
    assert b"content-length: 0\r\n" in encode(body_bytes=0)
    assert b"content-length" not in encode(method="GET", body_bytes=0)
    assert b"content-length: 1\r\n" in encode(method="GET", body_bytes=1)


@given(st.text(), st.sampled_from("\r\n\0"), st.text())
def test_no_value_can_end_its_header(before, breaker, after):
    """CR, LF and NUL are refused; the message names the header and never its value."""
    with pytest.raises(InternalError) as caught:
        encode((("x-fine", "1"), ("x-bad", f"canary{before}{breaker}{after}")))
    assert "x-bad" in caught.value.message
    assert "canary" not in caught.value.message


def test_a_value_outside_latin_1_is_refused_without_being_shown():
    """HTTP cannot carry it; neither the message nor the cause repeats it."""
    with pytest.raises(InternalError, match="x-bad") as caught:
        encode((("x-bad", "canary \u20ac"),))
    assert "canary" not in caught.value.message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "name", ["", "X-Upper", "a b", "a:b", "a\r\nb", "ä", "host", "content-length", "transfer-encoding", "upgrade", "te"]
)
def test_a_name_that_is_no_token_or_is_ours_is_refused(name):
    """A second content-length or a transfer-encoding from config would change the framing."""
    with pytest.raises(InternalError, match="header name"):
        encode(((name, "1"),))


def test_names_found_good_are_remembered_up_to_a_bound():
    """A flood of names is served and not kept."""
    writer = HeadWriter()
    target = parse_target("http://h/")
    for number in range(2000):
        assert b"x-%d: 1\r\n" % number in writer.encode("POST", target, ((f"x-{number}", "1"),), 0)
    assert len(writer._names) == 1024
    assert b"x-1: 1\r\nx-1: 2\r\n" in writer.encode("POST", target, (("x-1", "1"), ("x-1", "2")), 0)


def test_what_requests_share_is_remembered_up_to_a_bound():
    """It holds an account's key: those of accounts that are gone must not stay."""
    writer = HeadWriter()
    target = parse_target("http://h/")
    for number in range(200):
        head = writer.encode("POST", target, (("authorization", f"Bearer {number}"), ("x-request-id", "1")), 0)
        assert b"authorization: Bearer %d\r\nx-request-id: 1\r\n\r\n" % number in head
    assert len(writer._lines) <= 64


@given(st.text(), st.text())
def test_the_last_header_is_looked_at_each_time(first, second):
    """However often those before it were written: what comes out is what a writer without a past would have said."""
    writer = HeadWriter()

    def written(by, value):
        try:
            return by.encode("POST", parse_target("http://h/"), (("authorization", "Bearer k"), ("x-a", value)), 0)
        except InternalError as error:
            return error.message

    assert [written(writer, first), written(writer, second)] == [written(HeadWriter(), one) for one in (first, second)]


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "post", "GET / HTTP/1.1\r\n"])
def test_an_unknown_method_is_refused(method):
    """HEAD is not spoken: its response has a length and no body, which the parser cannot be told."""
    with pytest.raises(InternalError, match="method"):
        encode(method=method)
