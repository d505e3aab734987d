"""The fault matrix as data: what the client sees, whether it is tried elsewhere, and what is booked, for every upstream fault.

One row a fault, one cell a moment: N whole answers, S0 a stream before anything reached the client, S1 after. Source:
RELIABILITY §4.3. Where a cell here differs from it, the row's `note` says why. The scripts are the simulated vendor's
(docs/simulated-provider.md). Rows of a group are tried at the same time at one gateway; in the first group nobody ever answers, so
that each of its requests has a connection of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Cell:
    """What must come out.

    script: the vendor's. status, code: of the error that the client gets when nobody else may answer; status 0: an answer,
    200: an error event inside the stream. again: whether another candidate is asked: yes, never, or only where
    `retry.ambiguous` allows it. basis: of the failed (or odd) attempt's usage; "none": nothing is owed, the cost is 0.
    is_suspect: the usage is flagged. says_why: the vendor itself had told a finish_reason before it failed.
    """

    script: str = ""
    status: int = 0
    code: str | None = None
    again: Literal["yes", "ambiguous", "never"] = "never"
    basis: Literal["none", "estimated", "exact"] = "none"
    is_suspect: bool = False
    says_why: bool = False


@dataclass(frozen=True)
class Row:
    """One fault. A text in place of a cell: why there is none. address: where it stands if not at the simulated vendor.

    warm: what the vendor does to the request before, on the same connection. note: where we differ from the plan, and why.
    """

    n: Cell | str
    s0: Cell | str
    s1: Cell | str
    address: str = ""
    warm: str = ""
    note: str = ""


UNREACHED = Cell("", 502, "upstream_unreachable", "yes")
NOT_MID_STREAM = "a connection that never stood cannot fail later"
NO_STATUS = "a status comes before any byte"
NOT_BEGUN = "nothing has come yet"
APART = "slice=100000"
"""Each event in a write of its own: what comes together with its error was never shown to anybody."""


def fault(script: str, status: int = 502, code: str = "upstream_fault") -> Cell:
    """The vendor may have done the work."""
    return Cell(script, status, code, "ambiguous", "estimated")


def refusal(script: str) -> Cell:
    """The vendor has done nothing."""
    return Cell(script, 502, "upstream_fault", "yes")


def cut(script: str, *, says_why: bool = False) -> Cell:
    """The client has a part of the answer: an error event, and nothing is tried again."""
    return Cell(script, 200, "stream_interrupted", "never", "exact" if says_why else "estimated", says_why=says_why)


def alike(cell: Cell, why: str = NO_STATUS, **more: str) -> Row:
    """The same for a whole answer and for a stream that has not begun."""
    return Row(cell, cell, why, **more)


def rejected(status: int) -> Row:
    """The vendor says that the request is bad: its status and its body go to the client, nobody else is asked."""
    return alike(Cell(f"status={status}", status))


def miscounted(form: str, *, is_exact: bool = False) -> Row:
    """A good answer with a bad count."""
    cell = Cell(f"usage={form}", basis="exact" if is_exact else "estimated", is_suspect=not is_exact)
    return Row(cell, "a count comes with the answer or after it", cell)


GROUPS: Mapping[str, Mapping[str, Row]] = MappingProxyType(
    {
        "no answer": {
            "connect refused": alike(UNREACHED, NOT_MID_STREAM, address="refused"),
            "no such name": alike(UNREACHED, NOT_MID_STREAM, address="no such name"),
            "no TLS": alike(UNREACHED, NOT_MID_STREAM, address="no TLS"),
            "connect black hole": alike(
                Cell("", 504, "upstream_timeout", "yes"),
                NOT_MID_STREAM,
                address="black hole",
                note="504, not 502: what ran out was time (STYLE, error taxonomy)",
            ),
            "accepts, never answers": alike(fault("stall", 504, "upstream_timeout"), NOT_BEGUN),
            "RST before the head": alike(fault("reset"), NOT_BEGUN),
            "FIN before the head": alike(fault("close"), NOT_BEGUN),
        },
        "idle connections": {
            "RST on an idle connection as it is used": alike(Cell("", basis="exact"), NOT_BEGUN, warm="reset-next"),
            "FIN on an idle connection": alike(Cell("", basis="exact"), NOT_BEGUN, warm="close-after"),
        },
        "broken answers": {
            "RST mid-body": Row(fault("reset-at=60"), fault("reset-event=1"), cut("reset-event=5")),
            "FIN mid-body": Row(fault("close-at=60"), fault("close-event=1"), cut("close-event=5")),
            "stall mid-body": Row(
                fault("stall-at=60", 504, "upstream_timeout"),
                fault("stall-first", 504, "upstream_timeout"),
                cut("stall-event=5"),
            ),
            "ends in good order, too early": Row(fault("cut-at=60"), fault("cut-event=1"), cut("cut-event=5")),
            "no terminal event": Row(
                "a whole answer has none",
                "all words came before it would have",
                cut("no-done", says_why=True),
            ),
            "broken chunked framing": Row(fault("bad-chunk"), "it breaks half-way", cut("bad-chunk")),
        },
        "no HTTP": {
            "no HTTP": alike(fault("bad-http"), NOT_BEGUN),
            "101 informational heads": alike(fault("1xx=101"), NOT_BEGUN),
        },
        "refusals": {
            "429": alike(Cell("retry-after=0", 429, "upstream_throttled", "yes")),
            "500": alike(fault("status=500")),
            "502": alike(fault("status=502")),
            "503": alike(refusal("status=503")),
            "504": alike(fault("status=504")),
            "529": alike(
                refusal("status=529"), note="502 with the vendor's words: docs/errors.md has one status for its faults"
            ),
            "400": rejected(400),
            "418": rejected(418),
            "422": rejected(422),
            "401": alike(refusal("status=401"), note="our credential, so never a 401 for the client; asked elsewhere"),
            "402": alike(refusal("status=402"), note="our account, as 401"),
            "403": alike(refusal("status=403"), note="our credential, as 401"),
            "404": alike(refusal("status=404"), note="our name for the model, as 401"),
            "408": alike(fault("status=408")),
            "204": alike(fault("status=204")),
            "304": alike(refusal("status=304")),
            "307": alike(refusal("redirect=307")),
        },
        "what it says": {
            "an error inside a 200": Row(
                refusal("error-event=0"), refusal("error-event=0"), cut(f"error-event=3;{APART}")
            ),
            "malformed JSON": Row(fault("malformed"), fault("tokens=1;malformed"), cut(f"malformed;{APART}")),
            "a web page with status 200": Row(fault("html"), fault("html"), "a body has one form"),
            "an answer that holds nothing": Row(
                fault(""), "there is no stream without an event", "there is no content", address="empty"
            ),
            "a body that does not end": Row(fault("endless"), fault("endless"), "T10"),
            "another content type, the right body": Row(
                Cell("content-type=text/plain", basis="exact"),
                Cell("content-type=text/plain", basis="exact"),
                "a head comes before any byte",
                note="served: the body is judged, not its label, and goes out under the right one",
            ),
        },
        "usage": {
            "usage negative": miscounted("negative"),
            "usage fractional": miscounted("float"),
            "usage huge": miscounted("huge"),
            "usage text": miscounted("string"),
            "usage absent": miscounted("absent"),
            "usage twice, growing": miscounted("twice", is_exact=True),
            "usage twice, shrinking": Row(
                Cell("usage=twice-less", basis="exact"),
                "a count comes after the answer",
                Cell("usage=twice-less", basis="estimated", is_suspect=True),
                note="a whole answer is one JSON object: of a member given twice the last counts, as for every reader",
            ),
        },
    }
)
