"""Writes what a Danish cleaning company's assistant might say: lead analyses, e-mail drafts, task plans, small talk.

The words follow from the facts in the prompt (name, service, source, status, notes) and from the request's draws, so
that answers differ as prompts do and stay the same from run to run. Rules of priority: FACTS §5. Lengths: an analysis
stays under 150 words and 250 tokens, a draft under 100 words and 180 tokens, as the desk asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from turnout.core.simulation.chance import Chance

LABEL = "[simuleret] "
READ_CHARACTERS = 20_000
"""How far into a prompt facts are looked for: leads are short, and a request of 10 MB must not cost seconds."""

_LABELS: Final = {
    "name": ("name", "navn", "kunde", "from", "fra"),
    "email": ("email", "e-mail"),
    "phone": ("phone", "telefon", "tlf"),
    "source": ("source", "kilde"),
    "service": ("service", "ydelse"),
    "status": ("status",),
    "notes": ("notes", "noter", "besked"),
}
_FACT_OF: Final = {label: fact for fact, labels in _LABELS.items() for label in labels}
_FACT = re.compile(rf"""\b({"|".join(_FACT_OF)})["']?[ \t]*[:=][ \t]*(?:"([^"\n]*)"|([^\n,;}}]+))""", re.IGNORECASE)
_UNKNOWN = frozenset({"ukendt", "unknown"})

_KIND = re.compile(
    r"(?P<analysis>lead[- ]?analy|\banaly[sz]|\bvurd[eé]r|\bprioritet|\bpriority|red flags|røde flag)"
    r"|(?P<email>udkast|\bdraft|skriv (?:et|en) (?:\w+ )?(?:svar|e-?mail|mail)|write (?:an?|the) (?:\w+ )?(?:e-?mail|reply))"
    r"|(?P<plan>opgaveplan|tidsplan|handleplan|task[- ]plan|\bplan for|\bopgaver\b)"
    r"|(?P<code>```|\bkode\b|\bcode\b|\bfunction\b|\bfunktion\b|\bpython\b|typescript|\bsql\b)"
)

_URGENT = frozenset({"rengoring_nu", "website", "referral", "phone"})
_CHANCE: Final = {"new": 45, "contacted": 55, "qualified": 75, "proposal": 65, "won": 95, "lost": 5}
_FLAGS = (
    (re.compile(r"rabat|billig|budget|kun \d+|hvad koster", re.IGNORECASE), "prisfølsom"),
    (re.compile(r"haster|i dag|i morgen|overmorgen|fredag", re.IGNORECASE), "kort frist"),
    (re.compile(r"utilfreds|skiftet firma", re.IGNORECASE), "har skiftet leverandør"),
    (re.compile(r"tilbyder det ikke|tagrende", re.IGNORECASE), "uden for vores ydelser"),
    (re.compile(r"måske|halvdelen|uden kontrakt", re.IGNORECASE), "uklar betaling"),
)


def facts_of(text: str) -> dict[str, str]:
    """Return what the prompt says of the lead: name, email, phone, source, service, status, notes ("" where nothing).

    Reads JSON members and `Label: value` lines, in Danish or English; the first of each counts. O(20,000 characters).
    """
    head = text[:READ_CHARACTERS]
    found: dict[str, str] = {}
    for match in _FACT.finditer(head):
        fact = _FACT_OF[match[1].lower()]
        if fact in found:
            continue
        value = match[2] if match[2] is not None else match[3]
        if fact == "notes" and match[2] is None:
            value = head[match.start(3) :].split("\n", maxsplit=1)[0]
        value = value.split("<", maxsplit=1)[0].strip(" \t\"'")[:200]
        found[fact] = "" if value.lower() in _UNKNOWN else value
    return {fact: found.get(fact, "") for fact in _LABELS}


def kind_of(system: str, user: str) -> str:
    """Return what is asked for: analysis, email, plan, code, or chat: the kind with most of its words in the prompt.

    A tie goes to the kind that is named first, the user's turn before the instructions: its first line says what to do.
    """
    both = f"{user[:READ_CHARACTERS]}\n{system[:READ_CHARACTERS]}".lower()
    counts: dict[str, int] = {}
    for match in _KIND.finditer(both):
        kind = str(match.lastgroup)
        counts[kind] = counts.get(kind, 0) + 1
    return max(counts, key=lambda kind: counts[kind], default="chat")


def findings(facts: Mapping[str, str], chance: Chance) -> dict[str, object]:
    """Return an analysis as values: priority (høj, middel, lav), chance (percent), next_step, red_flags."""
    notes = facts["notes"]
    flags = [flag for pattern, flag in _FLAGS if pattern.search(notes)]
    if not facts["service"]:
        flags.append("ydelse ikke oplyst")
    status = facts["status"].lower()
    percent = max(2, min(98, _CHANCE.get(status, 45) + chance.among("percent", 15) - 7 - 5 * len(flags)))
    is_gone = status in {"lost", "won"}
    priority = (
        "lav" if is_gone or "uden for vores ydelser" in flags else "høj" if facts["source"] in _URGENT else "middel"
    )
    who, what = facts["name"] or "kunden", facts["service"] or "opgaven"
    step = (
        f"Ring til {who} og aftal syn for {what}." if facts["phone"] else f"Svar {who} skriftligt og spørg til {what}."
    )
    return {"priority": priority, "chance": percent, "next_step": step, "red_flags": flags}


def write(kind: str, facts: Mapping[str, str], user: str, chance: Chance) -> str:
    """Return an answer of that kind, labelled as simulated."""
    who, what = facts["name"] or "kunden", facts["service"] or "rengøring"
    if kind == "analysis":
        found = findings(facts, chance)
        flags = found["red_flags"]
        return (
            f"{LABEL}Prioritet: {found['priority']} (kilde: {facts['source'] or 'ukendt'})\n"
            f"Chance for aftale: {found['chance']} %\n"
            f"Næste skridt: {found['next_step']} Notér størrelse, hyppighed og ønsket dato, og send pris samme dag.\n"
            f"Røde flag: {', '.join(flags) if isinstance(flags, list) and flags else 'ingen'}"
        )
    if kind == "email":
        return _email(who if facts["name"] else "kunde", what, chance)
    if kind == "plan":
        return _plan(who, what, chance)
    if kind == "code":
        return (
            f"{LABEL}Her er et forslag:\n\n```python\ndef samlet_pris(timer: float, timepris: float = 349.0) -> float:\n"
            '    """Return the price of a cleaning job, in kroner."""\n    return round(timer * timepris, 2)\n```\n\n'
            "Funktionen runder til hele ører; timeprisen kan ændres i kaldet."
        )
    return _chat(user, chance)


def _email(who: str, what: str, chance: Chance) -> str:
    hour = 9 + chance.among("hour", 5)
    opening = (
        "Tak for din henvendelse om",
        "Mange tak fordi du skrev til os om",
        "Det er dejligt at høre fra dig om",
    )[chance.among("opening", 3)]
    return (
        f"{LABEL}Kære {who}\n\n{opening} {what}. Vi hjælper gerne og kommer forbi til et uforpligtende syn, "
        f"så prisen passer til opgaven.\n\nPasser det, at vi ringer til dig i morgen mellem kl. {hour} og {hour + 2}? "
        "Svar blot på denne mail med et tidspunkt og din adresse, så sender vi et tilbud samme dag.\n\n"
        "Venlig hilsen\nRengøringsteamet"
    )


def _plan(who: str, what: str, chance: Chance) -> str:
    start = 8 + chance.among("start", 3)
    return (
        f"{LABEL}Opgaveplan for {who} ({what})\n"
        f"1. I dag kl. {start}.00 (10 min): ring og bekræft adresse, størrelse og ønsker.\n"
        f"2. I dag kl. {start + 2}.00 (15 min): beregn pris og send tilbud.\n"
        "3. I morgen kl. 10.00 (30 min): syn på stedet, tag billeder og notér særlige forhold.\n"
        "4. Samme dag kl. 14.00 (10 min): bekræft dato og hold i kalenderen.\n"
        "5. Dagen før (5 min): send påmindelse til kunden.\n"
        "6. Efter opgaven (10 min): ring og hør, om alt er i orden."
    )


def _chat(user: str, chance: Chance) -> str:
    words = user[:READ_CHARACTERS].split()
    quoted = f" Du skrev: «{' '.join(words[:8])[:80]}{' …' if len(words) > 8 else ''}»." if words else ""
    closing = (
        "Skal jeg lave et udkast til svar?",
        "Vil du have, at jeg finder en ledig tid?",
        "Sig til, hvis jeg skal regne en pris ud.",
    )[chance.among("closing", 3)]
    return f"{LABEL}Tak for din besked.{quoted} Vi tilbyder privat rengøring, erhverv, flytterengøring og vinduer. {closing}"
