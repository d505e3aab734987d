"""Names a lead, and reads leads from a file of JSON lines.

A lead comes from outside: each field is text, bounded, and shown or asked about, never acted on.
Source: FACTS §5 (fields, states).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

STATUSES: Final = ("new", "contacted", "qualified", "proposal", "won", "lost")
FIELD_CHARACTERS: Final = 2000
"""More than any form sends, less than would crowd the instructions out of a small model's window."""


class Lead(NamedTuple):
    """One enquiry. source: one of sources.SOURCES, "" if unknown. created: a date as it came."""

    id: str
    name: str
    email: str
    phone: str
    source: str
    service: str
    status: str
    notes: str
    created: str = ""


class LeadError(ValueError):
    """A file that holds no leads, or one that cannot be read: says where."""


def lead_of(line: str) -> Lead:
    """Read one JSON object. Raises ValueError with what is wrong; unknown members are passed over."""
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 every refusal here is one kind
    texts = {}
    for name in Lead._fields:
        value = fields.get(name, "")
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError(f"`{name}` is not text")  # noqa: TRY004 as above
        texts[name] = str(value).strip()[:FIELD_CHARACTERS]
    lead = Lead(**texts)
    if not lead.id:
        raise ValueError("no `id`")
    if lead.status not in STATUSES:
        raise ValueError(f"unknown status {lead.status!r}: one of {', '.join(STATUSES)}")
    return lead


def leads_of(lines: Iterable[str], where: str) -> list[Lead]:
    """Read JSON lines; empty ones are passed over. Raises LeadError with every bad line at once."""
    leads: dict[str, Lead] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            lead = lead_of(line)
        except ValueError as error:
            problems.append(f"{where}:{number}: {error}")
            continue
        if lead.id in leads:
            problems.append(f"{where}:{number}: id {lead.id} stands twice")
        leads[lead.id] = lead
    if problems:
        raise LeadError("\n".join(problems))
    return list(leads.values())


def read_leads(path: Path) -> list[Lead]:
    """Read a file of JSON lines. Raises LeadError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LeadError(f"{path}: {error}") from error
    # Not splitlines: U+2028 and its kin are characters in a note, not the ends of lines.
    leads = leads_of(text.split("\n"), str(path))
    if not leads:
        raise LeadError(f"{path}: no leads in it")
    return leads
