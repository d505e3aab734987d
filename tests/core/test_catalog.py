"""core/catalog.py: what a running gateway knows."""

from __future__ import annotations

import msgspec
import pytest

from turnout.core.catalog import FREE, Account, BreakerRule, Model, Price, RetryRule, Server, Timeouts
from turnout.core.secret import Secret


def test_a_secret_never_prints():
    """Not by itself, not in what holds it, not in a format."""
    account = Account("openai", "compatible", api_key=Secret("sk-very-secret"))
    secret = account.api_key
    assert secret is not None
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", repr(account), str([secret])):
        assert "very" not in text
    assert repr(secret) == "***"


def test_a_secret_does_not_get_into_json_by_itself():
    """Whoever wants it written must reveal it."""
    with pytest.raises(TypeError):
        msgspec.json.encode(Account("openai", "compatible", api_key=Secret("sk-very-secret")))


@pytest.mark.parametrize(
    ("price", "is_free"),
    [
        (FREE, True),
        (Price(0, 0, 0, 0), True),
        (Price(1), False),
        (Price(0, 1), False),
        (Price(0, 0, 1), False),
        (Price(0, 0, 0, 1), False),
        (Price(cache_write_1h_input=1), False),
        (Price(image_input=1), False),
        (Price(reasoning_output=1), False),
        (Price(image_output=1), False),
        (Price(longer=((1000, Price(1)),)), False),
    ],
)
def test_free_means_that_nothing_costs(price, is_free):
    """No side, no cache."""
    assert is_free == price.is_free


def test_what_the_config_says_does_not_change():
    """Frozen: a request keeps the config that it began with."""
    for value, field in ((Model("m", "p", "id"), "name"), (FREE, "input"), (Server(), "port")):
        with pytest.raises(AttributeError):
            setattr(value, field, getattr(value, field))


def test_the_defaults_are_the_promises():
    """RELIABILITY A1, A2, A4; FACTS §1 and §3; DESIGN §7."""
    assert Timeouts(5.0, 60.0, 60.0, 600.0) == Timeouts()
    assert BreakerRule(5, 30.0, 300.0) == BreakerRule()
    assert RetryRule(2, 0.5, 8.0, 0.2, 3, retry_ambiguous=True) == RetryRule()
    assert (Server().host, Server().port, Server().bounds.body_bytes, Server().bounds.json_depth) == (
        "127.0.0.1",
        4000,
        10 * 1024 * 1024,
        64,
    )


@pytest.mark.parametrize(("left_s", "total_s"), [(1000.0, 600.0), (7.5, 7.5), (0.0, 0.001), (-3.0, 0.001)])
def test_an_attempt_has_no_more_time_than_the_request(left_s, total_s):
    """The other phases stay; no time at all is a millisecond, since zero would mean no timer."""
    assert Timeouts(total_s=total_s) == Timeouts().within(left_s)


def test_the_dearest_token_of_each_side():
    """Of any kind; of what is not priced apart, the side's own."""
    price = Price(3, 15, 1, 4, 6, image_input=2, reasoning_output=20, image_output=18)
    assert (6, 20) == (price.dearest_input, price.dearest_output)
    assert (3, 15) == (Price(3, 15).dearest_input, Price(3, 15, 1).dearest_output)
