"""Counts what happens: plain integers and fixed histograms on the request path, Prometheus text only when scraped.

Labels are names from the config (models, tasks, providers) and small fixed sets, never a client's text, so the number of
series is bounded by the config. Counting one exchange costs about 2 µs.
Buckets: FACTS §6 (0.1 … 60 s), with two below for the time to the first chunk of local and cached answers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from turnout import __version__
from turnout.core.quota_view import QuotaView
from turnout.gateway.cache import CacheStats, SemanticStats

BUCKETS_S = (0.01, 0.03, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


_ANSWER = ("model", "task")


class Histogram:
    """Counts per bucket and the sum. Observing is one bisect and two additions."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Add one value."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many at or below) pairs, as Prometheus wants them."""
        pairs: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            running += count
            pairs.append((bound, running))
        return pairs


class Telemetry:
    """All counters of one process. Not thread-safe for writing: only the event loop counts; a scrape only reads."""

    def __init__(self, started_wall: float) -> None:
        self.started_wall = started_wall
        self.in_flight = 0
        self.tasks = 0
        self.traces_dropped = 0
        self.room = 0
        self.lag_s = 0.0
        self.longest_lag_s = 0.0
        self.shed: dict[str, int] = defaultdict(int)
        self.errors: dict[tuple[str, int], int] = defaultdict(int)
        self.requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self.durations: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self.first_chunks: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self.attempts: dict[tuple[str, str, str], int] = defaultdict(int)
        self.fallbacks: dict[str, int] = defaultdict(int)
        self.hedges: dict[str, int] = defaultdict(int)
        self.continuations = 0
        self.replays = 0
        self.tokens: dict[tuple[str, str, str], int] = defaultdict(int)
        self.cost_nano_usd: dict[tuple[str, str], int] = defaultdict(int)
        self.inexact_nano_usd: dict[tuple[str, str], int] = defaultdict(int)
        self.arms: dict[tuple[str, str, str], int] = defaultdict(int)
        self.resting: dict[str, float] = {}
        self.quotas: Sequence[QuotaView] = ()
        self.cache = CacheStats()
        self.waiting = 0
        self.turns: dict[tuple[str, str], int] = {}
        self.waits: dict[tuple[str], Histogram] = defaultdict(Histogram)
        self.is_shared: bool | None = None
        self.contact_losses = 0
        self.more: tuple[Callable[[], Iterable[Metric]], ...] = ()

    def _families(self, now_wall: float) -> Iterator[Metric]:
        yield from self._process(now_wall)
        yield from self._answers()
        yield from self._line()
        yield from _quotas(self.quotas)
        yield from _cache(self.cache)
        yield from _semantic(self.cache.semantic)
        for families in self.more:
            yield from families()

    def _process(self, now_wall: float) -> Iterator[Metric]:
        info = GaugeMetricFamily("turnout_build_info", "The version that runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield GaugeMetricFamily("turnout_uptime_seconds", "Since start.", value=now_wall - self.started_wall)
        yield GaugeMetricFamily("turnout_concurrent_requests", "Exchanges under way.", value=self.in_flight)
        yield GaugeMetricFamily("turnout_tasks", "Tasks of the event loop.", value=self.tasks)
        yield GaugeMetricFamily(
            "turnout_concurrency_room", "Exchanges that may be under way before some are refused.", value=self.room
        )
        yield _counters("turnout_shed", "Requests refused so that the others are served.", ["reason"], self.shed)
        lag = GaugeMetricFamily(
            "turnout_loop_lag_seconds",
            "How late the event loop was: last, and at most since the last scrape.",
            labels=["of"],
        )
        lag.add_metric(["last"], self.lag_s)
        lag.add_metric(["max"], self.longest_lag_s)
        yield lag
        yield CounterMetricFamily(
            "turnout_traces_dropped", "Traces that found the queue full.", value=self.traces_dropped
        )
        if self.is_shared is not None:
            yield GaugeMetricFamily(
                "turnout_valkey_up",
                "Whether what gateways share is used; 0: this one goes on alone.",
                value=self.is_shared,
            )
            yield CounterMetricFamily(
                "turnout_valkey_losses", "How often contact with Valkey ended.", value=self.contact_losses
            )

    def _answers(self) -> Iterator[Metric]:
        yield _counters(
            "turnout_requests", "Exchanges by model, task and HTTP status.", ["model", "task", "status"], self.requests
        )
        yield _counters(
            "turnout_errors",
            "Errors that clients were told, by code; those before any plan (401, 404, unreadable) too.",
            ["code", "status"],
            self.errors,
        )
        yield _counters(
            "turnout_upstream_attempts",
            "Tries at a candidate, by outcome (ok, or the error's code).",
            ["model", "provider", "outcome"],
            self.attempts,
        )
        yield _counters("turnout_fallbacks", "Exchanges that a later candidate answered.", ["task"], self.fallbacks)
        yield _counters("turnout_hedges", "Second attempts beside a slow first one.", ["result"], self.hedges)
        yield CounterMetricFamily("turnout_continuations", "Broken texts that went on.", value=self.continuations)
        yield CounterMetricFamily(
            "turnout_idempotent_replays", "Repeats that were told the kept answer.", value=self.replays
        )
        yield _counters(
            "turnout_tokens", "Tokens, by kind and basis of the count.", ["model", "kind", "basis"], self.tokens
        )
        yield _counters(
            "turnout_rollout_exchanges", "Exchanges by arm and outcome.", ["rollout", "arm", "outcome"], self.arms
        )
        yield _costs("turnout_cost_usd", "What answers cost.", self.cost_nano_usd)
        yield _costs("turnout_unreconciled_usd", "How much of it is our estimate.", self.inexact_nano_usd)
        yield _histograms("turnout_request_duration_seconds", "To the last byte.", self.durations, _ANSWER)
        yield _histograms("turnout_time_to_first_chunk_seconds", "To the first content.", self.first_chunks, _ANSWER)
        rest = GaugeMetricFamily(
            "turnout_candidate_resting_seconds", "How long a candidate is not asked yet.", labels=["candidate"]
        )
        for key, until in tuple(self.resting.items()):
            rest.add_metric([key], until)
        yield rest

    def _line(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("turnout_line_waiting", "Requests that wait for their turn.", value=self.waiting)
        yield _counters(
            "turnout_turns",
            "Turns that were granted, those of them that were waited for, and requests that were refused one.",
            ["priority", "outcome"],
            self.turns,
        )
        yield _histograms("turnout_line_wait_seconds", "How long turns were waited for.", self.waits, ["priority"])

    def render(self, now_wall: float) -> bytes:
        """Return the Prometheus text. O(series); about 1 ms a thousand."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(tuple(self._families(now_wall))))
        return generate_latest(registry)


