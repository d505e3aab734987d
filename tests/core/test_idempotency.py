"""What an Idempotency-Key stands for."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.contracts import Call
from turnout.core.eligible import Ask
from turnout.core.idempotency import KEY_BYTES, is_kept, request_digest, reused, slot, still_busy
from turnout.errors import (
    GatewayStopping,
    InvalidRequest,
    NoCandidate,
    Overloaded,
    StreamInterrupted,
    UpstreamFault,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)


def call(dialect="openai_chat", **fields):
    return Call("chat", dialect, {name: msgspec.Raw(value) for name, value in fields.items()}, "m")


def ask(**more):
    return Ask("m", **more)


def test_a_slot_is_one_workspaces_and_one_keys():
    """No two of them meet, however they are cut, and the key cannot be read from it."""
    slots = {slot(workspace, key) for workspace in ("", "a", "ab") for key in (b"k", b"bk", b"abk")}
    assert len(slots) == 9
    assert {32} == {len(one) for one in slots}
    assert slot("a", b"secret-key-12345") == slot("a", b"secret-key-12345")
    assert b"secret" not in slot("a", b"secret-key-12345")


@pytest.mark.parametrize("key", [b"", b"k" * (KEY_BYTES + 1), b"n\xc3\xb8gle", b"a\x00b", b"a\tb"])
def test_what_is_no_key_is_refused(key):
    """Before anything is looked up."""
    with pytest.raises(InvalidRequest, match="Idempotency-Key") as refused:
        slot("", key)
    assert (refused.value.status, refused.value.param) == (400, "idempotency-key")


def test_the_longest_key_is_taken():
    """With a space and quotes in it: the IETF's draft writes keys as quoted strings."""
    assert slot("", b'"' + b"k " * 126 + b'k"')


def test_the_order_of_members_does_not_matter_and_everything_else_does():
    """A repeat by the same client is the same to the byte; another request is another in any of these."""
    same = request_digest(call(model=b'"m"', messages=b"[1]"), ask(task="t", user="u", session="s"))
    assert same == request_digest(call(messages=b"[1]", model=b'"m"'), ask(task="t", user="u", session="s"))
    others = [
        request_digest(call(model=b'"m"', messages=b"[2]"), ask(task="t", user="u", session="s")),
        request_digest(call(model=b'"m"', messages=b"[1]", seed=b"1"), ask(task="t", user="u", session="s")),
        request_digest(call("anthropic_messages", model=b'"m"', messages=b"[1]"), ask(task="t", user="u", session="s")),
        request_digest(call(model=b'"m"', messages=b"[1]"), ask(task="x", user="u", session="s")),
        request_digest(call(model=b'"m"', messages=b"[1]"), ask(task="t", user="x", session="s")),
        request_digest(call(model=b'"m"', messages=b"[1]"), ask(task="t", user="u", session="x")),
    ]
    assert len({same, *others}) == 7


@given(
    st.lists(st.tuples(st.text("ab", max_size=3), st.binary(max_size=3)), unique_by=lambda pair: pair[0], max_size=3)
)
def test_no_two_requests_share_a_digest_by_how_they_are_cut(pairs):
    """Lengths are part of what is hashed: what moves from a name to its value is another request."""
    shifted = [(name[:-1], name[-1:].encode() + value) for name, value in pairs if name]
    one = request_digest(call(**dict(pairs)), ask())
    if len({name for name, _ in shifted}) == len(pairs) and pairs:
        assert one != request_digest(call(**dict(shifted)), ask())
    assert one == request_digest(call(**dict(reversed(pairs))), ask())


def test_an_error_is_kept_if_a_vendor_may_have_worked_for_it():
    """And not if a repeat could not cost anything twice."""
    kept = [
        UpstreamRejected("bad", vendor_status=422),
        StreamInterrupted("broke off"),
        UpstreamTimeout("silent", phase="first_chunk", is_ambiguous=True),
        UpstreamFault("reset", is_ambiguous=True),
    ]
    free = [
        InvalidRequest("bad"),
        Overloaded("full"),
        NoCandidate("nobody"),
        GatewayStopping(),
        UpstreamThrottled("later"),
        UpstreamUnreachable("refused"),
        UpstreamFault("503"),
        UpstreamTimeout("connect", phase="connect", is_ambiguous=False),
    ]
    assert [True] * len(kept) == [is_kept(error) for error in kept]
    assert [False] * len(free) == [is_kept(error) for error in free]
    mixed = NoCandidate("one of several may have worked")
    mixed.is_ambiguous = True
    assert is_kept(mixed)


def test_the_two_refusals_say_what_to_do():
    """422 for another request, 409 for one that is not over."""
    assert (reused().status, reused().param) == (422, "idempotency-key")
    assert (still_busy().status, still_busy().param) == (409, "idempotency-key")
