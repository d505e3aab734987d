"""The admin route about limits: how they stand in the gateway that is asked."""

from __future__ import annotations

import asyncio
from heapq import nsmallest
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.desk import admit, told
from turnout.core.limit_view import LimitView
from turnout.gateway.service import Service

MOST: Final = 1_000
"""Names of one answer."""

AT_ONCE: Final = 500
"""Names that are looked at without giving the loop its turn: 3 ms."""


class LimitDesk:
    """The handler, over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def limits(self, request: Request) -> Response:
        """GET /admin/limits: every name that is counted now, or is limited by name; those with the least left first."""
        admit(self._service, request, "viewer")
        limiter, least, count = self._service.books.limiter, list[LimitView](), 0
        for view in limiter.views(self._service.clock.wall()):
            least.append(view)
            count += 1
            if count % AT_ONCE == 0:
                least = nsmallest(MOST, least, _by_left)
                await asyncio.sleep(0)
        return told({"limits": nsmallest(MOST, least, _by_left), "cut": count > MOST, "sharers": limiter.others})


def _by_left(view: LimitView) -> tuple[float, str, str]:
    return view.share_left, view.scope, view.who


def limit_routes(service: Service) -> list[Route]:
    """Return the routes of this file."""
    return [Route("/admin/limits", LimitDesk(service).limits, methods=["GET"])]
