"""What the desk's tests share: a gateway to ask, and a lead to ask about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.lead_desk.leads import Lead
from tests.examples.stub_gateway import Gateway, running


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A stub gateway on loopback."""
    with running() as made:
        yield made


@pytest.fixture
def lead() -> Lead:
    """An ordinary lead."""
    return Lead("7", "Jens-Ole Kjær", "jok@example.dk", "+45 86 12 00 11", "phone", "erhverv", "new", "Ringede i dag.")
