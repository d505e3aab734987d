"""Says what PostgreSQL's error codes mean for whoever runs a gateway: what to do, and whether the server may come back as it is.

Source: postgresql.org/docs/18/errcodes-appendix.html (2026-11); the first two characters are the class.
"""

from __future__ import annotations


def is_away(code: str) -> bool:
    """Whether the server cannot be asked now: no connection (08), no room or no connection left (53), stopping (57)."""
    return code.startswith(("08", "53", "57"))


def advice(code: str) -> str:
    """Return one sentence of what to do. code: five characters, "" for none."""
    if code.startswith("53"):
        return "The server has no room or no connection left."
    if code.startswith("28") or code == "42501":
        return "Its user may not do this: look at ledger.url and at the user's rights."
    if code == "3D000":
        return "Make that database first (createdb), or correct ledger.url."
    if code.startswith(("40", "55", "57")):
        return "It was busy or is restarting; what is not written is tried again."
    if code.startswith("08"):
        return "Is PostgreSQL running and reachable?"
    return "This is a mistake of Turnout's own: please report it."
