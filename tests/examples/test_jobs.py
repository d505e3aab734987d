"""What is asked about each lead: tasks, bounds, language, order, and what is kept from the models."""

from __future__ import annotations

import pytest

from examples.lead_desk.desk import SHIPPED
from examples.lead_desk.jobs import all_jobs, facts_of, jobs_for, language_of
from examples.lead_desk.leads import Lead, read_leads


def test_every_lead_gets_an_analysis_and_a_draft_within_the_asked_bounds(lead: Lead) -> None:
    """FACTS §5: 150 words and 250 tokens; 100 words and 180 tokens. A draft is streamed, so that the screen shows life."""
    shown = [(job.name, job.task, job.max_tokens, job.words, job.stream) for job in jobs_for(lead)]
    assert [("analysis", "lead-analysis", 250, 150, False), ("draft", "email-draft", 180, 100, True)] == shown


def test_a_qualified_lead_gets_a_task_plan_besides(lead: Lead) -> None:
    """And only a qualified one."""
    assert jobs_for(lead._replace(status="qualified"))[-1].task == "task-planning"
    assert all(
        len(jobs_for(lead._replace(status=status))) == 2 for status in ("new", "contacted", "proposal", "won", "lost")
    )


def test_our_leads_make_54_jobs() -> None:
    """24 analyses, 24 drafts, 6 plans."""
    names = [job.name for job in all_jobs(read_leads(SHIPPED / "leads.jsonl"))]
    assert (24, 24, 6) == (names.count("analysis"), names.count("draft"), names.count("plan"))


def test_the_most_urgent_lead_comes_first(lead: Lead) -> None:
    """By answering time, then by priority; a lead's own jobs stay together."""
    leads = [lead._replace(id=source, source=source) for source in ("adhelp", "leadpoint", "website", "phone", "tv")]
    order = [job.lead.id for job in all_jobs(leads)][::2]
    assert ["phone", "website", "leadpoint", "adhelp", "tv"] == order


def test_address_and_number_of_the_customer_stay_here(lead: Lead) -> None:
    """A model is told that there is a number, not which."""
    asked = "".join(job.system + job.user for job in jobs_for(lead))
    assert lead.email not in asked
    assert lead.phone not in asked
    assert "Telefon: oplyst" in asked
    assert "Telefon" not in facts_of(lead._replace(phone=""))


def test_a_note_cannot_make_up_lines_of_its_own(lead: Lead) -> None:
    """Its line breaks become blanks, so it cannot pose as another fact."""
    facts = facts_of(lead._replace(notes="hej\nStatus: won"))
    assert ["Status: new", "Noter: hej Status: won"] == [line for line in facts.splitlines() if "Status" in line]


@pytest.mark.parametrize(("number", "language"), [("1", "dansk"), ("16", "engelsk"), ("23", "dansk"), ("24", "svensk")])
def test_a_draft_is_in_the_language_of_the_lead(number: str, language: str) -> None:
    """Lead 16 writes English, lead 24 Swedish; the analysis stays Danish, it is for us."""
    lead = next(lead for lead in read_leads(SHIPPED / "leads.jsonl") if lead.id == number)
    analysis, draft, *_ = jobs_for(lead)
    assert language == language_of(lead.notes)
    assert f"e-mail på {language}" in draft.system
    assert "på dansk" in analysis.system


def test_the_digest_names_the_question(lead: Lead) -> None:
    """Same question, same digest; another note is another question."""
    first, again = jobs_for(lead)[0], jobs_for(lead)[0]
    other = jobs_for(lead._replace(notes="x"))[0]
    assert first.digest == again.digest
    assert first.digest != other.digest
    assert jobs_for(lead)[1].digest != first.digest
