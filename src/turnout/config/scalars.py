"""Reads one value's text as what the schema says it is: a number, a time, a size, a price, a name, an address.

Each function takes the text as written and returns the value, or raises ValueError with "what is wrong, what was meant".
Numbers are decimal: `0123` is 123, as in YAML 1.2. Money never passes through a float.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from turnout.config.problems import shown, suggestion
from turnout.core import vendor_day
from turnout.core.names import nearest
from turnout.core.secret import Secret

_MILLION_USD_NANO_STEP = 1_000
"""One USD per million tokens is 10^9 / 10^6 nano-dollars per token."""

_DURATION_S: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE_BYTES: Final = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
ABILITIES = ("tools", "vision", "json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})|[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9]+)?")


def text(written: str) -> str:
    """Any text; `${NAME}` is refused, because only keys and addresses may come from the environment."""
    if "${" in written:
        raise ValueError("${…} is read only in api_key and other secrets, and in addresses; write the value itself")
    if not written.strip():
        raise ValueError("is empty, write a text or leave the key out")
    return written


def secret(written: str) -> Secret:
    """A key, or a reference to one; resolved later."""
    return Secret(written)


def name(written: str) -> str:
    """A name for a model, route, task or alias."""
    if written == "auto" or written.startswith("task:"):
        raise ValueError(f"{shown(written)} has a meaning of its own in a request, use another name")
    if not _NAME.fullmatch(written):
        raise ValueError(f"{shown(written)} is no name, use letters, digits and . _ : / + - (128 at most)")
    return written


def account(written: str) -> str:
    """A name for a provider or a rollout: it also stands in candidate keys, metrics and variable names."""
    if not _ACCOUNT.fullmatch(written):
        raise ValueError(f"{shown(written)} is no name here, use letters, digits and . _ - (64 at most)")
    return written


def boolean(written: str) -> bool:
    """`true` or `false`; `yes`, `no`, `on`, `off` are understood where only a truth value makes sense."""
    value = _TRUTH.get(written.lower())
    if value is None:
        raise ValueError(f"{shown(written)} is neither true nor false")
    return value


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from low to high; `_` may group digits."""

    def read(written: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9][0-9_]{0,17}", written):
            raise ValueError(f"{shown(written)} is no whole number, expected {low:,} to {high:,}")
        value = int(written.replace("_", ""))
        if not low <= value <= high:
            raise ValueError(f"{value:,} is out of range, expected {low:,} to {high:,}")
        return value

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """A reader of numbers from low to high."""

    def read(written: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15})", written):
            raise ValueError(f"{shown(written)} is no number, expected {low:,.10g} to {high:,.10g}")
        value = float(written)
        if not low <= value <= high:
            raise ValueError(f"{written} is out of range, expected {low:,.10g} to {high:,.10g}")
        return value

    return read


def duration(low_s: float, high_s: float = 86_400.0) -> Callable[[str], float]:
    """A reader of times in seconds: `30`, `0.5`, `500ms`, `30s`, `2m`, `1h`."""

    def read(written: str) -> float:
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|)", written)
        if not match:
            raise ValueError(f"{shown(written)} is no time, write seconds or 500ms, 30s, 2m, 1h")
        value = float(match[1]) * _DURATION_S[match[2]]
        if not low_s <= value <= high_s:
            raise ValueError(f"{shown(written)} is out of range, expected {low_s:,.10g} to {high_s:,.10g} seconds")
        return value

    return read


def size(low: int, high: int) -> Callable[[str], int]:
    """A reader of sizes in bytes: `65536`, `64KiB`, `10MiB`, `10MB` (a million each)."""

    def read(written: str) -> int:
        match = re.fullmatch(r"([0-9]{1,15}) ?([A-Za-z]{0,3})", written)
        unit = _SIZE_BYTES.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise ValueError(f"{shown(written)} is no size, write bytes or 64KiB, 10MiB, 10MB")
        value = int(match[1]) * unit
        if not low <= value <= high:
            raise ValueError(f"{shown(written)} is out of range, expected {low:,} to {high:,} bytes")
        return value

    return read


