"""gateway/vault.py: stored keys, each for one origin (T93 has the whole gateway)."""

from __future__ import annotations

import stat
import threading

import msgspec
import pytest

from turnout import providers
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.config.rollouts import with_account
from turnout.core.books.audit import Record, Wanted, latest
from turnout.core.books.statements import Sql
from turnout.core.eligible import Terms, refusal
from turnout.core.secret import Secret
from turnout.errors import ConfigError, InvalidRequest, StoreError
from turnout.gateway.clock import SystemClock
from turnout.gateway.vault import Vault, check_root, nonce, renew_root, root_key, root_origin

ROOT = b"a root key of thirty-two bytes.."
KEY = Secret("sk-canary-stored-key-of-stub-wxyz")
CONFIG = """
providers:
  stub: {{kind: compatible, base_url: "{url}", api_key: stored}}
  open: {{kind: compatible, base_url: "http://127.0.0.1:2/v1"}}
  given: {{kind: compatible, base_url: "http://127.0.0.1:3/v1", api_key: sk-canary-given}}
models:
  one: {{provider: stub, price: free}}
"""


def snapshot(tmp_path, url="https://api.example.com/v1"):
    """A configuration whose stub is at that address."""
    path = tmp_path / "turnout.yaml"
    path.write_text(CONFIG.format(url=url))
    return load(path, Environment({"TURNOUT_HOME": str(tmp_path)})).snapshot


def record(before):
    return Record(1, "anna", "owner", "", "secret.set", "stub", before=before)


def vault_of(database, root=ROOT):
    return Vault(database, root, SystemClock(), providers.installed())


async def stored(database, accounts, name="stub", key=KEY):
    """Store a key; return the vault that knows it."""
    vault = vault_of(database)
    await vault.put(accounts[name], key, "anna", record)
    assert await vault.load()
    return vault


def used(vault, configured, name="stub"):
    """The key that the account has after the overlay, and why not if it has none."""
    account = vault.overlaid(configured).accounts[name]
    return account.api_key, account.key_problem


async def test_a_stored_key_is_used_by_its_account(tmp_path, database):
    """By the account and its candidates, after the next start too; its row of the trail is in the same transaction."""
    configured = snapshot(tmp_path)
    await stored(database, configured.accounts)
    vault = vault_of(database)
    await vault.load()
    overlaid = vault.overlaid(configured)
    assert KEY == overlaid.accounts["stub"].api_key
    candidate = overlaid.candidates["one", "stub"]
    assert KEY == candidate.account.api_key
    assert refusal(candidate, Terms()) is None
    assert configured.revision == overlaid.revision
    assert [record("")] == [one for _, one in await database.read(lambda: latest(Wanted(), 9))]


async def test_it_stands_nowhere_in_the_clear(tmp_path, database):
    """Not in its row."""
    await stored(database, snapshot(tmp_path).accounts)

    def row():
        return (yield Sql("SELECT * FROM provider_secret"))

    (found,) = await database.read(row)
    assert ("stub", "https://api.example.com:443") == found[:2]
    assert b"canary" not in repr(found).encode()


async def test_without_a_key_nobody_is_asked(tmp_path, database):
    """Before the first load, without a stored key, and the reason says what to do."""
    configured = snapshot(tmp_path)
    unread = refusal(configured.candidates["one", "stub"], Terms())
    assert ("no_key", "waits for its stored key to be read") == (unread.code, unread.detail)
    vault = vault_of(database)
    assert not await vault.load()
    assert (None, "has no stored key: `turnout secrets set stub`") == used(vault, configured)
    filtered = refusal(vault.overlaid(configured).candidates["one", "stub"], Terms())
    assert ("no_key", "has no stored key: `turnout secrets set stub`") == (filtered.code, filtered.detail)


@pytest.mark.parametrize(
    ("url", "is_same"),
    [
        ("https://api.example.com/v2", True),
        ("https://API.example.com:443/v1", True),
        ("http://api.example.com/v1", False),
        ("https://api.example.com:444/v1", False),
        ("https://api.example.com.evil.net/v1", False),
        ("https://evil.net/api.example.com/v1", False),
        ("https://sub.api.example.com/v1", False),
        ("http://127.0.0.1/v1", False),
        ("http://[::1]/v1", False),
    ],
)
async def test_a_changed_address_must_be_given_the_key_again(tmp_path, database, url, is_same):
    """Scheme, host and port are who gets it; the path is not."""
    vault = await stored(database, snapshot(tmp_path).accounts)
    key, problem = used(vault, snapshot(tmp_path, url))
    assert (KEY if is_same else None) == key
    assert is_same == (problem == "")
    if not is_same:
        assert problem.startswith(
            "has a stored key that was given for https://api.example.com:443, and its address is now "
        )
        assert problem.endswith(": `turnout secrets set stub`")


