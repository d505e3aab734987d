"""Decides which known names a wrong name was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 100
"""Characters of a name that are looked at: the comparison is quadratic, and a request may hold any name."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return the known names most like `name`, best first; empty if none is near.

    name: as written, any length (only the first 100 characters count). n: at most so many, >= 1.
    Upper and lower case are the same. Equal likeness: by alphabet. Never raises. O(known names).
    Source: `difflib.get_close_matches`, whose cutoff of 0.6 is kept.
    """
    asked = name[:_LONGEST].lower()
    scored = []
    for one in set(known):
        matcher = difflib.SequenceMatcher(None, one[:_LONGEST].lower(), asked)
        if matcher.real_quick_ratio() >= 0.6 and matcher.quick_ratio() >= 0.6:
            scored.append((-matcher.ratio(), one))
    return [one for score, one in sorted(scored) if score <= -0.6][:n]
