"""Tests of config/secrets.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.config.environment import Environment
from turnout.config.secrets import Resolved, is_sendable, resolve
from turnout.core.secret import Secret

ENVIRONMENT = Environment({"A": "alpha", "B": "beta", "EMPTY": ""})


def resolved(text: str, folder: Path = Path()) -> Resolved:
    """What a text refers to."""
    return resolve(Secret(text), ENVIRONMENT, folder)


def test_takes_a_value_from_the_environment() -> None:
    """`${NAME}` may be all of it or parts of it; the origin names the variables."""
    assert resolved("${A}") == Resolved(Secret("alpha"), "A")
    assert resolved("x-${A}-${B}") == Resolved(Secret("x-alpha-beta"), "A, B")
    assert resolved("plain") == Resolved(Secret("plain"))
    assert resolved("$${A}$").secret == Secret("${A}$")


def test_a_value_from_the_environment_is_not_read_again() -> None:
    """What a variable holds is a value, not another reference."""
    environment = Environment({"A": "${B}", "B": "canary"})
    assert resolve(Secret("${A}"), environment, Path()).secret == Secret("${B}")


def test_takes_a_value_from_a_file(tmp_path: Path) -> None:
    """`file:` and a path, relative to the config's folder; the last line break does not count; the file is watched."""
    (tmp_path / "key").write_text("alpha\n")
    assert resolved("file:key", tmp_path) == Resolved(Secret("alpha"), f"file:{tmp_path / 'key'}", tmp_path / "key")
    assert resolved(f"file:{tmp_path / 'key'}").secret == Secret("alpha")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${C}", "the environment variable C is not set"),
        ("${EMPTY}", "the environment variable EMPTY is not set"),
        ("${}", "after `${`"),
        ("${a b}", "after `${`"),
        ("a${", "after `${`"),
        ("", "is empty"),
        (" ", "is empty"),
        ("file:nope", "the file 'nope' cannot be read: No such file"),
        ("file:.", "the file '.' is no regular file"),
        ("file:empty", "the file 'empty' is empty"),
        ("file:large", "the file 'large' is larger than 64 KiB"),
        ("file:binary", "the file 'binary' is no text"),
    ],
)
def test_says_what_cannot_be_resolved(text: str, expected: str, tmp_path: Path) -> None:
    """The variable or the file is named, never a value."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "large").write_text("x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"\w") as caught:
        resolved(text, tmp_path)
    assert str(caught.value).replace(f"{tmp_path}/", "").replace(str(tmp_path), ".").startswith(expected)


@given(st.text(alphabet="${}AB$file: ", max_size=20))
def test_any_text_is_resolved_or_refused(text: str) -> None:
    """Nothing but ValueError comes out, and no reference is left half done."""
    try:
        found = resolved(text)
    except ValueError:
        return
    assert found.secret


def test_tells_what_a_header_can_carry() -> None:
    """Visible ASCII without spaces."""
    assert is_sendable(Secret("sk-a_B.9~"))
    for text in ("", "a b", "a\nb", "a\r", "é", "a\0"):
        assert not is_sendable(Secret(text))
