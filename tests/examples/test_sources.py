"""Source detection: 60 points for the sender's domain, 30 for the subject, 10 for the body, and what they permit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.lead_desk.sources import RECORD_CONFIDENCE, SOURCES, UNKNOWN, Detection, detect, source_named

TABLE = {
    "rengoring_nu": ("high", 0),
    "rengoring_aarhus": ("medium", 1),
    "leadpoint": ("medium", 1),
    "netberrau": ("medium", 1),
    "adhelp": ("medium", 24),
    "website": ("high", 1),
    "referral": ("high", 1),
    "phone": ("high", 0),
}


def told(sender: str = "", subject: str = "", body: str = "") -> tuple[str, int]:
    """Name and confidence."""
    found = detect(sender, subject, body)
    return (found.source.name if found.source else ""), found.confidence


def test_the_eight_sources_have_the_priorities_of_the_table() -> None:
    """FACTS §5, row by row."""
    assert TABLE == {source.name: (source.priority, source.answer_within_h) for source in SOURCES}


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        (("a@leadpoint.dk", "Leadpoint", "lead-id 4"), ("leadpoint", 100)),
        (("a@leadpoint.dk", "Leadpoint", ""), ("leadpoint", 90)),
        (("a@leadpoint.dk", "", "leadpoint"), ("leadpoint", 70)),
        (("a@leadpoint.dk", "", ""), ("leadpoint", 60)),
        (("a@example.com", "Leadpoint", "leadpoint"), ("leadpoint", 40)),
        (("a@example.com", "LEADPOINT: hej", ""), ("leadpoint", 30)),
        (("a@example.com", "", "via leadpoint"), ("leadpoint", 10)),
        (("a@example.com", "hej", "hvad koster det"), ("", 0)),
        (("", "", ""), ("", 0)),
    ],
)
def test_the_points_add_up(mail: tuple[str, str, str], expected: tuple[str, int]) -> None:
    """Each signal counts once."""
    assert expected == told(*mail)


@pytest.mark.parametrize(
    ("sender", "points"),
    [
        ("x@rengøring.nu", 60),
        ("x@xn--rengring-84a.nu", 60),
        ("x@mail.RENGORING.nu", 60),
        ("x@rengoring.nu.", 60),
        ("x@rengoring.nu.example.com", 0),
        ("x@ikke-rengoring.nu", 0),
        ("rengoring.nu@example.com", 0),
        ("x@rengoring.nu@example.com", 0),
        (f"x@{'a' * 70}.nu", 0),
    ],
)
def test_a_domain_counts_whole_or_not_at_all(sender: str, points: int) -> None:
    """Subdomains and the international form count; look-alikes do not."""
    assert points == detect(sender, "", "").domain_points


def test_words_count_whole() -> None:
    """`annonce` is not in `annoncer`."""
    assert [told(body="en annonce"), told(body="annoncer")] == [("adhelp", 10), ("", 0)]


def test_only_all_three_signals_allow_a_customer_record() -> None:
    """90 points are not enough."""
    assert Detection(SOURCES[0], 60, 30, 10).may_make_record
    assert not Detection(SOURCES[0], 60, 30, 0).may_make_record
    assert RECORD_CONFIDENCE == 95


def test_a_tie_goes_to_the_source_listed_first() -> None:
    """The order of the table is an order of preference."""
    assert told(subject="leadpoint og netberrau") == ("leadpoint", 30)


def test_an_unknown_name_is_looked_at_within_a_day() -> None:
    """A lead with a source that we do not know is not lost."""
    assert (UNKNOWN, 24) == (source_named("tv"), source_named("tv").answer_within_h)
    assert source_named("phone").answer_within_h == 0


@given(st.text(), st.text(), st.text())
def test_any_mail_gets_a_sum_of_the_three_points(sender: str, subject: str, body: str) -> None:
    """Never an exception, never a confidence that the rules cannot give."""
    found = detect(sender, subject, body)
    assert found.confidence in {0, 10, 30, 40, 60, 70, 90, 100}
    assert (found.source is None) == (found.confidence == 0)


@given(
    st.sampled_from([source for source in SOURCES if source.domains]), st.text(alphabet="abc", min_size=1, max_size=9)
)
def test_the_domain_outweighs_every_word_of_another_source(source: object, name: str) -> None:
    """60 > 30 + 10: who really sent it wins over what it says."""
    assert source in SOURCES
    other = next(one for one in SOURCES if one is not source)
    found = detect(f"{name}@{source.domains[0]}", other.subject_words[0], other.body_words[0])  # type: ignore[attr-defined]
    assert source == found.source
