"""Names the faults that a simulated vendor can be told to commit, and reads scripts of them.

A script is `NAME[=ARG][;NAME[=ARG]…]`; three digits are short for `status=`. Faults are worked in in the order given.
`docs/simulated-provider.md` lists the same names with the same words; a test compares the two.
Sources: the fault matrix and T01 to T19 (RELIABILITY §4.3, §4.4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from turnout.core.simulation import distortions as does
from turnout.core.simulation import refusals
from turnout.core.simulation.distortions import Apply
from turnout.core.simulation.draft import Draft
from turnout.core.simulation.script import Close, Raw, Reset, ResetNext, Stall
from turnout.core.simulation.usage_forms import FORMS

RESET_ACCEPT = "reset-accept"
USAGE = "usage"
TOKENS = "tokens"
HUGE_EVENT = "huge-event"

_SECONDS = re.compile(r"[-+]?[0-9]{1,9}(\.[0-9]{1,9})?")


class Fault(msgspec.Struct, frozen=True):
    """One fault of a script, checked. arg: its argument, the default where none was given."""

    name: str
    arg: str = ""


class Kind(msgspec.Struct, frozen=True):
    """What a name means. arg: "" (none), N (a whole number >= 0), S (seconds, may be negative), TEXT, or `a|b|c`."""

    what: str
    apply: Apply
    arg: str = ""
    default: str = ""


def _durations(_wall: float, arg: str) -> list[tuple[str, str]]:
    kinds = ("requests", "tokens")
    resets = [(f"x-ratelimit-reset-{kind}", arg) for kind in kinds]
    return [*((f"x-ratelimit-remaining-{kind}", "0") for kind in kinds), *resets]


def _epoch(wall: float, arg: str) -> list[tuple[str, str]]:
    reset = str(round((wall + float(arg)) * 1000))
    return [("x-ratelimit-limit", "16"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]


def _rfc_3339(wall: float, arg: str) -> list[tuple[str, str]]:
    reset = refusals.rfc_3339(wall + float(arg))
    return [("anthropic-ratelimit-requests-remaining", "0"), ("anthropic-ratelimit-requests-reset", reset)]


_retry_after = does.hint(lambda _, arg: [("retry-after", arg)])
_retry_after_date = does.hint(lambda wall, arg: [("retry-after", refusals.http_date(wall + float(arg)))])
_retry_after_ms = does.hint(lambda _, arg: [("retry-after-ms", arg)])
_x_ms_retry_after_ms = does.hint(lambda _, arg: [("x-ms-retry-after-ms", arg)])
_error_event = does.error_event(lambda draft: refusals.error_event(draft.dialect))
_error_chunk = does.error_event(lambda _: refusals.error_chunk())
_garbage = does.instead(Raw(b"HTTP/9.9 abc\r\n\0garbage\r\n\r\n"), Close())

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        # before any answer
        RESET_ACCEPT: Kind("RST as soon as the connection is made (from a queue only)", does.instead(Reset())),
        "reset": Kind("reads the request, then RST", does.instead(Reset())),
        "close": Kind("reads the request, then FIN", does.instead(Close())),
        "stall": Kind("reads the request, never answers", does.instead(Stall())),
        "delay": Kind("answers S seconds later", does.delay, "S", "1"),
        "bad-http": Kind("garbage in place of a status line", _garbage),
        "1xx": Kind("N heads of 103 before the answer", does.interim, "N", "1000"),
        # in place of the answer
        "status": Kind("this status with the vendor's error body", does.status, "N", "500"),
        "retry-after": Kind("429 with Retry-After as written: 7, -5, soon, or empty", _retry_after, "TEXT"),
        "retry-after-date": Kind("429 with Retry-After as a date S seconds from now", _retry_after_date, "S", "7"),
        "retry-after-ms": Kind("429 with retry-after-ms as written", _retry_after_ms, "TEXT", "250"),
        "x-ms-retry-after-ms": Kind("429 with x-ms-retry-after-ms as written", _x_ms_retry_after_ms, "TEXT", "250"),
        "ratelimit-reset": Kind("429 with x-ratelimit-reset-* as durations", does.hint(_durations), "TEXT", "6m0s"),
        "ratelimit-rfc3339": Kind("429 with anthropic-ratelimit-requests-reset in S", does.hint(_rfc_3339), "S", "7"),
        "ratelimit-epoch": Kind("429 with X-RateLimit-Reset (epoch ms) in S", does.hint(_epoch), "S", "7"),
        "overflow": Kind("400: the prompt does not fit in N tokens", does.overflow, "N", "8192"),
        "redirect": Kind("this 3xx, to an address where nobody is", does.status, "N", "307"),
        "html": Kind("a web page, with status 200 unless another is set", does.html),
        "endless": Kind("200 with a body that never ends", does.endless),
        "endless-error": Kind("this status with a body that never ends", does.endless_error, "N", "500"),
        "big-error": Kind("500 with a body of N bytes", does.big_error, "N", "114000000"),
        # where it stops
        "reset-at": Kind("RST after N bytes of body", does.at_byte(Reset()), "N", "0"),
        "reset-event": Kind("RST after N events", does.at_event(Reset()), "N", "3"),
        "close-at": Kind("FIN after N bytes, short of what was declared", does.at_byte(Close()), "N", "0"),
        "close-event": Kind("FIN after N events, without the last chunk", does.at_event(Close()), "N", "3"),
        "stall-first": Kind("head and opening event, then silence", does.stall_first),
        "stall-at": Kind("silence after N bytes of body", does.at_byte(Stall()), "N", "0"),
        "stall-event": Kind("silence after N events", does.at_event(Stall()), "N", "3"),
        "cut": Kind("ends in good HTTP order after half of it", does.cut),
        "cut-at": Kind("ends in good HTTP order after N bytes", does.cut_at, "N", "0"),
        "cut-event": Kind("ends in good HTTP order after N events", does.cut_event, "N", "3"),
        "no-done": Kind("everything but the terminal event", does.no_done),
        "until-close": Kind("no length: the end of the connection ends the body", does.until_close),
        "close-after": Kind("a whole answer, then FIN on a connection said to be kept", does.afterwards(Close())),
        "reset-next": Kind("a whole answer, then RST to the next request on it", does.afterwards(ResetNext())),
        "bad-chunk": Kind("breaks the chunked framing half-way", does.bad_chunk),
        # what it says
        "malformed": Kind("broken JSON: one event, or the whole answer", does.malformed),
        "content-type": Kind("the right body under another content type", does.content_type, "TEXT", "text/plain"),
        "header": Kind("one more header, `name: value`", does.header, "TEXT", "set-cookie: sid=1"),
        "error-event": Kind("an error event after N content events, then the end", _error_event, "N", "0"),
        "error-chunk": Kind("the same in OpenRouter's form", _error_chunk, "N", "0"),
        USAGE: Kind("a usage that cannot be right", does.nothing, "|".join(FORMS), FORMS[0]),
        TOKENS: Kind("an answer of N tokens, whatever max_tokens says", does.nothing, "N", "1000"),
        "long": Kind("a stream of N bytes, its first words again and again", does.long, "N", "10485760"),
        HUGE_EVENT: Kind("N characters in a single event", does.nothing, "N", "1048576"),
        # how it is written
        "slow": Kind("one byte a write, S seconds between", does.slices(1), "S", "0"),
        "slice": Kind("N bytes a write", does.slices(), "N", "7"),
        "split": Kind("tears every character of several bytes apart", does.split),
        "line-ends": Kind("lines of the stream end so", does.line_ends, "crlf|cr|lf", "crlf"),
        "bom": Kind("a byte order mark first", does.bom),
    }
)


def read(script: str) -> tuple[Fault, ...]:
    """Return the faults of a script, in order; none for an empty one. O(script).

    Raises ValueError with what is wrong, for a person: an unknown name, an argument of the wrong kind.
    """
    return tuple(_read(part.strip()) for part in script.split(";") if part.strip())


def _read(part: str) -> Fault:
    name, equals, arg = part.partition("=")
    name, arg = name.strip().lower(), arg.strip()
    if len(name) == 3 and name.isdecimal():
        if equals:
            raise ValueError(f"fault {name!r} takes no argument")
        name, equals, arg = "status", "=", name
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(KINDS)}")
    if not equals:
        return Fault(name, kind.default)
    problem = _problem(kind.arg, arg)
    if problem:
        raise ValueError(f"fault {name!r} {problem}, not {arg!r}")
    if name in {"status", "redirect", "endless-error"} and not 200 <= int(arg) <= 599:
        raise ValueError(f"fault {name!r} takes a status from 200 to 599, not {arg!r}")
    return Fault(name, arg)


def _problem(kind: str, arg: str) -> str:
    """Return what an argument should have been, "" if it is right."""
    if kind == "":
        return "takes no argument"
    if kind == "N":
        return (
            "" if arg.isascii() and arg.isdecimal() and len(arg) <= 9 else "takes a whole number of at most nine digits"
        )
    if kind == "S":
        return "" if _SECONDS.fullmatch(arg) else "takes a number of seconds"
    if kind == "TEXT" or arg in kind.split("|"):
        return ""
    return f"takes one of {kind.replace('|', ', ')}"


def arg_of(faults: Sequence[Fault], name: str) -> str:
    """Return the argument of the last fault of that name, "" if there is none."""
    return next((fault.arg for fault in reversed(faults) if fault.name == name), "")


def number_of(faults: Sequence[Fault], name: str) -> int:
    """Return the argument of the last fault of that name as a number, 0 if there is none."""
    return int(arg_of(faults, name) or 0)


def work_in(draft: Draft, faults: Sequence[Fault]) -> None:
    """Change the draft by each fault in turn."""
    for fault in faults:
        KINDS[fault.name].apply(draft, fault.arg)
