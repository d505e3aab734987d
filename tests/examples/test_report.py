"""Figures: counts, shares, percentiles that occurred, per task and per model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from examples.lead_desk.client import AskError
from examples.lead_desk.filing import Answer
from examples.lead_desk.jobs import jobs_for
from examples.lead_desk.leads import Lead
from examples.lead_desk.report import figures, percentile, report_of
from examples.lead_desk.workers import Outcome


def answer(seconds: float = 1.0, model: str = "glm", **changes: object) -> Answer:
    """An answer with some figures."""
    fields = {"first_seconds": seconds / 2, "input_tokens": 10, "output_tokens": 5, **changes}
    return Answer("1", "analysis", "lead-analysis", "", model, "openrouter-simulated", "simulated", seconds, **fields)  # type: ignore[arg-type]


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0, 1))
def test_a_percentile_is_a_value_that_occurred(values: list[float], share: float) -> None:
    """And at least that share of the values is not above it."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_percentiles_of_small_groups() -> None:
    """Nearest rank; of nothing, 0."""
    assert [0.0, 3, 1, 2, 4, 4] == [
        percentile([], 0.5),
        percentile([3], 0.95),
        *(percentile([1, 2, 3, 4], x) for x in (0, 0.5, 0.95, 1)),
    ]


def test_the_figures_of_a_group() -> None:
    """Success is a share of what was asked; a fallback is an answer after a failed try."""
    found = figures([answer(1, attempts=2, cost_usd=0.1, cache="miss"), answer(3, cache="hit", cost_usd=0.2)], failed=2)
    expected = {
        "answers": 2,
        "failed": 2,
        "success": 0.5,
        "p50_s": 1,
        "p95_s": 3,
        "first_p50_s": 0.5,
        "input_tokens": 20,
    }
    expected |= {"output_tokens": 10, "cost_usd": 0.3, "fallbacks": 1, "cache_hits": 1}
    assert expected == found


def test_of_nothing_asked_there_is_no_success() -> None:
    """Not 100 %, not 0 %."""
    assert figures([])["success"] is None


def test_a_report_adds_up(lead: Lead) -> None:
    """Earlier answers count and are told apart; a task that only failed has its row; models are named with their account."""
    failed = [(jobs_for(lead)[1], AskError("no", code="no_candidate"))]
    report = report_of([answer(model="kimi")], Outcome([answer(), answer()], failed, seconds=2.5), left=4)
    total = report["total"]
    assert (3, 1, 1, 4, 2.5, 0.75) == tuple(
        total[name] for name in ("answers", "failed", "earlier", "left", "seconds", "success")
    )
    assert {"glm@openrouter-simulated": 2, "kimi@openrouter-simulated": 1} == {
        name: row["answers"] for name, row in report["models"].items()
    }
    assert {"email-draft": (0, 1), "lead-analysis": (3, 0)} == {
        name: (row["answers"], row["failed"]) for name, row in report["tasks"].items()
    }
    assert {"simulated": 3} == report["origins"]
    assert [{"lead": "7", "job": "draft", "task": "email-draft", "code": "no_candidate", "message": "no"}] == report[
        "failures"
    ]
