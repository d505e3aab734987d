"""Counters and their Prometheus text."""

import re
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from tests.rig import CONFIG, Rig
from turnout.core.quota_view import Gauge, QuotaView
from turnout.gateway.cache import CacheStats, SemanticStats
from turnout.gateway.telemetry import BUCKETS_S, Histogram, Telemetry


def read(text):
    """Return {(sample name, labels): value}, as Prometheus' own parser sees it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_histogram_counts_each_value_once_and_cumulates():
    """A value on a bound belongs to that bucket, as Prometheus' `le` says."""
    histogram = Histogram()
    for seconds in (0.05, 0.1, 0.1000001, 1000.0):
        histogram.observe(seconds)
    assert dict(histogram.cumulative())["0.1"] == 2
    assert dict(histogram.cumulative())["0.5"] == 3
    assert dict(histogram.cumulative())["+Inf"] == 4
    assert len(histogram.cumulative()) == len(BUCKETS_S) + 1


def test_what_was_counted_is_what_a_scrape_reads():
    """Through Prometheus' own parser."""
    telemetry = Telemetry(started_wall=1000.0)
    telemetry.requests["glm", "chat", 200] += 3
    telemetry.attempts["glm", "openrouter", "ok"] += 3
    telemetry.fallbacks["chat"] += 1
    telemetry.tokens["glm", "input", "exact"] += 40
    telemetry.cost_nano_usd["glm", "openrouter"] += 1_500_000_000
    telemetry.inexact_nano_usd["glm", "openrouter"] += 500_000_000
    telemetry.durations["glm", "chat"].observe(0.3)
    telemetry.arms["litellm", "candidate", "ok"] += 2
    telemetry.resting = {"glm@openrouter": 12.5}
    telemetry.traces_dropped = 4
    telemetry.shed["share"] += 5
    telemetry.room = 90
    telemetry.lag_s, telemetry.longest_lag_s = 0.001, 0.25
    read_back = read(telemetry.render(1060.0))
    assert read_back["turnout_requests_total", (("model", "glm"), ("status", "200"), ("task", "chat"))] == 3
    assert read_back["turnout_fallbacks_total", (("task", "chat"),)] == 1
    assert read_back["turnout_cost_usd_total", (("model", "glm"), ("provider", "openrouter"))] == 1.5
    assert read_back["turnout_unreconciled_usd_total", (("model", "glm"), ("provider", "openrouter"))] == 0.5
    assert read_back["turnout_uptime_seconds", ()] == 60
    assert read_back["turnout_traces_dropped_total", ()] == 4
    assert read_back["turnout_shed_total", (("reason", "share"),)] == 5
    assert read_back["turnout_concurrency_room", ()] == 90
    assert read_back["turnout_loop_lag_seconds", (("of", "last"),)] == 0.001
    assert read_back["turnout_loop_lag_seconds", (("of", "max"),)] == 0.25
    assert read_back["turnout_candidate_resting_seconds", (("candidate", "glm@openrouter"),)] == 12.5
    buckets = ("turnout_request_duration_seconds_bucket", (("le", "0.5"), ("model", "glm"), ("task", "chat")))
    assert read_back[buckets] == 1
    assert read_back["turnout_request_duration_seconds_sum", (("model", "glm"), ("task", "chat"))] == 0.3


def test_quotas_the_line_and_the_cache_are_told():
    """A series for each number of each quota; what the cache saved, in calls and money."""
    telemetry = Telemetry(0.0)
    gauges = (Gauge("requests_minute", 3, 9, 12, 16), Gauge("at_once", 1, 1, 2, 2))
    telemetry.quotas = [QuotaView("openrouter", "openrouter", "*:free", 0.25, gauges)]
    telemetry.waiting = 7
    telemetry.waits[("high",)].observe(0.3)
    telemetry.turns = {("high", "waited"): 2}
    telemetry.cache = CacheStats(
        entries=5, size_bytes=4096, hits=2, misses=1, coalesced=1, bypassed=4, unkept=6, evicted=8, saved_calls=3,
        saved_nano_usd=2_500_000_000, inputs_kept=9, inputs_asked=1,
        semantic={"chat": SemanticStats("on", looked=20, near=5, false_hit_rate=0.01), "new": SemanticStats("shadow")},
    )  # fmt: skip
    told = read(telemetry.render(1.0))
    minute = (("of", "requests_minute"), ("quota", "openrouter"))
    assert [3, 9, 12] == [told[f"turnout_quota_{name}", minute] for name in ("used", "left", "limit")]
    assert told["turnout_quota_used", (("of", "at_once"), ("quota", "openrouter"))] == 1
    assert told["turnout_line_waiting", ()] == 7
    assert told["turnout_line_wait_seconds_bucket", (("le", "0.5"), ("priority", "high"))] == 1
    assert told["turnout_turns_total", (("outcome", "waited"), ("priority", "high"))] == 2
    results = {"hit": 2, "coalesced": 1, "miss": 1, "bypass": 4}
    assert results == {name: told["turnout_cache_requests_total", (("result", name),)] for name in results}
    assert told["turnout_cache_hit_ratio", ()] == 0.375
    assert told["turnout_cache_inputs_total", (("result", "kept"),)] == 9
    assert told["turnout_semantic_total", (("task", "chat"), ("what", "near"))] == 5
    assert told["turnout_semantic_false_hit_rate", (("task", "chat"),)] == 0.01
    assert ("turnout_semantic_false_hit_rate", (("task", "new"),)) not in told
    assert [5, 4096] == [told[f"turnout_cache_{name}", ()] for name in ("entries", "bytes")]
    names = ("evicted", "unkept", "saved_calls", "saved_usd")
    assert [8, 6, 3, 2.5] == [told[f"turnout_cache_{name}_total", ()] for name in names]


def test_an_idle_gateway_can_be_scraped():
    """No series is needed for the text to be valid."""
    assert read(Telemetry(0.0).render(1.0))["turnout_concurrent_requests", ()] == 0


async def test_no_family_of_metrics_is_told_twice(tmp_path):
    """Prometheus drops a scrape, or takes one of the two: a name belongs to one place. One that shares tells the most."""
    async with Rig(
        tmp_path,
        config=CONFIG + "budgets: {{all: {{limit: 1, period: life}}}}\nlimits: {{all: {{requests_per_minute: 9}}}}\n",
    ) as rig:
        rig.service.telemetry.is_shared = True
        told = re.findall(r"^# (?:TYPE|HELP) (\S+)", rig.service.metrics().decode(), re.MULTILINE)
    assert {"turnout_unreconciled_usd_total", "turnout_budget_limit_usd", "turnout_limit", "turnout_valkey_up"} <= set(
        told
    )
    assert dict.fromkeys(told, 2) == Counter(told)
