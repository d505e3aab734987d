"""Tests of config/yaml_source.py."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.config.problems import Mark
from turnout.config.yaml_source import MAX_BYTES, Document, Items, Scalar, Table, empty, parse


def scalar(text: str, *path: str | int) -> Scalar:
    """The scalar at `path` of a YAML text that must be well."""
    document = parse(text.encode(), "t.yaml")
    assert document.problems == []
    node = document.find(path)
    assert isinstance(node, Scalar)
    return node


@pytest.mark.parametrize(
    "word", ["no", "NO", "yes", "on", "off", "0123", "0o17", "12:30", "2026-11-21", "1e3", "1_000"]
)
def test_yaml_1_1_surprises_stay_the_text_that_was_written(word: str) -> None:
    """Nothing is guessed: Norway stays Norway, a zip code keeps its zero, a time is no number of seconds."""
    assert word == scalar(f"a: {word}\n", "a").text


@pytest.mark.parametrize("word", ["", "~", "null", "Null", "NULL"])
def test_nothing_said_is_null_only_without_quotes(word: str) -> None:
    """The core schema's spellings of nothing; in quotes they are words."""
    assert scalar(f"a: {word}\n", "a").is_null
    assert not scalar(f"a: '{word}'\n", "a").is_null


def test_every_value_knows_its_place() -> None:
    """Lines and columns count from 1, for keys and for values, in both styles."""
    document = parse(b"a:\n  - x\n  - {b: y}\n", "t.yaml")
    assert document.mark(("a", 0)) == Mark(2, 5)
    assert document.mark(("a", 1, "b")) == Mark(3, 9)
    assert document.mark(("a", 1, "b"), of_key=True) == Mark(3, 6)
    assert isinstance(document.find(("a",)), Items)


def test_what_is_not_there_is_placed_at_the_key_around_it() -> None:
    """A missing key is reported where its table begins; with nothing around it, at the top."""
    document = parse(b"a:\n  b: {c: 1}\nd:\n", "t.yaml")
    assert document.mark(("a", "b", "x", 3)) == Mark(2, 3)
    assert document.mark(("d",)) == Mark(3, 1)
    assert document.mark(("zzz",)) == Mark(1, 1)
    assert not document.has("d")
    assert document.has("a", "b", "c")
    assert document.find(("a", 0)) is None


def test_a_merge_key_fills_in_what_the_table_does_not_say() -> None:
    """`<<` takes a table or several; the table's own words win, then the first that says it."""
    text = "x-a: &a {p: 1, q: 1}\nx-b: &b {q: 2, r: 2}\nt:\n  <<: [*a, *b]\n  p: 0\nu: {<<: *b}\n"
    assert scalar(text, "t", "p").text == "0"
    assert scalar(text, "t", "q").text == "1"
    assert scalar(text, "t", "r").text == "2"
    assert scalar(text, "u", "r").text == "2"
    assert scalar('t: {"<<": {a: 1}}\n', "t", "<<", "a").text == "1"


def test_an_alias_is_the_value_it_names() -> None:
    """An alias gives the anchored value, with the anchor's place."""
    document = parse(b"a: &x [1, 2]\nb: *x\nc: &y z\nd: *y\n", "t.yaml")
    assert document.find(("b", 1)) == document.find(("a", 1))
    assert document.mark(("b", 1)) == Mark(1, 11)
    assert document.find(("d",)) == Scalar(Mark(3, 4), "z", is_plain=True)


def test_an_explicit_string_is_no_null() -> None:
    """`!!str` is the one tag that says something: the text is meant."""
    assert not scalar("a: !!str null\n", "a").is_null


def test_problems_before_a_syntax_error_are_told_too() -> None:
    """A duplicate key and, later, a broken line: both are named, and the document counts as not read."""
    document = parse(b"a: 1\na: 2\nb: [\n", "t.yaml")
    assert [str(one)[:9] for one in document.problems] == ["t.yaml:2:", "t.yaml:4:"]
    assert not document.is_whole
    assert document.root == Table(Mark(1, 1), {})


def test_an_empty_file_says_nothing() -> None:
    """No text, only comments, or a lone null: a whole document without entries. A byte order mark does not count."""
    for text in (b"", b"# nothing\n", b"---\n", b"~\n", b"\xef\xbb\xbf"):
        assert parse(text, "t.yaml") == empty("t.yaml")
    assert parse(b"\xef\xbb\xbfa: 1\n", "t.yaml").mark(("a",)) == Mark(1, 4)


def test_nesting_and_size_are_bounded_and_refused_quickly() -> None:
    """A deep text, a text that would grow without end, and a text beyond 1 MB: each one problem, soon (0.2 s on an idle machine)."""
    levels = "".join(f"x-{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else 'x'}]\n" for i in range(30))
    wide = "x: [" + "a," * 200_000 + "]"
    for text in ("[" * 100_000, "a: " + "{b: " * 1000, levels, wide, "a" * (MAX_BYTES + 1)):
        began = time.process_time()
        document = parse(text.encode(), "t.yaml")
        assert len(document.problems) == 1
        assert not document.is_whole
        assert time.process_time() - began < 5


def test_keys_that_are_no_names_are_skipped_and_told() -> None:
    """Reading goes on after a key that is a list, and after an empty one."""
    document = parse(b"? [a]\n: 1\n'': 2\nb: 3\n", "t.yaml")
    assert len(document.problems) == 2
    assert list(document.root.entries) == ["b"]


def test_a_syntax_error_in_other_words_is_told_as_libyaml_tells_it() -> None:
    """Where no better cause is known, the parser's own words stand."""
    (problem,) = parse(b"a: *\n", "t.yaml").problems
    assert str(problem).startswith("t.yaml:1:5 a: did not find expected alphabetic")
    (problem,) = parse(b"%YAML 3.0\n---\na: 1\n", "t.yaml").problems
    assert str(problem) == "t.yaml:1:1: found incompatible YAML document"


def test_leaves_lists_every_key_with_its_place() -> None:
    """Tables are walked, lists are leaves; each path comes once."""
    document = parse(b"a: {b: [1], c: {d: 1}}\n", "t.yaml")
    assert sorted(document.leaves()) == [
        (("a",), Mark(1, 1)),
        (("a", "b"), Mark(1, 5)),
        (("a", "c"), Mark(1, 13)),
        (("a", "c", "d"), Mark(1, 17)),
    ]


YAML_BITS = st.sampled_from(
    [
        "a",
        "b",
        ": ",
        ":",
        "\n",
        "  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&x ",
        "*x",
        "<<",
        "!t ",
        "'",
        '"',
        "#",
        "|\n",
        ">",
        "? ",
        "\t",
        "---\n",
        "~",
        "%",
        "@",
        "\u2028",
        "é",
    ]
)


def check(document: Document) -> None:
    """What holds for any input: a place in every problem, and no tree after a text that could not be read."""
    assert document.is_whole or document.problems
    assert all(one.mark is not None and one.mark >= (1, 1) for one in document.problems)
    assert "\n" not in "".join(map(str, document.problems))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No input raises."""
    check(parse(data, "t.yaml"))


@given(st.lists(YAML_BITS, max_size=40))
def test_any_pieces_of_yaml_are_read_or_refused(bits: list[str]) -> None:
    """No arrangement of YAML's own signs raises."""
    check(parse("".join(bits).encode(), "t.yaml"))


def test_a_text_prints_its_place_alone() -> None:
    """It may be a key."""
    document = parse(b"server: {master_key: a-secret, port: [a-secret]}", "t.yaml")
    assert "a-secret" not in f"{document!r} {document}"
    assert "Scalar(1:22)" in repr(document)
