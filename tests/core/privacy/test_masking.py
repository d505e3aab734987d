"""What is personal leaves as placeholders, and comes back as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.privacy.kinds import ALL
from turnout.core.privacy.masking import LONGEST_PLACEHOLDER, Mask, loose_end

TEXT = "Skriv til ola@x.dk og kari@x.dk (ikke ola@x.dk), tlf. 20304050."


def test_each_value_has_one_placeholder():
    """Numbered by kind, in the order in which they first come; the same again for the same value."""
    mask = Mask(ALL)
    assert "Skriv til <EMAIL_1> og <EMAIL_2> (ikke <EMAIL_1>), tlf. <PHONE_1>." == mask.hide(TEXT)
    assert "<EMAIL_2>, <EMAIL_3>" == mask.hide("kari@x.dk, per@x.dk")
    assert {"email": 3, "phone": 1} == mask.counts
    assert 4 == len(mask)
    assert "Mask(4)" == repr(mask)


def test_a_clean_text_is_the_same_object_and_so_is_a_clean_answer():
    """Nothing is built where nothing was found."""
    mask = Mask(ALL)
    text, answer = "Hej med dig", b'{"content": "Hej"}'
    assert mask.hide(text) is text
    assert mask.show(answer) is answer
    assert 0 == len(mask)


def test_only_the_kinds_asked_for_are_taken():
    """The others stay."""
    assert "ola@x.dk, <PHONE_1>" == Mask({"phone"}).hide("ola@x.dk, +45 20304050")


@pytest.mark.parametrize(
    "written",
    [
        "<EMAIL_1>",
        "&lt;EMAIL_1&gt;",
        r"\u003cEMAIL_1\u003e",
        r"\u003CEMAIL_1\u003E",
        r"\\u003cEMAIL_1\\u003e",
        r"\u0026lt;EMAIL_1\u0026gt;",
        "<EMAIL_1&gt;",
    ],
)
def test_a_placeholder_comes_back_however_its_brackets_are_written(written):
    """As HTML, as JSON writes them that is to stand in HTML, and as JSON within JSON."""
    mask = Mask(ALL)
    mask.hide("ola@x.dk")
    assert b'{"content":"Til ola@x.dk!"}' == mask.show(f'{{"content":"Til {written}!"}}'.encode())


@pytest.mark.parametrize("written", ["<EMAIL_2>", "<EMAIL>", "<email_1>", "EMAIL_1", "<b>", "<EMAIL_1", "<CITY_1>"])
def test_what_is_no_placeholder_of_this_request_stays(written):
    """Another number, another kind, no brackets."""
    mask = Mask(ALL)
    mask.hide("ola@x.dk")
    assert written.encode() == mask.show(written.encode())


def test_a_clients_own_placeholder_is_left_alone():
    """Its number is not used, so it comes back as what it was."""
    body = b'"What does <EMAIL_1> mean? And <EMAIL_2>? Tell a@x.dk."'
    mask = Mask(ALL, body)
    hidden = mask.hide(body.decode())
    assert "<EMAIL_3>" in hidden
    assert body == mask.show(hidden.encode())


def test_two_requests_of_one_conversation_have_the_same_placeholders():
    """What comes later does not change what came before, so a vendor's prompt cache still fits."""
    first, second = Mask(ALL), Mask(ALL)
    beginning = first.hide(TEXT)
    assert beginning == second.hide(TEXT)
    assert second.hide("og per@x.dk") == "og <EMAIL_3>"


@given(
    st.lists(
        st.sampled_from(
            ["ola@x.dk", "+45 20304050", "010190-1234", "Hej ", "<b>", "<EMAIL_1>", "æ", " ", "\\", '"', "&lt;"]
        )
    ).map(" ".join)
)
def test_what_was_hidden_is_shown_again(text):
    """To the letter, as text and at two depths of JSON."""
    mask = Mask(ALL, text.encode())
    hidden = mask.hide(text)
    assert text == mask.show(hidden.encode()).decode()
    assert json.dumps(text) == mask.show(json.dumps(hidden).encode()).decode()
    assert json.dumps(json.dumps(text)) == mask.show(json.dumps(json.dumps(hidden)).encode()).decode()
    assert not {"ola@x.dk", "010190-1234"} & set(hidden.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("Hej", 0),
        ("a <", 1),
        ("<EMAIL_1", 8),
        ("<EMAIL_1>", 0),
        ("<b", 0),
        ("a &", 1),
        ("&l", 2),
        ("&lt", 3),
        ("&lt;EMA", 7),
        ("&lt;EMAIL_1&g", 13),
        ("&lt;EMAIL_1&gt;", 0),
        ("\\", 1),
        (r"\u00", 4),
        (r"\u003cPHONE_12", 14),
        (r"\u003cPHONE_12\u003", 19),
        (r"\\u003cPHONE_12\\u", 18),
        ("<FODSELSNUMMER_123456", 21),
        ("<EMAIL_1234567", 0),
        ("<" * 3, 1),
    ],
)
def test_the_end_of_a_text_may_be_half_a_placeholder(text, expected):
    """As many bytes as could still become one."""
    assert expected == loose_end(text.encode())


@given(st.sampled_from(["<{}>", "&lt;{}&gt;", r"\u003c{}\u003e", r"\\u003c{}\\u003e"]), st.data())
def test_every_beginning_of_a_placeholder_is_held(form, data):
    """However it is written, wherever it is cut, whatever stands before."""
    written = form.format(data.draw(st.sampled_from(["EMAIL_1", "STEUER_ID_42", "FODSELSNUMMER_100000"])))
    cut = data.draw(st.integers(1, len(written) - 1))
    before = data.draw(st.text("a <&").map(lambda text: f"{text} "))
    assert len(written) <= LONGEST_PLACEHOLDER
    assert cut == loose_end(f"{before}{written[:cut]}".encode())
