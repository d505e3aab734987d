"""`turnout keys`: makes, shows, changes, rotates and revokes virtual keys.

Works on the books themselves, with or without a running gateway; every gateway of the same books follows within a second. The
same over HTTP: docs/how-to/keys.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from turnout.api.key_forms import KeyChange, KeyForm, changed_form, describe_inherited, describe_key, wanted_of
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
from turnout.cli.tables import print_table
from turnout.core.books.keys import DEFAULT_TIER, KeyTold
from turnout.core.books.people import Inherited, User
from turnout.gateway.clock import SystemClock
from turnout.gateway.people import By, Made, People, kind_of

_HEADS = (
    "id",
    "name",
    "user",
    "workspace",
    "team",
    "tier",
    "narrowed to",
    "limit",
    "budgets",
    "ends in",
    "expires",
    "status",
)


@click.group()
def keys() -> None:
    """Make, show, change, rotate and revoke the keys that applications ask models with."""


def _owner_options(command: Any) -> Any:
    for option in (
        click.option("--tier", help="Whose rates and budget it has, if it has no user: default, premium, enterprise."),
        click.option("--workspace", help="Whose cache it uses and who pays; a new one is made by `create`."),
        click.option("--user", help="Whose it is; a new one is made by `create`."),
        click.option("--name", help="What you call it."),
    ):
        command = option(command)
    return command


@keys.command()
@_owner_options
@grant_options
@limit_options
@config
@json_
def create(path: Path | None, as_json: bool, **said: Any) -> None:
    """Make a key. Its text is shown this once: only a hash of it is kept.

    Without --model, --task and so on it may ask for everything; without --limit and --budget it has what its tier has.
    A --user or --workspace that is new is made with it.
    """
    form = KeyForm(**{name: value for name, value in _said(said).items() if value is not None})

    async def work(people: People, by: By) -> Made:
        return await people.create_key(by, wanted_of(form))

    _print_made(with_people(path, work), as_json=as_json)


@keys.command("list")
@click.option("--user", default="", help="Only this user's.")
@click.option("--workspace", default="", help="Only this workspace's.")
@click.option("--all", "with_revoked", is_flag=True, help="Those too that were revoked.")
@config
@json_
def list_(user: str, workspace: str, with_revoked: bool, path: Path | None, as_json: bool) -> None:
    """List the keys, oldest first."""

    async def work(people: People, _by: By) -> list[dict[str, Any]]:
        wall = SystemClock().wall()
        found = await people.keys(user, workspace, with_revoked=with_revoked)
        return [describe_key(one.key, wall, one.rules) for one in found]

    told = with_people(path, work)
    if as_json:
        click.echo(json.dumps({"keys": told}))
    elif not told:
        click.echo("There are no keys. Make one with `turnout keys create --name NAME`.")
    else:
        print_table([_HEADS, *(_row(one) for one in told)])


@keys.command()
@click.argument("key")
@config
@json_
def show(key: str, path: Path | None, as_json: bool) -> None:
    """Show KEY, an id or a name, with everything that holds for it; also what it has from its user, workspace and team."""

    async def work(people: People, _by: By) -> tuple[KeyTold, Inherited]:
        found = await people.key(key)
        return found, await people.inherited(found.key)

    found, inherited = with_people(path, work)
    _print(found, as_json=as_json, inherited=describe_inherited(found.key, inherited))


@keys.command()
@click.argument("key")
@_owner_options
@grant_options
@limit_options
@config
@json_
def change(key: str, path: Path | None, as_json: bool, **said: Any) -> None:
    """Change KEY, an id or a name: what is not said stays as it is, and its text stays.

    --limit and --budget say all of its limits or budgets anew.
    """
    wanted = KeyChange(**_said(said))
    if wanted == KeyChange():
        raise click.UsageError("Say what to change: --model, --task, --limit, --budget, --expires and so on.")

    async def work(people: People, by: By) -> KeyTold:
        now = await people.key(key)
        return await people.change_key(by, now.key.id, wanted_of(changed_form(now, wanted)))

    _print(with_people(path, work), as_json=as_json)


@keys.command()
@click.argument("key")
@click.option(
    "--grace", default="0", show_default=True, help="How long the old text holds too: `10m`, `24h`, at most 30d."
)
@config
@json_
def rotate(key: str, grace: str, path: Path | None, as_json: bool) -> None:
    """Make a new text for KEY, an id or a name. All else about it stays; the old text ends, or after --grace."""
    grace_s = span_in(grace)

    async def work(people: People, by: By) -> Made:
        return await people.rotate_key(by, key, grace_s)

    _print_made(with_people(path, work), as_json=as_json)


@keys.command()
@click.argument("key")
@yes
@config
@json_
def revoke(key: str, yes: bool, path: Path | None, as_json: bool) -> None:
    """Let KEY, an id or a name, open nothing any more, for good. Every gateway refuses it within a second."""

    async def look(people: People, _by: By) -> KeyTold:
        return await people.key(key)

    async def work(people: People, by: By) -> KeyTold:
        return await people.revoke_key(by, found.key.id)

    found: KeyTold = with_people(path, look)
    if not yes and not as_json:
        click.confirm(f"Revoke {_called(found)} for good?", abort=True)
    revoked: KeyTold = with_people(path, work)
    if as_json:
        click.echo(json.dumps(describe_key(revoked.key, SystemClock().wall(), revoked.rules)))
    else:
        click.echo(f"{_called(revoked)} is revoked; every gateway refuses it within a second.")


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a form that the options say something of."""
    said = {name: options[name] for name in ("name", "user", "workspace", "tier") if options[name] is not None}
    said |= grant_in(
        options["models"],
        options["tasks"],
        options["price_ceiling"],
        options["regions"],
        options["addresses"],
        options["expires"],
    )
    if options["limits"]:
        said["limit"] = rates_in(options["limits"])
    if options["budgets"]:
        said["budgets"] = budgets_in(options["budgets"], options["zone"])
    return said


