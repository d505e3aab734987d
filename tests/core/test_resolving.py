"""Types are ready when the program has started."""

import sys

import msgspec
import pytest

from turnout.core.resolving import resolve


def test_what_was_resolved_is_compiled_no_more():
    """The control is a type of which nothing was said: its annotations are compiled when it is first made."""

    class Ready(msgspec.Struct):
        a: "int | None"

    class Other(msgspec.Struct):
        a: "int | None"

    seen = []
    is_watching = True
    sys.addaudithook(lambda name, _: seen.append(name) if is_watching and name == "compile" else None)
    resolve(Ready)
    seen.clear()
    msgspec.convert({"a": 1}, Ready)
    assert [] == seen
    msgspec.convert({"a": 1}, Other)
    is_watching = False
    assert ["compile"] == seen


def test_an_annotation_that_names_nothing_is_found_at_once():
    """Not in the first request."""

    class Wrong(msgspec.Struct):
        a: "Nothing"  # noqa: F821 - that is the point

    with pytest.raises(NameError):
        resolve(Wrong)