def usd(written: str) -> int:
    """A price in USD per million tokens → nano-dollars per token, exactly."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,12})?|\.[0-9]{1,12}", written):
        raise ValueError(f"{shown(written)} is no price, write USD per million tokens, such as 0.15")
    nano = Decimal(written) * _MILLION_USD_NANO_STEP
    if nano != nano.to_integral_value():
        raise ValueError(
            f"{written} USD per million tokens is no whole number of nano-dollars per token, "
            "the smallest step is 0.001 (round it up)"
        )
    return int(nano)


def share(written: str) -> float:
    """A part of a whole, in [0, 1]: `0.25` or `25 %`; a bare 25 could be meant as either, so it is refused."""
    if written.endswith("%"):
        return percent(written) / 100
    try:
        return number(0, 1)(written)
    except ValueError as error:
        raise ValueError(f"{error} (or a percentage, such as 25 %)") from None


def allowance(written: str) -> int:
    """How much of something a vendor allows; `none` for no limit, which is 0 to us."""
    if written == "none":
        return 0
    try:
        return whole(1, 1_000_000_000_000)(written)
    except ValueError as error:
        raise ValueError(f"{error} (none: no limit)") from None


def keeping(written: str) -> float:
    """How long something is kept, seconds; `none` and 0: not at all."""
    if written == "none":
        return 0.0
    try:
        return duration(0, 7 * 86_400.0)(written)
    except ValueError as error:
        raise ValueError(f"{error} (none: not at all)") from None


def day_start(written: str) -> tuple[int, str]:
    """When a vendor's day begins: `HH:MM` and a zone of the tz database, UTC unless said → (seconds after midnight, zone)."""
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?: +([A-Za-z0-9_+/-]{1,64}))?", written)
    if not match:
        raise ValueError(f"{shown(written)} is no time of day, write 00:00 UTC or 00:00 America/Los_Angeles")
    zone = match[3] or "UTC"
    try:
        vendor_day.zone(zone)
    except (ValueError, OSError, KeyError):  # a path, a folder, a zone that is not there
        raise ValueError(
            f"{shown(zone)} is no time zone known on this machine, write one such as Europe/Copenhagen"
        ) from None
    return int(match[1]) * 3600 + int(match[2]) * 60, zone


def valkey_address(written: str) -> str:
    """Where a Valkey or Redis listens. The text is not repeated: it may hold a password."""
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        raise ValueError("is no address, write redis://HOST:PORT/0") from None
    if parts.scheme not in ("redis", "rediss", "unix") or port == 0:
        raise ValueError(
            "is no address, it must begin with redis:// or rediss:// (TLS) and a host, or unix:// and a path"
        )
    if not (parts.path if parts.scheme == "unix" else parts.hostname):
        raise ValueError("names no host, write redis://HOST:PORT/0 or unix:///PATH")
    if not written.isascii() or not written.isprintable() or " " in written:
        raise ValueError("holds a character that an address cannot have")
    return written


def choice(*words: str) -> Callable[[str], str]:
    """A reader of one of a few words."""

    def read(written: str) -> str:
        if written not in words:
            raise ValueError(f"{shown(written)} is not known here, {suggestion(written, words, 'expected one of')}")
        return written

    return read


def need(written: str) -> str:
    """What every request of a task asks for: an ability, or a label of the user's own (which filters nobody).

    A word that is nearly an ability is taken for a slip, not for a label.
    """
    near = nearest(written, ABILITIES, 1)
    if near and written not in ABILITIES:
        raise ValueError(f"{shown(written)} is not known here, did you mean '{near[0]}'?")
    return name(written)


def host(written: str) -> str:
    """A name or an address to listen on."""
    if not _HOST.fullmatch(written):
        raise ValueError(f"{shown(written)} is no host, write a name or an address without scheme and port")
    return written


def web_address(written: str) -> str:
    """A base URL: http or https, a host, no user, no query, no fragment. The text is not repeated: it may hold a key.

    Returns it without trailing slashes.
    """
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        raise ValueError("is no address, write http://HOST:PORT/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("is no address, it must begin with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or a password, put the key into api_key")
    if parts.query or parts.fragment or "?" in written or "#" in written:
        raise ValueError("holds a query or a fragment, write scheme, host, port and path alone")
    if not written.isascii() or not written.isprintable() or " " in written or "\\" in written:
        raise ValueError("holds a character that an address cannot have")
    return written.rstrip("/")


def proxy_address(written: str) -> str:
    """A proxy that understands CONNECT: http, a host, no path."""
    address = web_address(written)
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.path:
        raise ValueError("is no proxy address, write http://HOST:PORT")
    return address


def names_template(written: str) -> str:
    """How models of other accounts are called at this one: text with {id} and, if wanted, {provider}."""
    rest = written.replace("{provider}", "").replace("{id}", "")
    if "{id}" not in written or "{" in rest or "}" in rest:
        raise ValueError(f"{shown(written)} is no template, it must hold {{id}} and may hold {{provider}}")
    return text(written)


def percent(written: str) -> float:
    """0 to 100."""
    return number(0, 100)(written.removesuffix("%").rstrip())
