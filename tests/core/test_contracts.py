"""core/contracts.py: the shapes that plug-ins and the engine meet in."""

from __future__ import annotations

import msgspec

from turnout.core.catalog import Timeouts
from turnout.core.contracts import Call, Load, Outgoing, Seen


def test_a_call_asks_for_nothing_by_itself():
    """What the client did not say is empty, not guessed."""
    call = Call("chat", "openai_chat", {"model": msgspec.Raw(b'"m"')}, "m")
    assert ("", "", False, False, frozenset(), 0, None, 0) == (
        call.task,
        call.user,
        call.stream,
        call.wants_usage,
        call.needs,
        call.input_tokens,
        call.max_output_tokens,
        call.tools,
    )


def test_a_call_keeps_what_it_does_not_know_as_it_came():
    """Unknown fields pass through untouched, byte for byte."""
    fields = {"model": msgspec.Raw(b'"m"'), "x": msgspec.Raw(b'{"a" : 1.0e0}')}
    assert msgspec.json.encode(Call("chat", "openai_chat", fields, "m").fields) == b'{"model":"m","x":{"a" : 1.0e0}}'


def test_an_upstream_request_is_a_post_with_the_usual_deadlines():
    """Unless the provider says otherwise."""
    outgoing = Outgoing("http://127.0.0.1/v1", (), b"{}")
    assert ("POST", Timeouts(), "", "") == (outgoing.method, outgoing.timeouts, outgoing.proxy_url, outgoing.ca_file)


def test_nothing_is_known_before_it_is_seen():
    """No usage is None, not zero; an unknown candidate is idle."""
    assert (Seen().usage, Seen().finish_reason, Seen().output_bytes) == (None, "", 0)
    assert (Load().in_flight, Load().latency_s) == (0, 0.0)


def test_an_upstream_request_prints_neither_its_headers_nor_its_body():
    """A header holds our key, the body the prompt."""
    outgoing = Outgoing("http://127.0.0.1/v1", (("authorization", "Bearer secret"),), b'{"prompt": "secret"}')
    assert "Outgoing(POST, 1 headers, 20 bytes)" == repr(outgoing) == str(outgoing)
