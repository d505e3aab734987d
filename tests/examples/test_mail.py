"""Raw e-mails: who asks, from where, and which lead a mail belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.lead_desk.desk import SHIPPED
from examples.lead_desk.leads import Lead, LeadError, read_leads
from examples.lead_desk.mail import mail_of, match, read_mails


def raw(body: str, *, subject: str = "Hej", sender: str = "Ida <ida@example.com>", kind: str = "text/plain") -> bytes:
    """A small e-mail."""
    return f"From: {sender}\nSubject: {subject}\nContent-Type: {kind}; charset=utf-8\n\n{body}".encode()


def test_our_sample_mails_belong_to_our_leads_and_show_each_outcome() -> None:
    """Three are sure enough for a record; one is a forged sender; one has no known source."""
    leads, mails = match(read_mails((SHIPPED / "emails").glob("*.eml")), read_leads(SHIPPED / "leads.jsonl"))
    found = {
        key: (mail.detection.source and mail.detection.source.name, mail.detection.confidence)
        for key, mail in mails.items()
    }
    expected = {
        "1": ("rengoring_nu", 100),
        "2": ("rengoring_aarhus", 90),
        "3": ("leadpoint", 100),
        "6": ("website", 100),
        "8": ("referral", 40),
        "23": ("adhelp", 30),
        "24": (None, 0),
    }
    assert (24, expected) == (len(leads), found)


def test_a_form_mail_tells_the_customer_not_the_portal() -> None:
    """Lines of `label: value` win over the sender; the first of each counts."""
    lead = mail_of(
        raw("Navn: Ida Lund\nE-mail: ida@example.net\nTlf: 12\nOpgave: vinduer\nNavn: En anden"), "x.eml"
    ).lead
    assert ("Ida Lund", "ida@example.net", "12", "vinduer") == (lead.name, lead.email, lead.phone, lead.service)


def test_a_personal_mail_tells_its_sender() -> None:
    """No form: the From line is the customer; the body is the note, on one line."""
    lead = mail_of(raw("Hvad koster\n\ndet?"), "brev.eml").lead
    assert ("mail-brev", "Ida", "ida@example.com", "new", "Hvad koster det?") == (
        lead.id,
        lead.name,
        lead.email,
        lead.status,
        lead.notes,
    )


def test_of_an_html_mail_the_words_are_read() -> None:
    """Tags, styles and entities are gone; a line break still ends a line of the form."""
    body = "<style>b {x: y}</style><p>Navn: Ida &amp; Bo<br>Opgave: vinduer</p>"
    lead = mail_of(raw(body, kind="text/html"), "x.eml").lead
    assert ("Ida & Bo", "vinduer") == (lead.name, lead.service)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"From: @\n\n", raw("x", kind="text/plain; charset=klingon"), b"From: a\nSubject: =?x?y?z?=\n\nhej",
     b"Content-Type: multipart/mixed; boundary=x\n\n--x\n"],
)  # fmt: skip
def test_a_broken_mail_is_read_as_far_as_it_goes(content: bytes) -> None:
    """A mail from outside never ends the day's work."""
    assert mail_of(content, "x.eml").lead.id == "mail-x"


@given(st.binary(max_size=400))
def test_no_mail_raises(content: bytes) -> None:
    """Whatever the bytes."""
    assert mail_of(b"From: a@b.dk\n" + content, "x.eml").lead.status == "new"


def test_a_mail_of_a_known_customer_makes_no_second_lead() -> None:
    """Addresses are compared without regard to case; a stranger becomes a new lead, once."""
    known = Lead("1", "Ida", "IDA@example.com", "", "", "", "new", "")
    mails = [
        mail_of(raw("hej"), "a.eml"),
        *(mail_of(raw("hej", sender="bo@example.com"), name) for name in ("b.eml", "c.eml")),
    ]
    leads, found = match(mails, [known])
    assert ["1", "mail-b"] == [lead.id for lead in leads]
    assert {"1": "a.eml", "mail-b": "b.eml"} == {key: mail.file for key, mail in found.items()}


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """The person who gave it knows what to look at."""
    with pytest.raises(LeadError, match=r"gone\.eml"):
        read_mails([tmp_path / "gone.eml"])
