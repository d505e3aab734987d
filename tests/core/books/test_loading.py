"""The statements of a Load, and which text is made storable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.books.loading import clean, copying, dropping, insert, names, numbered, whole
from turnout.core.books.statements import Load


def test_names_are_taken_apart():
    """The place is that of the unique column."""
    assert ("entry", ("a", "b_2"), 1) == names(Load("entry", ("a", "b_2"), [], "b_2"))


@pytest.mark.parametrize("name", ["", "a b", "a;b", "A", "1a", "a-b", 'a"', "a\n", "a" * 64, "ø", "_a"])
def test_anything_but_a_plain_name_is_refused(name):
    """As a table, as a column; and a unique column that is none of them."""
    with pytest.raises(ValueError, match="is no name of a table or a column"):
        names(Load(name, ("a",), [], "a"))
    with pytest.raises(ValueError, match="is no name of a table or a column"):
        names(Load("a", (name,), [], name))
    with pytest.raises(ValueError, match="not in tuple"):
        names(Load("a", ("b",), [], "c"))


def test_the_statement_binds_every_value():
    """One row, and several."""
    assert "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT (a) DO NOTHING" == insert("t", ("a", "b"), "a", 1)
    assert "INSERT INTO t (a) VALUES (?), (?), (?) ON CONFLICT (a) DO NOTHING" == insert("t", ("a",), "a", 3)


def test_copying_goes_over_a_table_of_its_own():
    """One for each set of columns, with a name that no table of ours has."""
    copied, made, taken = copying("t", ("a", "b"), "a")
    assert copied.startswith("load_")
    assert "CREATE TEMPORARY TABLE IF NOT EXISTS X ON COMMIT DELETE ROWS AS SELECT a, b FROM t WITH NO DATA" == (
        made.replace(copied, "X")
    )
    assert "INSERT INTO t (a, b) SELECT a, b FROM X ON CONFLICT (a) DO NOTHING RETURNING a" == taken.replace(
        copied, "X"
    )
    assert copied not in {
        copying("t", ("a",), "a")[0],
        copying("t", ("b", "a"), "a")[0],
        copying("u", ("a", "b"), "a")[0],
    }


def test_whole_tables_are_read_emptied_and_filled():
    """Of plain names only."""
    about = whole("t", ("a", "b"))
    assert "SELECT a, b FROM t" == about.read
    assert "DELETE FROM t" == about.empty
    assert "INSERT INTO t (a, b) VALUES (?, ?)" == about.fill
    assert "ALTER TABLE t DISABLE TRIGGER USER" == about.unguard
    assert "ALTER TABLE t ENABLE TRIGGER USER" == about.guard
    assert "DROP TRIGGER guard" == dropping("guard")
    for given_ in (lambda: whole("t;", ("a",)), lambda: whole("t", ("a b",)), lambda: dropping("x; y")):
        with pytest.raises(ValueError, match="no name"):
            given_()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SELECT 1", "SELECT 1"),
        ("a = ? AND b = ?", "a = $1 AND b = $2"),
        ("a = '?' AND b = ?", "a = '?' AND b = $1"),
        ("a = 'it''s ?' AND b = ? AND c = ''", "a = 'it''s ?' AND b = $1 AND c = ''"),
        ("?", "$1"),
        ("", ""),
    ],
)
def test_values_are_numbered(text, wanted):
    """Those in quotes are text."""
    assert wanted == numbered(text)


@given(st.lists(st.one_of(st.text(), st.binary(), st.integers(), st.floats(allow_nan=False), st.none())).map(tuple))
def test_what_is_storable_stays_the_same_object(values):
    """Every text without NUL and halves of surrogate pairs, and everything that is no text."""
    storable = tuple(value.replace("\x00", "") if isinstance(value, str) else value for value in values)
    assert clean(storable) is storable


@given(st.lists(st.characters(min_codepoint=0, max_codepoint=0xFFFF)).map("".join))
def test_cleaned_text_can_be_stored_and_keeps_its_length(text):
    """Characters that cannot be are replaced one by one; what stands beside it is untouched."""
    body, cleaned, number = clean((b"\x00", text, 1))
    assert (b"\x00", 1) == (body, number)
    assert isinstance(cleaned, str)
    assert b"\x00" not in cleaned.encode()
    assert [a if a.encode("utf-8", "ignore") and a != "\x00" else "\ufffd" for a in text] == list(cleaned)