@pytest.mark.parametrize(
    ("more", "origin"),
    [
        ({"proxy_url": "http://127.0.0.1:3128"}, "https://api.example.com:443 through http://127.0.0.1:3128"),
        ({"ca_file": "/evil.pem"}, "https://api.example.com:443 trusting /evil.pem"),
    ],
)
async def test_who_comes_in_between_must_be_given_it_too(tmp_path, database, more, origin):
    """A proxy reads what is not encrypted, and with a certificate of its own the rest."""
    configured = snapshot(tmp_path)
    vault = await stored(database, configured.accounts)
    account = msgspec.structs.replace(configured.accounts["stub"], **more)
    key, problem = used(vault, with_account(configured, account))
    assert key is None
    assert f"its address is now {origin}: " in problem


async def test_a_row_that_was_changed_does_not_open(tmp_path, database):
    """Neither with the attacker's origin written into it, nor copied to another provider."""
    configured = snapshot(tmp_path)
    vault = await stored(database, configured.accounts)

    def moved():
        yield Sql("UPDATE provider_secret SET origin = ?", ("https://evil.example.com:443",))

    def copied():
        yield Sql(
            "INSERT INTO provider_secret (provider, origin, sealed, set_at_ms, set_by)"
            " SELECT ?, ?, sealed, set_at_ms, set_by FROM provider_secret",
            ("open", "http://127.0.0.1:2"),
        )

    await database.write(moved)
    await database.write(copied)
    assert await vault.load()
    why = "has a stored key that does not open (it was changed, or sealed for another record or origin): "
    elsewhere = snapshot(tmp_path, "https://evil.example.com/v1")
    assert (None, f"{why}`turnout secrets set stub`") == used(vault, elsewhere)
    assert (None, f"{why}`turnout secrets set open`") == used(vault, elsewhere, "open")


async def test_another_root_key_is_named(tmp_path, database):
    """A home that was copied without its root key."""
    configured = snapshot(tmp_path)
    await stored(database, configured.accounts)
    vault = vault_of(database, b"another root key, as long as it.")
    await vault.load()
    key, problem = used(vault, configured)
    assert key is None
    assert "sealed with another root key" in problem


async def test_where_the_config_gives_a_key_that_one_holds(tmp_path, database):
    """And an account that needs none gets one that was stored for it."""
    configured = snapshot(tmp_path)
    await stored(database, configured.accounts, "given")
    vault = await stored(database, configured.accounts, "open", Secret("short"))
    assert (Secret("sk-canary-given"), "") == used(vault, configured, "given")
    assert (Secret("short"), "") == used(vault, configured, "open")


async def test_what_is_told_of_stored_keys(tmp_path, database):
    """The last four characters of a long one, and whether it is used; never more."""
    configured = snapshot(tmp_path)
    for name in ("stub", "given"):
        await stored(database, configured.accounts, name)
    vault = await stored(database, configured.accounts, "open", Secret("short"))
    told = {one.provider: one for one in vault.listed(configured)}
    assert ("wxyz", "in use") == (told["stub"].last4, told["stub"].state)
    assert ("", "not used: the config gives this provider a key") == (told["given"].last4, told["given"].state)
    assert ("", "in use") == (told["open"].last4, told["open"].state)
    assert "canary" not in repr(told)
    gone = msgspec.structs.replace(configured, accounts={})
    assert {"no provider of that name is configured"} == {one.state for one in vault.listed(gone)}
    moved = {one.provider: one.state for one in vault.listed(snapshot(tmp_path, "https://evil.example.com/v1"))}
    assert moved["stub"].startswith("has a stored key that was given for https://api.example.com:443")


async def test_a_key_is_replaced_and_forgotten(tmp_path, database):
    """Each tells which origin the one before was for; what is not there cannot be forgotten."""
    configured = snapshot(tmp_path)
    vault = await stored(database, configured.accounts)
    assert not await vault.load()
    account = snapshot(tmp_path, "http://127.0.0.1:9").accounts["stub"]
    assert "https://api.example.com:443" == await vault.put(account, Secret("other"), "bo", record)
    assert await vault.load()
    assert "http://127.0.0.1:9" == await vault.remove("stub", record)
    assert await vault.load()
    assert (None, "has no stored key: `turnout secrets set stub`") == used(vault, configured)
    with pytest.raises(InvalidRequest, match="No key is stored for 'stub'"):
        await vault.remove("stub", record)


@pytest.mark.parametrize("text", ["", "a b", "a\nb", "\x00", "é", "x" * 4097])
async def test_what_is_no_key_is_not_stored(tmp_path, database, text):
    """It could not be sent."""
    with pytest.raises(InvalidRequest, match="visible characters"):
        await stored(database, snapshot(tmp_path).accounts, key=Secret(text))
    assert [] == await database.read(lambda: latest(Wanted(), 9))


