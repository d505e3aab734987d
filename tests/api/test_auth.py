"""Who asks."""

import pytest

from turnout.api.auth import authenticate, require_admin
from turnout.core.secret import Secret
from turnout.errors import PermissionDenied, Unauthenticated
from turnout.gateway.clock import SystemClock
from turnout.gateway.keys import MASTER, Principal, open_ring
from turnout.stores.sqlite import SqliteStateStore

KEY = b"sk-turnout-abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def ring(tmp_path):
    store = SqliteStateStore(tmp_path / "s.sqlite3")
    yield open_ring(store, SystemClock(), Secret(KEY.decode()))[0]
    store.close()


@pytest.mark.parametrize(
    "headers",
    [{b"authorization": b"Bearer " + KEY}, {b"authorization": b"bearer  " + KEY}, {b"x-api-key": KEY}],
)
def test_the_key_opens_in_either_header(ring, headers):
    """OpenAI's and Anthropic's way."""
    assert authenticate(headers, ring) is MASTER


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({}, "No key was sent"),
        ({b"authorization": b"Bearer "}, "No key was sent"),
        ({b"authorization": b"Basic " + KEY}, "No key was sent"),
        ({b"authorization": b"Bearer sk-canary-wrong"}, "not known here"),
        ({b"x-api-key": KEY + b"x"}, "not known here"),
        ({b"authorization": b"Bearer \xff\xfe\x00"}, "not known here"),
    ],
)
def test_anything_else_is_refused_with_what_to_do_and_without_what_was_sent(ring, headers, hint):
    """The message never repeats a key."""
    with pytest.raises(Unauthenticated, match=hint) as caught:
        authenticate(headers, ring)
    assert "canary" not in caught.value.message


def test_only_an_admin_may_change_things():
    """The master key is one."""
    require_admin(MASTER)
    with pytest.raises(PermissionDenied, match="master key"):
        require_admin(Principal("k1", is_admin=False))
