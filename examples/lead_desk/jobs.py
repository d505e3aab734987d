"""Decides what is asked about each lead: the task, the words, the bounds, the order. Pure.

Every lead gets an analysis and an e-mail draft; a qualified lead gets a timed task plan besides. Leads that must be
answered at once come first. The customer's e-mail address and phone number are not sent to any model: no task needs them.
Sources: FACTS §5 (tasks, words, tokens), §1 (`task-planning` is an alias of `complex-reasoning`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from .leads import Lead
from .sources import source_named

Language = Literal["dansk", "svensk", "engelsk"]

_PRIORITIES: Final = {"high": 0, "medium": 1, "low": 2}
_ENGLISH = re.compile(r"\b(need|please|quote|cleaning|the|we|our|looking)\b", re.IGNORECASE)
_SWEDISH = re.compile(r"\b(och|behöver|städning|svenska|öppnar|ett|vecka[n]?)\b", re.IGNORECASE)

_ANALYSIS: Final = (
    "Du er salgsassistent i et dansk rengøringsfirma. Analysér leadet på dansk i højst 150 ord: prioritet "
    "(høj, middel eller lav), chance for aftale i procent, næste skridt og røde flag. Brug kun det, der står i leadet."
)
_DRAFT: Final = (
    "Du er salgsassistent i et dansk rengøringsfirma. Skriv et udkast til en e-mail på {language} i højst 100 ord: "
    "venlig, professionel og med en klar opfordring til næste skridt. Lov ingen pris. En medarbejder læser det først."
)
_PLAN: Final = (
    "Du er planlægger i et dansk rengøringsfirma. Lav en tidsplan på dansk: nummererede opgaver fra i dag til efter "
    "udført arbejde, hver med tidspunkt, varighed og ansvarlig."
)


class Job(NamedTuple):
    """One request to the gateway. name: the file that its answer becomes. words: what is asked for at most."""

    lead: Lead
    name: Literal["analysis", "draft", "plan"]
    task: str
    system: str
    user: str
    max_tokens: int
    words: int
    stream: bool = False

    @property
    def digest(self) -> str:
        """Names what is asked: an answer on disk to the same question need not be asked for again."""
        asked = json.dumps([self.task, self.system, self.user, self.max_tokens])
        return hashlib.sha256(asked.encode()).hexdigest()[:16]


def jobs_for(lead: Lead) -> list[Job]:
    """Return what is asked about one lead."""
    facts = facts_of(lead)
    draft = _DRAFT.format(language=language_of(lead.notes))
    jobs = [
        Job(lead, "analysis", "lead-analysis", _ANALYSIS, f"Analysér dette lead.\n{facts}", 250, 150),
        Job(
            lead, "draft", "email-draft", draft, f"Skriv et udkast til svar til kunden.\n{facts}", 180, 100, stream=True
        ),
    ]
    if lead.status == "qualified":
        jobs.append(Job(lead, "plan", "task-planning", _PLAN, f"Lav en opgaveplan for kunden.\n{facts}", 350, 200))
    return jobs


def all_jobs(leads: Iterable[Lead]) -> list[Job]:
    """Return every job, the most urgent lead's first: by answering time, then priority, then as they came."""

    def urgency(lead: Lead) -> tuple[int, int]:
        source = source_named(lead.source)
        return source.answer_within_h, _PRIORITIES[source.priority]

    return [job for lead in sorted(leads, key=urgency) for job in jobs_for(lead)]


def facts_of(lead: Lead) -> str:
    """What a model is told of the lead: a line each, none empty."""
    source = source_named(lead.source)
    lines = {
        "Navn": lead.name,
        "Ydelse": lead.service,
        "Kilde": lead.source,
        "Svarfrist": f"{source.answer_within_h} t" if source.answer_within_h else "straks",
        "Status": lead.status,
        "Telefon": "oplyst" if lead.phone else "",
        "Noter": lead.notes,
    }
    return "\n".join(f"{label}: {_one_line(value)}" for label, value in lines.items() if value)


def language_of(notes: str) -> Language:
    """Return the language to answer in: the one that the customer writes, Danish in doubt (two words decide)."""
    swedish, english = len(_SWEDISH.findall(notes)), len(_ENGLISH.findall(notes))
    if max(swedish, english) < 2:
        return "dansk"
    return "svensk" if swedish >= english else "engelsk"


def _one_line(text: str) -> str:
    return " ".join(text.split())
