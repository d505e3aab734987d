"""Words of the lead desk: the facts come from the prompt, the lengths keep to what the desk asks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.chance import Chance
from turnout.core.simulation.lead_desk import LABEL, facts_of, findings, kind_of, write

LEAD = {
    "id": 1,
    "name": "Mette Hansen",
    "email": "mette.h@example.com",
    "phone": "+45 23 45 67 89",
    "source": "rengoring_nu",
    "service": "flytterengøring",
    "status": "new",
    "notes": "Fraflytning i morgen; har kun 900 kr.",
}
FACTS = facts_of(json.dumps(LEAD, ensure_ascii=False))


def chance(number: int = 0) -> Chance:
    """Return the draws of some request."""
    return Chance(1, b"body", number)


def test_facts_are_found_in_json() -> None:
    """Every member of a lead."""
    assert {name: value for name, value in LEAD.items() if name != "id"} == FACTS


def test_facts_are_found_in_lines() -> None:
    """Danish and English labels, several on a line; notes run to the end of theirs; the first of each counts."""
    text = "Til denne kunde:\nNavn: Lars <lars@x.dk>\nYdelse: vinduer, Kilde=website; Status: won\nNoter: a, b; c}\nNavn: Nej"
    found = facts_of(text)
    assert ("Lars", "vinduer", "website", "won", "a, b; c}") == tuple(
        found[name] for name in ("name", "service", "source", "status", "notes")
    )


def test_what_is_not_said_is_empty() -> None:
    """No fact is invented, and a name that says "unknown" is none."""
    assert not any(facts_of("hej hvad koster det").values())
    assert facts_of("Navn: Ukendt")["name"] == ""


def test_only_the_beginning_of_a_prompt_is_read() -> None:
    """A huge prompt does not cost time."""
    assert facts_of(" " * 30_000 + "Navn: Mette")["name"] == ""


@pytest.mark.parametrize(
    ("system", "user", "kind"),
    [
        ("", "Analysér dette lead", "analysis"),
        ("", "Skriv et venligt e-mail-udkast", "email"),
        ("", "Lav en opgaveplan", "plan"),
        ("", "Write Python code", "code"),
        ("", "Hvornår har I åbent?", "chat"),
        ("", "", "chat"),
        ("Du skriver e-mail-udkast", "Mette Hansen", "email"),
        ("Du analyserer leads, skriver udkast og laver en opgaveplan", "Lav et udkast", "email"),
        ("Udkast", "Lav en plan for Mette", "plan"),
    ],
)
def test_the_kind_follows_the_words(system: str, user: str, kind: str) -> None:
    """Most words win; on a tie the user's turn goes first."""
    assert kind == kind_of(system, user)


@pytest.mark.parametrize("kind", ["analysis", "email", "plan", "code", "chat"])
def test_every_answer_says_that_it_is_simulated(kind: str) -> None:
    """The label stands first, with facts and without."""
    for facts in (FACTS, facts_of("")):
        assert write(kind, facts, "Hej", chance()).startswith(LABEL)


@given(st.integers(min_value=0, max_value=500))
def test_lengths_keep_to_the_desks_limits(number: int) -> None:
    """An analysis: 150 words, 250 tokens; a draft: 100 words, 180 tokens, with name, service and a question."""
    analysis = write("analysis", FACTS, "", chance(number))
    assert len(analysis.split()) <= 150
    assert len(analysis) <= 1000
    draft = write("email", FACTS, "", chance(number))
    assert len(draft.split()) <= 100
    assert len(draft) <= 720
    assert all(word in draft for word in ("Mette Hansen", "flytterengøring", "?"))


def test_an_analysis_says_what_was_asked() -> None:
    """Priority by source (FACTS §5), chance, next step, red flags from the notes."""
    text = write("analysis", FACTS, "", chance())
    assert "Prioritet: høj" in text
    assert "Ring til Mette Hansen" in text
    assert "prisfølsom, kort frist" in text
    assert "Røde flag: ingen" in write("analysis", {**FACTS, "notes": ""}, "", chance())


@pytest.mark.parametrize(
    ("change", "priority"),
    [
        ({}, "høj"),
        ({"source": "leadpoint"}, "middel"),
        ({"status": "lost"}, "lav"),
        ({"notes": "rens af tagrender"}, "lav"),
    ],
)
def test_priority(change: dict[str, str], priority: str) -> None:
    """What is gone or not ours is low, whatever its source."""
    assert priority == findings({**FACTS, **change}, chance())["priority"]


def test_findings_without_phone_or_service() -> None:
    """The next step changes, and the missing service is a flag."""
    found = findings({**FACTS, "phone": "", "service": "", "notes": ""}, chance())
    assert "Svar Mette Hansen skriftligt og spørg til opgaven." == found["next_step"]
    assert ["ydelse ikke oplyst"] == found["red_flags"]


@given(st.sampled_from(["new", "qualified", "won", "lost", "noget andet"]), st.integers(0, 300))
def test_a_chance_is_a_percentage(status: str, number: int) -> None:
    """Between 2 and 98, a lost lead under a qualified one."""
    percent = findings({**FACTS, "status": status}, chance(number))["chance"]
    assert isinstance(percent, int)
    assert 2 <= percent <= 98


def test_a_draft_without_a_name_is_to_the_customer() -> None:
    """No placeholder reaches a reader."""
    assert "Kære kunde" in write("email", facts_of(""), "", chance())


def test_small_talk_quotes_at_most_eight_words() -> None:
    """Enough to tell answers apart; nothing where nothing was said."""
    assert "«en to tre»" in write("chat", FACTS, "en to tre", chance())
    assert "«1 2 3 4 5 6 7 8 …»" in write("chat", FACTS, "1 2 3 4 5 6 7 8 9", chance())
    assert "«" not in write("chat", FACTS, "", chance())


def test_answers_vary_with_the_draws() -> None:
    """Two requests need not get the same draft; the same request does."""
    drafts = {write("email", FACTS, "", chance(number)) for number in range(20)}
    assert len(drafts) > 3
    assert write("email", FACTS, "", chance(4)) == write("email", FACTS, "", chance(4))
