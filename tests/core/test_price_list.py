"""core/price_list.py: which entry a model's id belongs to, and what it costs at an instant."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import Price
from turnout.core.price_list import Dated, Listed, PriceList, changes_at, price_at

A, B, C = Price(1), Price(2), Price(3)
HOUR = 3600


def at(text: str) -> float:
    """Unix seconds of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def of(**vendors: list[tuple[str, list]]) -> PriceList:
    """A list of entries that are told apart by their first price."""
    made = {
        name: tuple(Listed(id_, tuple(ids), (Dated(A),)) for id_, ids in entries) for name, entries in vendors.items()
    }
    return PriceList("source", date(2026, 11, 21), made, {"seller": ("maker",)})


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("gpt-4o", ["gpt-4o", "GPT-4o"], ["gpt-4o-mini", "xgpt-4o"]),
        ("gpt-4o*", ["gpt-4o", "gpt-4o-mini"], ["xgpt-4o"]),
        ("*-mini", ["gpt-4o-mini"], ["gpt-4o-mini-x"]),
        ("*4o*", ["gpt-4o-mini", "4o"], ["gpt-4"]),
        ("/^grok-[34]$/", ["grok-3"], ["grok-33"]),
        (("gemini*", "*flash*"), ["gemini-2-flash"], ["gemini-2", "x-flash"]),
    ],
)
def test_patterns(pattern, fits, fits_not):
    """Whole, beginning, end, part, expression, all of several; whatever the case."""
    known = of(v=[("m", [pattern])])
    assert all(known.find("v", one) for one in fits)
    assert not any(known.find("v", one) for one in fits_not)


def test_the_plain_id_wins_then_the_first():
    """A pattern of an earlier entry does not take what a later one names."""
    known = of(v=[("a", ["gpt*"]), ("b", ["gpt-4o"]), ("c", ["gpt-4*"])])
    assert ["b", "a"] == [known.find("v", one).id for one in ("gpt-4o", "gpt-4o-mini")]


def test_vendors_that_sell_others_models():
    """Their own entries first, then the makers'; a vendor that is not known has none."""
    known = of(seller=[("own", ["x"])], maker=[("other", ["x", "y"])])
    assert ["own", "other"] == [known.find("seller", one).id for one in ("x", "y")]
    assert None is known.find("seller", "z")
    assert None is known.find("nobody", "x")


def test_a_price_holds_from_its_day():
    """From midnight UTC; the last that holds counts."""
    prices = (Dated(A), Dated(B, since=date(2026, 11, 3)), Dated(C, since=date(2026, 11, 9)))
    assert [A, B, B, C] == [
        price_at(prices, at(one))
        for one in ("2026-11-02T23:59:59", "2026-11-03T00:00", "2026-11-08T23:59", "2026-11-09T00:00")
    ]
    assert [at("2026-11-03"), at("2026-11-09"), None] == [
        changes_at(prices, at(one)) for one in ("2026-10-01", "2026-11-03", "2026-11-09")
    ]
    assert None is changes_at((Dated(A),), 0.0)


def test_a_price_holds_in_a_part_of_the_day():
    """Also over midnight; the next edge is told."""
    prices = (Dated(A), Dated(B, daily=(HOUR, 4 * HOUR)), Dated(C, daily=(22 * HOUR, HOUR // 2)))
    assert [C, A, B, A, C] == [
        price_at(prices, at(f"2026-11-21T{one}")) for one in ("00:29", "00:30", "03:59", "04:00", "22:00")
    ]
    assert [at("2026-11-21T01:00"), at("2026-11-21T22:00"), at("2026-11-22T00:30")] == [
        changes_at(prices, at(f"2026-11-21T{one}")) for one in ("00:30", "04:00", "22:00")
    ]


def test_where_none_holds_the_first_does():
    """A list that begins in the future has a price already."""
    assert A == price_at((Dated(A, since=date(2030, 1, 1)), Dated(B, since=date(2031, 1, 1))), 0.0)


@given(st.integers(0, 10**6), st.tuples(st.integers(0, 86_399), st.integers(0, 86_399)), st.integers(0, 10))
def test_between_two_changes_the_price_stays(wall, daily, day):
    """So it is enough to look again when `changes_at` says."""
    prices = (Dated(A), Dated(B, since=date(1970, 1, 1 + day)), Dated(C, daily=daily))
    then = changes_at(prices, wall)
    assert then > wall
    assert {price_at(prices, wall)} == {price_at(prices, wall + part * (then - wall)) for part in (0.25, 0.5, 0.999)}
