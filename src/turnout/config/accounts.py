"""Builds the accounts: which providers are configured, by what protocol, at which address, with which key.

A provider that the file names must be complete: a key that is missing is a problem. Besides, a known vendor whose key
stands in the environment is configured unasked. A vendor that needs no key (a server on this machine) is configured
when the file names it, in `providers` or as the provider of a model, or when the gateway found it answering.
`api_key: stored` means the key that is kept in the books: it is put in when they are open.
With nothing configured at all, one simulated account serves every model, and a notice says so.
A key from a vendor's usual variable goes to that vendor's own origin only; elsewhere it must be asked for (RELIABILITY R8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec

from turnout.config import scalars, schema
from turnout.config.draft import Draft
from turnout.config.files import read_small
from turnout.config.problems import Path, suggestion
from turnout.config.secrets import is_sendable, resolve
from turnout.config.settings import timeouts
from turnout.core.catalog import Account, Timeouts
from turnout.core.contracts import Provider
from turnout.core.secret import Secret
from turnout.providers import Vendor

_SIMULATED = "simulated"
_STORED = "stored"
"""What `api_key` says where the key was given to `turnout secrets set`. It is no key of anybody's."""
_MAX_CA_BYTES = 1_000_000

_OURS = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding", "te", "upgrade"}
)
_CREDENTIAL = ("authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "credential")


def accounts(
    draft: Draft, protocols: Mapping[str, Provider], defaults: Timeouts, *, answering: Iterable[str] = ()
) -> dict[str, Account]:
    """Every configured account by name. protocols: by kind. answering: vendors found answering on this machine."""
    built: dict[str, Account] = {}
    for name, table in (draft.user.table.providers or {}).items():
        account = _named(draft, protocols, defaults, name, table)
        if account is not None:
            built[name] = account
    named = draft.written_providers()
    wanted = {model.table.provider for model in draft.models.values() if not model.is_shipped} | set(answering)
    for name, row in draft.vendors.items():
        if name in named:
            continue
        key = draft.environment.get(row.key_env) if row.key_env else ""
        if row.requires_key and key and row.base_url:
            draft.origins[f"providers.{name}"] = row.key_env
            draft.origins[f"providers.{name}.api_key"] = row.key_env
        elif row.requires_key or name not in wanted:
            continue
        built[name] = _account(name, row, defaults, Secret(key) if key else None)
        if key and not is_sendable(Secret(key)):
            draft.wrong_variable(row.key_env, "holds a space, a line break or another character that no key has")
    if not built and not named:
        address = protocols[_SIMULATED].base_url
        built[_SIMULATED] = Account(_SIMULATED, _SIMULATED, base_url=address, timeouts=defaults)
    return built


def is_all_simulated(draft: Draft, built: Mapping[str, Account]) -> bool:
    """Whether nothing is configured, so that the one simulated account stands in for every provider."""
    return tuple(built) == (_SIMULATED,) and not draft.written_providers()


def notices(draft: Draft, built: Mapping[str, Account]) -> list[str]:
    """One line for each account: that it is there, and where its key came from."""
    if is_all_simulated(draft, built):
        names = ", ".join([row.key_env for row in draft.vendors.values() if row.requires_key and row.base_url][:4])
        return [f"no provider key found ({names}, …): answers are simulated"]
    lines = []
    for name, account in built.items():
        origin = draft.origins.get(f"providers.{name}.api_key", "")
        key = f"key from {origin}" if account.api_key else "key from the books" if account.is_key_stored else "no key"
        lines.append(f"{name}: {key}" + (f", {account.base_url}" if not account.api_key and account.base_url else ""))
    return lines


def known_providers(draft: Draft) -> frozenset[str]:
    """Names that a model's `provider` may hold: those that the file names, and the known vendors."""
    return frozenset(draft.written_providers()) | frozenset(draft.vendors)


def vendor_of(draft: Draft, provider: str) -> str:
    """The vendor's row behind a provider's name, "" if there is none."""
    table = (draft.user.table.providers or {}).get(provider)
    kind = (table.kind if table else None) or provider
    return kind if kind in draft.vendors else ""


def _account(name: str, row: Vendor, defaults: Timeouts, key: Secret | None) -> Account:
    """A vendor's account with nothing said but its name."""
    return Account(
        name,
        row.kind,
        vendor=row.name,
        base_url=row.base_url,
        api_key=key,
        region=row.region,
        quirks=row.quirks,
        timeouts=defaults,
    )


def _named(
    draft: Draft, protocols: Mapping[str, Provider], defaults: Timeouts, name: str, table: schema.ProviderTable
) -> Account | None:
    """An account that the file asks for; None after a problem that leaves nothing to go on with."""
    path: Path = ("providers", name)
    kind = table.kind or name
    row = draft.vendors.get(kind)
    if row is None and kind not in protocols:
        known = sorted({*draft.vendors, *protocols})
        if table.kind:
            draft.wrong((*path, "kind"), f"unknown kind '{kind}', {suggestion(kind, known, 'known kinds')}")
        else:
            near = suggestion(name, known, "known vendors")
            what = (
                f"unknown vendor '{name}', {near} (anything that speaks the OpenAI API: `kind: compatible`, base_url)"
            )
            draft.wrong(path, what, of_key=True)
        return None
    if row is None:
        plain = Account(name, kind, base_url=protocols[kind].base_url)
    else:
        plain = _account(name, row, defaults, None)
    base_url = _base_url(draft, path, table, plain.base_url)
    account = msgspec.structs.replace(
        plain,
        base_url=base_url,
        api_key=_api_key(draft, path, table, row, base_url),
        is_key_stored=_is_stored(table),
        names=table.names or plain.names,
        region=table.region or plain.region,
        headers=_headers(draft, path, table.headers or {}),
        timeouts=timeouts(defaults, table.timeouts),
        proxy_url=table.proxy or "",
        ca_file=_ca_file(draft, path, table.ca_file),
    )
    if not draft.has_problem(path):
        # Whether a key is there is known once the books are open; all else that may be missing is known now.
        with_key = msgspec.structs.replace(account, api_key=Secret(_STORED)) if account.is_key_stored else account
        missing = protocols[account.kind].check(with_key)
        if missing:
            draft.wrong(path, missing, of_key=True)
    return account


def _base_url(draft: Draft, path: Path, table: schema.ProviderTable, usual: str) -> str:
    at = (*path, "base_url")
    if table.base_url is None:
        return usual
    try:
        found = resolve(table.base_url, draft.environment, draft.folder)
        address = scalars.web_address(found.secret.reveal())
    except ValueError as error:
        draft.wrong(at, str(error))
        return usual
    draft.note(at, found)
    return address


def _api_key(draft: Draft, path: Path, table: schema.ProviderTable, row: Vendor | None, base_url: str) -> Secret | None:
    """The key: as the file says, else from the vendor's usual variable."""
    at = (*path, "api_key")
    if _is_stored(table):
        return None
    if table.api_key is not None:
        try:
            found = resolve(table.api_key, draft.environment, draft.folder)
        except ValueError as error:
            draft.wrong(at, str(error))
            return None
        draft.note(at, found)
        if not is_sendable(found.secret):
            draft.wrong(at, "holds a space, a line break or another character that no key has")
        return found.secret
    if row is None or not row.key_env or draft.has_problem(at):
        return None
    key = draft.environment.get(row.key_env)
    if row.requires_key and row.base_url and origin_of(base_url) != origin_of(row.base_url):
        what = (
            f"this is not {row.name}'s own address, so {row.key_env} is not sent there unasked, "
            f"say api_key: ${{{row.key_env}}} (or another key)"
        )
        draft.wrong((*path, "base_url"), what)
        return None
    if not key:
        if row.requires_key:
            what = (
                f"the environment variable {row.key_env} is not set, set it or give an api_key "
                f"(`stored`: as `turnout secrets set {path[-1]}` keeps it)"
            )
            draft.wrong(path, what, of_key=True)
        return None
    draft.origins[f"providers.{path[-1]}.api_key"] = row.key_env
    if not is_sendable(Secret(key)):
        draft.wrong_variable(row.key_env, "holds a space, a line break or another character that no key has")
    return Secret(key)


def _is_stored(table: schema.ProviderTable) -> bool:
    return table.api_key is not None and table.api_key.reveal().strip() == _STORED


def origin_of(address: str) -> tuple[str, str | None, int]:
    """Scheme, host and port of an address: who is behind it."""
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _headers(draft: Draft, path: Path, written: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Extra headers, names in lower case. They are shown by `turnout check`, so credentials are refused."""
    headers = []
    for name, value in written.items():
        lower = name.lower()
        if not all(c.isalnum() or c in "-_" for c in lower) or not lower.isascii():
            draft.wrong((*path, "headers", name), "is no header name, use letters, digits and -", of_key=True)
        elif lower in _OURS:
            draft.wrong((*path, "headers", name), "is written by Turnout itself, remove it", of_key=True)
        elif any(word in lower for word in _CREDENTIAL):
            draft.wrong((*path, "headers", name), "looks like a credential, put it into api_key", of_key=True)
        elif not (value.isascii() and value.isprintable()):
            draft.wrong((*path, "headers", name), "holds a character that a header cannot carry")
        else:
            headers.append((lower, value.strip()))
    return tuple(headers)


def _ca_file(draft: Draft, path: Path, written: str | None) -> str:
    if written is None:
        return ""
    found = draft.folder / written
    try:
        is_pem = b"-----BEGIN CERTIFICATE-----" in read_small(found, _MAX_CA_BYTES)
    except ValueError as error:
        draft.wrong((*path, "ca_file"), f"the file {error}")
        return ""
    if not is_pem:
        draft.wrong((*path, "ca_file"), "the file holds no certificate, expected PEM (-----BEGIN CERTIFICATE-----)")
    draft.watched.append(found)
    return str(found)
