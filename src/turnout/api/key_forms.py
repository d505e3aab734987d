"""How keys and people look over HTTP and in `--json`: what a body may say of one, and what is told of one.

Each body is a schema of its own that refuses what it does not name; each answer lists its fields one by one, so that no column
of a table is told because it is there. Money is in US dollars, exactly; instants are RFC 3339.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec

from turnout.api.patterns import ADDRESS, NAME, NAME_OR_NONE, PRICE, SUM
from turnout.config.amounts import zone as known_zone
from turnout.core.books.keys import DEFAULT_TIER, Admin, AdminRole, Key, KeyTold
from turnout.core.books.people import Inherited, Rules, Team, User, Workspace
from turnout.core.catalog import FREE, Price
from turnout.core.principal import Grant
from turnout.core.rules import PERIODS, Period, Rates
from turnout.errors import InvalidRequest
from turnout.gateway.people import NO_RULES, Allowance, Sum, Told, Wanted

NANO_PER_USD: Final = 10**9
MOST_USD: Final = 10**9
"""As config/amounts.py: a billion."""

YEAR_10000: Final = 253_402_300_800
"""Its beginning, Unix seconds."""

MOST_NAMES: Final = 1_000

MOST_OF_A_LIMIT: Final = 10**12

# What stands under `extra_json_schema` is checked further on, where a refusal is in words: here it is told to tools.
Name = Annotated[str, msgspec.Meta(max_length=256)]
OneName = Annotated[str, msgspec.Meta(max_length=256, extra_json_schema={"minLength": 1, "pattern": NAME})]
NameOrNone = Annotated[str, msgspec.Meta(max_length=256, extra_json_schema={"pattern": NAME_OR_NONE})]
Names = Annotated[frozenset[Name], msgspec.Meta(max_length=MOST_NAMES)]
Address = Annotated[
    str,
    msgspec.Meta(
        max_length=256,
        description="An address or a network, such as 192.0.2.7 or 192.0.2.0/24.",
        extra_json_schema={"pattern": ADDRESS},
    ),
]
Addresses = Annotated[tuple[Address, ...], msgspec.Meta(max_length=MOST_NAMES)]
Count = Annotated[int, msgspec.Meta(ge=1, le=MOST_OF_A_LIMIT)]
Instant = Annotated[datetime, msgspec.Meta(tz=True, description="It is still to come.")]
Zone = Annotated[
    str, msgspec.Meta(description="Of the tz database, as this machine has it.", extra_json_schema={"minLength": 1})
]
Usd = Annotated[
    Decimal,
    msgspec.Meta(
        extra_json_schema={"pattern": SUM, "exclusiveMinimum": 0, "maximum": MOST_USD, "multipleOf": 1 / NANO_PER_USD}
    ),
]
TokenPrice = Annotated[
    Decimal, msgspec.Meta(extra_json_schema={"pattern": PRICE, "minimum": 0, "maximum": MOST_USD, "multipleOf": 0.001})
]


class Ceiling(msgspec.Struct, forbid_unknown_fields=True):
    """The most that tokens may cost, in dollars per million."""

    input: TokenPrice
    output: TokenPrice


class RatesForm(msgspec.Struct, forbid_unknown_fields=True):
    """A limit; null for none of its kind."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    at_once: Count | None = None


class BudgetForm(msgspec.Struct, forbid_unknown_fields=True):
    """Dollars for a period that begins at midnight in a zone of the tz database."""

    usd: Usd
    period: Period = "month"
    zone: Zone = "UTC"


Budgets = Annotated[
    tuple[BudgetForm, ...], msgspec.Meta(max_length=len(PERIODS), description="At most one for each period.")
]


class GrantForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a key is narrowed to; what is empty or missing is not narrowed. Body of POST /admin/admins, with its own fields."""

    models: Names = frozenset()
    tasks: Names = frozenset()
    price_ceiling: Literal["free"] | Ceiling | None = None
    regions: Names = frozenset()
    addresses: Addresses = ()
    expires_at: Instant | None = None


class KeyForm(GrantForm, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /admin/keys."""

    name: NameOrNone = ""
    user: NameOrNone = ""
    workspace: NameOrNone = ""
    tier: Name = ""
    limit: RatesForm | None = None
    budgets: Budgets = ()


class KeyChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of PATCH /admin/keys/KEY: what is missing stays as it is, null takes it away."""

    name: NameOrNone | msgspec.UnsetType = msgspec.UNSET
    user: NameOrNone | msgspec.UnsetType = msgspec.UNSET
    workspace: NameOrNone | msgspec.UnsetType = msgspec.UNSET
    tier: Name | msgspec.UnsetType = msgspec.UNSET
    models: Names | msgspec.UnsetType = msgspec.UNSET
    tasks: Names | msgspec.UnsetType = msgspec.UNSET
    price_ceiling: Literal["free"] | Ceiling | msgspec.UnsetType | None = msgspec.UNSET
    regions: Names | msgspec.UnsetType = msgspec.UNSET
    addresses: Addresses | msgspec.UnsetType = msgspec.UNSET
    expires_at: Instant | msgspec.UnsetType | None = msgspec.UNSET
    limit: RatesForm | msgspec.UnsetType | None = msgspec.UNSET
    budgets: Budgets | msgspec.UnsetType = msgspec.UNSET


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST …/rotate. grace_s: how long the text before holds too; at most 30 days."""

    grace_s: Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)] = 0.0


