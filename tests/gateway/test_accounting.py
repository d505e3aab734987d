"""gateway/accounting.py: the books of a gateway that keeps none."""

from tests.gateway.lab import OK, Lab
from turnout.gateway.accounting import Unaccounted


async def test_without_books_everybody_is_served_and_nothing_is_told(tmp_path):
    """No header of limits or budgets, and nothing is reserved for an attempt."""
    lab = Lab(tmp_path, {"stub": [OK]}, accounting=Unaccounted())
    client = await lab.ask("task:paid")
    assert (200, None, None) == (client.status, lab.ended[0].held, lab.ended[0].attempts[0].reservation)
    assert not [name for name in client.headers if "limit" in name or "budget" in name]
