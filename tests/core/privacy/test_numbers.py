"""Numbers that are somebody's are found, whichever way they are written; other numbers are not."""

import pytest

from turnout.core.privacy.kinds import ALL
from turnout.core.privacy.numbers import begins, ends, numbers


def found(text, kinds=ALL, before=""):
    """(kind, what) in order."""
    return [(one.kind, text[one.start : one.end]) for one in numbers(text, kinds, before)]


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        # Denmark
        ("CPR: 010190-1234.", "cpr", "010190-1234"),
        ("født 010190-1234", "cpr", "010190-1234"),
        ("født 010190–1234", "cpr", "010190–1234"),
        ("0101901238 hører til", "cpr", "0101901238"),
        ("cpr 0101901234", "cpr", "0101901234"),
        ("cpr-nummer 010190 1234", "cpr", "010190 1234"),
        ("CVR-nr. 12345678", "cvr", "12345678"),
        ("CVR 12 34 56 78", "cvr", "12 34 56 78"),
        ("CVR: 1234 5678", "cvr", "1234 5678"),
        ("moms DK13585628", "cvr", "DK13585628"),
        # Norway, Sweden, Finland, Iceland
        ("15108695088", "fodselsnummer", "15108695088"),
        ("fødselsnummer 151086 95088", "fodselsnummer", "151086 95088"),
        ("880320-0016", "personnummer", "880320-0016"),
        ("198803200016", "personnummer", "198803200016"),
        ("19880320-0016", "personnummer", "19880320-0016"),
        ("8803200016", "personnummer", "8803200016"),
        ("hetu 131052-308T,", "hetu", "131052-308T"),
        ("010101a123n", "hetu", "010101a123n"),
        ("kennitala 120174-3399", "kennitala", "120174-3399"),
        # Germany, England
        ("Steuer-ID 36574261809", "steuer_id", "36574261809"),
        ("36 574 261 809", "steuer_id", "36 574 261 809"),
        ("NHS 9434765870", "nhs", "9434765870"),
        ("943 476 5870", "nhs", "943 476 5870"),
        # cards
        ("4111 1111 1111 1111", "card", "4111 1111 1111 1111"),
        ("4111-1111-1111-1111", "card", "4111-1111-1111-1111"),
        ("4111111111111111", "card", "4111111111111111"),
        ("3782 822463 10005", "card", "3782 822463 10005"),
        ("6304 0000 0000 0000", "card", "6304 0000 0000 0000"),
        # phones
        ("+45 12 34 56 78", "phone", "+45 12 34 56 78"),
        ("+4512345678", "phone", "+4512345678"),
        ("+45 12345678 12 stk", "phone", "+45 12345678"),
        ("0045 12345678", "phone", "0045 12345678"),
        ("00 45 12 34 56 78", "phone", "00 45 12 34 56 78"),
        ("0046701234567", "phone", "0046701234567"),
        ("+46 70-123 45 67", "phone", "+46 70-123 45 67"),
        ("+44 (0)20 7946 0958", "phone", "+44 (0)20 7946 0958"),
        ("+1 (555) 123-4567", "phone", "+1 (555) 123-4567"),
        ("+358 40 1234567", "phone", "+358 40 1234567"),
        ("+49 30 901820 12345678", "phone", "+49 30 901820"),
        ("(555) 123-4567", "phone", "(555) 123-4567"),
        ("555-123-4567", "phone", "555-123-4567"),
        ("ring 20 30 40 50", "phone", "20 30 40 50"),
        ("20 30 40 50", "phone", "20 30 40 50"),
        ("20.30.40.50", "phone", "20.30.40.50"),
        ("Tlf. 12345678", "phone", "12345678"),
        ("tlf 12345678 10 stk", "phone", "12345678"),
        ("mobil: 1234 5678", "phone", "1234 5678"),
        ("telefon (020) 7946 0958", "phone", "(020) 7946 0958"),
        ("phone 123 456 789 012 345 678", "phone", "123 456 789 012 345"),
    ],
)
def test_a_number_is_found_as_what_it_is(text, kind, what):
    """By its check digits, the way it is written, or the words before it."""
    assert [(kind, what)] == found(text)
    assert [(kind, what)] == found(text, {kind})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-21 17:05:10",
        "ring 2026-11-21 kl. 12",
        "ring den 21.11.2026 12",
        "550e8400-e29b-41d4-a716-446655440000",
        "10 20 30 40 50 60",
        "pris 12 34 56 78 90",
        "10 20 30 40 50",
        "ordre 12345678",
        "1234567890",
        "0.12345678901",
        "1.234.567.890 kr",
        "3.14159265358979",
        "320190-1234",
        "0101901234",
        "010190 1234",
        "x010190-1234",
        "010190-12345",
        "010190-1234-5",
        "4111 1111 1111 1112",
        "131052-308U",
        "x131052-308T",
        "880320-0017",
        "36574261809",
        "36574261808",
        "9434765870",
        "943 476 5871",
        "DK12345678",
        "XDK13585628",
        "DK13585628901",
        "K13585628",
        "+12",
        "x+4512345678",
        "0000000000",
        "004500",
        "telefon 123",
        "telefon 1234567890123456",
        "telefon 12345678x",
        "telefon 123 456x",
        "telefon 1234-567x",
        "fødselsnummer 15108695089",
        "+123456789012345678901",
    ],
)
def test_other_numbers_are_nobodys(text):
    """Dates, prices, ids, lists, numbers with a digit wrong or of another length."""
    assert [] == found(text)


def test_two_numbers_with_a_space_between_are_two():
    """Each is looked for where a group of digits begins."""
    text = "cpr 010190-1234 4111111111111111 +45 12345678 20 30 40 50"
    assert ["cpr", "card", "phone", "phone"] == [kind for kind, _ in found(text)]


def test_what_fits_several_is_what_its_words_say():
    """120174-3399 can be Danish and Icelandic; without a word it is what comes first."""
    assert ["cpr"] == [kind for kind, _ in found("120174-3399")]
    assert ["kennitala"] == [kind for kind, _ in found("kennitala: 120174-3399")]
    assert ["kennitala"] == [kind for kind, _ in found("120174-3399", {"kennitala"})]


def test_a_number_is_not_what_a_word_before_another_number_said():
    """Also where the other kind is not looked for."""
    assert [("phone", "20304050")] == found("tlf. 20304050, cpr 010190-1234", {"phone"})


def test_a_word_before_a_long_list_of_numbers_is_not_about_its_end():
    """It is too far away."""
    assert "12345678" not in [what for _, what in found(f"telefon 20304050 {'1 ' * 25}12345678")]


def test_the_name_of_a_member_speaks_for_what_it_holds():
    """As the words before a number do."""
    assert [("phone", "12345678")] == found("12345678", before="mobile phone")
    assert [("cpr", "0101901234")] == found("0101901234", before="cpr")
    assert [] == found("12345678", before="order")


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [("1", 0, True), ("a1", 1, False), ("_1", 1, False), ("1-2", 2, False), ("a-2", 2, True), (":2", 1, True)],
)
def test_where_a_number_may_begin(text, at, expected):
    """Not within a word, nor behind a digit and a sign."""
    assert expected == begins(text, at)


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [("1", 1, True), ("1a", 1, False), ("1_", 1, False), ("1.", 1, True), ("1. ", 1, True), ("1.2", 1, False)],
)
def test_where_a_number_may_end(text, end, expected):
    """Not within a word, nor before a sign and a digit."""
    assert expected == ends(text, end)