class AdminForm(GrantForm, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /admin/admins."""

    name: OneName
    role: AdminRole


class GivenForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of PUT /admin/teams/NAME: what is missing stays as it is."""

    limit: RatesForm | msgspec.UnsetType | None = msgspec.UNSET
    budgets: Budgets | msgspec.UnsetType = msgspec.UNSET


class WorkspaceForm(GivenForm, forbid_unknown_fields=True, kw_only=True):
    """Body of PUT /admin/workspaces/NAME. team: "" for none."""

    team: Name | None = None


class UserForm(GivenForm, forbid_unknown_fields=True, kw_only=True):
    """Body of PUT /admin/users/NAME. tier: "" for the default one."""

    tier: Name | None = None
    blocked: bool | None = None


# ── from a body ──


def grant_of(form: GrantForm) -> Grant:
    """Return what a body narrows to. Raises InvalidRequest."""
    ceiling = form.price_ceiling
    return Grant(
        models=form.models,
        tasks=form.tasks,
        price_ceiling=_price(ceiling) if isinstance(ceiling, Ceiling) else FREE if ceiling == "free" else None,
        regions=form.regions,
        addresses=form.addresses,
        expires_at=None if form.expires_at is None else _seconds(form.expires_at),
    )


def _seconds(at: datetime) -> float:
    """Unix seconds. In UTC an instant of another zone may lie beyond the last year that there is, and could not be told again."""
    if at.timestamp() >= YEAR_10000:
        raise InvalidRequest("`expires_at` is after the year 9999 (UTC).", param="expires_at")
    return at.timestamp()


def wanted_of(form: KeyForm) -> Wanted:
    """Return the key that a body asks for. Raises InvalidRequest."""
    allowance = Allowance(rates_of(form.limit), tuple(sum_of(one) for one in form.budgets))
    return Wanted(form.name, form.user, form.workspace, form.tier, grant_of(form), allowance)


def changed_form(now: KeyTold, change: KeyChange) -> KeyForm:
    """Return the body that would make the key as it will be: as it is, with what the change says."""
    grant, key, rules = now.key.grant, now.key, now.rules
    ceiling = grant.price_ceiling
    form = KeyForm(
        name=key.name,
        user=key.user,
        workspace=key.workspace,
        tier=key.tier,
        models=grant.models,
        tasks=grant.tasks,
        price_ceiling=None if ceiling is None else Ceiling(_dollars(ceiling.input), _dollars(ceiling.output)),
        regions=grant.regions,
        addresses=grant.addresses,
        expires_at=None if grant.expires_at is None else datetime.fromtimestamp(grant.expires_at, UTC),
        limit=_rates_form(rules),
        budgets=_budget_forms(rules),
    )
    said = {name: getattr(change, name) for name in change.__struct_fields__}
    return msgspec.structs.replace(form, **{name: one for name, one in said.items() if one is not msgspec.UNSET})


def allowance_of(form: GivenForm, now: Rules = NO_RULES) -> Allowance | None:
    """Return what a body gives, with what is there already where it says nothing; None if it says nothing at all."""
    if form.limit is msgspec.UNSET and form.budgets is msgspec.UNSET:
        return None
    limit = _rates_form(now) if isinstance(form.limit, msgspec.UnsetType) else form.limit
    budgets = _budget_forms(now) if isinstance(form.budgets, msgspec.UnsetType) else form.budgets
    return Allowance(rates_of(limit), tuple(sum_of(one) for one in budgets))


def rates_of(form: RatesForm | None) -> Rates | None:
    """Return the rates of a body."""
    if form is None:
        return None
    return Rates(form.requests_per_minute or 0, form.tokens_per_minute or 0, form.at_once or 0)


def sum_of(form: BudgetForm) -> Sum:
    """Return the sum of a body. Raises InvalidRequest for one of nothing, or smaller than a nano-dollar, or an unknown zone."""
    nano = _exactly(form.usd, NANO_PER_USD)
    if not nano:
        raise InvalidRequest(
            f"`usd` is more than 0, {MOST_USD:,} at most, with nine digits after the point.", param="budgets"
        )
    try:
        return Sum(nano, form.period, known_zone(form.zone))
    except ValueError as error:
        raise InvalidRequest(f"`zone`: {error}.", param="budgets") from None


def _price(form: Ceiling) -> Price:
    """Nano-dollars per token are thousandths of dollars per million. Raises InvalidRequest."""
    input_, output = _exactly(form.input, 1000), _exactly(form.output, 1000)
    if input_ is None or output is None:
        what = "`price_ceiling` is dollars per million tokens, 0 or more, with three digits after the point at most."
        raise InvalidRequest(what, param="price_ceiling")
    return Price(input_, output)


def _exactly(usd: Decimal, times: int) -> int | None:
    """Return a sum in a smaller unit, None if it is below 0, too large, or no whole number of that unit."""
    if not (usd.is_finite() and 0 <= usd <= MOST_USD):
        return None
    whole = int(usd * times)
    return whole if whole == usd * times else None


def _dollars(nano_a_token: int) -> Decimal:
    return Decimal(nano_a_token) / 1000


def _rates_form(rules: Rules) -> RatesForm | None:
    rates = None if rules.limit is None else rules.limit.rates
    if rates is None:
        return None
    return RatesForm(rates.requests_minute or None, rates.tokens_minute or None, rates.at_once or None)


def _budget_forms(rules: Rules) -> tuple[BudgetForm, ...]:
    return tuple(BudgetForm(Decimal(one.limit_nano_usd) / NANO_PER_USD, one.period, one.zone) for one in rules.budgets)


# ── what is told ──


def describe_grant(grant: Grant) -> dict[str, object]:
    """Return a grant's fields."""
    ceiling = grant.price_ceiling
    told: object = None
    if ceiling is not None:
        told = "free" if ceiling.is_free else {"input": ceiling.input / 1000, "output": ceiling.output / 1000}
    return {
        "models": sorted(grant.models),
        "tasks": sorted(grant.tasks),
        "price_ceiling": told,
        "regions": sorted(grant.regions),
        "addresses": list(grant.addresses),
        "expires_at": instant(grant.expires_at),
    }


def describe_inherited(key: Key, inherited: Inherited) -> dict[str, object]:
    """Return what a virtual key has from whom it belongs to: the tier that holds for it, and what each of them was given."""
    tier = (inherited.tier if key.user else key.tier) or DEFAULT_TIER
    told: dict[str, object] = {"tier": tier}
    for kind, (name, rules) in inherited.given.items():
        told[kind] = {"name": name, **describe_rules(rules)}
    return told


def describe_key(key: Key, wall: float, rules: Rules | None = None) -> dict[str, object]:
    """Return what is told of a virtual key; with its limit and budgets if they were read. wall: now, Unix seconds."""
    return {
        "id": key.id,
        "name": key.name,
        "user": key.user,
        "workspace": key.workspace,
        "team": key.team,
        "tier": key.tier,
        "ends_in": key.last4,
        "status": _status(key.revoked_at, key.grant, wall),
        **describe_grant(key.grant),
        **({} if rules is None else describe_rules(rules)),
        "old_text_until": instant(key.old_until) if key.old_until > wall else None,
        "created_at": instant(key.created_at),
        "created_by": key.created_by,
        "revoked_at": instant(key.revoked_at),
    }


def describe_admin(admin: Admin, wall: float) -> dict[str, object]:
    """Return what is told of an admin."""
    return {
        "name": admin.name,
        "role": admin.role,
        "ends_in": admin.last4,
        "status": _status(admin.revoked_at, admin.grant, wall),
        **describe_grant(admin.grant),
        "old_text_until": instant(admin.old_until) if admin.old_until > wall else None,
        "created_at": instant(admin.created_at),
        "created_by": admin.created_by,
        "revoked_at": instant(admin.revoked_at),
    }


def describe_told(one: Told) -> dict[str, object]:
    """Return what is told of a team, a workspace or a user."""
    of: Team | Workspace | User = one.of
    own: dict[str, object] = {"name": of.name}
    if isinstance(of, Workspace):
        own["team"] = of.team
    elif isinstance(of, User):
        own |= {"tier": of.tier, "blocked": of.is_blocked}
    return {
        **own,
        **describe_rules(one.rules),
        "created_at": instant(of.created_at),
        "created_by": of.created_by,
    }


def describe_rules(rules: Rules) -> dict[str, object]:
    """Return the limit and the budgets that were given; and which of them cannot be read, if any."""
    return {
        **({"unreadable": list(rules.broken)} if rules.broken else {}),
        "limit": None if (form := _rates_form(rules)) is None else msgspec.to_builtins(form),
        "budgets": [
            {"name": one.name, "usd": one.limit_nano_usd / NANO_PER_USD, "period": one.period, "zone": one.zone}
            for one in rules.budgets
        ],
    }


def instant(at: float | None) -> str | None:
    """Return Unix seconds as an RFC 3339 instant, None for none."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _status(revoked_at: int | None, grant: Grant, wall: float) -> str:
    if revoked_at is not None:
        return "revoked"
    return "expired" if grant.expires_at is not None and grant.expires_at <= wall else "live"
