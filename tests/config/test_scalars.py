"""Tests of config/scalars.py."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.config import scalars
from turnout.core.secret import Secret

READERS = (
    scalars.text,
    scalars.secret,
    scalars.name,
    scalars.account,
    scalars.boolean,
    scalars.whole(0, 10),
    scalars.number(0, 10),
    scalars.duration(0),
    scalars.size(1, 10),
    scalars.usd,
    scalars.choice("a", "b"),
    scalars.need,
    scalars.host,
    scalars.web_address,
    scalars.proxy_address,
    scalars.names_template,
    scalars.percent,
    scalars.share,
    scalars.allowance,
    scalars.keeping,
    scalars.day_start,
    scalars.valkey_address,
)


@pytest.mark.parametrize(
    ("read", "written", "expected"),
    [
        (scalars.text, "no", "no"),
        (scalars.text, "0123", "0123"),
        (scalars.secret, "0123", Secret("0123")),
        (scalars.name, "z-ai/glm-4.5-air:free", "z-ai/glm-4.5-air:free"),
        (scalars.account, "open_router-2.eu", "open_router-2.eu"),
        (scalars.boolean, "True", True),
        (scalars.boolean, "off", False),
        (scalars.whole(0, 200_000), "128_000", 128_000),
        (scalars.whole(0, 200), "0123", 123),
        (scalars.whole(-5, 5), "-5", -5),
        (scalars.number(0, 1), ".5", 0.5),
        (scalars.number(0, 1), "1.", 1.0),
        (scalars.duration(0), "30", 30.0),
        (scalars.duration(0), "500ms", 0.5),
        (scalars.duration(0), "2 m", 120.0),
        (scalars.duration(0), "1h", 3600.0),
        (scalars.size(0, 10**9), "65536", 65536),
        (scalars.size(0, 10**9), "10MiB", 10 * 1024 * 1024),
        (scalars.size(0, 10**9), "10 mb", 10_000_000),
        (scalars.usd, "0.15", 150),
        (scalars.usd, "0.25", 250),
        (scalars.usd, "0.02", 20),
        (scalars.usd, "2.50", 2500),
        (scalars.usd, "10", 10_000),
        (scalars.usd, "0.0010", 1),
        (scalars.usd, "0", 0),
        (scalars.choice("a", "b"), "b", "b"),
        (scalars.need, "tools", "tools"),
        (scalars.need, "danish", "danish"),
        (scalars.host, "0.0.0.0", "0.0.0.0"),
        (scalars.host, "::1", "::1"),
        (scalars.host, "my-host.example", "my-host.example"),
        (scalars.web_address, "http://127.0.0.1:11434/", "http://127.0.0.1:11434"),
        (scalars.web_address, "https://[::1]:8/v1", "https://[::1]:8/v1"),
        (scalars.proxy_address, "http://proxy:3128", "http://proxy:3128"),
        (scalars.names_template, "{provider}/{id}", "{provider}/{id}"),
        (scalars.percent, "12.5", 12.5),
        (scalars.percent, "10 %", 10.0),
        (scalars.share, "0.25", 0.25),
        (scalars.share, "25 %", 0.25),
        (scalars.share, "1", 1.0),
        (scalars.allowance, "1_000", 1000),
        (scalars.allowance, "none", 0),
        (scalars.keeping, "5m", 300.0),
        (scalars.keeping, "0", 0.0),
        (scalars.keeping, "none", 0.0),
        (scalars.day_start, "00:00", (0, "UTC")),
        (scalars.day_start, "7:30 UTC", (27_000, "UTC")),
        (scalars.day_start, "23:59 America/Los_Angeles", (86_340, "America/Los_Angeles")),
        (scalars.valkey_address, "redis://valkey:6379/0", "redis://valkey:6379/0"),
        (scalars.valkey_address, "rediss://u:p@h", "rediss://u:p@h"),
        (scalars.valkey_address, "unix:///run/valkey.sock", "unix:///run/valkey.sock"),
    ],
)
def test_reads_what_is_meant(read: Callable[[str], object], written: str, expected: object) -> None:
    """Each spelling that people use becomes the one value."""
    value = read(written)
    assert expected == value
    assert type(expected) is type(value)


@pytest.mark.parametrize(
    ("read", "written"),
    [
        (scalars.text, ""),
        (scalars.text, "a${B}"),
        (scalars.name, "a b"),
        (scalars.name, ""),
        (scalars.name, "task:x"),
        (scalars.name, "auto"),
        (scalars.name, "a" * 129),
        (scalars.name, "grøn"),
        (scalars.account, "a/b"),
        (scalars.account, "a@b"),
        (scalars.boolean, "1"),
        (scalars.whole(0, 10), "1.0"),
        (scalars.whole(0, 10), "١"),
        (scalars.whole(0, 10), "9" * 30),
        (scalars.number(0, 1), "nan"),
        (scalars.number(0, 1), "1e0"),
        (scalars.number(0, 1), "1.5"),
        (scalars.duration(0), "12:30"),
        (scalars.duration(0), "-1"),
        (scalars.duration(0), "2d"),
        (scalars.duration(0.001), "0"),
        (scalars.size(0, 10), "1XB"),
        (scalars.size(0, 10), "1.5MB"),
        (scalars.usd, "-1"),
        (scalars.usd, "1e-9"),
        (scalars.usd, "nan"),
        (scalars.usd, "1,5"),
        (scalars.usd, "9999999"),
        (scalars.choice("a"), "A"),
        (scalars.need, "jsno"),
        (scalars.need, "two words"),
        (scalars.host, "http://x"),
        (scalars.host, ""),
        (scalars.web_address, "localhost:4000"),
        (scalars.web_address, "http://"),
        (scalars.web_address, "http://x:0"),
        (scalars.web_address, "http://x:70000"),
        (scalars.web_address, "http://[x"),
        (scalars.web_address, "http://user@x"),
        (scalars.web_address, "http://x/?"),
        (scalars.web_address, "http://x/#a"),
        (scalars.web_address, "http://x/\\y"),
        (scalars.web_address, "http://søren/"),
        (scalars.proxy_address, "https://proxy:1"),
        (scalars.proxy_address, "http://proxy:1/x"),
        (scalars.names_template, "fixed"),
        (scalars.names_template, "{id!r}"),
        (scalars.names_template, "{id}{0}"),
        (scalars.percent, "101"),
        (scalars.percent, "-1"),
        (scalars.share, "25"),
        (scalars.share, "101 %"),
        (scalars.share, "much"),
        (scalars.allowance, "0"),
        (scalars.allowance, "-1"),
        (scalars.allowance, "1.5"),
        (scalars.keeping, "8d"),
        (scalars.keeping, "-1"),
        (scalars.day_start, "24:00"),
        (scalars.day_start, "midnight"),
        (scalars.day_start, "00:00 Mars/Base"),
        (scalars.day_start, "00:00 /etc/passwd"),
        (scalars.day_start, "00:00 Europe"),
        (scalars.valkey_address, "http://valkey:6379"),
        (scalars.valkey_address, "redis://valkey:0"),
        (scalars.valkey_address, "redis://valkey:99999"),
        (scalars.valkey_address, "redis://"),
        (scalars.valkey_address, "unix://"),
        (scalars.valkey_address, "redis://vålkey"),
        (scalars.valkey_address, "valkey:6379"),
    ],
)
def test_refuses_what_is_not_meant(read: Callable[[str], object], written: str) -> None:
    """Everything else is an error that says what was meant."""
    with pytest.raises(ValueError, match=r"\w{2,}.* .*\w{2,}"):
        read(written)


def test_a_price_finer_than_a_nano_dollar_says_so() -> None:
    """Money is whole nano-dollars a token; nothing is rounded behind anyone's back."""
    with pytest.raises(ValueError, match="no whole number of nano-dollars per token"):
        scalars.usd("0.0001")


@given(st.decimals(0, 999_999, places=3))
def test_money_is_exact(price: Decimal) -> None:
    """Any price in thousandths of a dollar per million tokens becomes that many nano-dollars, without a float's error."""
    assert int(price * 1000) == scalars.usd(f"{price:f}")


@given(st.sampled_from(READERS), st.text(max_size=30))
def test_any_text_is_read_or_refused(read: Callable[[str], object], written: str) -> None:
    """No reader raises anything but ValueError, or returns nothing."""
    with contextlib.suppress(ValueError):
        assert read(written) is not None


@pytest.mark.parametrize("address", ["http://u:canary@x", "http://x?k=canary", "ftp://canary", "http://canary:99999"])
def test_an_address_is_never_repeated(address: str) -> None:
    """A wrong address may hold a key, so its error does not."""
    for read in (scalars.web_address, scalars.valkey_address):
        with pytest.raises(ValueError, match=r"^(?!.*canary)"):
            read(address)
