"""Builds the quotas: what each vendor allows us, by account and by model, as the file says it over what is shipped.

Rules. A quota of a provider counts the calls of its account (of those vendor's ids that `models` matches), one of a
model the calls of that model's id at its own provider; a call may count against both.
What is shipped for a vendor holds at the vendor's own address only: elsewhere somebody else answers, with rules of their
own. A table that names its own `models` speaks of other models than the shipped numbers, so it takes none of them over.
`none` means no quota; `learn` means one without numbers, so that only what the vendor tells holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from glob import escape
from typing import Literal

import msgspec

from turnout.config import schema
from turnout.config.accounts import origin_of
from turnout.config.draft import Draft
from turnout.config.problems import Path
from turnout.config.settings import laid_over
from turnout.core.catalog import Account, Model, Quota

_LEAST = 1 - 1e-9
"""Of a whole call or token: margins are fractions, and nine tenths of 10 may leave a little less than 1 to a computer."""


def quotas(draft: Draft, accounts: Mapping[str, Account], models: Mapping[str, Model]) -> dict[str, Quota]:
    """Every quota by name: of configured accounts, and of models that are served by one."""
    tables = draft.user.table.providers or {}
    built: dict[str, Quota] = {}
    for name, account in accounts.items():
        quota = _of_account(draft, account, tables[name].quota if name in tables else None)
        if quota is not None:
            built[name] = _checked(draft, quota, ("providers", name, "quota"))
    for name, defined in draft.models.items():
        said, model = defined.table.quota, models[name]
        if said is not None and said != "none" and model.provider in accounts:
            quota = _laid_over(Quota(f"{model.provider}/{name}", model.provider, models=escape(model.id)), said)
            built[quota.name] = _checked(draft, quota, ("models", name, "quota"))
    return built


def _of_account(
    draft: Draft, account: Account, said: Literal["none", "learn"] | schema.AccountQuotaTable | None
) -> Quota | None:
    """What holds for all of an account's calls, or some; None if nothing is known."""
    row = draft.vendors.get(account.vendor)
    known = row.quota if row is not None and origin_of(row.base_url) == origin_of(account.base_url) else {}
    is_other = isinstance(said, schema.AccountQuotaTable) and said.models is not None
    if said == "none" or (said is None and not known):
        return None
    plain = {"name": account.name, "account": account.name}
    quota = msgspec.convert(plain if is_other else {**plain, **known}, Quota)
    return _laid_over(quota, said)


def _laid_over(quota: Quota, said: Literal["none", "learn"] | schema.QuotaTable | None) -> Quota:
    if not isinstance(said, schema.QuotaTable):
        return quota
    quota = laid_over(
        quota,
        said,
        models="models",
        requests_minute="requests_per_minute",
        requests_day="requests_per_day",
        tokens_minute="tokens_per_minute",
        tokens_day="tokens_per_day",
        at_once="at_once",
        margin="margin",
        reserve="reserve",
    )
    if said.day_starts is None:
        return quota
    starts_s, zone = said.day_starts
    return msgspec.structs.replace(quota, day_starts_s=starts_s, day_zone=zone)


def _checked(draft: Draft, quota: Quota, path: Path) -> Quota:
    """A margin must leave something of every number, or nothing would ever be asked."""
    numbers = (quota.requests_minute, quota.requests_day, quota.tokens_minute, quota.tokens_day)
    smallest = min((number for number in numbers if number), default=0)
    if smallest and smallest * (1 - quota.margin) < _LEAST:
        draft.wrong((*path, "margin"), f"leaves nothing of {smallest:,}, lower it")
    return quota
