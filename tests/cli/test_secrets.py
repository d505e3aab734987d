"""`turnout secrets`: what it stores, shows and refuses, with no gateway running."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from turnout.cli import run
from turnout.cli.secrets import secrets

KEY = "sk-canary-stored-key-of-stub-wxyz"
CONFIG = """
providers:
  stub: {kind: compatible, base_url: "https://api.example.com/v1", api_key: stored}
  given: {kind: compatible, base_url: "http://127.0.0.1:3/v1", api_key: sk-canary-given}
models:
  one: {provider: stub, price: free}
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with the config above, and no variable that would change it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))
    (tmp_path / "turnout.yaml").write_text(CONFIG)
    return monkeypatch


def store(provider="stub", key=KEY, *more):
    return CliRunner().invoke(secrets, ["set", provider, *more], input=f"{key}\n")


def told(capsys, *arguments):
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_key_is_stored_for_the_address_that_its_provider_has(tmp_path, capsys):
    """It is read from the input, shown by its last four characters, and stands in no file in the clear."""
    done = store()
    assert "stub: the key is stored, encrypted, for https://api.example.com:443 alone.\n" == done.output
    (row,) = told(capsys, "secrets", "list")["secrets"]
    assert ("stub", "https://api.example.com:443", "wxyz", "in use") == (
        row["provider"], row["origin"], row["last4"], row["state"],
    )  # fmt: skip
    assert [] == [path for path in (tmp_path / "home").rglob("*") if b"canary" in path.read_bytes()]


def test_the_list_is_a_table_that_says_what_is_wrong(tmp_path, capsys):
    """Of a key whose provider has moved since."""
    assert run(["secrets", "list"]) == 0
    assert "No key is stored. Store one with `turnout secrets set PROVIDER`.\n" == capsys.readouterr().out
    store()
    (tmp_path / "turnout.yaml").write_text(CONFIG.replace("api.example.com", "evil.example.com"))
    assert run(["secrets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "provider  for                          ends in  set at" in lines[0]
    assert lines[1].startswith("stub      https://api.example.com:443           20")
    assert (
        "stub: has a stored key that was given for https://api.example.com:443, and its address is now "
        "https://evil.example.com:443: `turnout secrets set stub`"
    ) == lines[2]


def test_every_change_is_in_the_audit_trail(capsys):
    """Who, when, and for which address; never the key."""
    store()
    assert json.loads(store("stub", "another-key", "--json").output)["replaced"]
    assert {"provider": "stub", "origin": "https://api.example.com:443"} == told(capsys, "secrets", "delete", "stub")
    rows = told(capsys, "audit", "list")["rows"]
    assert ["secret.delete", "secret.set", "secret.set"] == [row["action"] for row in rows]
    assert {"stub"} == {row["target"] for row in rows}
    assert [{"origin": "https://api.example.com:443"}] * 2 + [None] == [row["before"] for row in rows]
    assert rows[0]["actor"].startswith("command ")
    assert "canary" not in json.dumps(rows)
    assert [] == told(capsys, "secrets", "list")["secrets"]


def test_what_is_not_there_cannot_be_forgotten(capsys):
    """And the trail has no row of it."""
    assert run(["secrets", "delete", "stub"]) == 1
    assert "No key is stored for 'stub'" in capsys.readouterr().err
    assert run(["secrets", "delete", "stub", "--json"]) == 1
    capsys.readouterr()
    assert [] == told(capsys, "audit", "list")["rows"]


def test_an_unknown_provider_says_what_to_write():
    """With the one that was meant."""
    done = store("stob")
    assert done.exit_code == 1
    assert "There is no provider 'stob'. Did you mean stub?" in done.output
    assert "providers:\n  stob: {api_key: stored}" in done.output


def test_a_provider_that_has_a_key_in_the_config_is_warned_about():
    """That one holds."""
    assert (
        "given has a key in the config, and that one holds: write `api_key: stored` there.\n" in store("given").output
    )


@pytest.mark.parametrize("key", ["", "a key", "nøgle"])
def test_what_is_no_key_is_refused(key, capsys):
    """Without repeating it."""
    done = store("stub", key)
    assert done.exit_code == 1
    assert "visible characters without spaces" in str(done.exception)
    assert [] == told(capsys, "secrets", "list")["secrets"]


def test_a_weak_root_key_is_refused(place, capsys):
    """Before anything is read."""
    place.setenv("TURNOUT_ROOT_KEY", "changeme")
    assert run(["secrets", "list"]) == 2
    assert "TURNOUT_ROOT_KEY: the key is a sample key" in capsys.readouterr().err


def test_another_root_key_is_told_and_goes_on_once_somebody_says_so(tmp_path, capsys):
    """For stored keys and for virtual ones; what was made before opens nothing and can be made anew."""
    store()
    told(capsys, "keys", "create", "--name", "app")
    (tmp_path / "home" / "root.key").unlink()
    for command in (["secrets", "list"], ["keys", "create"], ["keys", "list"]):
        assert 2 == run(command)
        said = capsys.readouterr().err
        assert f"{tmp_path}/home/root.key: the keys in these books were made with another root key" in said
        assert "`turnout secrets new-root`" in said
    declined = CliRunner().invoke(secrets, ["new-root"], input="n\n")
    assert (1, 2) == (declined.exit_code, run(["keys", "list"]))
    done = CliRunner().invoke(secrets, ["new-root", "--yes"])
    assert "`turnout keys rotate KEY`" in done.output
    assert "Nothing was changed." in CliRunner().invoke(secrets, ["new-root", "--yes"]).output
    assert {"renewed": False} == told(capsys, "secrets", "new-root")
    assert ["app"] == [one["name"] for one in told(capsys, "keys", "list")["keys"]]
    told(capsys, "keys", "rotate", "app")
    assert "sealed with another root key" in told(capsys, "secrets", "list")["secrets"][0]["state"]
    assert ["key.rotate", "root.renew", "key.create"] == [
        row["action"] for row in told(capsys, "audit", "list")["rows"]
    ][:3]
