"""The admin route about kept prompts: one at a time, by its request, for admins; who reads one is in the audit trail."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.desk import admit, told
from turnout.core.sealing import Unreadable
from turnout.errors import InvalidRequest, StoreError
from turnout.gateway.service import Service


def prompt_routes(service: Service) -> list[Route]:
    """Return the routes of this file."""

    async def prompt(request: Request) -> Response:
        """GET /admin/prompts/REQUEST_ID: the prompt of a request, as it was kept."""
        by = admit(service, request, "admin")
        name = request.path_params["request_id"]
        await service.prompts.flush()
        kept = await service.prompts.show(by.actor, name)
        if kept is None:
            missing = InvalidRequest(
                "No prompt of that request is kept: they are kept where `privacy.prompts` says `redacted`, "
                "for `privacy.keep`.",
                param="request_id",
            )
            missing.status = 404
            raise missing
        if isinstance(kept, Unreadable):
            raise StoreError(f"The prompt of that request cannot be opened: {kept.why}.")
        return told(msgspec.structs.asdict(kept))

    return [Route("/admin/prompts/{request_id}", prompt, methods=["GET"])]
