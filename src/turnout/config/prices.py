"""Tells what a vendor's model costs today, where neither the file nor defaults.yaml says it: as prices.json lists it.

Matched by vendor and id, once when the config is read; a request never looks anything up. An id that the vendor itself
calls free costs nothing; what is not listed is unpriced, never free. Where a price changes on a day or in a part of the
day, the config is read again at that instant.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

import msgspec

from turnout.config.draft import Draft
from turnout.core.catalog import FREE, Account, Price
from turnout.core.price_list import Listed, PriceList, changes_at, price_at


@cache
def price_list() -> PriceList:
    """Return the list that comes with Turnout. Read once: 3 ms."""
    data = pkgutil.get_data("turnout.config", "prices.json")
    assert data is not None
    return msgspec.json.decode(data, type=PriceList)


def listed_price(
    draft: Draft, name: str, vendor: str, id_: str, mode: Literal["chat", "embedding"] = "chat"
) -> Price | None:
    """Return what `id_` costs at `vendor`, None if that is not known. name: of our model, whose price's origin is noted.

    A chat model that is listed for its input alone counts as not known.
    """
    row = draft.vendors.get(vendor)
    if row is not None and row.free and fnmatchcase(id_, row.free):
        draft.origins[f"models.{name}.price"] = f"{vendor}: {row.free} is free"
        return FREE
    listed = price_list()
    found = listed.find(vendor, id_)
    if found is None:
        return None
    price = _now(draft, found)
    if mode == "chat" and not price.output:
        return None
    draft.origins[f"models.{name}.price"] = f"list of {listed.date}"
    return price


def list_prices(draft: Draft, accounts: Mapping[str, Account]) -> dict[str, dict[str, Price]]:
    """Return what is listed at each account's vendor, by the plain ids of its models: for requests that name ACCOUNT/ID.

    About 1 ms for a vendor of 800 models.
    """
    known = price_list().vendors
    return {
        account.name: {
            id_: _now(draft, one)
            for one in known[account.vendor]
            for id_ in one.ids
            if isinstance(id_, str) and "*" not in id_ and not id_.startswith("/")
        }
        for account in accounts.values()
        if account.vendor in known
    }


def _now(draft: Draft, listed: Listed) -> Price:
    """What holds now; and note when that ends."""
    wall = draft.environment.wall
    ends = changes_at(listed.prices, wall) if len(listed.prices) > 1 else None
    if ends is not None:
        draft.stale_at = ends if draft.stale_at is None else min(ends, draft.stale_at)
    return price_at(listed.prices, wall)
