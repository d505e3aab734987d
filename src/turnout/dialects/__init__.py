"""Collects the clients' wire formats: every module here exports one DIALECT, found by its file name.

To add a dialect: add one module here (and its test). Out of tree: the entry point group `turnout.dialects`, read
once, when `installed()` is first called. The modules are pure and do not know each other.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from turnout.core.contracts import Dialect

__all__ = ["DIALECTS", "Dialect", "installed"]


def _collect() -> Mapping[str, Dialect]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return MappingProxyType({name: importlib.import_module(f"{__name__}.{name}").DIALECT for name in names})


DIALECTS: Mapping[str, Dialect] = _collect()
"""The dialects of this package by name."""


@cache
def installed() -> Mapping[str, Dialect]:
    """Return DIALECTS and those of other installed packages (which cannot replace ours), by name.

    Reads the metadata of every installed package and imports what it finds: once, when the process starts, so that no
    request to read the config again can load code (RELIABILITY R9, T97).
    """
    others = {point.name: point.load() for point in entry_points(group="turnout.dialects")}
    return MappingProxyType({**others, **DIALECTS})
