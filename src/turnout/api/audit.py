"""The admin route about the audit trail: who changed or tried what, for admins. It looks; nothing in the trail can be changed."""

from __future__ import annotations

import json
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.desk import admit, number_of, query_of, told
from turnout.core.books.audit import Record, Wanted, latest
from turnout.gateway.service import Service

MOST: Final = 1_000
"""Rows in one answer: about 300 kB."""


def describe_row(seq: int, record: Record) -> dict[str, object]:
    """Return a row as JSON, what was before and after as what it is."""
    row = {"seq": seq, **msgspec.structs.asdict(record)}
    for name in ("before", "after"):
        row[name] = json.loads(str(row[name])) if row[name] else None
    return row


def audit_routes(service: Service) -> list[Route]:
    """Return the routes of this file."""

    async def trail(request: Request) -> Response:
        """GET /admin/audit: the newest rows; ?who=, ?what=, ?of=, ?outcome=, ?since_ms=, ?count= (100), ?below= to read on."""
        admit(service, request, "admin")
        asked = query_of(request, "who", "what", "of", "outcome", "since_ms", "count", "below")
        who, what, of, outcome = (asked.get(name, "") for name in ("who", "what", "of", "outcome"))
        wanted = Wanted(who, what, of, outcome, number_of(asked, "since_ms", 0))
        count, below = min(number_of(asked, "count", 100), MOST), number_of(asked, "below", 0)
        rows = await service.database.read(lambda: latest(wanted, count, below))
        return told({"rows": [describe_row(seq, record) for seq, record in rows]})

    return [Route("/admin/audit", trail, methods=["GET"])]
