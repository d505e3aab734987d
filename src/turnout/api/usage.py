"""The admin route about what was used and what it cost."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.desk import admit, query_of, told
from turnout.core.books.usage import ALL_NAMES, asked, report_told, usage
from turnout.errors import InvalidRequest
from turnout.gateway.service import Service

QUERY = ("by", "from", "to", "zone", *ALL_NAMES)


class UsageDesk:
    """The handler, over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def usage(self, request: Request) -> Response:
        """GET /admin/usage: ?by=day,user&from=2026-11-01&to=2026-11-30&zone=Europe/Copenhagen, and ?user=anna for hers alone.

        ?session=S and ?by=session read the entries: they cost more, and take 31 days at most.
        """
        admit(self._service, request, "viewer")
        said = query_of(request, *QUERY)
        only = {name: said.get(name, "") for name in ALL_NAMES}
        try:
            by, since, until, zone = (said.get(name, "") for name in ("by", "from", "to", "zone"))
            wanted = asked(by, since, until, zone, only, self._service.clock.wall())
        except ValueError as error:
            raise InvalidRequest(str(error), param=str(error).partition(":")[0]) from error
        return told(report_told(wanted, await self._service.database.read(lambda: usage(wanted))))


def usage_routes(service: Service) -> list[Route]:
    """Return the routes of this file."""
    return [Route("/admin/usage", UsageDesk(service).usage, methods=["GET"])]
