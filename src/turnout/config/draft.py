"""Holds what the parts of a build share: the user's file and the shipped one, the environment, and what was found out.

Which definition of a name stands is decided here. A model, route, task or alias of the user's file replaces the shipped
one of that name whole. The user's routes, tasks and aliases also replace a shipped route, task or alias of another kind
that has their name; a shipped model keeps its name (the shipped routes and tasks refer to it), so that is a problem.
Within one file a name means one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Final, Generic, Literal, TypeVar

import msgspec

from turnout.config import schema
from turnout.config.environment import Environment
from turnout.config.problems import Path, Problem, dotted, suggestion
from turnout.config.secrets import Resolved
from turnout.config.yaml_source import Document, Table
from turnout.providers import Vendor

Kind = Literal["models", "routes", "tasks", "aliases"]
_KINDS: tuple[Kind, ...] = ("models", "routes", "tasks", "aliases")
_ONE: Final = {"models": "a model", "routes": "a route", "tasks": "a task", "aliases": "an alias"}

T = TypeVar("T")


class Defined(msgspec.Struct, Generic[T]):
    """What a name stands for, and the document that says so."""

    name: str
    table: T
    document: Document
    is_shipped: bool


class Layer(msgspec.Struct):
    """One document and its reading."""

    document: Document
    table: schema.ConfigTable
    problems: list[Problem]


class Draft:
    """What is known while a Snapshot is being built."""

    def __init__(
        self, user: Layer, shipped: Layer, environment: Environment, folder: FilePath, vendors: Mapping[str, Vendor]
    ) -> None:
        self.user = user
        self.environment = environment
        self.folder = folder
        self.vendors = vendors
        self.problems: list[Problem] = [*shipped.problems, *user.problems]
        self.origins: dict[str, str] = {}
        self.notices: list[str] = []
        self.watched: list[FilePath] = []
        self.stale_at: float | None = None
        self._shipped = shipped
        self.kinds: dict[str, Kind] = {}
        self._mine: dict[str, Kind] = {}
        self._note_origins()
        self._name_everything()

    # ── what stands ──

    @property
    def models(self) -> dict[str, Defined[schema.ModelTable]]:
        """Every model that stands."""
        return self._standing("models", self._shipped.table.models, self.user.table.models)

    @property
    def routes(self) -> dict[str, Defined[schema.RouteTable]]:
        """Every route that stands."""
        return self._standing("routes", self._shipped.table.routes, self.user.table.routes)

    @property
    def tasks(self) -> dict[str, Defined[schema.TaskTable]]:
        """Every task that stands."""
        return self._standing("tasks", self._shipped.table.tasks, self.user.table.tasks)

    @property
    def aliases(self) -> dict[str, Defined[str]]:
        """Every alias that stands."""
        return self._standing("aliases", self._shipped.table.aliases, self.user.table.aliases)

    @property
    def known_models(self) -> Mapping[str, schema.ModelTable]:
        """The shipped models, standing or not: what is known about vendors' models."""
        return self._shipped.table.models or {}

    @property
    def fallbacks(self) -> tuple[schema.Texts, Document]:
        """The default fallbacks and where they are said."""
        layer = self.user if self.user.table.fallbacks is not None or self._is_bare else self._shipped
        return layer.table.fallbacks or [], layer.document

    @property
    def tiers(self) -> dict[str, schema.TierTable]:
        """Every tier: as the user's file says it, else as shipped."""
        shipped = {} if self._is_bare else self._shipped.table.tiers or {}
        return {**shipped, **(self.user.table.tiers or {})}

    @property
    def safe_tools(self) -> schema.Texts:
        """Tools whose call may be repeated: as the user's file says, else as shipped."""
        for layer in (self.user,) if self._is_bare else (self.user, self._shipped):
            if layer.table.cache is not None and layer.table.cache.safe_tools is not None:
                return layer.table.cache.safe_tools
        return []

    def _standing(
        self, kind: Kind, shipped: Mapping[str, T] | None, mine: Mapping[str, T] | None
    ) -> dict[str, Defined[T]]:
        standing = {
            name: Defined(name, table, self._shipped.document, is_shipped=True)
            for name, table in (shipped or {}).items()
            if self.kinds.get(name) == kind
        }
        for name, table in (mine or {}).items():
            standing[name] = Defined(name, table, self.user.document, is_shipped=False)
        return standing

    @property
    def _is_bare(self) -> bool:
        """Whether the user wants nothing shipped."""
        return self.user.table.defaults is False

    def _name_everything(self) -> None:
        """Decide what each name means; names of the user's that did not fit the schema count, so as not to be missed."""
        for kind in _KINDS:
            for name in self._written(kind, self.user.document):
                taken = self._mine.setdefault(name, kind)
                if taken != kind:
                    line = self.user.document.mark((taken, name), of_key=True).line
                    self.wrong(
                        (kind, name), f"the name is already {_ONE[taken]} (line {line}), use another", of_key=True
                    )
        self.kinds.update(self._mine)
        if self._is_bare:
            return
        for kind in _KINDS:
            for name in self._written(kind, self._shipped.document):
                if self._mine.get(name, kind) != kind and kind == "models":
                    what = "the name is already a shipped model, use another (or say `defaults: false`)"
                    self.wrong((self._mine[name], name), what, of_key=True)
                    self.kinds[name] = kind
                self.kinds.setdefault(name, kind)

    def _written(self, kind: Kind, document: Document) -> tuple[str, ...]:
        node = document.find((kind,))
        return tuple(node.entries) if isinstance(node, Table) else ()

    def written_providers(self) -> tuple[str, ...]:
        """The providers that the user's file names, whether or not they can be read."""
        node = self.user.document.find(("providers",))
        return tuple(node.entries) if isinstance(node, Table) else ()

    # ── what is found out ──

    def _note_origins(self) -> None:
        file = FilePath(self.user.document.file).name
        for path, mark in self.user.document.leaves():
            self.origins[dotted(path)] = f"{file}:{mark.line}"

    def wrong(self, path: Path, message: str, *, document: Document | None = None, of_key: bool = False) -> None:
        """Note a problem with the value (or key) at `path`. document: the user's file unless said."""
        document = document or self.user.document
        self.problems.append(Problem(document.file, document.mark(path, of_key=of_key), dotted(path), message))

    def has_problem(self, path: Path) -> bool:
        """Whether something at or below `path` in the user's file is wrong already: what follows from it is not said."""
        key = dotted(path)
        return any(one.key == key or one.key.startswith((f"{key}.", f"{key}[")) for one in self.problems)

    def note(self, path: Path, found: Resolved) -> None:
        """Remember where a resolved value came from, and the file to watch."""
        if found.origin:
            self.origins[dotted(path)] = found.origin
        if found.file is not None:
            self.watched.append(found.file)

    def wrong_variable(self, name: str, message: str) -> None:
        """Note a problem with an environment variable."""
        self.problems.append(Problem("", None, name, f"{message} (environment variable)"))

    def model_names(
        self, written: schema.Texts | Mapping[str, float], path: Path, document: Document, owner: str = ""
    ) -> list[str]:
        """The model names of a list or of weights; unknown ones, repeated ones and `owner` itself are problems."""
        names: list[str] = []
        for position, name in enumerate(written):
            if name is None:
                continue
            at = (*path, name if isinstance(written, Mapping) else position)
            kind = self.kinds.get(name)
            if name == owner:
                self.wrong(at, "contains itself, a cycle; remove it", document=document, of_key=True)
            elif name in names:
                self.wrong(at, f"'{name}' stands here twice, remove one", document=document, of_key=True)
            elif kind is None:
                known = [one for one, what in self.kinds.items() if what == "models"]
                self.wrong(
                    at,
                    f"unknown model '{name}', {suggestion(name, known, 'known models')}",
                    document=document,
                    of_key=True,
                )
            elif kind != "models":
                self.wrong(at, f"'{name}' is {_ONE[kind]}, models are named here", document=document, of_key=True)
            else:
                names.append(name)
        return names
