"""Reads YAML text into a tree in which every value still knows its line and column, or says what is wrong with the text.

Rules: scalars stay the text that was written; the schema decides whether `no`, `0123` or `12:30` is a word, a number or
a time, so the guesses of YAML 1.1 never happen. Duplicate keys, tags, a second document, and text beyond the bounds are
problems. Anchors, aliases and merge keys (`<<`) work; what they would grow to is counted against a bound.
This file builds no value of any other type and imports nothing that a document could name.
Sources: YAML 1.2.2 §10.3 (core schema, from which `~`, `null` and nothing at all mean "not said"); RELIABILITY T74.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import msgspec
import yaml

from turnout.config.problems import Mark, Path, Problem, dotted, shown

MAX_BYTES = 1_000_000
_MAX_DEPTH = 32
_MAX_NODES = 100_000
"""Values in the tree, each alias counted as often as it is used. The shipped file has about 600."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class Scalar(msgspec.Struct):
    """Text as written. is_plain: without quotes and not a block."""

    mark: Mark
    text: str
    is_plain: bool

    @property
    def is_null(self) -> bool:
        """Whether nothing was said: `key:`, `~` or `null`."""
        return self.is_plain and self.text in _NULLS

    def __repr__(self) -> str:
        """Where it stands: what stands there may be a key."""
        return f"Scalar({self.mark.line}:{self.mark.column})"


class Items(msgspec.Struct):
    """A list."""

    mark: Mark
    nodes: list[Node]


class Entry(msgspec.Struct):
    """A key's place and its value."""

    mark: Mark
    node: Node


class Table(msgspec.Struct):
    """A mapping, in the order of the text."""

    mark: Mark
    entries: dict[str, Entry]


Node = Scalar | Items | Table


class Document(msgspec.Struct):
    """One file's tree. file: its name as problems show it. problems: of the text itself.

    is_whole: the text could be read to its end; if not, the root is empty and problems say why.
    """

    file: str
    root: Table
    problems: list[Problem]
    is_whole: bool = True

    def find(self, path: Path) -> Node | None:
        """The value at `path`, None if it is not there."""
        node: Node = self.root
        for part in path:
            if isinstance(part, int) and isinstance(node, Items) and part < len(node.nodes):
                node = node.nodes[part]
            elif isinstance(part, str) and isinstance(node, Table) and part in node.entries:
                node = node.entries[part].node
            else:
                return None
        return node

    def has(self, *path: str | int) -> bool:
        """Whether the file says something at `path`."""
        node = self.find(path)
        return node is not None and not (isinstance(node, Scalar) and node.is_null)

    def mark(self, path: Path, *, of_key: bool = False) -> Mark:
        """Where the value (or its key) stands; for what is not there, the key of the nearest thing around it."""
        while path:
            around, last = self.find(path[:-1]), path[-1]
            if isinstance(around, Table) and isinstance(last, str) and last in around.entries:
                entry = around.entries[last]
                is_value_there = not (isinstance(entry.node, Scalar) and entry.node.is_null)
                return entry.node.mark if is_value_there and not of_key else entry.mark
            node = self.find(path)
            if node is not None:
                return node.mark
            path, of_key = path[:-1], True
        return Mark(1, 1)

    def leaves(self) -> Iterator[tuple[Path, Mark]]:
        """Every value below the top with its path and its key's place, tables and lists included."""
        stack: list[tuple[Path, Node]] = [((), self.root)]
        while stack:
            path, node = stack.pop()
            if isinstance(node, Table):
                for key, entry in node.entries.items():
                    yield (*path, key), entry.mark
                    stack.append(((*path, key), entry.node))


def empty(file: str) -> Document:
    """A document that says nothing."""
    return Document(file, Table(Mark(1, 1), {}), [])


def parse(data: bytes, file: str) -> Document:
    """Read one YAML document.

    data: the file's bytes, UTF-8. file: its name, for problems. Never raises: `problems` says what is wrong.
    A text with a syntax error has one (the first; what follows has no meaning), besides duplicate keys before it.
    """
    document = empty(file)
    text = _text(data, document)
    if text is None:
        document.is_whole = False
    else:
        builder = _Builder(document)
        try:
            document.is_whole = all(builder.take(event) for event in yaml.parse(text, Loader=yaml.CSafeLoader))
        except yaml.MarkedYAMLError as error:
            document.is_whole = False
            document.problems.append(_syntax_problem(error, text, builder.path(), file))
        except yaml.reader.ReaderError as error:
            # The C reader counts in bytes of UTF-8.
            before = text.encode()[: error.position].decode(errors="ignore")
            what = f"the control character 0x{cast('int', error.character):02x} is not allowed, remove it"
            document.is_whole = False
            document.problems.append(Problem(file, _end(before), "", what))
    if not document.is_whole:
        document.root = Table(Mark(1, 1), {})
    return document


def _text(data: bytes, document: Document) -> str | None:
    """The text of the file; None after a problem."""
    if len(data) > MAX_BYTES:
        what = f"the file has {len(data):,} bytes or more, at most {MAX_BYTES:,} are read"
        document.problems.append(Problem(document.file, Mark(1, 1), "", what))
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace")
        what = f"the byte 0x{data[error.start]:02x} is no UTF-8, save the file as UTF-8"
        document.problems.append(Problem(document.file, _end(before), "", what))
        return None


