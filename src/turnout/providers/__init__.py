"""Collects the vendors' wire protocols: every module here exports one PROVIDER, found by its file name.

To add a provider with its own protocol: add one module here (and its test, and a fixtures folder). Out of tree: the
entry point group `turnout.providers`, read only when `installed()` is called. Vendors that speak the OpenAI API are rows
in compatible.toml, read by `vendors()`. The modules are pure and do not know each other.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from turnout.core.contracts import Provider
from turnout.providers.compatible import Vendor, vendors

__all__ = ["PROVIDERS", "Provider", "Vendor", "installed", "vendors"]


def _collect() -> Mapping[str, Provider]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return MappingProxyType({name: importlib.import_module(f"{__name__}.{name}").PROVIDER for name in names})


PROVIDERS: Mapping[str, Provider] = _collect()
"""The providers of this package by name."""


@cache
def installed() -> Mapping[str, Provider]:
    """Return PROVIDERS and those of other installed packages (which cannot replace ours), by name.

    Reads the metadata of every installed package and imports what it finds: once, when the process starts, so that no
    request to read the config again can load code (RELIABILITY R9, T97).
    """
    others = {point.name: point.load() for point in entry_points(group="turnout.providers")}
    return MappingProxyType({**others, **PROVIDERS})
