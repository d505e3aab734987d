"""Writes the traffic of a working day at a Danish cleaning company: who asks for what, when, and how long it may take.

More is asked than a free tier of 1,000 calls a day may safely give, so it matters who gets them. Rules: leads come in office
hours and in bursts (portals deliver theirs in a heap, a campaign brings many to the website); each is analysed and answered
by a draft, some get a plan, some a booking, which is a conversation of three or four calls with tools; the inbox is sorted
when there is time; and every evening old leads are scored again, `by: 09:00`. Danish winter time, an hour ahead of UTC.
A function of the seed: the same seed, the same days.
Sources: FACTS §3 (tools, a chat's 30 s), §5 (where leads come from, their priorities and how fast they are answered).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from turnout.core.simulation.chance import Chance

MINUTE_S = 60.0
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
AHEAD_S = HOUR_S
"""How far the Danish clock is ahead of UTC in winter."""

TOOLS = ("checkAvailability", "getPricing", "createBooking", "sendConfirmation")
PRICE_TOOLS = TOOLS[:2]

WEEKEND = 0.25
"""The share of a working day's traffic that comes on a Saturday or a Sunday."""

_OFFICE: Final = (0, 0, 0, 0, 0, 0, 1, 3, 8, 11, 10, 8, 6, 9, 10, 9, 7, 4, 3, 3, 2, 2, 1, 0)
"""Of a day's traffic, the parts that come in each hour of the Danish clock."""

_BURSTS: Final = (
    (9.0, 14, 30.0, ("leadpoint", "netberrau")),
    (13.25, 18, 120.0, ("website", "rengoring_nu")),
)
"""When, how many leads, within how many seconds, from where."""

_SOURCES: Final = {
    "rengoring_nu": ("high", 2 * MINUTE_S),
    "rengoring_aarhus": ("medium", HOUR_S),
    "leadpoint": ("medium", HOUR_S),
    "netberrau": ("medium", HOUR_S),
    "adhelp": ("medium", DAY_S),
    "website": ("high", HOUR_S),
    "referral": ("high", HOUR_S),
    "phone": ("high", 2 * MINUTE_S),
}
"""Priority, and how long an answer may take; "at once" is two minutes."""

_LEADS: Final = 62
_CHATS: Final = 130
_MAILS: Final = 190
_SCORES: Final = 240
_LEFT_FROM_YESTERDAY: Final = 120

_SERVICES: Final = ("flytterengøring", "privat rengøring", "erhvervsrengøring", "vinduespudsning")


Priority = Literal["", "high", "medium", "low"]


class Errand(msgspec.Struct, frozen=True):
    """What somebody wants: one call, or a conversation of `calls`, each of them waited for `patience_s`.

    at_s: seconds after midnight UTC of the first day. caller: whose share of the line it takes. priority: as its request
    says, "" if it leaves that to the rules. tools: as declared. by_s: for a job that may wait until then, else None.
    """

    name: str
    at_s: float
    caller: str
    task: str
    prompt: str
    priority: Priority = ""
    patience_s: float = HOUR_S
    calls: int = 1
    tools: tuple[str, ...] = ()
    by_s: float | None = None
    is_stream: bool = False


