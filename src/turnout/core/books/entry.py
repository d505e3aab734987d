"""Names one line of the ledger: what one attempt at a vendor used, for whom, and what it cost.

Written once, never changed; a correction is a line of its own that names the one it corrects, with the difference.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Basis = Literal["exact", "estimated", "unknown"]


class Charge(msgspec.Struct, frozen=True, array_like=True):
    """A budget's period that an attempt was reserved in, and is booked to. starts_at: Unix seconds of its beginning."""

    budget: str
    starts_at: int


class Intent(msgspec.Struct, frozen=True, array_like=True):
    """Written before a vendor is asked: all that its Entry needs, should we never come to write that.

    attempt_id: "{request_id}-{number}", which the vendor gets as `x-request-id`. at_ms: Unix milliseconds.
    model: our name; vendor_model: the vendor's. reserved_nano_usd: what it may cost at most; None: unpriced.
    """

    attempt_id: str
    request_id: str
    at_ms: int
    key_id: str
    user: str
    workspace: str
    team: str
    session: str
    task: str
    model: str
    provider: str
    vendor_model: str
    arm: str
    input_tokens: int
    max_output_tokens: int
    reserved_nano_usd: int | None
    charges: tuple[Charge, ...] = ()


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One line of the ledger. cost_nano_usd: None: unpriced. outcome: "ok", an error's code, "superseded", "orphaned"
    (its gateway ended before it could say). corrects: the attempt_id that this line corrects, "" for an attempt's own;
    then attempt_id is the correction's, and costs and tokens are differences, which may be negative.
    """

    attempt_id: str
    request_id: str
    at_ms: int
    key_id: str
    user: str
    workspace: str
    team: str
    session: str
    task: str
    model: str
    provider: str
    vendor_model: str
    arm: str
    outcome: str
    basis: Basis
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_write_input_tokens: int
    reasoning_output_tokens: int
    cost_nano_usd: int | None
    charges: tuple[Charge, ...] = ()
    corrects: str = ""
