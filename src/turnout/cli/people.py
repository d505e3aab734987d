"""`turnout users`, `workspaces`, `teams`, `admins`: who there is, and what each is given. As `turnout keys`, on the books."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from turnout.api.key_forms import (
    AdminForm,
    GivenForm,
    UserForm,
    WorkspaceForm,
    allowance_of,
    describe_admin,
    describe_told,
    grant_of,
)
from turnout.cli.allowing import (
    budgets_in,
    config,
    grant_in,
    grant_options,
    json_,
    limit_options,
    rates_in,
    span_in,
    with_people,
    yes,
)
from turnout.cli.keys import budgets_told, limit_told, narrowed, print_fields, print_made
from turnout.cli.tables import print_table
from turnout.core.books.keys import Admin, AdminRole
from turnout.core.books.people import Kind, Rules
from turnout.gateway.clock import SystemClock
from turnout.gateway.people import NO_RULES, By, Made, People, Told


@click.group()
def users() -> None:
    """Users: whose keys share a tier, a limit, a budget; and who is blocked."""


@click.group()
def workspaces() -> None:
    """Workspaces: who shares a cache and pays together."""


@click.group()
def teams() -> None:
    """Teams: workspaces with a limit or a budget over all of them."""


@click.group()
def admins() -> None:
    """Admins: who looks at the gateway, changes it, or says who may. Their keys ask with the admin API."""


# ── setting ──


@users.command("set")
@click.argument("name")
@click.option("--tier", help="default, premium, enterprise, or one of your config's.")
@click.option("--block/--unblock", "blocked", default=None, help="Whether their keys open nothing.")
@limit_options
@config
@json_
def set_user(name: str, tier: str | None, blocked: bool | None, path: Path | None, as_json: bool, **said: Any) -> None:
    """Make user NAME, or change them; what is not said stays as it is."""
    form = UserForm(tier=tier, blocked=blocked, **_given(said))

    async def work(people: People, by: By) -> Told:
        allowance = allowance_of(form, _rules_of(name, await people.users()))
        return await people.put_user(by, name, tier, is_blocked=blocked, allowance=allowance)

    _print(with_people(path, work), as_json=as_json)


@workspaces.command("set")
@click.argument("name")
@click.option("--team", help="The team it is of (`turnout teams set NAME` makes one); `none`.")
@limit_options
@config
@json_
def set_workspace(name: str, team: str | None, path: Path | None, as_json: bool, **said: Any) -> None:
    """Make workspace NAME, or change it; what is not said stays as it is."""
    form = WorkspaceForm(team="" if team == "none" else team, **_given(said))

    async def work(people: People, by: By) -> Told:
        allowance = allowance_of(form, _rules_of(name, await people.workspaces()))
        return await people.put_workspace(by, name, form.team, allowance)

    _print(with_people(path, work), as_json=as_json)


@teams.command("set")
@click.argument("name")
@limit_options
@config
@json_
def set_team(name: str, path: Path | None, as_json: bool, **said: Any) -> None:
    """Make team NAME, or change it; what is not said stays as it is."""
    form = GivenForm(**_given(said))

    async def work(people: People, by: By) -> Told:
        return await people.put_team(by, name, allowance_of(form, _rules_of(name, await people.teams())))

    _print(with_people(path, work), as_json=as_json)


# ── listing ──


@users.command("list")
@config
@json_
def list_users(path: Path | None, as_json: bool) -> None:
    """List the users."""
    _print_all("users", with_people(path, _users), as_json=as_json)


@workspaces.command("list")
@config
@json_
def list_workspaces(path: Path | None, as_json: bool) -> None:
    """List the workspaces."""
    _print_all("workspaces", with_people(path, _workspaces), as_json=as_json)


@teams.command("list")
@config
@json_
def list_teams(path: Path | None, as_json: bool) -> None:
    """List the teams."""
    _print_all("teams", with_people(path, _teams), as_json=as_json)


async def _users(people: People, _by: By) -> list[Told]:
    return await people.users()


async def _workspaces(people: People, _by: By) -> list[Told]:
    return await people.workspaces()


async def _teams(people: People, _by: By) -> list[Told]:
    return await people.teams()


# ── removing ──


@users.command("remove")
@click.argument("name")
@yes
@config
@json_
def remove_user(name: str, yes: bool, path: Path | None, as_json: bool) -> None:
    """Take user NAME away, and revoke their keys for good."""
    _remove("user", name, path, asks=not (yes or as_json), as_json=as_json)


@workspaces.command("remove")
@click.argument("name")
@yes
@config
@json_
def remove_workspace(name: str, yes: bool, path: Path | None, as_json: bool) -> None:
    """Take workspace NAME away, and revoke its keys for good."""
    _remove("workspace", name, path, asks=not (yes or as_json), as_json=as_json)


@teams.command("remove")
@click.argument("name")
@yes
@config
@json_
def remove_team(name: str, yes: bool, path: Path | None, as_json: bool) -> None:
    """Take team NAME away with its workspaces, and revoke their keys for good."""
    _remove("team", name, path, asks=not (yes or as_json), as_json=as_json)


def _remove(kind: Kind, name: str, path: Path | None, *, asks: bool, as_json: bool) -> None:
    async def look(people: People, _by: By) -> int:
        found = await people.keys()
        owners = [{"user": one.key.user, "workspace": one.key.workspace, "team": one.key.team} for one in found]
        return sum(name == of[kind] for of in owners)

    async def work(people: People, by: By) -> int:
        return await people.remove(by, kind, name)

    if asks:
        count = with_people(path, look)
        click.confirm(f"Take away the {kind} {name} and revoke its keys for good (keys: {count})?", abort=True)
    revoked = with_people(path, work)
    if as_json:
        click.echo(json.dumps({"revoked_keys": revoked}))
    else:
        click.echo(f"The {kind} {name} is gone. Keys revoked with it: {revoked}.")


# ── admins ──


@admins.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(["owner", "admin", "viewer"]), default="viewer", show_default=True)
@grant_options
@config
@json_
def create_admin(name: str, role: AdminRole, path: Path | None, as_json: bool, **said: Any) -> None:
    """Make admin NAME and their key, shown this once. viewer: looks. admin: changes things. owner: also makes owners.

    Who has a grant that is narrowed may look, and make keys within it, nothing else.
    """
    form = AdminForm(name=name, role=role, **grant_in(**said))

    async def work(people: People, by: By) -> Made:
        return await people.create_admin(by, name, role, grant_of(form))

    _print_admin(with_people(path, work), as_json=as_json)


@admins.command("list")
@click.option("--all", "with_revoked", is_flag=True, help="Those too that were revoked.")
@config
@json_
def list_admins(with_revoked: bool, path: Path | None, as_json: bool) -> None:
    """List the admins. The master key is an owner too, and has no row."""

    async def work(people: People, _by: By) -> list[Admin]:
        return await people.admins(with_revoked=with_revoked)

    wall = SystemClock().wall()
    told: list[Mapping[str, Any]] = [describe_admin(one, wall) for one in with_people(path, work)]
    if as_json:
        click.echo(json.dumps({"admins": told}))
    elif not told:
        click.echo("There are no admins besides the master key. Make one with `turnout admins create NAME`.")
    else:
        heads = ("name", "role", "narrowed to", "ends in", "expires", "status")
        rows = [
            (one["name"], one["role"], narrowed(one), f"…{one['ends_in']}", one["expires_at"] or "never", one["status"])
            for one in told
        ]
        print_table([heads, *rows])


@admins.command("rotate")
@click.argument("name")
@click.option(
    "--grace", default="0", show_default=True, help="How long the old key holds too: `10m`, `24h`, at most 30d."
)
@config
@json_
def rotate_admin(name: str, grace: str, path: Path | None, as_json: bool) -> None:
    """Make a new key for admin NAME; the old one ends, or after --grace."""
    grace_s = span_in(grace)

    async def work(people: People, by: By) -> Made:
        return await people.rotate_admin(by, name, grace_s)

    _print_admin(with_people(path, work), as_json=as_json)


@admins.command("revoke")
@click.argument("name")
@yes
@config
@json_
def revoke_admin(name: str, yes: bool, path: Path | None, as_json: bool) -> None:
    """Let the key of admin NAME open nothing any more, within a second."""

    async def work(people: People, by: By) -> Admin:
        return await people.revoke_admin(by, name)

    if not yes and not as_json:
        click.confirm(f"Revoke the key of {name}?", abort=True)
    revoked = with_people(path, work)
    if as_json:
        click.echo(json.dumps(describe_admin(revoked, SystemClock().wall())))
    else:
        click.echo(f"The key of {name} is revoked; every gateway refuses it within a second.")


# ── how ──


def _given(said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a form that --limit and --budget say something of."""
    given: dict[str, Any] = {}
    if said["limits"]:
        given["limit"] = rates_in(said["limits"])
    if said["budgets"]:
        given["budgets"] = budgets_in(said["budgets"], said["zone"])
    return given


def _rules_of(name: str, there: list[Told]) -> Rules:
    return next((one.rules for one in there if one.of.name == name), NO_RULES)


def _print(told: Told, *, as_json: bool) -> None:
    shown = describe_told(told)
    if as_json:
        click.echo(json.dumps(shown))
    else:
        print_fields(shown)


def _print_all(kind: str, found: list[Told], *, as_json: bool) -> None:
    told: list[dict[str, Any]] = [describe_told(one) for one in found]
    if as_json:
        click.echo(json.dumps({kind: told}))
        return
    if not told:
        click.echo(f"There are no {kind}. Make one with `turnout {kind} set NAME`.")
        return
    own = {"users": ("tier", "blocked"), "workspaces": ("team",), "teams": ()}[kind]
    rows = [
        (one["name"], *(_word(one[name]) for name in own), limit_told(one["limit"]), budgets_told(one["budgets"]))
        for one in told
    ]
    print_table([("name", *own, "limit", "budgets"), *rows])


def _word(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _print_admin(made: Made, *, as_json: bool) -> None:
    assert isinstance(made.of, Admin)
    print_made(made.text, describe_admin(made.of, SystemClock().wall()), as_json=as_json)
