"""T96: an empty, short or sample secret guards nothing: the start refuses it, and no verifier takes an empty key.

Master key, root key, what webhooks are signed with; the keys of callers and admins; and what is sealed at rest.
"""

import asyncio
import random
import string

import httpx2
import pytest

from tests.process import turnout
from tests.rig import Rig
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.sealing import ROOT_BYTES, Sealer
from turnout.errors import ConfigError, GatewayError
from turnout.gateway.clock import SystemClock
from turnout.gateway.vault import root_key

WEAK = (
    *("", " ", "\t", "sk-1234", "changeme", "secret", "password", "sk-turnout-changeme", "CHANGE-ME-PLEASE-CHANGE-ME"),
    *(
        "your-secret-key-here",
        "sk-turnout-your-master-key",
        "abcdefghijklmnopqrstuvwxyz",
        "0" * 64,
        "abc" * 20,
        "short",
    ),
    *(
        "sk-litellm-master-key-1234567890",
        "111111111111111111111111111111",
        "a",
        "test-test-test-test-test-test",
        "none",
    ),
)
WEBHOOK = 'alerts: {{webhook: {{url: "https://127.0.0.1:1/hook", secret: {secret}}}}}\n'


def refused(text, variables, home):
    """Return the problems of a configuration, [] if it is taken."""
    path = home / "turnout.yaml"
    path.write_text(text)
    try:
        load(path, Environment({"TURNOUT_HOME": str(home), **variables}))
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize("secret", WEAK)
def test_t96_no_weak_secret_is_taken(tmp_path, secret):
    """In the environment and in the file; and what is said of it does not repeat it."""
    strong = "a9f3c1e7b5d2084f6e1a9c3b7d5f2e80"
    given = {
        "master key": refused("", {"TURNOUT_MASTER_KEY": secret}, tmp_path),
        "webhook": refused(WEBHOOK.format(secret='"${HOOK}"'), {"HOOK": secret}, tmp_path),
        "webhook in the file": refused(WEBHOOK.format(secret=f'"{secret}"'), {}, tmp_path),
    }
    try:
        root_key(tmp_path, Environment({"TURNOUT_ROOT_KEY": secret}), SystemClock())
    except ConfigError as error:
        given["root key"] = error.problems
    assert [] == [name for name in (*given, "root key") if not given.get(name)]
    if len(secret) > 12:
        assert secret not in str(given)
    assert [] == refused(WEBHOOK.format(secret='"${HOOK}"'), {"HOOK": strong, "TURNOUT_MASTER_KEY": strong}, tmp_path)
    assert not (tmp_path / "root.key").exists()


@pytest.mark.parametrize("variable", ["TURNOUT_MASTER_KEY", "TURNOUT_ROOT_KEY"])
async def test_t96_the_gateway_does_not_start_with_one(tmp_path, variable):
    """Exit code 2, one line, no traceback; and nothing was made that a later start would trust."""
    codes = await asyncio.gather(
        *(turnout(tmp_path, "serve", "--port", "0", **{variable: secret}) for secret in ("", "sk-1234", "changeme"))
    )
    assert [2, 2, 2] == [code for code, _, _ in codes]
    assert [] == [told for _, _, told in codes if variable not in told or "Traceback" in told]
    assert not (tmp_path / "home" / "root.key").exists()


def keys(chance):
    """A thousand texts that are no key: empty, blank, short, of a key's form, and random."""
    yield from ("", " ", "\x00", "0", "null", "None", "undefined", "Bearer", "*", "' OR '1'='1", "%", "_" * 54)
    yield from WEAK
    for _ in range(1000 - 12 - len(WEAK)):
        body = "".join(chance.choice(string.ascii_letters + string.digits + "-_") for _ in range(chance.randrange(44)))
        yield chance.choice(["", "sk-turnout-", "sk-turnout-admin-", "sk-"]) + body


def opens(ring, key):
    """Whether the ring takes it."""
    try:
        ring.check(key.encode())
    except GatewayError:
        return False
    return True


async def test_t96_no_verifier_takes_an_empty_key(tmp_path, seed, proof):
    """Of 1,000 texts that are no key none opens the door, whoever they are held against; nor over HTTP an empty header."""
    tried = list(keys(random.Random(seed)))
    async with Rig(tmp_path) as rig:
        taken = [key for key in tried if opens(rig.service.ring, key)]
        assert opens(rig.service.ring, rig.key)
        async with httpx2.AsyncClient(base_url=rig.url) as nobody:
            forms = (
                {},
                {"authorization": ""},
                {"authorization": "Bearer"},
                {"authorization": "x"},
                {"x-api-key": ""},
            )
            answers = [
                (await nobody.get(path, headers=form)).status_code
                for form in forms
                for path in ("/v1/models", "/metrics", "/admin/config", "/admin/keys", "/admin/rollouts")
            ]
    assert [] == taken
    assert {401} == set(answers)
    for length in range(ROOT_BYTES):
        with pytest.raises(ValueError, match="a root key has at least"):
            Sealer(b"\x00" * length, "provider secret")
    proof(f"{len(WEAK)} weak secrets in 4 places: all refused; {len(tried)} texts that are no key: 0 taken")
