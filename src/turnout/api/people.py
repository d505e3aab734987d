"""The admin routes about who may ask and who may change: keys, users, workspaces, teams, admins.

Viewers list, admins make and change; who makes or touches an admin may no more than themselves, which is decided in the
transaction (core/granting.py). A key's text is in one answer, when it is made or rotated, and in no other.
"""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.api.desk import admit, query_of, read_body, told
from turnout.api.key_forms import (
    AdminForm,
    GivenForm,
    KeyChange,
    KeyForm,
    Rotation,
    UserForm,
    WorkspaceForm,
    allowance_of,
    changed_form,
    describe_admin,
    describe_inherited,
    describe_key,
    describe_told,
    grant_of,
    wanted_of,
)
from turnout.core.books.keys import Admin, KeyTold
from turnout.core.books.people import Kind, Rules
from turnout.errors import InvalidRequest
from turnout.gateway.people import NO_RULES, Made, People, Told, kind_of
from turnout.gateway.service import Service

_KEY: Final = msgspec.json.Decoder(KeyForm)
_KEY_CHANGE: Final = msgspec.json.Decoder(KeyChange)
_ROTATION: Final = msgspec.json.Decoder(Rotation)
_ADMIN: Final = msgspec.json.Decoder(AdminForm)
_TEAM: Final = msgspec.json.Decoder(GivenForm)
_WORKSPACE: Final = msgspec.json.Decoder(WorkspaceForm)
_USER: Final = msgspec.json.Decoder(UserForm)


