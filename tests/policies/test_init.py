"""policies/__init__.py: policies are found by their file's name."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import turnout.policies
from turnout.policies import POLICIES, installed


def test_every_module_exports_one_policy_of_its_own_name():
    """Nothing to register: a file is enough."""
    modules = [module.name for module in pkgutil.iter_modules(turnout.policies.__path__)]
    assert sorted(POLICIES) == sorted(modules)
    for name in modules:
        assert importlib.import_module(f"turnout.policies.{name}").POLICY.name == name


def test_the_policies_of_the_promise_are_there():
    """Issue: priority, weighted, least_busy, lowest_cost, lowest_latency."""
    assert {"priority", "weighted", "least_busy", "lowest_cost", "lowest_latency"} <= POLICIES.keys()


def test_nobody_can_add_to_them_at_run_time():
    """Discovery is the one way in."""
    with pytest.raises(TypeError):
        POLICIES["mine"] = POLICIES["priority"]  # type: ignore[index]


def test_installed_has_ours():
    """What other packages bring comes besides, and replaces none of ours."""
    assert POLICIES.items() <= dict(installed()).items()


def test_other_packages_are_looked_for_once():
    """No later call, whoever asks for the config to be read again, can load code (R9); and nobody can add to the result."""
    assert installed() is installed()
    with pytest.raises(TypeError):
        installed()["mine"] = POLICIES["priority"]  # type: ignore[index]
