"""Adds up what a run came to: per task and per model, how many, how fast, how much. Pure.

Percentiles are nearest-rank, so that each is a time that really occurred. Answers of earlier runs count too, and how
many they are is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .filing import Answer
from .workers import Outcome


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile, 0 of nothing. share: 0 to 1. O(n log n)."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def figures(answers: Sequence[Answer], failed: int = 0) -> dict[str, Any]:
    """Return the figures of a group. success: share of the jobs asked, None of none; fallbacks: answers after a failed try."""
    asked = len(answers) + failed
    times = [answer.seconds for answer in answers]
    return {
        "answers": len(answers),
        "failed": failed,
        "success": round(len(answers) / asked, 4) if asked else None,
        "p50_s": percentile(times, 0.5),
        "p95_s": percentile(times, 0.95),
        "first_p50_s": percentile([answer.first_seconds for answer in answers], 0.5),
        "input_tokens": sum(answer.input_tokens for answer in answers),
        "output_tokens": sum(answer.output_tokens for answer in answers),
        "cost_usd": round(sum(answer.cost_usd for answer in answers), 9),
        "fallbacks": sum(answer.attempts > 1 for answer in answers),
        "cache_hits": sum(answer.is_cached for answer in answers),
    }


def report_of(earlier: Sequence[Answer], outcome: Outcome, left: int) -> dict[str, Any]:
    """Return all figures as plain values: totals, per task, per model with its origin. left: jobs not done."""
    answers = [*earlier, *outcome.answers]
    failed = [job.task for job, _ in outcome.failures]
    return {
        "total": {
            **figures(answers, len(failed)),
            "earlier": len(earlier),
            "left": left,
            "seconds": round(outcome.seconds, 2),
            "interrupted": outcome.is_interrupted,
        },
        "origins": {name: len(group) for name, group in _grouped(answers, lambda one: one.origin)},
        "tasks": {
            name: figures(group, failed.count(name))
            for name, group in _grouped(answers, lambda one: one.task, also=failed)
        },
        "models": {
            name: {"origin": group[0].origin, "provider": group[0].provider, **figures(group)}
            for name, group in _grouped(answers, lambda one: f"{one.model}@{one.provider}")
        },
        "failures": [
            {"lead": job.lead.id, "job": job.name, "task": job.task, "code": error.code, "message": error.message}
            for job, error in outcome.failures
        ],
    }


def _grouped(
    answers: Iterable[Answer], key: Callable[[Answer], str], also: Iterable[str] = ()
) -> list[tuple[str, list[Answer]]]:
    groups: dict[str, list[Answer]] = {name: [] for name in also}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return sorted(groups.items())
