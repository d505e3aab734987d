"""Reads a YAML tree as the schema's structs, and names every key and value that does not fit, all at once.

Rules: a value that does not fit is a problem and counts as not said, so that reading goes on; a table without a key
that it must have is a problem too. Nothing said (`key:`, `null`) is the same as leaving the key out. No value of a
secret's type is ever repeated in a problem.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from turnout.config import schema
from turnout.config.problems import Mark, Path, Problem, dotted, suggestion
from turnout.config.yaml_source import Document, Items, Node, Scalar, Table

_UNREAD = object()
"""Returned for a value that did not fit; the problem is noted."""

_KINDS: Mapping[type, str] = {Scalar: "a single value", Items: "a list", Table: "a table of `key: value`"}


class Reader:
    """Reads one document. problems: in the order found."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.problems: list[Problem] = []

    def read(self) -> schema.ConfigTable:
        """The whole document; what did not fit is None there and a problem here."""
        table = self._table(self._document.root, schema.ConfigTable, ())
        assert isinstance(table, schema.ConfigTable)
        return table

    def _wrong(self, mark: Mark, path: Path, message: str) -> object:
        self.problems.append(Problem(self._document.file, mark, dotted(path), message))
        return _UNREAD

    def _value(self, node: Node, hint: Any, path: Path) -> object:
        """One value of a type that may be a choice between a scalar, a list and a table."""
        arms = [arm for arm in _arms(hint) if arm is not types.NoneType]
        for arm in arms:
            if isinstance(node, _shape(arm)):
                return self._fitting(node, arm, path)
        expected = " or ".join(_expected(arm) for arm in arms)
        return self._wrong(node.mark, path, f"{_KINDS[type(node)]} stands here, expected {expected}")

    def _fitting(self, node: Node, arm: Any, path: Path) -> object:
        """A value whose shape fits the type."""
        match node:
            case Scalar():
                return self._scalar(node, arm, path)
            case Items():
                (item,) = get_args(arm)
                values = (self._item(one, item, (*path, i)) for i, one in enumerate(node.nodes))
                return [None if value is _UNREAD else value for value in values]
            case Table():
                if get_origin(arm) is dict:
                    return self._named(node, arm, path)
                return self._table(node, arm, path)

    def _item(self, node: Node, hint: Any, path: Path) -> object:
        if isinstance(node, Scalar) and node.is_null:
            return self._wrong(node.mark, path, "is empty, write a value or remove the dash")
        return self._value(node, hint, path)

    def _scalar(self, node: Scalar, arm: Any, path: Path) -> object:
        leaf = _leaf(arm)
        try:
            return leaf.read(node.text)
        except ValueError as error:
            return self._wrong(node.mark, path, str(error))

    def _named(self, node: Table, arm: Any, path: Path) -> dict[str, object]:
        """A table whose keys are names of the user's."""
        key_hint, value_hint = get_args(arm)
        is_table = _shape(value_hint) is Table
        values: dict[str, object] = {}
        for key, entry in node.entries.items():
            at = (*path, key)
            if get_origin(key_hint) is Annotated:
                self._scalar(Scalar(entry.mark, key, is_plain=True), key_hint, at)
            one = entry.node
            if isinstance(one, Scalar) and one.is_null:
                if not is_table:
                    self._wrong(entry.mark, at, "has no value, write one or remove the key")
                    continue
                one = Table(entry.mark, {})
            value = self._value(one, value_hint, at)
            if value is not _UNREAD:
                values[key] = value
        return values

    def _table(self, node: Table, struct: Any, path: Path) -> Any:
        """A table of known keys."""
        hints = _hints_of(struct)
        values = {}
        for key, entry in node.entries.items():
            if key not in hints:
                if path or not key.startswith("x-"):
                    self._unknown(key, entry.mark, tuple(hints), path)
            elif not (isinstance(entry.node, Scalar) and entry.node.is_null):
                value = self._value(entry.node, hints[key], (*path, key))
                if value is not _UNREAD:
                    values[key] = value
        for key in struct.REQUIRED:
            if not self._document.has(*path, key):
                mark = self._document.mark(path, of_key=True)
                self._wrong(mark, path, f"the key '{key}' is missing")
        return struct(**values)

    def _unknown(self, key: str, mark: Mark, known: tuple[str, ...], path: Path) -> None:
        """An unknown key. What follows a colon in it is not repeated: `api_key:sk-…` without a space is one long key."""
        name = re.match(r"[\w-]{0,40}", key)
        assert name is not None
        if name[0] == key:
            self._wrong(mark, (*path, key), f"unknown key, {suggestion(key, known, 'known keys')}")
        elif key[name.end()] == ":" and name[0] in known:
            self._wrong(mark, (*path, name[0]), "a space is missing after the colon")
        else:
            self._wrong(mark, (*path, name[0] + "…"), f"unknown key, {suggestion('', known, 'known keys')}")


@cache
def _hints_of(struct: Any) -> Mapping[str, Any]:
    """The types of a table's keys. Evaluated once: it is code, and after the start none is compiled (RELIABILITY T97)."""
    hints = get_type_hints(struct, include_extras=True)
    return {key: hints[key] for key in struct.__struct_fields__}


def _arms(hint: Any) -> tuple[Any, ...]:
    """The members of a choice of types; a type alone is a choice of one."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _shape(arm: Any) -> type:
    """What kind of node a type is read from."""
    origin = get_origin(arm)
    if origin is Annotated:
        return Scalar
    return Items if origin is list else Table


def _leaf(arm: Any) -> schema.Leaf:
    """How a scalar type is read."""
    return next(extra for extra in arm.__metadata__ if isinstance(extra, schema.Leaf))


def _expected(arm: Any) -> str:
    """A type in words."""
    shape = _shape(arm)
    if shape is not Scalar:
        return _KINDS[shape]
    inner = arm.__origin__
    if get_origin(inner) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(inner))
    return _KINDS[Scalar]
