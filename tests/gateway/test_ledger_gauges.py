"""Prometheus is told how the ledger stands."""

from __future__ import annotations

from tests.entries import entry, intent
from tests.gateway.ledgers import books, ledger
from turnout.gateway.ledger_gauges import ledger_families


async def test_what_is_told_is_what_is(tmp_path):
    """While entries wait, and after."""
    async with books(tmp_path) as database, ledger(tmp_path, database) as one:
        database.is_away = True
        one.intend(intent("a-1"))
        one.settle(entry("a-1", basis="estimated", cost_nano_usd=2_000_000_000))
        one.intend(intent("b-1"))
        told = {family.name: family.samples[0].value for family in ledger_families(one)}
        assert told.pop("turnout_journal_bytes") > 0
        assert told == {
            "turnout_ledger_degraded": 0,
            "turnout_ledger_behind": 0,
            "turnout_ledger_waiting": 1,
            "turnout_ledger_open": 1,
            "turnout_ledger_entries": 0,
            "turnout_ledger_orphans": 0,
        }
        database.is_away = False
        one.settle(entry("b-1"))
        await one.flush()
        after = {family.name: family.samples[0].value for family in ledger_families(one)}
        assert (0, 0, 2) == (
            after["turnout_ledger_waiting"],
            after["turnout_ledger_open"],
            after["turnout_ledger_entries"],
        )
