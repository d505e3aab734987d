"""Decides whether the answer to one question may be given to another that is worded otherwise.

    question_of   the last thing that the user said; everything else in a request must be the very same
    cosine        how near two vectors lie
    Record        how often that was right, and whether answers are given on it: not before, and never again after

Why a record and not a threshold alone: a score says how near two texts lie for one embedder, not whether their answers are
the same. So would-be hits are compared with the answer that was really given. In mode `shadow` all are, and none is
served. In mode `on` all are until there are enough to know the rate by, and from then on a tenth of them; once more were
false than allowed, no more are served, until the rule is changed or the gateway starts anew.
Nothing here draws or waits. Sources: DEPENDENCIES §9; docs/how-to/cache.md.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from math import ceil, sqrt
from operator import mul
from typing import Literal

import msgspec

from turnout.core.catalog import SemanticRule
from turnout.core.contracts import Call
from turnout.core.lexical_guard import Conflict

LONGEST_BYTES = 1024
"""A longer question is not looked at: about 256 tokens, beyond which an embedder costs too much and blurs details."""

KEPT = 1000
"""How many comparisons the rate is taken from."""

FEWEST = 20
"""And how many at least: with fewer, one more or less decides."""

CHECKED = 0.1
"""The share of would-be hits that are asked upstream all the same while answers are served, so that the rate is known."""


_MATERIAL = re.compile('[\n"`\u00ab\u00bb\u201c\u201d\u201e]|:\\s')
"""Signs that a text is not only asked about but worked on (translate: …), where every letter counts."""


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None


_MESSAGES = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CONTENT = msgspec.json.Decoder(str | list[msgspec.Raw])
_PART = msgspec.json.Decoder(_Part)
_ROLE = msgspec.json.Decoder(str)
_TAKEN_OUT = msgspec.Raw(b"null")


def question_of(call: Call) -> tuple[str, Call] | None:
    """Return what the user said last, and the request without it. None if that is no short, plain text.

    Not with a picture, a tool's result, a quotation or a NUL in it, nor in several lines or after a colon, and not where
    several answers are wanted. O(bytes), never raises.
    """
    if call.kind != "chat" or ("n" in call.fields and bytes(call.fields["n"]) not in {b"1", b"null"}):
        return None
    try:
        messages = _MESSAGES.decode(call.fields["messages"])
        last = _MEMBERS.decode(messages[-1])
        if _ROLE.decode(last["role"]) != "user":
            return None
        content = _CONTENT.decode(last["content"])
        if isinstance(content, str):
            text, last["content"] = content, _TAKEN_OUT
        else:
            text, last["content"] = _texts(content)
    except (ValueError, LookupError):
        return None
    text = text.strip()
    if not text or "\0" in text or len(text.encode()) > LONGEST_BYTES or _MATERIAL.search(text):
        return None
    rest = msgspec.Raw(msgspec.json.encode([*messages[:-1], last]))
    return text, msgspec.structs.replace(call, fields={**call.fields, "messages": rest})


def _texts(parts: list[msgspec.Raw]) -> tuple[str, msgspec.Raw]:
    """The parts' texts, and the parts without. "" if one is no text."""
    texts = []
    rest = []
    for part in parts:
        told = _PART.decode(part)
        if told.type != "text" or told.text is None:
            return "", _TAKEN_OUT
        texts.append(told.text)
        rest.append({**_MEMBERS.decode(part), "text": _TAKEN_OUT})
    return "\n".join(texts), msgspec.Raw(msgspec.json.encode(rest))


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how near two vectors lie, -1 to 1; 0.0 if they cannot be compared. O(numbers), 60 µs for 384."""
    product = sqrt(sum(map(mul, one, one)) * sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / product if product > 0.0 and len(one) == len(other) else 0.0


class Record:
    """What came of one task's would-be hits under one rule.

    looked: questions that were looked up. near: those that lay near enough to a kept one. guarded: of these, the ones that
    their words were against, by what. would_be: the others, would-be hits. served: those that were answered so. compared, false: those
    that were compared with the real answer, and were not the same, ever; the rate is of the last KEPT.
    """

    __slots__ = (
        "_false",
        "_verdicts",
        "compared",
        "false",
        "guarded",
        "is_off",
        "looked",
        "near",
        "rule",
        "served",
        "would_be",
    )

    def __init__(self, rule: SemanticRule) -> None:
        self.rule = rule
        self.looked = self.near = self.would_be = self.served = self.compared = self.false = 0
        self.guarded: dict[str, int] = {}
        self.is_off = False
        self._verdicts: deque[bool] = deque(maxlen=KEPT)
        self._false = 0

    @property
    def fewest(self) -> int:
        """How many comparisons tell a rate as low as the allowed one: one in a hundred shows in a hundred, not in ten."""
        return max(FEWEST, min(KEPT, ceil(1 / self.rule.max_false_hits)))

    @property
    def false_hit_rate(self) -> float | None:
        """The share of the last comparisons that were false, None before the first."""
        return self._false / len(self._verdicts) if self._verdicts else None

    @property
    def state(self) -> Literal["shadow", "trial", "on", "off"]:
        """shadow: only compares, as the rule says. trial: so does it, until it knows the rate. off: the rate was too high."""
        if self.is_off:
            return "off"
        if self.rule.mode == "shadow":
            return "shadow"
        return "on" if len(self._verdicts) >= self.fewest else "trial"

    def may_serve(self, draw: float) -> bool:
        """Return whether a would-be hit is served now; else it is to be compared. draw: in [0, 1)."""
        return self.state == "on" and draw >= CHECKED

    def note(self, told: Conflict | Literal["same"]) -> None:
        """A near question was found, and this said of it."""
        self.near += 1
        if told == "same":
            self.would_be += 1
        else:
            self.guarded[told] = self.guarded.get(told, 0) + 1

    def compare(self, *, is_same: bool) -> None:
        """The answer that would have been given was compared with the one that was. O(1)."""
        if len(self._verdicts) == KEPT:
            self._false -= not self._verdicts[0]
        self._verdicts.append(is_same)
        self.compared += 1
        self.false += not is_same
        self._false += not is_same
        if self._false > self.rule.max_false_hits * max(len(self._verdicts), self.fewest):
            self.is_off = True
