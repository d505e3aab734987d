"""Options of the numbered tests, and the fixture for tests over the whole gateway."""

from __future__ import annotations

import pytest

from tests.contracts.databases import database, databases, postgres_server, postgres_template
from tests.rig import Rig

__all__ = ["database", "databases", "postgres_server", "postgres_template", "rig"]


def pytest_addoption(parser):
    """What `make prove` sets (scripts/prove.py); an ordinary run needs none of them."""
    group = parser.getgroup("proof")
    group.addoption("--full", action="store_true", help="the numbered tests in their full size")
    group.addoption("--seed", type=int, help="replay the numbered tests' randomness")
    group.addoption("--proof", metavar="FILE", help="write what the numbered tests measured, one JSON object a line")


@pytest.fixture
async def rig(tmp_path):
    """A gateway over an instantaneous simulated vendor, with the config of tests/rig.py."""
    async with Rig(tmp_path) as running:
        yield running
