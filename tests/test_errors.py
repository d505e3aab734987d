"""errors.py: every failure that Turnout names; the table in docs/errors.md says the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnout import errors
from turnout.errors import (
    ClientError,
    ConfigError,
    GatewayError,
    InvalidRequest,
    LimitError,
    StreamInterrupted,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamTimeout,
)

TABLE = Path(__file__).parents[1] / "docs" / "errors.md"
ABSTRACT = {GatewayError, ClientError, LimitError, UpstreamError}


def tree(root: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """The class and everything below it that errors.py defines."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def rows() -> dict[str, tuple[str, str, str, str, str]]:
    """The table: class → (parent, code, status, source, retry)."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `") and len(cells) >= 6:
            found[cells[0]] = tuple(cells[1:6])
    return found


def test_the_table_and_the_tree_are_equal():
    """Both ways: no class without a row, no row without a class, and every cell as the class says."""
    expected = {
        one.__name__: (
            "" if one is GatewayError else one.__bases__[0].__name__,
            one.code or "abstract",
            str(one.status) if one.code else "",
            one.source,
            one.retry,
        )
        for one in tree()
    }
    assert expected == rows()


def test_the_tree_stays_small():
    """At most 25 classes (STYLE), and two since: what follows differs where a ledger cannot be written to (nobody is asked) and
    where a budget cannot be asked (whoever costs nothing is).
    """
    assert 20 < len(list(tree())) <= 27


@pytest.mark.parametrize("kind", sorted(ABSTRACT, key=lambda one: one.__name__))
def test_the_abstract_refuse_construction(kind):
    """One raises a kind of failure, not failure as such."""
    with pytest.raises(TypeError, match=f"{kind.__name__} is abstract"):
        kind("what")


def test_only_the_abstract_have_no_code():
    """And no two classes share one."""
    codes = [one.code for one in tree() if one not in ABSTRACT]
    assert {one for one in tree() if not one.code} == ABSTRACT
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_no_error_comes_from_elsewhere():
    """Ours inherit from ours, up to Exception."""
    for one in tree():
        assert {errors.__name__, "builtins"} == {parent.__module__ for parent in one.__mro__}


def test_an_error_says_what_happened_and_what_to_do():
    """The message is the exception's text; the field at fault and the hint travel with it."""
    error = InvalidRequest("model is missing", param="model", retry_after_s=1.5)
    assert (str(error), error.message, error.param, error.retry_after_s) == (
        "model is missing",
        "model is missing",
        "model",
        1.5,
    )


def test_an_upstream_error_carries_who_and_what():
    """Who and which try are filled in by the engine; what the vendor said, by the provider."""
    error = UpstreamFault("broke", vendor_status=500, is_ambiguous=True, retry_after_s=2.0, body=b"oops")
    assert (
        error.vendor_status,
        error.is_ambiguous,
        error.retry_after_s,
        error.body,
        error.model,
        error.provider,
        error.attempt,
    ) == (500, True, 2.0, b"oops", "", "", 0)


def test_what_a_vendor_said_stands_apart():
    """It ends the message, which the client sees, and is not in what may be kept: it may quote the prompt."""
    error = UpstreamFault("broke (500)", words="cannot answer 'Dear Mette'")
    assert ("broke (500): cannot answer 'Dear Mette'", "broke (500)") == (error.message, error.plain)
    rejected = UpstreamRejected("refused (400)", vendor_status=400, words="'Dear Mette' is too long")
    assert ("refused (400): 'Dear Mette' is too long", "refused (400)") == (rejected.message, rejected.plain)
    assert "the model is missing" == InvalidRequest("the model is missing").plain


def test_a_stream_that_broke_off_tells_its_cause_without_the_vendors_words():
    """Its own message repeats the cause's, words and all."""
    cause = UpstreamFault("broke", words="'Dear Mette'")
    cut = StreamInterrupted(f"The answer broke off: {cause.message}")
    assert "The answer broke off" == cut.plain
    cut.__cause__ = cause
    assert "The answer broke off: broke" == cut.plain


def test_a_timeout_names_its_phase():
    """connect is safe to repeat, first_chunk is not."""
    error = UpstreamTimeout("slow", phase="first_chunk", is_ambiguous=True)
    assert (error.phase, error.is_ambiguous, error.status) == ("first_chunk", True, 504)


def test_a_rejection_has_the_vendors_status():
    """It reaches the client as it came."""
    error = UpstreamRejected("too long", vendor_status=413, body=b"{}", is_context_overflow=True)
    assert (error.status, error.vendor_status, error.is_context_overflow, error.body) == (413, 413, True, b"{}")


def test_a_config_error_has_every_problem():
    """One line each."""
    error = ConfigError(("a.yaml:1:1 x: wrong", "a.yaml:2:1 y: wrong"))
    assert (error.message, len(error.problems)) == ("a.yaml:1:1 x: wrong\na.yaml:2:1 y: wrong", 2)