def errands(seed: int, hours: float) -> list[Errand]:
    """Return what is wanted in the first `hours` after a Monday's midnight (UTC), in order. O(errands log errands)."""
    wanted: list[Errand] = []
    for day in range(-int(-hours // 24)):
        wanted += _day(day, Chance(seed, b"day", day))
    wanted += _scores(_LEFT_FROM_YESTERDAY, "night", 0.0, 8 * HOUR_S)
    return sorted((one for one in wanted if one.at_s < hours * HOUR_S), key=lambda one: one.at_s)


def _day(day: int, chance: Chance) -> Iterator[Errand]:
    """One day's. day: 0 is a Monday."""
    midnight_s = day * DAY_S - AHEAD_S
    share = WEEKEND if day % 7 >= 5 else 1.0
    for number, at_s in enumerate(_moments(_LEADS * share, chance, "lead")):
        source = tuple(_SOURCES)[chance.among(f"source {number}", len(_SOURCES))]
        yield from _lead(f"{day}-{number}", midnight_s + at_s, source, chance)
    for place, (hour, count, within_s, sources) in enumerate(_BURSTS if share == 1.0 else ()):
        for number in range(count):
            at_s = midnight_s + hour * HOUR_S + within_s * chance.draw(f"burst {place} {number}")
            yield from _lead(f"{day}-b{place}-{number}", at_s, sources[number % len(sources)], chance)
    for number, at_s in enumerate(_moments(_CHATS * share, chance, "chat")):
        yield _chat(f"{day}-{number}", midnight_s + at_s, number, chance)
    for number, at_s in enumerate(_moments(_MAILS * share, chance, "mail")):
        name = f"mail {day}-{number}"
        prompt = f"Sortér denne e-mail: nr. {name}, spørgsmål om {_service(name, chance)}."
        yield Errand(name, midnight_s + at_s, "inbox", "email-analysis", prompt, "low", HOUR_S)
    yield from _scores(_SCORES, f"score {day}", midnight_s + 18.5 * HOUR_S, midnight_s + 33 * HOUR_S)


def _lead(number: str, at_s: float, source: str, chance: Chance) -> Iterator[Errand]:
    """What one lead makes us ask: an analysis, half a minute later a draft, perhaps a plan and a booking."""
    priority, patience_s = _SOURCES[source]
    told = f"Navn: Kunde {number}\nKilde: {source}\nYdelse: {_service(number, chance)}\nStatus: qualified"
    desk = f"desk {source}"

    def errand(kind: str, after_s: float, task: str, words: str, patience_s: float = patience_s) -> Errand:
        asked: Priority = "high" if priority == "high" and task != "complex-reasoning" else "medium"
        return Errand(f"{kind} {number}", at_s + after_s, desk, task, f"{words}\n{told}", asked, patience_s)

    yield errand("analysis", 0.0, "lead-analysis", "Lav en leadanalyse med prioritet.")
    yield errand("draft", 30.0, "email-draft", "Skriv et udkast til svar på mail.")
    if chance.draw(f"plan {number}") < 0.3:
        yield errand("plan", 60.0, "complex-reasoning", "Lav en opgaveplan.", HOUR_S)
    if chance.draw(f"booking {number}") < 0.35:
        calls = 3 + chance.among(f"calls {number}", 2)
        after_s = 60.0 + 3 * HOUR_S * chance.draw(f"later {number}")
        booking = errand("booking", after_s, "calendar-create", "Find en ledig tid og book den.", 2 * MINUTE_S)
        yield msgspec.structs.replace(booking, priority="", caller=f"customer {number}", calls=calls, tools=TOOLS)


def _chat(number: str, at_s: float, place: int, chance: Chance) -> Errand:
    """Somebody types a question and waits half a minute for the answer; one in five needs to look up a price."""
    name = f"chat {number}"
    prompt = f"Hej, jeg er gæst {number} og vil gerne høre om {_service(name, chance)}."
    has_tools = chance.draw(f"prices {number}") < 0.2
    return Errand(
        name,
        at_s,
        f"visitor {number}",
        "chat",
        prompt,
        patience_s=30.0,
        calls=2 if has_tools else 1,
        tools=PRICE_TOOLS if has_tools else (),
        is_stream=place % 2 == 0,
    )


def _scores(count: int, name: str, at_s: float, by_s: float) -> Iterator[Errand]:
    """A program scores old leads again: all at once, to be done by the morning."""
    for number in range(count):
        prompt = f"Vurdér chancen for aftale. Navn: Kunde {name} {number}"
        yield Errand(f"{name} {number}", at_s, "scoring", "lead-analysis", prompt, "low", by_s - at_s, by_s=by_s)


def _service(name: str, chance: Chance) -> str:
    return _SERVICES[chance.among(f"service {name}", len(_SERVICES))]


def _moments(count: float, chance: Chance, what: str) -> Iterator[float]:
    """Seconds after Danish midnight at which about `count` of something come, as the hours of the office are."""
    for hour, parts in enumerate(_OFFICE):
        expected = count * parts / sum(_OFFICE)
        for number in range(int(expected + chance.draw(f"{what} at {hour}"))):
            yield (hour + chance.draw(f"{what} {hour} {number}")) * HOUR_S
