"""The admin routes about budgets: how they stand, and which alerts were raised of them."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.desk import admit, number_of, query_of, told
from turnout.core.books.alerts import alert_told
from turnout.core.books.budgets import standing_told
from turnout.gateway.service import Service

MOST: Final = 10_000
DEFAULT: Final = 1_000
"""Lines of one answer: at most, and unless told."""


class BudgetDesk:
    """The handlers, over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def budgets(self, request: Request) -> Response:
        """GET /admin/budgets: every budget in its period of now, the most used first; ?most=N."""
        admit(self._service, request, "viewer")
        found = await self._service.books.budgets.status(_most(request))
        return told({"budgets": [standing_told(one) for one in found]})

    async def alerts(self, request: Request) -> Response:
        """GET /admin/alerts: which marks were reached, the youngest first, and how telling them went; ?most=N."""
        admit(self._service, request, "viewer")
        found = await self._service.books.alerts.latest(_most(request))
        return told({"alerts": [alert_told(one) for one in found]})


def _most(request: Request) -> int:
    return number_of(query_of(request, "most"), "most", DEFAULT, least=1, most=MOST)


def budget_routes(service: Service) -> list[Route]:
    """Return the routes of this file."""
    desk = BudgetDesk(service)
    return [
        Route("/admin/budgets", desk.budgets, methods=["GET"]),
        Route("/admin/alerts", desk.alerts, methods=["GET"]),
    ]
