"""Fixtures for tests over the whole gateway."""

from __future__ import annotations

import pytest

from tests.rig import Rig


@pytest.fixture
async def rig(tmp_path):
    """A gateway over an instantaneous simulated vendor, with the config of tests/rig.py."""
    async with Rig(tmp_path) as running:
        yield running
