"""core/redact.py: what may be read in a text that we write ourselves."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.worlds import snapshot
from turnout.core.catalog import Account, Server
from turnout.core.redact import REMEMBERED, SECRET_CHARS, Secrets, impersonal, printable, redact, secrets_of
from turnout.core.rules import AlertRule, LedgerRule
from turnout.core.secret import Secret

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"), min_size=SECRET_CHARS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing to hide", "nothing to hide"),
        ("key sk-proj-Ab12_Cd34-Ef56 was refused", "key sk-*** was refused"),
        ("task-email-draft-for-everybody", "task-email-draft-for-everybody"),
        ("gsk_0123456789abcdef, AIzaSyA-0123456789", "gsk_***, AIza***"),
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer ***"),
        ("'authorization': 'bearer abcdef0123456789'", "'authorization': 'bearer ***'"),
        ("proxy-authorization: Basic dXNlcjpwYXNz", "proxy-authorization: Basic ***"),
        ("put `Authorization: Bearer KEY` on the request", "put `Authorization: Bearer KEY` on the request"),
        ("x-api-key: 0123456789abcdef0", "x-api-key: ***"),
        ("{\"x-api-key\": \"short\", 'api_key':'short'}", "{\"x-api-key\": \"***\", 'api_key':'***'}"),
        ("api_key=short;next", "api_key=***;next"),
        ("providers.stub.api_key: is empty", "providers.stub.api_key: is empty"),
        ("GET https://host/v1?alt=sse&key=secret-1&x=2", "GET https://host/v1?alt=sse&key=***&x=2"),
        ("https://host/?api_key=s3cret#top", "https://host/?api_key=***#top"),
        ("https://host/?monkey=banana", "https://host/?monkey=banana"),
        ("http://user:pass@proxy:3128/", "http://***@proxy:3128/"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl ok", "*** ok"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_and_its_name_stays(text, expected):
    """A person still sees which secret it was; ordinary words are left alone."""
    assert expected == redact(text)


@given(st.lists(KEYS, max_size=4), st.lists(st.text(), max_size=5))
def test_no_known_secret_is_left(secrets, words):
    """Wherever it stands, and also where one secret begins with another."""
    text = "".join(word + secret for word in [*words, ""] for secret in [*secrets, ""])
    assert [] == [secret for secret in secrets if secret in redact(text, secrets)]


@given(st.text(), st.sampled_from(["?key=", "Bearer ", "sk-", "x-api-key: ", "://", ""]), st.text())
def test_it_is_done_once(before, mark, after):
    """What was redacted stays as it is."""
    once = redact(before + mark + after)
    assert once == redact(once)


def test_a_short_word_is_no_secret():
    """Servers without keys are given "any" or "none", which are words of every text."""
    assert "any key will do" == redact("any key will do", {"any", ""})


@pytest.mark.parametrize(
    "part",
    ["sk-", "sk-a ", "bearer ", "bearer  \t", "eyJ", "eyJaaaaaaaa.", "?key=", "://a", "x-api-key: ", "api_key=' "],
)
def test_the_time_grows_with_the_text_and_no_faster(part):
    """Twice the text, about twice the time: no pattern looks at anything twice."""

    def seconds(size):
        text = part * (size // len(part))
        return min(_timed(text) for _ in range(7))

    assert seconds(400_000) <= 6 * seconds(100_000) + 0.005


def _timed(text):
    began = time.thread_time()
    redact(text)
    return time.thread_time() - began


def test_the_secrets_of_a_configuration_are_its_keys():
    """Where there is no key there is none to hide."""
    keyed = Account("stub", "compatible", api_key=Secret("sk-stub-0123456789"))
    bare = snapshot([], by=("free",))
    held = msgspec.structs.replace(
        bare,
        accounts={**bare.accounts, "stub": keyed},
        server=Server(
            master_key=Secret("sk-master-0123456789"), valkey_url=Secret("redis://:valkey%2F0123@127.0.0.1:6379")
        ),
        ledger=LedgerRule(url=Secret("postgresql://turnout:postgres0123@127.0.0.1/books")),
        alerts=AlertRule(webhook_secret=Secret("signature-0123"), smtp_password=Secret("mail-0123456")),
    )
    keys = {"sk-stub-0123456789", "sk-master-0123456789", "signature-0123", "mail-0123456"}
    assert keys | {"valkey%2F0123", "valkey/0123", "postgres0123"} == secrets_of(held)
    assert frozenset() == secrets_of(bare)


def test_what_was_learned_stays_a_secret_and_the_oldest_go_beyond_the_bound():
    """What is learned again counts as new; what it holds is never printed."""
    secrets = Secrets("master-key-0123")
    secrets.learn(["first-key-0123", "second-key-0123"])
    assert "*** *** *** word" == secrets.redact("master-key-0123 first-key-0123 second-key-0123 word")
    secrets.learn(f"{number:010}" for number in range(REMEMBERED - 1))
    secrets.learn(["second-key-0123"])
    assert "first-key-0123 ***" == secrets.redact("first-key-0123 second-key-0123")
    assert f"Secrets({REMEMBERED})" == repr(secrets)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ola@x.dk (tlf. 20304050) failed", "<email> (tlf. <phone>) failed"),
        ("user 010190-1234", "user <cpr>"),
        (
            "req_0193ab12cd34ef567890 after 0.312 s at 127.0.0.1:4000",
            "req_0193ab12cd34ef567890 after 0.312 s at 127.0.0.1:4000",
        ),
        ("", ""),
    ],
)
def test_what_is_personal_is_named_by_its_kind(text, expected):
    """Ids, times and our own address stay."""
    assert expected == impersonal(text)


def test_what_cannot_be_seen_is_escaped():
    """Letters of any language stay; marks that turn the direction of writing do not."""
    assert "Smørrebrød 漢字" == printable("Smørrebrød 漢字")
    nasty = "a\r\nb\x1b[2Jc\u2028d\u2029e\x00f\x7fg\u202eh\ud800i\x9bj"
    assert r"a\r\nb\x1b[2Jc\u2028d\u2029e\x00f\x7fg\u202eh\ud800i\x9bj" == printable(nasty)


@given(st.text(st.characters(exclude_categories=())))
def test_a_printable_text_is_one_line(text):
    """And stays itself if it was one."""
    line = printable(text)
    assert line.isprintable()
    assert line == printable(line)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://valkey:6379/0", set()),
        ("rediss://turnout:p%40ssword@valkey", {"p%40ssword", "p@ssword"}),
        ("unix://:canary-0123@/run/valkey.sock", {"canary-0123"}),
    ],
)
def test_the_password_of_valkey_is_one_of_them(url, expected):
    """As it is written in the address, and as it is sent."""
    bare = snapshot([], by=("free",))
    assert expected == secrets_of(msgspec.structs.replace(bare, server=Server(valkey_url=Secret(url))))
