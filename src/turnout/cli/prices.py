"""`turnout prices`: shows what models cost and where that is known from, and names what has no price.

Reads the configuration and the list that comes with Turnout; no gateway and no network is needed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from turnout.cli.opened import loaded_config
from turnout.cli.tables import print_table
from turnout.config.describe import price_told
from turnout.config.prices import price_list
from turnout.core.catalog import Model, Price, Snapshot
from turnout.core.price_list import Dated, price_at
from turnout.core.pricing import is_priced
from turnout.gateway.clock import SystemClock

OLD_DAYS: Final = 90
"""Vendors change a price now and then: after a quarter of a year a list is worth a new look."""

_KINDS: Final = ("input", "output", "cached_input", "cache_write", "reasoning", "image_input")

UNIT: Final = "USD per million tokens"

_config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def prices() -> None:
    """Show what models cost, in US dollars per million tokens, and where that is known from."""


@prices.command("list")
@_config
@_json
def list_(*, path: Path | None, as_json: bool) -> None:
    """List every model of the configuration with its price."""
    snapshot = loaded_config(path).snapshot
    told = [_model(snapshot, model) for model in snapshot.models.values()]
    if as_json:
        click.echo(json.dumps({"list": _list(), "unit": UNIT, "models": told}))
        return
    rows = [
        (str(one["model"]), str(one["provider"]), str(one["id"]), *_cells(one["price"]), str(one["from"]))
        for one in told
    ]
    print_table([("model", "provider", "id", *(kind.replace("_", " ") for kind in _KINDS), "from"), *rows], left=3)
    click.echo(f"Prices are in {UNIT}.")


@prices.command()
@click.argument("model")
@_config
@_json
def show(*, model: str, path: Path | None, as_json: bool) -> None:
    """Show one MODEL's price whole: every kind of token, what long requests cost, and how the list has it by day.

    MODEL is a name of the configuration, or PROVIDER/ID for any model of a known vendor.
    """
    snapshot = loaded_config(path).snapshot
    known = snapshot.models.get(model)
    provider, _, id_ = model.partition("/")
    if known is None and not price_list().find(provider, id_):
        raise click.BadParameter(f"{model!r} is no model of the configuration and none of the list", param_hint="MODEL")
    vendor, id_ = (provider, id_) if known is None else (_vendor(snapshot, known), known.id)
    listed = price_list().find(vendor, id_)
    told = {
        "model": model if known is None else _model(snapshot, known),
        "listed": None if listed is None else {"id": listed.id, "prices": [_dated(one) for one in listed.prices]},
        "list": _list(),
        "unit": UNIT,
    }
    if as_json:
        click.echo(json.dumps(told))
        return
    now = None if known is None else _model(snapshot, known)["price"]
    if known is not None:
        _print_price("now", now, snapshot.origins.get(f"models.{model}.price", "config"))
    all_dated = [_dated(one) for one in listed.prices] if listed is not None else []
    is_only = len(all_dated) == 1
    for dated in all_dated:
        if not is_only or dated["price"] != now:  # else it was told just now
            _print_price(_when(dated, is_only=is_only), dated["price"], f"list of {price_list().date}")
    click.echo(f"Source of the list: {price_list().source}")


@prices.command()
@_config
@_json
def check(*, path: Path | None, as_json: bool) -> int:
    """Name models without a price, and prices that are not the list's; exit with 1 if a model has none.

    A model without a price is never asked where a price ceiling or a budget stands.
    """
    snapshot, wall = loaded_config(path).snapshot, SystemClock().wall()
    served = [one for one in snapshot.models.values() if one.provider in snapshot.accounts]
    unpriced = [one.name for one in served if not is_priced(one.price)]
    other = [
        (one, price_at(listed.prices, wall))
        for one in served
        if (listed := price_list().find(_vendor(snapshot, one), one.id))
        and is_priced(one.price)
        and not one.price.is_free
    ]
    differing = [(model, price) for model, price in other if model.price != price]
    age = (datetime.fromtimestamp(wall, UTC).date() - price_list().date).days
    if as_json:
        told = [
            {"model": one.name, "price": price_told(one.price), "listed": price_told(price)} for one, price in differing
        ]
        click.echo(json.dumps({"list": _list(), "age_days": age, "unpriced": unpriced, "differing": told}))
        return int(bool(unpriced))
    for name in unpriced:
        click.echo(f"{name}: no price is known; say it under models.{name}.price")
    for model, price in differing:
        click.echo(f"{model.name}: costs {_flow(model.price)} by the configuration, the list says {_flow(price)}")
    if age > OLD_DAYS:
        click.echo(f"The list is {age} days old: a newer Turnout has a newer one.")
    click.echo(
        f"{len(served)} models that can be asked, {len(unpriced)} without a price; {price_list().source}, {price_list().date}"
    )
    return int(bool(unpriced))


def _model(snapshot: Snapshot, model: Model) -> dict[str, object]:
    source = snapshot.origins.get(f"models.{model.name}.price") or snapshot.origins.get(
        f"models.{model.name}", "default"
    )
    return {
        "model": model.name,
        "provider": model.provider,
        "id": model.id,
        "price": price_told(model.price),
        "from": source if is_priced(model.price) else "unknown",
    }


def _vendor(snapshot: Snapshot, model: Model) -> str:
    account = snapshot.accounts.get(model.provider)
    return model.provider if account is None else account.vendor


def _list() -> dict[str, str]:
    return {"source": price_list().source, "date": price_list().date.isoformat()}


def _dated(one: Dated) -> dict[str, object]:
    return {
        "price": price_told(one.price),
        "since": None if one.since is None else one.since.isoformat(),
        "daily_utc": None if one.daily is None else [_time(second) for second in one.daily],
    }


def _time(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}"


def _when(dated: dict[str, object], *, is_only: bool) -> str:
    if is_only:
        return "always"
    if isinstance(dated["daily_utc"], list):
        return f"daily {dated['daily_utc'][0]} to {dated['daily_utc'][1]} UTC"
    return f"since {dated['since']}" if dated["since"] else "else"


def _cells(price: object) -> tuple[str, ...]:
    if not isinstance(price, dict):
        return (str(price or "unknown"), *("" for _ in _KINDS[1:]))
    return tuple(f"{price[kind]:g}" if kind in price else "" for kind in _KINDS)


def _flow(price: Price | None) -> str:
    told = price_told(price)
    return ", ".join(f"{kind} {usd}" for kind, usd in told.items()) if isinstance(told, dict) else str(told)


def _print_price(when: str, price: object, source: str) -> None:
    if not isinstance(price, dict):
        click.echo(f"{when} ({source}):\n  every token: {price or 'unknown'}")
        return
    click.echo(f"{when} ({source}), {UNIT}:")
    for kind, usd in price.items():
        if kind != "long":
            click.echo(f"  {kind}: {usd:g}")
    for step in price.get("long", ()):
        rest = ", ".join(f"{name} {value:g}" for name, value in step.items() if name != "above")
        click.echo(f"  above {step['above']:,} tokens of input: {rest}")
