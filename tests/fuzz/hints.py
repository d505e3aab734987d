"""core/hints.py: whatever a vendor's headers say, we wait between nothing and five minutes, or they say nothing."""

from __future__ import annotations

from turnout.core.hints import CAP_S, retry_after_s

NOW = 1_795_254_000.0


def check(data: bytes) -> None:
    """Lines of `name: value`."""
    headers = {}
    for line in data.decode("latin-1").split("\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value
    delay = retry_after_s(headers, NOW)
    assert delay is None or 0.0 <= delay <= CAP_S, delay
