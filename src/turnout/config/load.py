"""Loads a configuration: finds the file, reads it and the shipped one, builds the Snapshot; all of it or a ConfigError."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import msgspec

from turnout.config.build import build
from turnout.config.draft import Draft, Layer
from turnout.config.environment import Environment
from turnout.config.files import read_small
from turnout.config.problems import refuse
from turnout.config.reading import Reader
from turnout.config.yaml_source import MAX_BYTES, Document, empty, parse
from turnout.core.catalog import Snapshot
from turnout.errors import ConfigError
from turnout.providers import vendors

USUAL = Path("turnout.yaml")


class Loaded(msgspec.Struct, frozen=True):
    """A configuration, and what to tell about it.

    notices: a line each, for the start's log. watched_files: what to load again for when it changes: the config file,
    files that hold keys, certificates. ollama: whether a local Ollama was said to answer.
    stale_at: Unix seconds from which it has to be loaded again, because a vendor's price changes then; None for never.
    """

    snapshot: Snapshot
    notices: tuple[str, ...] = ()
    watched_files: tuple[Path, ...] = ()
    ollama: bool = False
    stale_at: float | None = None


def find_config(given: Path | None, environment: Environment) -> Path | None:
    """The file to load: as given, else TURNOUT_CONFIG, else ./turnout.yaml if it is there, else None for the defaults."""
    return given or environment.config or (USUAL if USUAL.exists() else None)


def load(path: Path | None, environment: Environment, *, ollama: bool = False) -> Loaded:
    """Load `path`, or the defaults alone. ollama: a local Ollama answers, so it is configured unasked.

    About 25 ms. Raises ConfigError with every problem; reads the file once, so what is checked is what is used.
    """
    document = empty("") if path is None else parse(_read(path), str(path))
    if not document.is_whole:
        refuse(document.problems)
    folder = Path() if path is None else path.parent
    draft = Draft(_layer(document), _layer(shipped()), environment, folder, vendors())
    snapshot = build(draft, answering=("ollama",) if ollama else ())
    watched = (() if path is None else (path,)) + tuple(draft.watched)
    return Loaded(snapshot, tuple(draft.notices), watched, ollama, draft.stale_at)


def shipped() -> Document:
    """The models, tasks and routes that come with Turnout."""
    data = pkgutil.get_data("turnout.config", "defaults.yaml")
    assert data is not None
    return parse(data, "turnout/config/defaults.yaml")


def _layer(document: Document) -> Layer:
    reader = Reader(document)
    return Layer(document, reader.read(), [*document.problems, *reader.problems])


def _read(path: Path) -> bytes:
    try:
        return read_small(path, MAX_BYTES)
    except ValueError as error:
        raise ConfigError((f"{path}: {error}; expected a YAML file, `turnout init` writes a first one",)) from None
