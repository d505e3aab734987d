"""Everything personal in one text is found, nothing else, and in linear time whatever the text."""

import re
import time

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.privacy.detectors import _FAMILIES, ENGINE, LONGEST, SLICE, Look, find
from turnout.core.privacy.kinds import ALL, KINDS

CLEAN = (
    "Vi mødes kl. 14:30 den 21. november 2026 i lokale 204, og de 25 deltagere får 3.5 timer til version 10.2.1. "
    "The token economy is a basic concept; see chapter 12, pages 340 to 355, or https://example.com/a?b=c for 100 % of it. "
)
"""Danish and English, with numbers, and nothing personal."""


def found(text, kinds=ALL, before=""):
    """(kind, what) in order."""
    return [(one.kind, text[one.start : one.end]) for one in find(text, kinds, before)]


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        ("Skriv til ola.nordmann+x@example.com.", "email", "ola.nordmann+x@example.com"),
        ("<søren@æble.dk>", "email", "søren@æble.dk"),
        ("mailto:a@b.co?x", "email", "a@b.co"),
        ("'o'brien@x.ie'", "email", "o'brien@x.ie"),
        ("a@b.xn--p1ai", "email", "a@b.xn--p1ai"),
        (r'{"mail": "x\nola@x.dk"}', "email", "ola@x.dk"),
        ("@@a@b.dk", "email", "a@b.dk"),
        ("https://x/users/a@b.dk?mail=", "email", "a@b.dk"),
        ("mail=a@b.dk", "email", "a@b.dk"),
        ("x" * 80 + "@b.dk", "email", "x" * 64 + "@b.dk"),
        ("IBAN DK50 0040 0440 1162 43 ok", "iban", "DK50 0040 0440 1162 43"),
        ("dk5000400440116243", "iban", "dk5000400440116243"),
        ("ab12 GB82 WEST 1234 5698 7654 32 ok", "iban", "GB82 WEST 1234 5698 7654 32"),
        ("fra 203.0.113.7:8080", "ip", "203.0.113.7"),
        ("203.0.113.7/24", "ip", "203.0.113.7"),
        ("2001:db8::1", "ip", "2001:db8::1"),
        ("[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:443", "ip", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
        ("nøglen sk-abcdef1234567890", "secret", "sk-abcdef1234567890"),
        ("cpr 010190-1234", "cpr", "010190-1234"),
        ("tlf. 20304050", "phone", "20304050"),
    ],
)
def test_what_is_personal_is_found_whole(text, kind, what):
    """One of each family, in the forms that it comes in; alone too."""
    assert [(kind, what)] == found(text)
    assert [(kind, what)] == found(text, {kind})
    assert kind not in {one for one, _ in found(text, ALL - {kind})}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a@b",
        "a @b.dk",
        "@property def x",
        "...@b.dk",
        "npm i left-pad@1.3.0",
        "DK5000400440116244",
        "DK50 0040 0440",
        "XX5000400440116243",
        "aDK5000400440116243",
        "DK50004004401162431",
        "127.0.0.1 0.0.0.0 10.1.2.3 192.168.1.1 172.16.0.1 169.254.1.1",
        "::1 :: fe80::1 fd00::1",
        "256.1.1.1 1.2.3.4.5 a1.2.3.4",
        "version 1.2.3.4",
        "v 1.2.3.4",
        "12:30:45",
        "a[1::2] std::vector face::b",
        "12:34:56:78:9a:bc",
        "1:2:3:4:5:6:7:8:9",
        "a2001:db8::1",
        "call 1000000 times",
    ],
)
def test_what_is_not_personal_is_left(text):
    """Half addresses, wrong check digits, addresses that everybody has, versions, times, code."""
    assert [] == found(text)


def test_of_two_that_overlap_the_first_counts():
    """A phone number within an address is the address's; one that begins a key is the key's."""
    assert [("email", "20304050@x.dk")] == found("tlf 20304050@x.dk")
    assert [("secret", "u:20304050@x.dk")[:1]] == [one[:1] for one in found("http://u:20304050@x.dk/")]


def test_several_come_in_order():
    """With what lies between."""
    text = "a@b.dk, 203.0.113.7, +45 12345678 og DK50 0040 0440 1162 43"
    assert ["email", "ip", "phone", "iban"] == [kind for kind, _ in found(text)]


