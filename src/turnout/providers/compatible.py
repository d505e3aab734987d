"""Speaks to every vendor that takes the OpenAI API; what differs between them is data, one row each in compatible.toml.

The wire itself is core/openai_wire.py; here are the rows, and what a known vendor's account needs.
"""

from __future__ import annotations

import pkgutil
import tomllib
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

import msgspec

from turnout.core.catalog import Account
from turnout.core.openai_wire import OpenAIProvider


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known vendor: a row of compatible.toml, whose head explains the fields. name: the row's."""

    name: str
    base_url: str
    key_env: str
    docs: str
    checked: date
    kind: str = "compatible"
    requires_key: bool = True
    region: str = ""
    quirks: dict[str, object] = {}
    quota: dict[str, object] = {}
    free: str = ""


def vendors() -> Mapping[str, Vendor]:
    """Return every known vendor by name. Reads this package's own file: about 1 ms, for start-up only."""
    text = pkgutil.get_data("turnout.providers", "compatible.toml") or b""
    rows = tomllib.loads(text.decode())
    return MappingProxyType({name: msgspec.convert({"name": name, **row}, Vendor) for name, row in rows.items()})


class Compatible(OpenAIProvider):
    """The provider `compatible`."""

    def check(self, account: Account) -> str:
        """What is missing: an address, or a key where the vendor at its own address requires one."""
        missing = super().check(account)
        vendor = vendors().get(account.vendor)
        if (
            missing
            or vendor is None
            or account.api_key
            or not vendor.requires_key
            or account.base_url != vendor.base_url
        ):
            return missing
        return f"provider {account.name} needs a key: set {vendor.key_env}"


PROVIDER = Compatible("compatible")
