"""Options that say what somebody is given or narrowed to: limits, budgets, models, and how they are read.

`turnout keys`, `users`, `workspaces`, `teams` and `admins` share them. What is read becomes the same form as a body of the admin
API, so that both have one meaning and refuse the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click

from turnout.api.key_forms import MOST_OF_A_LIMIT, NANO_PER_USD, BudgetForm, Ceiling, RatesForm
from turnout.cli.opened import checked_root, in_books, this_person, trail_of
from turnout.config import amounts
from turnout.config.load import Loaded
from turnout.core.principal import Principal
from turnout.gateway.clock import SystemClock
from turnout.gateway.keys import pepper_of
from turnout.gateway.people import By, People
from turnout.stores import Database

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_LIMITS: Final[Mapping[str, str]] = {
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "requests_per_minute": "requests_per_minute",
    "tokens_per_minute": "tokens_per_minute",
    "at_once": "at_once",
}
_SPAN: Final = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_SECONDS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

config = click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve.")
json_ = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes = click.option("--yes", is_flag=True, help="Do not ask first.")


def limit_options(command: F) -> F:
    """Add what anybody may be given: --limit, --budget, --zone."""
    for option in (
        click.option("--zone", default="UTC", show_default=True, help="Whose midnights begin the budgets' periods."),
        click.option(
            "--budget",
            "budgets",
            multiple=True,
            help="Dollars for a period, `10/month`: day, week, month, 30d or life; `none`.",
        ),
        click.option("--limit", "limits", multiple=True, help="`rpm=100`, `tpm=50000` or `at_once=5`; `none`."),
    ):
        command = option(command)
    return command


def grant_options(command: F) -> F:
    """Add what a key may be narrowed to."""
    for option in (
        click.option("--expires", help="When it ends: `30d`, `12h`, or `2027-01-31`, or with `T15:04` (UTC); `never`."),
        click.option("--address", "addresses", multiple=True, help="Only from this address or network; `any`."),
        click.option("--region", "regions", multiple=True, help="Only models in this region; `any`."),
        click.option(
            "--price-ceiling", help="`free`, or the most that tokens may cost: `3/15`, dollars a million; `none`."
        ),
        click.option("--task", "tasks", multiple=True, help="Only for this task; `any`."),
        click.option("--model", "models", multiple=True, help="Only this model, route or alias; `any`."),
    ):
        command = option(command)
    return command


def with_people(path: Path | None, work: Callable[[People, By], Any]) -> Any:
    """Do `work` with who there is, over the books that the config names, as whoever types the command."""

    async def opened(loaded: Loaded, database: Database) -> Any:
        clock = SystemClock()
        root = await checked_root(loaded, database)
        people = People(database, trail_of(loaded, database), clock, pepper_of(root), lambda: loaded.snapshot)
        return await work(people, By(OWNER, this_person()))

    return in_books(path, opened)


OWNER: Final = Principal("command", "owner")
"""Whoever may read and write the books' file may do everything with it."""


def rates_in(limits: Sequence[str]) -> RatesForm | None:
    """Return what --limit says; None for nothing, or for `none` alone."""
    if list(limits) == ["none"]:
        return None
    said: dict[str, int] = {}
    for written in limits:
        name, _, number = written.partition("=")
        field = _LIMITS.get(name.strip().replace("-", "_"))
        if field is None or not number.strip().isdecimal():
            raise _no_limit(f"{written!r} is none, write rpm=100, tpm=50000 or at_once=5, or `none` alone")
        if not 1 <= int(number) <= MOST_OF_A_LIMIT:
            raise _no_limit(
                f"{written!r} is out of range, 1 to {MOST_OF_A_LIMIT:,}; what is to be shut is revoked or blocked"
            )
        if field in said:
            raise _no_limit(f"{name.strip()} is said twice, {said[field]:,} and {int(number):,}")
        said[field] = int(number)
    return RatesForm(**said) if said else None


def _no_limit(what: str) -> click.BadParameter:
    return click.BadParameter(what, param_hint="--limit")


def budgets_in(budgets: Sequence[str], zone: str) -> tuple[BudgetForm, ...]:
    """Return what --budget says; () for nothing, or `none`."""
    try:
        sums = [amounts.spend(written) for written in budgets if written != "none"]
        known = amounts.zone(zone)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--budget") from None
    return tuple(BudgetForm(Decimal(nano) / NANO_PER_USD, period, known) for nano, period in sums)


def grant_in(
    models: Sequence[str],
    tasks: Sequence[str],
    price_ceiling: str | None,
    regions: Sequence[str],
    addresses: Sequence[str],
    expires: str | None,
) -> dict[str, Any]:
    """Return the fields of a form that the options say something of; `any`, `none` and `never` take away."""
    said: dict[str, Any] = {}
    for name, values in (("models", models), ("tasks", tasks), ("regions", regions)):
        if values:
            said[name] = frozenset(values) - {"any"}
    if addresses:
        said["addresses"] = tuple(one for one in addresses if one != "any")
    if price_ceiling is not None:
        said["price_ceiling"] = ceiling_in(price_ceiling)
    if expires is not None:
        said["expires_at"] = instant_in(expires, SystemClock().wall())
    return said


def ceiling_in(written: str) -> Ceiling | Literal["free"] | None:
    """Return what --price-ceiling says: `free`, `none`, or dollars per million tokens, in and out."""
    if written in {"free", "none"}:
        return "free" if written == "free" else None
    input_, _, output = written.partition("/")
    try:
        return Ceiling(Decimal(input_), Decimal(output or input_))
    except InvalidOperation:
        what = f"{written!r} is none, write free, or dollars per million tokens in and out: 3/15"
        raise click.BadParameter(what, param_hint="--price-ceiling") from None


def instant_in(written: str, wall: float) -> datetime | None:
    """Return when --expires says; None for `never`. wall: now, Unix seconds."""
    if written == "never":
        return None
    if match := _SPAN.fullmatch(written):
        return datetime.fromtimestamp(wall + int(match[1]) * _SECONDS[match[2]], UTC)
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        what = f"{written!r} is no time, write such as 30d, 12h, 2027-01-31 or 2027-01-31T15:04 (UTC), or never"
        raise click.BadParameter(what, param_hint="--expires") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def span_in(written: str) -> float:
    """Return the seconds of --grace: `0`, `90s`, `10m`, `24h`, `7d`."""
    match = _SPAN.fullmatch(written)
    if match is None and written != "0":
        raise click.BadParameter(f"{written!r} is no time, write such as 10m, 24h or 7d", param_hint="--grace")
    seconds = 0 if match is None else int(match[1]) * _SECONDS[match[2]]
    if seconds > 30 * 86_400:
        raise click.BadParameter("is 30 days at most", param_hint="--grace")
    return float(seconds)
