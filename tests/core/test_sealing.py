"""What is sealed opens for the same purpose, record and origin under the same root key, and for nothing else."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.sealing import NONCE_BYTES, ROOT_BYTES, Sealer, Unreadable, derived

ROOT = b"a root key of thirty-two bytes.."
NONCE = bytes(range(NONCE_BYTES))
ORIGIN = "https://api.example.com:443"
SEALER = Sealer(ROOT, "provider secret")
SEALED = SEALER.seal(b"sk-canary", NONCE, "openai", ORIGIN)
ELSEWHERE = Unreadable("it was changed, or sealed for another record or origin")
ANOTHER_KEY = Unreadable("it was sealed with another root key (TURNOUT_ROOT_KEY, or root.key in TURNOUT_HOME)")
NONE = Unreadable("this is no sealed text, or a newer Turnout's")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.binary(max_size=200), st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES), TEXTS, TEXTS)
def test_what_was_sealed_opens(plain, nonce, record, origin):
    """Byte for byte, and the sealed text holds no long part of it."""
    sealed = SEALER.seal(plain, nonce, record, origin)
    assert plain == SEALER.open(sealed, record, origin)
    assert len(plain) + 33 == len(sealed)
    assert len(plain) < 8 or plain not in sealed[17:]


def test_only_for_its_record_origin_and_purpose():
    """Copied to another row, sent elsewhere, or taken for something else, it does not open."""
    assert b"sk-canary" == SEALER.open(SEALED, "openai", ORIGIN)
    assert ELSEWHERE == SEALER.open(SEALED, "openai2", ORIGIN)
    assert ELSEWHERE == SEALER.open(SEALED, "openai", "https://evil.example.com:443")
    assert ELSEWHERE == SEALER.open(SEALED, "openai")
    assert ELSEWHERE == Sealer(ROOT, "stored prompt").open(SEALED, "openai", ORIGIN)


def test_names_do_not_run_into_each_other():
    """A record and an origin that are cut elsewhere are others."""
    sealed = SEALER.seal(b"x", NONCE, "ab", "c")
    assert ELSEWHERE == SEALER.open(sealed, "a", "bc")
    assert ELSEWHERE == SEALER.open(sealed, 'ab","c', "")


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at, change):
    """Wherever it is."""
    changed = bytearray(SEALED)
    changed[at] ^= change
    assert isinstance(SEALER.open(bytes(changed), "openai", ORIGIN), Unreadable)


@given(st.integers(0, len(SEALED) - 1))
def test_a_cut_text_is_noticed(length):
    """Down to nothing."""
    assert isinstance(SEALER.open(SEALED[:length], "openai", ORIGIN), Unreadable)


def test_another_root_key_is_told_from_a_broken_text():
    """What to do about it differs."""
    assert ANOTHER_KEY == Sealer(b"another root key, as long as it.", "provider secret").open(SEALED, "openai", ORIGIN)
    assert NONE == SEALER.open(b"", "openai", ORIGIN)
    assert NONE == SEALER.open(b"\x02" + SEALED[1:], "openai", ORIGIN)


@pytest.mark.parametrize("length", [0, 1, ROOT_BYTES - 1])
def test_a_short_root_key_is_no_key(length):
    """Nor is an empty one."""
    with pytest.raises(ValueError, match="a root key has at least 16 bytes"):
        Sealer(b"x" * length, "provider secret")


def test_every_label_has_its_own_key():
    """And it is HKDF-SHA256 of RFC 5869, reckoned here a second time."""
    pseudorandom = hmac.digest(bytes(32), ROOT, hashlib.sha256)
    assert derived(ROOT, "a") == hmac.digest(pseudorandom, b"turnout.v1.a\x01", hashlib.sha256)
    assert 3 == len({derived(ROOT, "a"), derived(ROOT, "b"), derived(ROOT[::-1], "a")})


def test_nothing_of_a_key_is_printed():
    """Not by repr, not in why it does not open."""
    assert "Sealer('provider secret')" == repr(SEALER)
