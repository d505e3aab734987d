"""Tests of config/accounts.py."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder
from turnout.core.catalog import Account, Timeouts
from turnout.core.secret import Secret
from turnout.providers import PROVIDERS, vendors


def test_a_known_vendor_brings_address_key_and_quirks(folder: Folder) -> None:
    """`openrouter: {}` is enough; the key comes from the variable of its row."""
    row = vendors()["openrouter"]
    snapshot = folder.snapshot("providers:\n  openrouter: {}\n", {"OPENROUTER_API_KEY": "sk-or"})
    assert snapshot.accounts["openrouter"] == Account(
        "openrouter", "compatible", "openrouter", row.base_url, Secret("sk-or"), quirks=row.quirks
    )
    assert snapshot.origins["providers.openrouter"] == "turnout.yaml:2"
    assert snapshot.origins["providers.openrouter.api_key"] == "OPENROUTER_API_KEY"


def test_every_vendor_of_the_rows_can_be_named(folder: Folder) -> None:
    """With its key in the environment (and an address where only the operator knows it) each row is an account."""
    for name, row in vendors().items():
        address = "" if row.base_url else "base_url: https://example.invalid"
        snapshot = folder.snapshot(f"providers: {{{name}: {{{address}}}}}\n", {row.key_env: "k"} if row.key_env else {})
        account = snapshot.accounts[name]
        assert (account.kind, account.vendor, account.region) == (row.kind, name, row.region)
        assert account.api_key == (Secret("k") if row.key_env else None)


def test_a_second_account_at_the_same_vendor(folder: Folder) -> None:
    """`kind` may name a vendor's row: then everything of it holds for another name."""
    text = "providers: {openai-eu: {kind: openai, api_key: '${EU}', region: eu}}\n"
    account = folder.snapshot(text, {"EU": "k"}).accounts["openai-eu"]
    assert (account.vendor, account.region, account.api_key) == ("openai", "eu", Secret("k"))
    assert account.base_url == vendors()["openai"].base_url


def test_everything_about_an_account_can_be_said(folder: Folder) -> None:
    """Address, key, names, region, headers, timeouts over the general ones, proxy, certificates."""
    folder.write("-----BEGIN CERTIFICATE-----\n", "ca.pem")
    text = """
timeouts: {idle: 7}
providers:
  stub:
    kind: compatible
    base_url: http://${HOST}:9100/v1/
    api_key: sk-x
    names: "{provider}/{id}"
    region: no
    headers: {X-Team: blue, x-n: 1}
    timeouts: {connect: 1}
    proxy: http://proxy:3128
    ca_file: ca.pem
"""
    loaded = folder.load(text, {"HOST": "127.0.0.1"})
    assert loaded.snapshot.accounts["stub"] == Account(
        "stub",
        "compatible",
        base_url="http://127.0.0.1:9100/v1",
        api_key=Secret("sk-x"),
        names="{provider}/{id}",
        region="no",
        headers=(("x-team", "blue"), ("x-n", "1")),
        timeouts=Timeouts(connect_s=1.0, idle_s=7.0),
        proxy_url="http://proxy:3128",
        ca_file=str(folder.path / "ca.pem"),
    )
    assert loaded.snapshot.origins["providers.stub.base_url"] == "HOST"
    assert loaded.snapshot.origins["providers.stub.api_key"] == "turnout.yaml:7"
    assert folder.path / "ca.pem" in loaded.watched_files


def test_a_protocol_of_our_own_needs_only_its_name(folder: Folder) -> None:
    """`simulated` and `local` are protocols without a vendor: their address is their own."""
    accounts = folder.snapshot("providers:\n  simulated:\n  mine: {kind: local}\n").accounts
    assert accounts["simulated"] == Account("simulated", "simulated", base_url=PROVIDERS["simulated"].base_url)
    assert accounts["mine"] == Account("mine", "local", base_url=PROVIDERS["local"].base_url)


def test_vendors_whose_key_is_in_the_environment_are_configured_unasked(folder: Folder) -> None:
    """Beside what the file names; keys for servers on this machine configure nothing by themselves."""
    variables = {"OPENROUTER_API_KEY": "a", "GROQ_API_KEY": "b", "LITELLM_MASTER_KEY": "c", "AZURE_OPENAI_API_KEY": "d"}
    loaded = folder.load("providers: {stub: {kind: compatible, base_url: 'http://x'}}\n", variables)
    assert list(loaded.snapshot.accounts) == ["stub", "openrouter", "groq"]
    assert loaded.notices == (
        "stub: no key, http://x",
        "openrouter: key from OPENROUTER_API_KEY",
        "groq: key from GROQ_API_KEY",
    )


def test_a_vendor_without_key_is_configured_when_it_is_wanted(folder: Folder) -> None:
    """By name, as the provider of a model of the file, or because it was found answering; not because it is shipped."""
    key = {"GROQ_API_KEY": "k"}
    assert "ollama" not in folder.snapshot("", key).accounts
    assert "ollama" in folder.snapshot("providers: {ollama: }\n", key).accounts
    assert "ollama" in folder.snapshot("models: {phi: {provider: ollama}}\n", key).accounts
    assert list(folder.load("", ollama=True).snapshot.accounts) == ["ollama"]
    named = "providers: {ollama: {base_url: 'http://127.0.0.1:1'}}\n"
    assert folder.load(named, ollama=True).snapshot.accounts["ollama"].base_url == "http://127.0.0.1:1"