@given(st.text())
def test_no_text_makes_it_raise_and_what_is_found_may_stand_in_json(text):
    """Lone surrogates too; the places are in order, apart, and hold no quote, backslash or control character."""
    over = 0
    for one in find(text):
        assert over <= one.start < one.end <= len(text)
        assert not re.search(r'["\\\x00-\x1f\x7f]', text[one.start : one.end])
        over = one.end


@given(
    st.lists(
        st.sampled_from(
            [
                "a@b.dk",
                "+45 12345678",
                "010190-1234",
                "4111111111111111",
                "sk-abcdef123456",
                "\\",
                '"',
                "\n",
                " ",
                "x@",
                "1 ",
                "DK50 0040 0440 1162 43",
                "203.0.113.7",
                "token=",
                "://a:b@c",
                "-----BEGIN PRIVATE KEY-----",
                "A1" * 20,
            ]
        )
    ).map("".join)
)
def test_texts_of_nearly_personal_pieces_keep_the_rule(text):
    """The same, where much is found."""
    for one in find(text):
        assert one.kind in KINDS
        assert not re.search(r'["\\\x00-\x1f\x7f]', text[one.start : one.end])


def test_half_a_surrogate_pair_is_looked_at():
    """UTF-8, and so RE2, has no bytes for it."""
    assert [("email", "a@b.dk")] == found("\ud800 a@b.dk")
    assert Look("a").sees("\ud800")


@pytest.mark.parametrize("family", _FAMILIES, ids=lambda family: min(family.kinds))
@given(text=st.text("ab@.:/-+ 0123456789DKsk-eyJ=", max_size=60))
def test_both_engines_see_the_same(family, text):
    """The extra only makes it quicker."""
    assert Look(family.pattern, re2).sees(text) == Look(family.pattern, re).sees(text)


def test_the_quick_engine_is_used_where_it_is():
    """This environment has the extra `pii`."""
    assert ENGINE is re2


@pytest.mark.parametrize("at", [SLICE - 20, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE - 5, 2 * SLICE + LONGEST - 3])
@pytest.mark.parametrize("what", ["ola.nordmann@example.com", "cpr 0101901234", "+45 20 30 40 50", "sk-" + "a1" * 2000])
def test_a_long_text_is_looked_at_in_slices_without_a_seam(at, what):
    """Wherever it stands, the same is found as in a short text, once, and nothing else."""
    text = f"{'ord ' * (at // 4)}{what} {'ord ' * SLICE}"
    assert found(f"ord {what} ord") == found(text)


HOSTILE = [
    "@",
    "a@",
    "a.",
    "1",
    "1 ",
    "12 ",
    "00 ",
    "+1 ",
    "tel 1 ",
    "a1",
    "DK50 ",
    ":",
    "1:",
    "1.",
    "eyJ",
    "sk-",
    "key=",
    "://a:",
    "-----BEGIN PRIVATE KEY-----",
    "bearer ",
    "010190-",
    "a@a.",
    "é@",
    '"\\',
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_the_time_grows_with_the_text_alone(unit):
    """Four times the text takes about four times as long, whatever it repeats: no pattern looks back."""
    small, large = ((unit * (size // len(unit) + 1))[:size] for size in (6_000, 24_000))
    find(large)

    def seconds(text):
        best = float("inf")
        for _ in range(3):
            start = time.thread_time()
            find(text)
            best = min(best, time.thread_time() - start)
        return best

    assert seconds(large) < 10 * seconds(small) + 0.002  # 16, if any step looked back


@pytest.mark.parametrize(("engine", "limit_us"), [(re2, 30), (re, 1000)])
def test_a_clean_kilobyte_is_passed_over_quickly(engine, limit_us):
    """At most 30 µs with the extra; without it a millisecond, by far."""
    text = (CLEAN * 10)[:1000]
    assert [] == found(text)
    sees = Look("|".join(family.pattern for family in _FAMILIES), engine).sees
    best = min(_timed(sees, text) for _ in range(20))
    assert best < limit_us * 1e-6


def _timed(function, text):
    start = time.thread_time()
    for _ in range(50):
        function(text)
    return (time.thread_time() - start) / 50