class PeopleDesk:
    """The handlers, over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _people(self) -> People:
        return self._service.people

    # ── virtual keys ──

    async def keys(self, request: Request) -> Response:
        """GET /admin/keys: those that were not revoked, or ?revoked=true all; ?user=, ?workspace=. POST: make one."""
        if request.method == "POST":
            by = admit(self._service, request, "admin", may_be_narrowed=True)
            made = await self._people.create_key(by, wanted_of(await read_body(request, _KEY)))
            return self._made(made, 201)
        admit(self._service, request, "viewer")
        asked = query_of(request, "user", "workspace", "revoked")
        if asked.get("revoked", "false") not in {"true", "false"}:
            raise InvalidRequest("`revoked` is true or false.", param="revoked")
        found = await self._people.keys(
            asked.get("user", ""), asked.get("workspace", ""), with_revoked=asked.get("revoked") == "true"
        )
        wall = self._service.clock.wall()
        return told({"keys": [describe_key(one.key, wall, one.rules) for one in found]})

    async def key(self, request: Request) -> Response:
        """GET /admin/keys/KEY. PATCH: change it. DELETE: revoke it."""
        said = request.path_params["key"]
        if request.method == "PATCH":
            by = admit(self._service, request, "admin", may_be_narrowed=True)
            change = await read_body(request, _KEY_CHANGE)
            now = await self._people.key(said)
            found = await self._people.change_key(by, now.key.id, wanted_of(changed_form(now, change)))
        elif request.method == "DELETE":
            by = admit(self._service, request, "admin", may_be_narrowed=True)
            found = await self._people.revoke_key(by, said)
        else:
            admit(self._service, request, "viewer")
            found = await self._people.key(said)
        inherited = describe_inherited(found.key, await self._people.inherited(found.key))
        return told({**describe_key(found.key, self._service.clock.wall(), found.rules), "inherited": inherited})

    async def rotate_key(self, request: Request) -> Response:
        """POST /admin/keys/KEY/rotate: another text."""
        by = admit(self._service, request, "admin", may_be_narrowed=True)
        grace_s = (await read_body(request, _ROTATION, b"{}")).grace_s
        return self._made(await self._people.rotate_key(by, request.path_params["key"], grace_s), 200)

    # ── admins ──

    async def admins(self, request: Request) -> Response:
        """GET /admin/admins. POST: make one."""
        if request.method == "POST":
            by = admit(self._service, request, "admin")
            form = await read_body(request, _ADMIN)
            return self._made(await self._people.create_admin(by, form.name, form.role, grant_of(form)), 201)
        admit(self._service, request, "viewer")
        wall = self._service.clock.wall()
        return told({"admins": [describe_admin(one, wall) for one in await self._people.admins()]})

    async def admin(self, request: Request) -> Response:
        """DELETE /admin/admins/NAME: their key opens nothing any more."""
        by = admit(self._service, request, "admin")
        revoked = await self._people.revoke_admin(by, request.path_params["name"])
        return told(describe_admin(revoked, self._service.clock.wall()))

    async def rotate_admin(self, request: Request) -> Response:
        """POST /admin/admins/NAME/rotate: another text."""
        by = admit(self._service, request, "admin")
        grace_s = (await read_body(request, _ROTATION, b"{}")).grace_s
        return self._made(await self._people.rotate_admin(by, request.path_params["name"], grace_s), 200)

    def _made(self, made: Made, status: int) -> Response:
        wall = self._service.clock.wall()
        of: KeyTold | Admin = made.of
        shown = describe_key(of.key, wall, of.rules) if isinstance(of, KeyTold) else describe_admin(of, wall)
        new = {kind_of(one): one.name for one in made.new}
        return told({"key": made.text, **shown, **({"new": new} if new else {})}, status)

    # ── teams, workspaces, users ──

    async def teams(self, request: Request) -> Response:
        """GET /admin/teams."""
        admit(self._service, request, "viewer")
        return told({"teams": [describe_told(one) for one in await self._people.teams()]})

    async def workspaces(self, request: Request) -> Response:
        """GET /admin/workspaces."""
        admit(self._service, request, "viewer")
        return told({"workspaces": [describe_told(one) for one in await self._people.workspaces()]})

    async def users(self, request: Request) -> Response:
        """GET /admin/users."""
        admit(self._service, request, "viewer")
        return told({"users": [describe_told(one) for one in await self._people.users()]})

    async def team(self, request: Request) -> Response:
        """PUT /admin/teams/NAME: make or change it. DELETE: take it away, and revoke its workspaces' keys."""
        if request.method == "DELETE":
            return await self._remove(request, "team")
        by = admit(self._service, request, "admin")
        name, form = request.path_params["name"], await read_body(request, _TEAM)
        allowance = allowance_of(form, _rules_of(name, await self._people.teams()))
        return told(describe_told(await self._people.put_team(by, name, allowance)))

    async def workspace(self, request: Request) -> Response:
        """PUT /admin/workspaces/NAME: make or change it. DELETE: take it away, and revoke its keys."""
        if request.method == "DELETE":
            return await self._remove(request, "workspace")
        by = admit(self._service, request, "admin")
        name, form = request.path_params["name"], await read_body(request, _WORKSPACE)
        allowance = allowance_of(form, _rules_of(name, await self._people.workspaces()))
        return told(describe_told(await self._people.put_workspace(by, name, form.team, allowance)))

    async def user(self, request: Request) -> Response:
        """PUT /admin/users/NAME: make or change them. DELETE: take them away, and revoke their keys."""
        if request.method == "DELETE":
            return await self._remove(request, "user")
        by = admit(self._service, request, "admin")
        name, form = request.path_params["name"], await read_body(request, _USER)
        allowance = allowance_of(form, _rules_of(name, await self._people.users()))
        done = await self._people.put_user(by, name, form.tier, is_blocked=form.blocked, allowance=allowance)
        return told(describe_told(done))

    async def _remove(self, request: Request, kind: Kind) -> Response:
        by = admit(self._service, request, "admin")
        return told({"revoked_keys": await self._people.remove(by, kind, request.path_params["name"])})


def _rules_of(name: str, there: list[Told]) -> Rules:
    return next((one.rules for one in there if one.of.name == name), NO_RULES)


def people_routes(service: Service) -> list[Route]:
    """Return the routes of this file."""
    desk = PeopleDesk(service)
    return [
        Route("/admin/keys", desk.keys, methods=["GET", "POST"]),
        Route("/admin/keys/{key}", desk.key, methods=["GET", "PATCH", "DELETE"]),
        Route("/admin/keys/{key}/rotate", desk.rotate_key, methods=["POST"]),
        Route("/admin/users", desk.users, methods=["GET"]),
        Route("/admin/users/{name}", desk.user, methods=["PUT", "DELETE"]),
        Route("/admin/workspaces", desk.workspaces, methods=["GET"]),
        Route("/admin/workspaces/{name}", desk.workspace, methods=["PUT", "DELETE"]),
        Route("/admin/teams", desk.teams, methods=["GET"]),
        Route("/admin/teams/{name}", desk.team, methods=["PUT", "DELETE"]),
        Route("/admin/admins", desk.admins, methods=["GET", "POST"]),
        Route("/admin/admins/{name}", desk.admin, methods=["DELETE"]),
        Route("/admin/admins/{name}/rotate", desk.rotate_admin, methods=["POST"]),
    ]
