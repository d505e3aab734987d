"""The admin routes about providers' stored keys. A key goes in and never comes out: answers hold its last four characters."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.desk import admit, read_body, told
from turnout.api.patterns import VISIBLE
from turnout.core.books.audit import Record
from turnout.core.secret import Secret
from turnout.errors import InvalidRequest
from turnout.gateway.people import By
from turnout.gateway.service import Service

MOST_CHARACTERS: Final = 4_096
"""As gateway/vault.py."""


class SetKey(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /admin/secrets/PROVIDER."""

    key: Annotated[
        str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": MOST_CHARACTERS, "pattern": VISIBLE})
    ]


_SET_KEY: Final = msgspec.json.Decoder(SetKey)


class SecretsDesk:
    """The handlers, over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def secrets(self, request: Request) -> Response:
        """GET /admin/secrets: which keys are stored, for which address, and whether each is used."""
        admit(self._service, request, "viewer")
        stored = self._service.vault.listed(self._service.snapshot)
        return told({"secrets": [msgspec.structs.asdict(key) for key in stored]})

    async def secret(self, request: Request) -> Response:
        """PUT /admin/secrets/PROVIDER: store its key for the address that it has now. DELETE: forget it."""
        by = admit(self._service, request, "admin")
        vault, provider = self._service.vault, request.path_params["provider"]
        if request.method == "DELETE":
            before = await vault.remove(provider, lambda was: self._row(by, "secret.delete", provider, was, ""))
            await self._service.following.read()
            return told({"provider": provider, "origin": before})
        key = Secret((await read_body(request, _SET_KEY)).key)
        account = self._service.snapshot.accounts.get(provider)
        if account is None:
            missing = InvalidRequest(f"There is no provider {provider[:100]!r} in the config.", param="provider")
            missing.status = 404
            raise missing
        origin = vault.origin(account)
        before = await vault.put(
            account, key, by.actor.name, lambda was: self._row(by, "secret.set", provider, was, origin)
        )
        await self._service.following.read()
        return told({"provider": provider, "origin": origin, "replaced": bool(before)})

    def _row(self, by: By, action: str, provider: str, before: str, after: str) -> Record:
        was, is_now = ({"origin": origin} if origin else None for origin in (before, after))
        return self._service.trail.record(by.actor, action, provider, before=was, after=is_now)


def secret_routes(service: Service) -> list[Route]:
    """Return the routes of this file."""
    desk = SecretsDesk(service)
    return [
        Route("/admin/secrets", desk.secrets, methods=["GET"]),
        Route("/admin/secrets/{provider}", desk.secret, methods=["PUT", "DELETE"]),
    ]
