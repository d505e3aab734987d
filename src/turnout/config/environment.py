"""Holds the process's environment as a value: the only reader of os.environ; and what time it is, for prices that have a day.

A variable that is set to nothing counts as not set (compose files pass `NAME=`), but for TURNOUT_MASTER_KEY, where
nothing would be a key. Values never print.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path


class Environment:
    """Variables by name; tests make one from a dict. wall: Unix seconds, where it is not to be this machine's time."""

    __slots__ = ("_variables", "_wall")

    def __init__(self, variables: Mapping[str, str], wall: float | None = None) -> None:
        self._variables = dict(variables)
        self._wall = wall

    @classmethod
    def of_process(cls) -> Environment:
        """What this process was started with."""
        return cls(os.environ)

    def get(self, name: str) -> str:
        """A variable's text, "" if it is not set."""
        return self._variables.get(name, "")

    def is_set(self, name: str) -> bool:
        """Whether the variable is there, even if it holds nothing."""
        return name in self._variables

    def beginning_with(self, prefix: str) -> list[str]:
        """Names of the variables that begin so and hold something, by alphabet."""
        return sorted(name for name, text in self._variables.items() if name.startswith(prefix) and text)

    @property
    def wall(self) -> float:
        """Unix seconds."""
        return time.time() if self._wall is None else self._wall

    @property
    def home(self) -> Path:
        """Where state is kept: TURNOUT_HOME, else ~/.turnout."""
        return self._path(self.get("TURNOUT_HOME") or "~/.turnout")

    @property
    def config(self) -> Path | None:
        """The file that TURNOUT_CONFIG names."""
        return self._path(self.get("TURNOUT_CONFIG")) if self.get("TURNOUT_CONFIG") else None

    def _path(self, text: str) -> Path:
        if text == "~" or text.startswith("~/"):
            return Path(self.get("HOME") or Path.home()) / text[2:]
        return Path(text)

    def __repr__(self) -> str:
        return f"Environment({len(self._variables)} variables)"