def _end(text: str) -> Mark:
    """The place just after `text`."""
    return Mark(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, path: Path, file: str) -> Problem:
    """The words of libyaml, or better the usual cause."""
    what = str(error.problem)
    is_open = "unexpected end of stream" in what
    spot = cast("yaml.Mark", error.context_mark if is_open else error.problem_mark)
    lines = text.split("\n")
    line = lines[spot.line] if spot.line < len(lines) else ""
    character = line[spot.column : spot.column + 1]
    if "\t" in line[: spot.column + 1] or "tab character" in what:
        what = "a tab stands in the indentation, YAML takes only spaces"
    elif "cannot start any token" in what:
        what = f"a value cannot begin with {character or 'this'}, put it in quotes"
    elif "mapping values are not allowed" in what:
        what = "a second `: ` on one line, put the value in quotes or check the indentation"
    elif is_open:
        what = "a quote that begins here is never closed"
    elif "expected" in what:
        what += ", check the indentation, brackets and quotes of this and the line before"
    return Problem(file, Mark(spot.line + 1, spot.column + 1), dotted(path), what)


class _Frame(msgspec.Struct):
    """A list or a table that is still open. key: of the value that comes next. size: values so far."""

    node: Items | Table
    anchor: str | None
    key: Scalar | None = None
    merges: list[Table] = []
    size: int = 1


class _Builder:
    """Takes the parser's events one by one; says when to stop."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: list[_Frame] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._documents = 0
        self._count = 0

    def path(self) -> Path:
        """Where the next value will stand."""
        path: list[str | int] = []
        for frame in self._open:
            if isinstance(frame.node, Items):
                path.append(len(frame.node.nodes))
            elif frame.key is not None:
                path.append(frame.key.text)
        return tuple(path)

    def take(self, event: yaml.Event) -> bool:
        """Add one event; False if what follows must not be read."""
        assert event.start_mark is not None
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    return self._stop(mark, "a second document begins here, one file holds one configuration")
            case yaml.AliasEvent():
                return self._alias(str(event.anchor), mark)
            case yaml.ScalarEvent():
                self._check_tag(event, mark)
                scalar = Scalar(mark, event.value, is_plain=event.implicit[0])
                self._remember(event.anchor, scalar, 1)
                return self._is_within(1, mark) and self._place(scalar, 1)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._check_tag(event, mark)
                if len(self._open) >= _MAX_DEPTH:
                    return self._stop(mark, f"nested deeper than {_MAX_DEPTH} levels")
                if not self._is_within(1, mark):
                    return False
                is_list = isinstance(event, yaml.SequenceStartEvent)
                self._open.append(_Frame(Items(mark, []) if is_list else Table(mark, {}), event.anchor))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                frame = self._open.pop()
                self._merge(frame)
                self._remember(frame.anchor, frame.node, frame.size)
                return self._place(frame.node, frame.size)
            case _:
                pass
        return True

    def _problem(self, mark: Mark, message: str) -> None:
        self._document.problems.append(Problem(self._document.file, mark, dotted(self.path()), message))

    def _stop(self, mark: Mark, message: str) -> bool:
        self._problem(mark, message)
        return False

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, mark: Mark) -> None:
        if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:str"):
            self._problem(mark, "tags (`!…`) have no meaning here, write the value alone")

    def _remember(self, anchor: str | None, node: Node, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, size)

    def _alias(self, anchor: str, mark: Mark) -> bool:
        if any(frame.anchor == anchor for frame in self._open):
            return self._stop(mark, f"the anchor {shown(anchor)} holds itself")
        if anchor not in self._anchors:
            self._problem(mark, f"no anchor {shown(anchor)} stands before this, quote a text that begins with *")
            return self._place(Scalar(mark, "", is_plain=True), 1)
        node, size = self._anchors[anchor]
        return self._is_within(size, mark) and self._place(node, size)

    def _is_within(self, size: int, mark: Mark) -> bool:
        """Count what the tree has grown by."""
        self._count += size
        what = f"more than {_MAX_NODES:,} values, each alias counted as often as it is used"
        return self._count <= _MAX_NODES or self._stop(mark, what)

    def _place(self, node: Node, size: int) -> bool:
        """Put a finished value where it belongs."""
        if not self._open:
            return self._finish(node)
        frame = self._open[-1]
        frame.size += size
        if isinstance(frame.node, Items):
            frame.node.nodes.append(node)
        elif frame.key is None:
            self._key(frame, node)
        else:
            key, frame.key = frame.key, None
            self._entry(frame, key, node)
        return True

    def _key(self, frame: _Frame, node: Node) -> None:
        if isinstance(node, Scalar) and node.text:
            frame.key = node
        else:
            what = (
                "an empty key, write a name"
                if isinstance(node, Scalar)
                else "a key must be a name, not a list or table"
            )
            self._problem(node.mark, what)
            frame.key = Scalar(node.mark, "", is_plain=True)

    def _entry(self, frame: _Frame, key: Scalar, node: Node) -> None:
        assert isinstance(frame.node, Table)
        first = frame.node.entries.get(key.text)
        if key.text == "<<" and key.is_plain:
            tables = node.nodes if isinstance(node, Items) else [node]
            if not all(isinstance(one, Table) for one in tables):
                self._problem(node.mark, "`<<` takes a table or a list of tables")
            frame.merges = [*frame.merges, *(one for one in tables if isinstance(one, Table))]
        elif first is not None:
            frame.key = key
            self._problem(key.mark, f"duplicate key, first given at line {first.mark.line}")
            frame.key = None
        elif key.text:
            frame.node.entries[key.text] = Entry(key.mark, node)

    def _merge(self, frame: _Frame) -> None:
        """`<<`: what the table does not say itself, from the first table that does."""
        for table in frame.merges:
            assert isinstance(frame.node, Table)
            for key, entry in table.entries.items():
                frame.node.entries.setdefault(key, entry)

    def _finish(self, node: Node) -> bool:
        """The whole document is read."""
        if isinstance(node, Table):
            self._document.root = node
        elif not (isinstance(node, Scalar) and node.is_null):
            return self._stop(node.mark, "the file must be a table of `key: value` lines")
        return True