async def test_an_account_without_an_address_takes_no_key(tmp_path, database):
    """The simulated one is asked over no network."""
    simulated = load(None, Environment({"TURNOUT_HOME": str(tmp_path)})).snapshot
    vault = vault_of(database)
    with pytest.raises(InvalidRequest, match="simulated is not asked over the network, so it needs no key"):
        vault.origin(simulated.accounts["simulated"])
    configured = snapshot(tmp_path)
    vault = await stored(database, configured.accounts)
    account = msgspec.structs.replace(configured.accounts["stub"], kind="simulated", base_url="")
    told = used(vault, with_account(configured, account))
    assert (None, "stub is not asked over the network, so it needs no key.") == told


async def test_who_changes_a_key_moves_the_number_of_changes(tmp_path, database):
    """So that every gateway follows."""
    before = await database.wait(-1)
    await stored(database, snapshot(tmp_path).accounts)
    assert before + 1 == await database.wait(before)


# ── the root key ──


def test_it_is_made_once_for_its_owner_alone(tmp_path):
    """In a folder that need not be there yet; nothing else is left lying there."""
    home = tmp_path / "home"
    root = root_key(home, Environment({}), SystemClock())
    assert root == root_key(home, Environment({}), SystemClock())
    assert 43 == len(root)
    assert ["root.key"] == [path.name for path in home.iterdir()]
    assert 0o600 == stat.S_IMODE((home / "root.key").stat().st_mode)


def test_gateways_that_start_at_once_have_one(tmp_path):
    """Whoever is first."""
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(root_key(tmp_path, Environment({}), SystemClock())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 8 * [root_key(tmp_path, Environment({}), SystemClock())] == found
    assert ["root.key"] == [path.name for path in tmp_path.iterdir()]


def test_the_environment_gives_another(tmp_path):
    """And then no file is made."""
    text = "a9f3c1e7b5d2084f6e1a9c3b7d5f2e80"
    assert text.encode() == root_key(tmp_path, Environment({"TURNOUT_ROOT_KEY": text}), SystemClock())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", " ", "changeme", "sk-1234", "x" * 40, "short"])
def test_a_weak_one_is_refused_without_being_repeated(tmp_path, text):
    """An empty one too: it must not mean that a file is made."""
    with pytest.raises(ConfigError) as caught:
        root_key(tmp_path, Environment({"TURNOUT_ROOT_KEY": text}), SystemClock())
    assert caught.value.problems[0].startswith("TURNOUT_ROOT_KEY: the key ")
    assert not text.strip() or f" {text} " not in caught.value.problems[0]
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    """With what to do about it."""
    root_key(tmp_path, Environment({}), SystemClock())
    (tmp_path / "root.key").chmod(mode)
    with pytest.raises(StoreError, match="can be read by others: `chmod 600"):
        root_key(tmp_path, Environment({}), SystemClock())


@pytest.mark.parametrize("body", [b"", b"\n", b"too short"])
def test_a_file_without_a_key_is_refused(tmp_path, body):
    """It is never made anew: what was sealed would be lost without a word."""
    (tmp_path / "root.key").write_bytes(body)
    (tmp_path / "root.key").chmod(0o600)
    with pytest.raises(StoreError, match="holds no key"):
        root_key(tmp_path, Environment({}), SystemClock())
    assert body == (tmp_path / "root.key").read_bytes()


def test_a_folder_in_its_place_is_told(tmp_path):
    """As any failure of the disk."""
    (tmp_path / "root.key").mkdir(mode=0o700)
    with pytest.raises(StoreError, match=r"root\.key: Is a directory"):
        root_key(tmp_path, Environment({}), SystemClock())


def test_where_it_is_from_is_told_in_words(tmp_path):
    """The variable, or the file."""
    assert "TURNOUT_ROOT_KEY" == root_origin(tmp_path, Environment({"TURNOUT_ROOT_KEY": "x"}))
    assert str(tmp_path / "root.key") == root_origin(tmp_path, Environment({}))


async def test_books_are_for_one_root_key_and_another_is_told_what_to_do(database):
    """Whoever comes first says which; another holds only once somebody says so, and that is in the trail."""
    for _ in range(2):
        await check_root(database, ROOT, "root.key")
    other = b"another root key of 32 bytes...."
    with pytest.raises(ConfigError) as caught:
        await check_root(database, other, "TURNOUT_ROOT_KEY")
    (problem,) = caught.value.problems
    assert problem.startswith("TURNOUT_ROOT_KEY: the keys in these books were made with another root key")
    assert "`turnout secrets new-root`" in problem
    row = Record(1, "anna", "owner", "", "root.renew")
    assert (False, True, False) == (
        await renew_root(database, ROOT, row),
        await renew_root(database, other, row),
        await renew_root(database, other, row),
    )
    await check_root(database, other, "TURNOUT_ROOT_KEY")
    with pytest.raises(ConfigError):
        await check_root(database, ROOT, "root.key")
    assert ["root.renew"] == [one.action for _, one in await database.read(lambda: latest(Wanted(), 9))]


def test_no_nonce_comes_twice():
    """Twelve bytes each."""
    nonces = {nonce(SystemClock()) for _ in range(10_000)}
    assert 10_000 == len(nonces)
    assert {12} == set(map(len, nonces))
