"""What is said of PostgreSQL's error codes."""

from __future__ import annotations

import pytest

from turnout.core.books.sqlstates import advice, is_away


@pytest.mark.parametrize(
    ("code", "said", "away"),
    [
        ("53300", "no connection left", True),
        ("53100", "no room", True),
        ("28P01", "look at ledger.url", False),
        ("42501", "user's rights", False),
        ("3D000", "createdb", False),
        ("40001", "tried again", False),
        ("55P03", "tried again", False),
        ("57P01", "tried again", True),
        ("08006", "running and reachable", True),
        ("42601", "please report it", False),
        ("", "please report it", False),
    ],
)
def test_a_code_says_what_to_do(code, said, away):
    """And whether it is worth waiting."""
    assert said in advice(code)
    assert away == is_away(code)
