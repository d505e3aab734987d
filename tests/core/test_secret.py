"""core/secret.py: a text that never prints."""

from __future__ import annotations

from turnout.core.secret import Secret


def test_it_never_prints():
    """In no format, by no function."""
    secret = Secret("sk-very-secret")
    assert {"***"} == {repr(secret), str(secret), f"{secret}"}


def test_a_secret_gives_its_text_on_request():
    """To be sent or compared."""
    assert Secret("sk-1").reveal() == "sk-1"


def test_secrets_compare_by_their_text():
    """Equal texts are equal secrets, with equal hashes; a text is not a secret."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_an_empty_secret_is_false():
    """So that `if account.api_key` asks for a key that is there."""
    assert (bool(Secret("")), bool(Secret("x"))) == (False, True)
