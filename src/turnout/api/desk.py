"""What every admin handler begins and ends with: who asks and whether they may, a body of an explicit schema, an answer.

A body that is no JSON is a 400; one that has a field which the route does not take, or a value that it cannot have, is a 422,
and nothing is changed (RELIABILITY §2.1, mass assignment). Whoever is refused is noted in the audit trail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from turnout.api.auth import address_of, authenticate, known, require
from turnout.core.principal import Principal, Role
from turnout.errors import GatewayError, InvalidRequest, RequestTooLarge
from turnout.gateway.audit import Actor
from turnout.gateway.people import By
from turnout.gateway.service import Service

BODY_BYTES: Final = 64 * 1024
"""An admin body is a few numbers and names."""

DIGITS: Final = 15
LARGEST: Final = 10**DIGITS - 1
"""Of a number in a query: as Unix milliseconds, the year 33,658."""

T = TypeVar("T")


def admit(service: Service, request: Request, role: Role, *, may_be_narrowed: bool = False) -> By:
    """Return who asks, if they have at least `role`. Raises Unauthenticated, PermissionDenied, StoreError; as api/auth.py."""
    address = address_of(request.scope)
    actor = Actor(address=address)
    try:
        principal = authenticate(dict(request.scope["headers"]), service.ring, address)
        actor = Actor(name_of(principal), principal.role, address)
        require(principal, role, may_be_narrowed=may_be_narrowed)
    except GatewayError as error:
        if not actor.name and (owner := known(dict(request.scope["headers"]), service.ring)) is not None:
            actor = Actor(name_of(owner), owner.role, address)
        service.trail.refused(actor, f"{request.method} {request.scope['path']}", "", error.code)
        raise
    return By(principal, actor)


def name_of(principal: Principal) -> str:
    """How the audit trail names somebody, and what they made says of them."""
    return principal.key_id or "master"


async def read_body(request: Request, decoder: msgspec.json.Decoder[T], empty: bytes = b"") -> T:
    """Return the body, read into the decoder's type. Raises RequestTooLarge, InvalidRequest (400 or 422).

    empty: what an empty one means.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES:
            raise RequestTooLarge(f"The body is larger than {BODY_BYTES} bytes.")
    try:
        return decoder.decode(body or empty)
    except (ValueError, RecursionError) as error:  # a ValidationError and a UnicodeDecodeError are ValueErrors too
        refused = InvalidRequest(f"The body is not what this route takes: {error}")
        if isinstance(error, msgspec.ValidationError):
            refused.status = 422
        raise refused from error


@asynccontextmanager
async def changing(
    service: Service, by: By, action: str, target: str = "", *, before: object = None, after: object = None
) -> AsyncIterator[None]:
    """Write a change outside the books into the audit trail, then let it be made; if it fails, another row says so.

    action: as in "rollout.set". before, after: as JSON holds them. Raises StoreError if the row cannot be written: then
    nothing is changed.
    """
    await service.trail.write(service.trail.record(by.actor, action, target, before=before, after=after))
    try:
        yield
    except GatewayError as error:
        service.trail.refused(by.actor, action, target, error.code, "failed")
        raise


def query_of(request: Request, *known: str, may_be_empty: bool = False) -> dict[str, str]:
    """Return the parameters behind the path. Raises InvalidRequest for one that is not among those known.

    An empty value counts as not said, unless they `may_be_empty`: for names of which the empty one is one too.
    """
    if unknown := set(request.query_params) - set(known):
        name = min(unknown)[:100]
        meant = " and ".join(f"`{one}`" for one in known) or "none"
        raise InvalidRequest(f"There is no parameter {name!r} here, only {meant}.", param=name)
    return {name: said for name, said in request.query_params.items() if said or may_be_empty}


def number_of(asked: Mapping[str, str], name: str, usual: int, *, least: int = 0, most: int = LARGEST) -> int:
    """Return the whole number that a parameter says, `usual` where it is not said. Raises InvalidRequest."""
    said = asked.get(name, str(usual))
    if not (said.isascii() and said.isdigit() and len(said) <= DIGITS and least <= int(said) <= most):
        raise InvalidRequest(f"`{name}` is a whole number from {least} to {most}.", param=name)
    return int(said)


def told(value: object, status: int = 200) -> Response:
    """Return `value` as a JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
