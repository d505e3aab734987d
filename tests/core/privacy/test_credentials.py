"""Credentials are found in texts of people, and words that only sound like them are not."""

import re

import pytest

from turnout.core.privacy.credentials import CREDENTIAL, credentials
from turnout.core.redact import redact

PRIVATE_KEY = (
    f"-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA{'a1' * 8}\n{'Zx9' * 12}==\n-----END RSA PRIVATE KEY-----"
)
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9"


def found(text):
    """What is taken out, in order."""
    return sorted({text[start:end] for start, end in credentials(text)}, key=text.index)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("min nøgle er sk-proj-4f9aK2mQ8z, ok", ["sk-proj-4f9aK2mQ8z"]),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", ["ghp_16C7e42F292c6912E7710c838347Ae178B4a"]),
        ("xoxb-1234567890-abc AKIAIOSFODNN7EXAMPLE", ["xoxb-1234567890-abc", "AKIAIOSFODNN7EXAMPLE"]),
        (TOKEN, [TOKEN]),
        ("Authorization: Bearer abcdef0123456789ABCDEF", ["abcdef0123456789ABCDEF"]),
        ("postgres://anna:hemmelig@db/x", ["anna:hemmelig"]),
        ('{"api_key": "a8f5f167f44f4964"}', ["a8f5f167f44f4964"]),
        ("?x=1&token=a8f5f167f44f&y=2", ["a8f5f167f44f"]),
        (PRIVATE_KEY, ["MIIEowIBAAKCAQEA" + "a1" * 8, "Zx9" * 12 + "=="]),
        ("-----BEGIN PRIVATE KEY-----\n" + "A1b2" * 10, ["A1b2" * 10]),
    ],
)
def test_a_credential_is_found_whole(text, expected):
    """Keys with a prefix, tokens, passwords in addresses, private keys line by line, one that is cut off too."""
    assert expected == found(text)
    assert re.search(CREDENTIAL, text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "a basic understanding of the token economy",
        "sk-learn and sk-learning-rate-scheduler",
        "bearer authentication is described below",
        "key: understanding",
        "https://example.com/a?b=c",
        "see http://user@host/",
        "a cookie: chocolate, crumbly",
        "task-1234567890",
    ],
)
def test_words_are_no_credentials(text):
    """They have no digit, or stand within a longer word."""
    assert [] == found(text)


@pytest.mark.parametrize("prefix", ["sk-", "gsk_", "gho_", "glpat-", "xoxp-", "AIza"])
def test_what_is_hidden_from_vendors_is_hidden_from_the_log(prefix):
    """One list of prefixes serves both."""
    key = f"{prefix}abcdefgh12345678"
    assert [key] == found(key)
    assert "12345678" not in redact(key)
