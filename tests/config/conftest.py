"""What the config tests share: a folder in which a text becomes a turnout.yaml, is loaded, and is found wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from turnout.config.environment import Environment
from turnout.config.load import Loaded, load
from turnout.core.catalog import Snapshot
from turnout.errors import ConfigError


class Folder:
    """A folder with one turnout.yaml."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str | bytes, name: str = "turnout.yaml") -> Path:
        """Put a file there."""
        path = self.path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(self, text: str | bytes, variables: Mapping[str, str] | None = None, *, ollama: bool = False) -> Loaded:
        """Load the text as the config."""
        return load(self.write(text), Environment(variables or {}), ollama=ollama)

    def snapshot(self, text: str | bytes, variables: Mapping[str, str] | None = None) -> Snapshot:
        """Load the text as the config and return what it came to."""
        return self.load(text, variables).snapshot

    def problems(self, text: str | bytes, variables: Mapping[str, str] | None = None) -> list[str]:
        """Every problem of the text, without the folder's name; empty if it is well."""
        try:
            self.load(text, variables)
        except ConfigError as error:
            return [one.replace(f"{self.path}/", "") for one in error.problems]
        return []


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path)
