"""Makes intents and entries for tests: whole ones, of which a test says only what it is about."""

from __future__ import annotations

import msgspec

from turnout.core.books.entry import Entry, Intent

AT_MS = 1_795_000_000_000


def intent(attempt_id="req_1-1", **fields):
    """An attempt that is about to be made."""
    whole = Intent(
        attempt_id=attempt_id,
        request_id=attempt_id.rpartition("-")[0],
        at_ms=AT_MS,
        key_id="k_anna",
        user="anna",
        workspace="sales",
        team="north",
        session="s1",
        task="summarise",
        model="first",
        provider="stub",
        vendor_model="vendor/first",
        arm="",
        input_tokens=100,
        max_output_tokens=50,
        reserved_nano_usd=2_000_000,
    )
    return msgspec.structs.replace(whole, **fields)


def entry(attempt_id="req_1-1", **fields):
    """What it came to."""
    before = intent(attempt_id)
    shared = {name: getattr(before, name) for name in Entry.__struct_fields__ if name in before.__struct_fields__}
    whole = Entry(
        **shared,
        outcome="ok",
        basis="exact",
        output_tokens=20,
        cache_read_input_tokens=10,
        cache_write_input_tokens=5,
        reasoning_output_tokens=3,
        cost_nano_usd=1_000_000,
    )
    return msgspec.structs.replace(whole, **fields)
