"""Says how far the changes to who may ask have come: what a gateway compares to know that it must read them anew.

The table `change` has one row; whoever changes a key, a user or a grant moves its number in the same transaction.
"""

from __future__ import annotations

from turnout.core.books.statements import Sql, Steps


def latest() -> Steps[int]:
    """Return the number of the latest change, 0 before the first."""
    rows = yield Sql("SELECT coalesce(max(number), 0) FROM change")
    number = rows[0][0]
    assert isinstance(number, int)
    return number
