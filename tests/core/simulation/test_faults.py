"""Scripts of faults: names, arguments, order."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.draft import Draft, Piece
from turnout.core.simulation.faults import KINDS, Fault, arg_of, number_of, read, work_in
from turnout.core.simulation.script import Reset

DOCS = Path(__file__).parents[3] / "docs" / "simulated-provider.md"


def draft() -> Draft:
    """Return a stream in the making."""
    pieces = [Piece(b"data: 1\n\n", "open"), Piece(b"data: 2\n\n", "content"), Piece(b"data: [DONE]\n\n", "end")]
    return Draft("chat", True, 200, [("content-type", "text/event-stream")], pieces, wall=1_700_000_000.0)


def headers(script: str) -> dict[str, str]:
    """Return the headers after that script."""
    one = draft()
    work_in(one, read(script))
    return dict(one.headers)


def test_a_script_is_read_in_order() -> None:
    """Names, arguments, defaults, three digits, spaces, empty parts."""
    script = " 503 ; retry-after = 7;; Reset-Event ; usage=absent ;header=x: a=b "
    assert read(script) == (
        Fault("status", "503"),
        Fault("retry-after", "7"),
        Fault("reset-event", "3"),
        Fault("usage", "absent"),
        Fault("header", "x: a=b"),
    )
    assert read("") == ()


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("nonsense", "unknown fault 'nonsense'; known: reset-accept, reset,"),
        ("503=1", "takes no argument"),
        ("reset=1", "takes no argument"),
        ("reset-at=x", "takes a whole number"),
        ("reset-at=-1", "takes a whole number"),
        ("reset-at=9999999999", "takes a whole number"),
        ("delay=soon", "takes a number of seconds"),
        ("delay=inf", "takes a number of seconds"),
        ("usage=odd", "takes one of negative, float,"),
        ("line-ends=lfcr", "takes one of crlf, cr, lf"),
        ("999", "takes a status from 200 to 599"),
        ("100", "takes a status from 200 to 599"),
        ("redirect=1", "takes a status from 200 to 599"),
    ],
)
def test_what_is_wrong_is_said(script: str, problem: str) -> None:
    """In words for a person, with what is known."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        read(script)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(script: str) -> None:
    """Nothing else is raised than ValueError."""
    try:
        faults = read(script)
    except ValueError:
        return
    assert all(fault.name in KINDS for fault in faults)


@pytest.mark.parametrize("name", KINDS)
def test_every_fault_works_with_its_default(name: str) -> None:
    """On a stream and on a plain answer: it ends in a script that can be played."""
    for is_stream in (True, False):
        one = draft()
        if not is_stream:
            one.is_stream, one.pieces = False, [Piece(b"{}", "whole")]
        work_in(one, read(name))
        assert one.steps()


@pytest.mark.parametrize(
    ("script", "name", "value"),
    [
        ("retry-after=7", "retry-after", "7"),
        ("retry-after", "retry-after", ""),
        ("retry-after-date=-60", "retry-after", "Tue, 14 Nov 2023 22:12:20 GMT"),
        ("retry-after-ms=250", "retry-after-ms", "250"),
        ("x-ms-retry-after-ms=250", "x-ms-retry-after-ms", "250"),
        ("ratelimit-reset=6m0s", "x-ratelimit-reset-tokens", "6m0s"),
        ("ratelimit-rfc3339=7", "anthropic-ratelimit-requests-reset", "2023-11-14T22:13:27Z"),
        ("ratelimit-epoch=7", "x-ratelimit-reset", "1700000007000"),
    ],
)
def test_every_kind_of_hint(script: str, name: str, value: str) -> None:
    """T11 to T14: each spelling of "come back later"."""
    assert headers(script)[name] == value
    one = draft()
    work_in(one, read(script))
    assert one.status == 429


def test_faults_combine_in_the_order_given() -> None:
    """Status, hints, and where it stops."""
    one = draft()
    work_in(one, read("503;retry-after-ms=250;retry-after=9;reset-at=5"))
    assert (one.status, one.tail, one.size) == (503, [Reset()], 5)
    assert [value for name, value in one.headers if name.startswith("retry-after")] == ["250", "9"]


@pytest.mark.parametrize("script", ["error-event", "error-chunk"])
def test_error_events_are_the_vendors(script: str) -> None:
    """In place of the content."""
    one = draft()
    work_in(one, read(script))
    assert b'"error":' in one.pieces[-1].data


def test_arguments_can_be_looked_up() -> None:
    """The last of a name counts; none is empty, or 0."""
    faults = read("tokens=5;tokens=7;usage=float")
    assert (arg_of(faults, "usage"), number_of(faults, "tokens")) == ("float", 7)
    assert (arg_of(faults, "delay"), number_of(faults, "huge-event")) == ("", 0)


def test_the_docs_list_the_same_faults_in_the_same_words() -> None:
    """One row per fault: its name with its argument, and what it does."""
    section = DOCS.read_text(encoding="utf-8").split("\n## Faults")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE)
    told = [(f"{name}={kind.arg}" if kind.arg else name, kind.what) for name, kind in KINDS.items()]
    assert [(name.replace("\\|", "|"), what) for name, what in rows] == told
