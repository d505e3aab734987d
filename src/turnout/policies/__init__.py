"""Collects the ways to order candidates: every module here exports one POLICY, found by its file name.

To add a policy: add one module here (and its test); the contract suite runs over it by itself. Out of tree: the entry
point group `turnout.policies`, read only when `installed()` is called. The modules are pure and do not know each other.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from turnout.core.contracts import Policy

__all__ = ["POLICIES", "Policy", "installed"]


def _collect() -> Mapping[str, Policy]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return MappingProxyType({name: importlib.import_module(f"{__name__}.{name}").POLICY for name in names})


POLICIES: Mapping[str, Policy] = _collect()
"""The policies of this package by name."""


@cache
def installed() -> Mapping[str, Policy]:
    """Return POLICIES and those of other installed packages (which cannot replace ours), by name.

    Reads the metadata of every installed package and imports what it finds: once, when the process starts, so that no
    request to read the config again can load code (RELIABILITY R9, T97).
    """
    others = {point.name: point.load() for point in entry_points(group="turnout.policies")}
    return MappingProxyType({**others, **POLICIES})
