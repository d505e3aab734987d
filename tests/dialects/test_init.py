"""Discovery: every module of the package is found by its file's name; other packages can add, not replace."""

import importlib
import pkgutil

import pytest

import turnout.dialects
from turnout.dialects import DIALECTS, installed


def test_every_module_exports_one_of_its_own_name():
    """Nothing to register, no list to extend."""
    modules = [module.name for module in pkgutil.iter_modules(turnout.dialects.__path__)]
    assert sorted(modules) == sorted(DIALECTS)
    for name in modules:
        assert name == importlib.import_module(f"turnout.dialects.{name}").DIALECT.name


def test_installed_has_ours():
    """Entry points are read when asked for; a name of ours stays ours."""
    assert all(installed()[name] is DIALECTS[name] for name in DIALECTS)


def test_the_collection_cannot_be_changed():
    """No mutable module-level state."""
    with pytest.raises(TypeError):
        DIALECTS["mine"] = None


def test_other_packages_are_looked_for_once():
    """No later call, whoever asks for the config to be read again, can load code (R9); and nobody can add to the result."""
    assert installed() is installed()
    with pytest.raises(TypeError):
        installed()["mine"] = None
