"""Decides where a lead came from, and how soon it must be answered. Pure.

Points, for each source: the sender's domain 60, a word of its subject 30, a word of its body 10. The sum is the
confidence; the source with most points wins, and the one listed first wins a tie. From 95 points on, which takes all
three, a customer record may be made. Source: FACTS §5.

A domain counts only whole or as the end of a longer one after a dot: `rengoring.nu.example.com` is not rengoring.nu.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

DOMAIN_POINTS: Final = 60
SUBJECT_POINTS: Final = 30
BODY_POINTS: Final = 10
RECORD_CONFIDENCE: Final = 95

Priority = Literal["high", "medium", "low"]


class Source(NamedTuple):
    """Where leads come from. answer_within_h: hours, 0 means at once. Words are lower case and count whole."""

    name: str
    title: str
    priority: Priority
    answer_within_h: int
    domains: tuple[str, ...] = ()
    subject_words: tuple[str, ...] = ()
    body_words: tuple[str, ...] = ()


class Detection(NamedTuple):
    """What an e-mail tells. source: None if nothing points anywhere. confidence: 0 to 100."""

    source: Source | None
    domain_points: int = 0
    subject_points: int = 0
    body_points: int = 0

    @property
    def confidence(self) -> int:
        """The sum of the points."""
        return self.domain_points + self.subject_points + self.body_points

    @property
    def may_make_record(self) -> bool:
        """Whether this is sure enough for a customer record."""
        return self.confidence >= RECORD_CONFIDENCE


SOURCES: Final = (
    Source(
        "rengoring_nu",
        "rengøring.nu",
        "high",
        0,
        ("rengoring.nu", "rengøring.nu"),
        ("rengøring.nu", "ny opgave", "nyt lead"),
        ("rengøring.nu", "formidlet", "tilbudsfrist"),
    ),
    Source(
        "rengoring_aarhus",
        "Rengøring Århus",
        "medium",
        1,
        ("rengoring-aarhus.dk", "rengøring-århus.dk"),
        ("rengøring århus", "rengøring aarhus"),
        ("rengøring århus", "rengøring aarhus"),
    ),
    Source("leadpoint", "Leadpoint", "medium", 1, ("leadpoint.dk",), ("leadpoint",), ("leadpoint", "lead-id")),
    Source("netberrau", "Netberrau", "medium", 1, ("netberrau.dk",), ("netberrau",), ("netberrau",)),
    Source("adhelp", "AdHelp", "medium", 24, ("adhelp.dk",), ("adhelp", "annoncesvar"), ("adhelp", "annonce")),
    Source(
        "website",
        "website",
        "high",
        1,
        ("hjemmeside.example",),
        ("kontaktformular", "henvendelse fra hjemmesiden"),
        ("kontaktformular", "hjemmesiden"),
    ),
    Source(
        "referral",
        "referral",
        "high",
        1,
        (),
        ("anbefaling", "anbefalet af"),
        ("anbefalet af", "anbefalede", "anbefalet"),
    ),
    Source(
        "phone",
        "phone",
        "high",
        0,
        ("telefonsvarer.example",),
        ("telefonbesked", "ubesvaret opkald"),
        ("indtalt", "opkald fra"),
    ),
)
UNKNOWN: Final = Source("", "unknown", "medium", 24)
"""What a lead gets whose source nobody knows: looked at within a day."""


def source_named(name: str) -> Source:
    """Return the source of that name, UNKNOWN if there is none."""
    return next((source for source in SOURCES if source.name == name), UNKNOWN)


def detect(sender: str, subject: str, body: str) -> Detection:
    """Return the likeliest source of an e-mail. sender: an address. O(sources · text), never raises."""
    domain = _ascii(sender.rpartition("@")[2].strip().rstrip(".>").lower())
    best = Detection(None)
    for source in SOURCES:
        found = Detection(
            source,
            DOMAIN_POINTS if any(_is_within(domain, _ascii(one)) for one in source.domains) else 0,
            SUBJECT_POINTS if _has_any(subject, source.subject_words) else 0,
            BODY_POINTS if _has_any(body, source.body_words) else 0,
        )
        if found.confidence > best.confidence:
            best = found
    return best


def _is_within(domain: str, whole: str) -> bool:
    return domain == whole or domain.endswith("." + whole)


def _ascii(domain: str) -> str:
    """The form that mail headers carry: `rengøring.nu` is `xn--rengring-84a.nu` there. Unreadable names stay."""
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _has_any(text: str, words: tuple[str, ...]) -> bool:
    lower = text.lower()
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", lower) for word in words)
