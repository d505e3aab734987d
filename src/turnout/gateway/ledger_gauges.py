"""Tells Prometheus how the ledger stands in this process: whether it can be written to, and what waits.

What of the cost is an estimate is told with the cost, by model (gateway/telemetry.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from turnout.gateway.ledger import Ledger


def ledger_families(ledger: Ledger) -> Iterator[Metric]:
    """Yield the families."""
    stats = ledger.stats
    yield GaugeMetricFamily(
        "turnout_ledger_degraded",
        "1 while the journal cannot be written to, so that no vendor is asked, or all is in memory alone.",
        value=stats.is_degraded,
    )
    yield GaugeMetricFamily(
        "turnout_ledger_behind", "1 while the database takes no entries, so that they wait.", value=stats.is_behind
    )
    yield GaugeMetricFamily("turnout_ledger_waiting", "Entries in memory for the database.", value=stats.waiting)
    yield GaugeMetricFamily("turnout_ledger_open", "Attempts under way, without their entry.", value=stats.open)
    yield GaugeMetricFamily("turnout_journal_bytes", "Size of this process's journal.", value=stats.journal_bytes)
    yield CounterMetricFamily("turnout_ledger_entries", "Entries that were taken to the database.", value=stats.shipped)
    yield CounterMetricFamily(
        "turnout_ledger_orphans", "Entries for attempts that a dead process did not end.", value=stats.orphans
    )
