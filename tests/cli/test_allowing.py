"""Options that say what somebody is given or narrowed to."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import click
import pytest

from turnout.api.key_forms import BudgetForm, Ceiling, RatesForm
from turnout.cli.allowing import budgets_in, ceiling_in, grant_in, instant_in, rates_in, span_in

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "rates"),
    [
        ((), None),
        (("none",), None),
        (("rpm=5",), RatesForm(5)),
        (("tpm=7", "at-once = 2"), RatesForm(None, 7, 2)),
        (("requests_per_minute=5", "tokens-per-minute=6"), RatesForm(5, 6)),
    ],
)
def test_limits(written, rates):
    """By their short names or their long ones."""
    assert rates == rates_in(written)


@pytest.mark.parametrize("written", ["rpm", "rpm=x", "rpm=-1", "speed=5", "=5"])
def test_what_is_no_limit_is_told(written):
    """With what one looks like."""
    with pytest.raises(click.BadParameter, match="write rpm=100"):
        rates_in((written,))


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (("rpm=0",), "'rpm=0' is out of range, 1 to 1,000,000,000,000; what is to be shut is revoked or blocked"),
        (("at_once=00",), "out of range"),
        ((f"tpm={10**12 + 1}",), "out of range"),
        (("rpm=10", "rpm=20"), "rpm is said twice, 10 and 20"),
        (("rpm=10", "requests-per-minute=10"), "requests-per-minute is said twice, 10 and 10"),
        (("none", "rpm=10"), "or `none` alone"),
        (("none", "none"), "or `none` alone"),
    ],
)
def test_what_cannot_be_meant_by_a_limit_is_told(written, what):
    """0 would open what it should shut; of two numbers neither is the one that is meant."""
    with pytest.raises(click.BadParameter) as raised:
        rates_in(written)
    assert what in raised.value.message


def test_budgets():
    """Exactly; in a zone."""
    assert (BudgetForm(Decimal("0.1"), "day", "Europe/Copenhagen"),) == budgets_in(("0.1/day",), "Europe/Copenhagen")
    assert () == budgets_in(("none",), "UTC")
    for written, zone in (("10", "UTC"), ("10/year", "UTC"), ("10/day", "Mars/Olympus")):
        with pytest.raises(click.BadParameter):
            budgets_in((written,), zone)


@pytest.mark.parametrize(
    ("written", "ceiling"),
    [
        ("free", "free"),
        ("none", None),
        ("3/15", Ceiling(Decimal(3), Decimal(15))),
        ("0.5", Ceiling(Decimal("0.5"), Decimal("0.5"))),
    ],
)
def test_price_ceilings(written, ceiling):
    """One number is for both ways."""
    assert ceiling == ceiling_in(written)


def test_what_is_no_ceiling_is_told():
    """With what one looks like."""
    with pytest.raises(click.BadParameter, match="write free"):
        ceiling_in("cheap")


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("never", None),
        ("90s", datetime(2026, 11, 21, 12, 1, 30, tzinfo=UTC)),
        ("30d", datetime(2026, 12, 21, 12, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T15:04", datetime(2027, 1, 31, 15, 4, tzinfo=UTC)),
        ("2027-01-31T15:04+01:00", datetime(2027, 1, 31, 14, 4, tzinfo=UTC)),
    ],
)
def test_instants(written, instant):
    """UTC where no zone is said."""
    assert instant == instant_in(written, AT.timestamp())


def test_what_is_no_instant_is_told():
    """With what one looks like."""
    with pytest.raises(click.BadParameter, match="30d, 12h"):
        instant_in("tomorrow", AT.timestamp())


def test_spans():
    """At most thirty days."""
    assert (0, 600, 30 * 86_400) == (span_in("0"), span_in("10m"), span_in("30d"))
    for wrong in ("10", "31d", ""):
        with pytest.raises(click.BadParameter):
            span_in(wrong)


def test_a_grant_has_the_fields_that_something_is_said_of():
    """`any`, `none` and `never` take away; what is not said is not there."""
    assert {} == grant_in((), (), None, (), (), None)
    assert {
        "models": {"a", "b"},
        "tasks": set(),
        "price_ceiling": None,
        "regions": set(),
        "addresses": ("::1",),
        "expires_at": None,
    } == grant_in(("a", "b"), ("any",), "none", ("any",), ("any", "::1"), "never")
