"""Tells Prometheus how limits stand in this process: what was refused, and how much of the configuration's own names is left.

Users, keys, workspaces and teams are counted together: there may be any number of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from turnout.core.limiting import NOTHING
from turnout.gateway.limiter import Limiter

FEW: Final = ("all", "task", "model")
"""Scopes whose names stand in the configuration, so that there are few."""


def limit_families(limiter: Limiter) -> Iterator[Metric]:
    """Yield the families."""
    refused = CounterMetricFamily(
        "turnout_rate_limited",
        "Requests that a limit refused, by whose it is and what was used up.",
        labels=("scope", "what"),
    )
    for (scope, what), count in sorted(limiter.refused.items()):
        refused.add_metric((scope, what), count)
    yield refused
    yield GaugeMetricFamily("turnout_limited_names", "Names whose requests are counted now.", value=len(limiter))
    yield GaugeMetricFamily("turnout_limit_sharers", "Other gateways that share the limits.", value=limiter.others)
    most = GaugeMetricFamily(
        "turnout_limit", "What a limit allows in any 60 seconds, or at once.", labels=("name", "of")
    )
    left = GaugeMetricFamily("turnout_limit_left", "What nobody uses or holds of a limit.", labels=("name", "of"))
    now = limiter.now()
    for meter in sorted(limiter.meters(), key=lambda one: one.name):
        if meter.name.partition(":")[0] in FEW:
            used, others = meter.used(now), NOTHING if meter.lease is None else meter.lease.others
            for of in meter.limit.__struct_fields__:
                if limit := getattr(meter.limit, of):
                    most.add_metric((meter.name, of), limit)
                    left.add_metric((meter.name, of), max(0, limit - getattr(used, of) - getattr(others, of)))
    yield most
    yield left
