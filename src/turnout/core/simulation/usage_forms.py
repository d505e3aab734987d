"""Spells a usage: as a sound vendor does, or in one of the ways in which vendors have got it wrong.

Source: last row of the fault matrix (RELIABILITY §4.3).
"""

from __future__ import annotations

from collections.abc import Mapping

FORMS = ("negative", "float", "huge", "string", "absent", "twice", "twice-less")
"""The wrong ways. twice: the true count, then one three times as large; twice-less: then one of a third."""

Usage = dict[str, object]


def forms_of(form: str, counts: Mapping[str, int]) -> list[Usage]:
    """Return the usage objects to tell, in order: one for a sound vendor (form ""), none, one wrong, or two. O(1)."""
    sound: Usage = dict(counts)
    if form == "absent":
        return []
    if form == "negative":
        return [{name: -1 - value for name, value in counts.items()}]
    if form == "float":
        return [{name: value + 0.5 for name, value in counts.items()}]
    if form == "huge":
        return [dict.fromkeys(counts, 10**18)]
    if form == "string":
        return [{name: str(value) for name, value in counts.items()}]
    if form == "twice":
        return [sound, {name: value * 3 for name, value in counts.items()}]
    if form == "twice-less":
        return [sound, {name: value // 3 for name, value in counts.items()}]
    return [sound]