def test_with_nothing_configured_answers_are_simulated(folder: Folder) -> None:
    """One account serves every model under its own id, and a notice says so."""
    loaded = folder.load("")
    assert list(loaded.snapshot.accounts) == ["simulated"]
    (notice,) = loaded.notices
    assert notice.startswith("no provider key found (OPENROUTER_API_KEY, OPENAI_API_KEY, ")
    assert notice.endswith("): answers are simulated")
    one = loaded.snapshot.candidates["claude-3-haiku", "simulated"]
    assert (one.id, one.key) == ("claude-3-haiku-20240307", "claude-3-haiku@simulated")
    assert len(loaded.snapshot.candidates) == len(loaded.snapshot.models)
    assert {model.provider for model in loaded.snapshot.models.values()} == {"simulated"}


def test_an_account_that_was_asked_for_is_never_replaced_by_a_simulation(folder: Folder) -> None:
    """A file that names a simulated account itself keeps its other models as they are."""
    snapshot = folder.snapshot("providers: {simulated: }\n")
    assert snapshot.models["gpt-4o"].provider == "openai"
    assert snapshot.candidates == {}


def test_a_vendors_key_goes_to_the_vendors_own_address_only(folder: Folder) -> None:
    """RELIABILITY R8: another scheme, host or port gets a key only when the file says which; another path may."""
    key = {"OPENAI_API_KEY": "canary"}
    for address in ("http://api.openai.com/v1", "https://api.openai.com:444/v1", "https://evil.example/v1"):
        (problem,) = folder.problems(f"providers: {{openai: {{base_url: '{address}'}}}}\n", key)
        assert problem.startswith("turnout.yaml:1:32 providers.openai.base_url: this is not openai's own address")
    for text in ("base_url: 'https://api.openai.com:443/v2'", "base_url: 'https://x', api_key: '${OPENAI_API_KEY}'"):
        account = folder.snapshot(f"providers: {{openai: {{{text}}}}}\n", key).accounts["openai"]
        assert account.api_key == Secret("canary")


def test_a_key_that_no_header_can_carry_is_refused(folder: Folder) -> None:
    """Whether the file names the vendor or not, and never repeating it."""
    for text in ("", "providers: {openai: }\n"):
        (problem,) = folder.problems(text, {"OPENAI_API_KEY": "canary \n"})
        assert problem.startswith("OPENAI_API_KEY: holds a space")
        assert "canary" not in problem


def test_a_key_in_a_file_is_read_and_watched(folder: Folder) -> None:
    """With its path as the origin."""
    folder.write("sk-1\n", "key")
    loaded = folder.load("providers: {openai: {api_key: 'file:key'}}\n")
    assert loaded.snapshot.accounts["openai"].api_key == Secret("sk-1")
    assert folder.path / "key" in loaded.watched_files
    assert loaded.notices == (f"openai: key from file:{folder.path / 'key'}",)


def test_a_certificate_file_must_hold_one(folder: Folder) -> None:
    """Otherwise every connection would fail later."""
    folder.write("hello", "ca.pem")
    (problem,) = folder.problems("providers: {a: {kind: compatible, base_url: 'http://x', ca_file: ca.pem}}\n")
    assert problem.startswith("turnout.yaml:1:66 providers.a.ca_file: the file holds no certificate")


def test_what_the_protocol_misses_is_a_problem(folder: Folder) -> None:
    """An account that cannot work is refused with the protocol's own words, at its name."""
    (problem,) = folder.problems("providers:\n  a: {kind: compatible}\n")
    assert problem.startswith("turnout.yaml:2:3 providers.a: ")
    assert "base_url" in problem


@pytest.mark.parametrize("kind", ["compatibel", "opnai"])
def test_an_unknown_kind_names_the_nearest(kind: str, folder: Folder) -> None:
    """Rows and protocols are both kinds."""
    (problem,) = folder.problems(f"providers: {{a: {{kind: {kind}}}}}\n")
    assert "did you mean" in problem


def test_a_stored_key_is_put_in_later(folder: Folder) -> None:
    """The account stands without one, and says where it will come from; the vendor's variable is not used."""
    loaded = folder.load(
        "providers: {openai: {api_key: stored}, anthropic: {api_key: stored}}\n", {"OPENAI_API_KEY": "x"}
    )
    openai = loaded.snapshot.accounts["openai"]
    assert (None, True) == (openai.api_key, openai.is_key_stored)
    assert loaded.notices == (
        "openai: key from the books, https://api.openai.com/v1",
        "anthropic: key from the books, https://api.anthropic.com",
    )
    (problem,) = folder.problems("providers: {openai: }\n")
    assert problem.endswith("give an api_key (`stored`: as `turnout secrets set openai` keeps it)")