def _called(told: KeyTold) -> str:
    name = f" ({told.key.name})" if told.key.name else ""
    return f"key {told.key.id}{name}, which ends in {told.key.last4},"


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        one["id"],
        one["name"],
        one["user"],
        one["workspace"],
        one["team"],
        one["tier"] or ("of its user" if one["user"] else "default"),
        narrowed(one),
        limit_told(one["limit"]),
        budgets_told(one["budgets"]),
        f"…{one['ends_in']}",
        one["expires_at"] or "never",
        one["status"],
    )


def narrowed(one: Mapping[str, Any]) -> str:
    """What a described grant narrows to, in a few words."""
    parts = [f"{len(one[what])} {what}" if len(one[what]) > 2 else ", ".join(one[what]) for what in ("models", "tasks")]
    ceiling = one["price_ceiling"]
    if ceiling is not None:
        parts.append("free" if ceiling == "free" else f"${ceiling['input']:g}/{ceiling['output']:g}")
    parts += [", ".join(one["regions"]), ", ".join(one["addresses"])]
    return "; ".join(part for part in parts if part) or "nothing"


def limit_told(told: Mapping[str, int | None] | None) -> str:
    """A described limit in a cell of a table."""
    return "" if told is None else ", ".join(f"{name}={number}" for name, number in told.items() if number)


def budgets_told(told: list[Mapping[str, Any]]) -> str:
    """Described budgets in a cell of a table."""
    return ", ".join(f"{one['usd']:g}/{one['period']}" for one in told)


def print_fields(told: Mapping[str, Any]) -> None:
    """Print a description, a field a line."""
    rows = [(name.replace("_", " "), _words(value)) for name, value in told.items() if name != "key"]
    print_table(rows)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in value.items() if number) or "none"
    if isinstance(value, list):
        return (
            ", ".join(
                f"{one['usd']:g} USD a {one['period']} ({one['zone']})" if isinstance(one, dict) else str(one)
                for one in value
            )
            or "-"
        )
    return "-" if value in {None, ""} else str(value)


def _print(told: KeyTold, *, as_json: bool, inherited: Mapping[str, Any] | None = None) -> None:
    shown = describe_key(told.key, SystemClock().wall(), told.rules)
    if as_json:
        click.echo(json.dumps(shown if inherited is None else {**shown, "inherited": inherited}))
        return
    for kind, given in (inherited or {}).items():
        if kind == "tier":
            shown["tier"] = f"{given} (of its user)" if told.key.user else given
        else:
            shown |= {f"{what} of {kind} {given['name']}": given[what] for what in ("limit", "budgets")}
    print_fields(shown)


def _print_made(made: Made, *, as_json: bool) -> None:
    assert isinstance(made.of, KeyTold)
    shown = describe_key(made.of.key, SystemClock().wall(), made.of.rules)
    if as_json and made.new:
        shown["new"] = {kind_of(one): one.name for one in made.new}
    print_made(made.text, shown, as_json=as_json)
    if not as_json:
        for one in made.new:
            how = f"with tier {one.tier or DEFAULT_TIER}" if isinstance(one, User) else "without a team"
            click.echo(f"\n{kind_of(one)} {one.name} was new: made {how}.")


def print_made(text: str, shown: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a new key's text, this once, and what it opens."""
    if as_json:
        click.echo(json.dumps({"key": text, **shown}))
        return
    click.echo(f"\n    {text}\n\nShown this once: only a hash of it is kept. Gateways know it within a second.\n")
    print_fields(shown)
