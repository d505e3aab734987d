"""`turnout secrets`: keeps providers' keys encrypted in the books, so that they stand in no file and no environment.

Works on the books themselves; running gateways of the same books follow within a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from turnout import providers
from turnout.cli.opened import checked_root, in_books, this_person, trail_of
from turnout.cli.tables import print_table
from turnout.config.environment import Environment
from turnout.config.load import Loaded
from turnout.core.books.audit import Record
from turnout.core.catalog import Account
from turnout.core.names import nearest
from turnout.core.secret import Secret
from turnout.gateway.audit import Trail
from turnout.gateway.clock import SystemClock
from turnout.gateway.vault import StoredKey, Vault, renew_root, root_key
from turnout.stores import Database

T = TypeVar("T")


@click.group()
def secrets() -> None:
    """Keep providers' keys encrypted, each for its provider's address alone."""


_config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@secrets.command("set")
@click.argument("provider")
@_config
@_json
def set_(provider: str, path: Path | None, *, as_json: bool) -> None:
    """Store the key of PROVIDER, a name under `providers` in the config; its `api_key` there is `stored`.

    The key is asked for, or read from the standard input; it is never an argument, which others could see. It is used
    for the address that the provider has now; if that changes, it must be given again.
    """

    async def work(loaded: Loaded, vault: Vault, trail: Trail) -> tuple[str, str]:
        account = _account(loaded, provider)
        origin = vault.origin(account)
        person = this_person()

        def record(before: str) -> Record:
            return trail.record(person, "secret.set", provider, before=_origin(before), after=_origin(origin))

        return origin, await vault.put(account, _given(), person.name, record)

    origin, before = _in_vault(path, work)
    if as_json:
        click.echo(json.dumps({"provider": provider, "origin": origin, "replaced": bool(before)}))
    else:
        click.echo(f"{provider}: the key is stored, encrypted, for {origin} alone.")


@secrets.command("list")
@_config
@_json
def list_(path: Path | None, *, as_json: bool) -> None:
    """List the stored keys by their last four characters, and whether each is used."""

    async def work(loaded: Loaded, vault: Vault, _trail: Trail) -> list[StoredKey]:
        return vault.listed(loaded.snapshot)

    stored = _in_vault(path, work)
    if as_json:
        click.echo(json.dumps({"secrets": [msgspec.structs.asdict(key) for key in stored]}))
    elif not stored:
        click.echo("No key is stored. Store one with `turnout secrets set PROVIDER`.")
    else:
        rows = [
            (key.provider, key.origin, f"…{key.last4}" if key.last4 else "", key.set_at, key.set_by) for key in stored
        ]
        print_table([("provider", "for", "ends in", "set at", "by"), *rows])
        for key in stored:
            if key.state != "in use":
                click.echo(f"{key.provider}: {key.state}")


@secrets.command()
@click.argument("provider")
@_config
@_json
def delete(provider: str, path: Path | None, *, as_json: bool) -> None:
    """Forget the stored key of PROVIDER. Nothing is asked there any more, until another is given."""

    async def work(_loaded: Loaded, vault: Vault, trail: Trail) -> str:
        return await vault.remove(
            provider, lambda before: trail.record(this_person(), "secret.delete", provider, before=_origin(before))
        )

    before = _in_vault(path, work)
    if as_json:
        click.echo(json.dumps({"provider": provider, "origin": before}))
    else:
        click.echo(f"{provider}: the key for {before} is forgotten.")


@secrets.command("new-root")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@_config
@_json
def new_root(path: Path | None, *, yes: bool, as_json: bool) -> None:
    """Go on with this machine's root key (TURNOUT_ROOT_KEY, or root.key in TURNOUT_HOME), since the former one is lost.

    All keys that were made with the former one open nothing from then on, and providers' stored keys are to be given again.
    Running gateways go on as they are; start them anew with this root key.
    """

    async def work(loaded: Loaded, database: Database) -> bool:
        home, environment = Path(loaded.snapshot.server.home), Environment.of_process()
        record = trail_of(loaded, database).record(this_person(), "root.renew")
        return await renew_root(database, root_key(home, environment, SystemClock()), record)

    if not yes and not as_json:
        click.confirm("No key that was made with the former root key will open any more. Go on?", abort=True)
    is_other = in_books(path, work)
    if as_json:
        click.echo(json.dumps({"renewed": is_other}))
    elif is_other:
        click.echo(
            "These books go by this root key now. Make their keys anew: `turnout keys rotate KEY`, `turnout admins rotate"
            " NAME`, `turnout secrets set PROVIDER`."
        )
    else:
        click.echo("These books went by this root key already. Nothing was changed.")


def _in_vault(path: Path | None, work: Callable[[Loaded, Vault, Trail], Awaitable[T]]) -> T:
    async def opened(loaded: Loaded, database: Database) -> T:
        root = await checked_root(loaded, database)
        vault = Vault(database, root, SystemClock(), providers.installed())
        await vault.load()
        return await work(loaded, vault, trail_of(loaded, database))

    return in_books(path, opened)


def _account(loaded: Loaded, provider: str) -> Account:
    account = loaded.snapshot.accounts.get(provider)
    if account is None:
        near = nearest(provider, list(loaded.snapshot.accounts), 1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise click.ClickException(
            f"There is no provider {provider!r}.{guess} Write it into the config first, as in\n"
            f"providers:\n  {provider}: {{api_key: stored}}"
        )
    if account.api_key is not None:
        click.echo(f"{provider} has a key in the config, and that one holds: write `api_key: stored` there.", err=True)
    return account


def _given() -> Secret:
    if sys.stdin.isatty():
        return Secret(str(click.prompt("Key", hide_input=True, err=True)).strip())
    return Secret(sys.stdin.readline().strip())


def _origin(origin: str) -> dict[str, str] | None:
    return {"origin": origin} if origin else None
