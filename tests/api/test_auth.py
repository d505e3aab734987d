"""Who asks."""

import pytest

from turnout.api.auth import address_of, authenticate, known, require, require_asker
from turnout.core.books.keys import Holder
from turnout.core.principal import MASTER, Grant, Principal
from turnout.core.secret import Secret
from turnout.errors import PermissionDenied, Unauthenticated
from turnout.gateway.clock import SystemClock
from turnout.gateway.keys import key_hash, open_ring
from turnout.stores.sqlite import SqliteStateStore

KEY = b"sk-turnout-abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def ring(tmp_path):
    store = SqliteStateStore(tmp_path / "s.sqlite3")
    yield open_ring(store, SystemClock(), Secret(KEY.decode()), b"0123456789abcdef-root")[0]
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


def test_whose_key_was_refused_is_known_in_either_header_though_it_opens_nothing(ring):
    """Revoked, or from elsewhere. Nobody's is nobody's."""
    grant = Grant(addresses=("192.0.2.1",))
    hashes = {name: key_hash(name.encode(), ring.pepper) for name in ("away", "gone")}
    ring.learn(
        [
            Holder("k_away", "key", "", "", "", "", grant, hashes["away"], None, 0.0, "", 1),
            Holder("k_gone", "key", "", "", "", "", Grant(), hashes["gone"], None, 0.0, "it was revoked", 2),
        ]
    )
    for name in ("away", "gone"):
        for headers in ({b"authorization": b"Bearer " + name.encode()}, {b"x-api-key": name.encode()}):
            with pytest.raises(PermissionDenied if name == "away" else Unauthenticated):
                authenticate(headers, ring, "198.51.100.1")
            owner = known(headers, ring)
            assert owner is not None
            assert (f"k_{name}", "key") == (owner.key_id, owner.role)
    for headers in ({}, {b"authorization": b"Bearer nobody's"}, {b"authorization": b"Basic gone"}):
        assert None is known(headers, ring)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("owner", {"viewer", "admin", "owner"}),
        ("admin", {"viewer", "admin"}),
        ("viewer", {"viewer"}),
        ("key", set()),
    ],
)
def test_a_role_may_what_those_below_it_may(role, may):
    """And a virtual key nothing, whoever it belongs to: the message says so."""
    for needed in ("viewer", "admin", "owner"):
        if needed in may:
            require(Principal("x", role), needed)
        else:
            with pytest.raises(PermissionDenied, match="asks models" if role == "key" else f"the role {needed}"):
                require(Principal("x", role), needed)


def test_a_narrowed_admin_looks_and_makes_keys_and_nothing_else():
    """What they change otherwise could give them more than they have."""
    narrowed = Principal("x", "admin", grant=Grant(models=frozenset({"glm"})))
    require(narrowed, "viewer")
    require(narrowed, "admin", may_be_narrowed=True)
    with pytest.raises(PermissionDenied, match="narrowed"):
        require(narrowed, "admin")
    require(Principal("x", "admin", grant=Grant(addresses=("::1",), expires_at=1.0)), "admin")


def test_a_viewer_asks_no_model():
    """Everybody else may."""
    for role in ("owner", "admin", "key"):
        require_asker(Principal("x", role))
    with pytest.raises(PermissionDenied, match="turnout keys create"):
        require_asker(Principal("x", "viewer"))


@pytest.mark.parametrize(
    ("scope", "address"), [({"client": ("192.0.2.7", 4)}, "192.0.2.7"), ({"client": None}, ""), ({}, "")]
)
def test_the_address_is_the_sockets(scope, address):
    """A Unix socket has none; headers are not looked at."""
    assert address == address_of(scope | {"headers": [(b"x-forwarded-for", b"10.0.0.1")]})