class _Collected:
    """prometheus-client's collector shape over families that are made already."""

    def __init__(self, families: tuple[Metric, ...]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _costs(name: str, text: str, nano_usd: Mapping[tuple[str, str], int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=["model", "provider"])
    for labels, amount in tuple(nano_usd.items()):
        family.add_metric(labels, amount / 1e9)
    return family


def _counters(name: str, text: str, labels: list[str], counted: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in tuple(counted.items()):
        family.add_metric([str(part) for part in (key if isinstance(key, tuple) else (key,))], value)
    return family


def _quotas(views: Sequence[QuotaView]) -> Iterator[Metric]:
    labels = ["quota", "of"]
    used = GaugeMetricFamily("turnout_quota_used", "What a vendor's window or day counts so far.", labels=labels)
    left = GaugeMetricFamily("turnout_quota_left", "What may still be used of it.", labels=labels)
    limit = GaugeMetricFamily("turnout_quota_limit", "What we use of it at most, the margin taken off.", labels=labels)
    for view in views:
        for gauge in view.gauges:
            used.add_metric([view.name, gauge.what], gauge.used)
            left.add_metric([view.name, gauge.what], gauge.left)
            limit.add_metric([view.name, gauge.what], gauge.limit)
    yield from (used, left, limit)


def _cache(stats: CacheStats) -> Iterator[Metric]:
    results = {
        "hit": stats.hits,
        "coalesced": stats.coalesced,
        "miss": stats.misses,
        "bypass": stats.bypassed,
    }
    yield _counters("turnout_cache_requests", "Requests that the cache could have answered.", ["result"], results)
    yield GaugeMetricFamily(
        "turnout_cache_hit_ratio", "The share of them that it did answer, since the start.", value=stats.hit_ratio
    )
    inputs = {"kept": stats.inputs_kept, "asked": stats.inputs_asked}
    yield _counters(
        "turnout_cache_inputs", "Texts of embeddings requests: known already, or asked for.", ["result"], inputs
    )
    yield GaugeMetricFamily("turnout_cache_entries", "Answers that are kept.", value=stats.entries)
    yield GaugeMetricFamily("turnout_cache_bytes", "Memory that they take.", value=stats.size_bytes)
    yield CounterMetricFamily("turnout_cache_evicted", "Answers that left for want of room.", value=stats.evicted)
    yield CounterMetricFamily(
        "turnout_cache_unkept", "Answers that could not be given again, and were not kept.", value=stats.unkept
    )
    yield CounterMetricFamily(
        "turnout_cache_saved_calls", "Answers that no vendor was asked for.", value=stats.saved_calls
    )
    yield CounterMetricFamily(
        "turnout_cache_saved_usd", "What they had cost when they were asked for.", value=stats.saved_nano_usd / 1e9
    )


def _semantic(tasks: Mapping[str, SemanticStats]) -> Iterator[Metric]:
    what = {"looked", "near", "would_be", "served", "compared", "false"}
    counted = {(task, name): getattr(stats, name) for task, stats in tasks.items() for name in sorted(what)}
    yield _counters(
        "turnout_semantic", "Questions in other words: looked up, and what came of it.", ["task", "what"], counted
    )
    rate = GaugeMetricFamily(
        "turnout_semantic_false_hit_rate", "The share of wrong ones among those compared lately.", labels=["task"]
    )
    for task, stats in tasks.items():
        if stats.false_hit_rate is not None:
            rate.add_metric([task], stats.false_hit_rate)
    yield rate


def _histograms(name: str, text: str, observed: Mapping[Any, Histogram], labels: Sequence[str]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, histogram in tuple(observed.items()):
        family.add_metric(list(key), buckets=histogram.cumulative(), sum_value=histogram.total)
    return family
