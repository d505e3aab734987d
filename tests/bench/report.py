"""Turns what was measured into one document: JSON for machines, a table for people."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.measure import (
    CLOSING_EVENTS,
    CONSTANT_PER_S,
    DIRECT,
    EVENTS,
    GAP_US,
    SHORT_EVENTS,
    SHORT_GAP_US,
    Subject,
    median,
    paired,
)

REFERENCE = "ferrogw"
# What the project asks of itself: (words, unit, bound). Ratios are to REFERENCE in the same run.
BOUNDS = (
    ("cpu_us_per_request_ratio", "CPU per request, to ferrogw", "×", 0.6),
    ("cpu_us_per_chunk_ratio", "CPU per streamed chunk, to ferrogw", "×", 0.6),
    ("added_us_at_1", "added latency at 1 connection, median", "µs", 200.0),
    ("ready_s", "time to ready", "s", 0.7),
    ("memory_rest_mb", "memory at rest", "MB", 70.0),
    ("install_mb", "core install", "MB", 60.0),
)


def row_of(subject: Subject, direct: Subject, reference: Subject | None) -> dict[str, Any]:
    """The figures of one row: medians over the rounds, what is added to the direct way, ratios to the reference."""
    row: dict[str, Any] = {"name": subject.case.name, "problems": subject.problems, "streams_at_once": subject.streams}
    row |= {name: median(values) for name, values in subject.series.items()}
    if subject is not direct:
        row["added_us_at_1"] = paired(subject, direct, "p50_us_at_1", operator.sub)
        row["added_first_chunk_us"] = paired(subject, direct, "first_chunk_us", operator.sub)
    if reference is not None:
        for name in ("cpu_us_per_request", "cpu_us_per_chunk", "cpu_us_per_chunk_burst"):
            if subject is not direct:
                row[f"{name}_ratio"] = paired(subject, reference, name, operator.truediv)
    return row


def document(
    subjects: Sequence[Subject], facts: Mapping[str, Any], processes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Everything that one run of the benchmark found. facts: machine and run; processes: by target, start and memory."""
    direct = next(subject for subject in subjects if subject.case.name == DIRECT)
    reference = next((subject for subject in subjects if subject.case.name == REFERENCE), None)
    rows = [row_of(subject, direct, reference) | dict(processes.get(subject.case.target, {})) for subject in subjects]
    return {**facts, "rows": rows}


def number(value: float | None, digits: int = 0, scale: float = 1.0) -> str:
    """A figure for the table; a dash for none."""
    return "–" if value is None else f"{value * scale:,.{digits}f}"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, so that it can be pasted as it is."""
    widths = [max(len(line[index]) for line in (header, *lines)) for index in range(len(header))]

    def render(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"

    rule = "|" + "|".join([":" + "-" * (widths[0] + 1), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([render(header), rule, *map(render, lines)])


def request_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Requests that do not stream."""
    header = (
        "",
        "CPU µs/request",
        "to ferrogw",
        "requests/s",
        "p50 ms @32",
        "p99 ms @32",
        "p50 µs @1",
        "p99 µs @1",
        "added µs @1",
    )
    return table(header, [
        (
            row["name"], number(row.get("cpu_us_per_request"), 1), number(row.get("cpu_us_per_request_ratio"), 2),
            number(row.get("requests_per_s")) + ("*" if row.get("load_busy", 0.0) > 0.95 else ""),
            number(row.get("p50_us_at_32"), 2, 1e-3), number(row.get("p99_us_at_32"), 2, 1e-3),
            number(row.get("p50_us_at_1")), number(row.get("p99_us_at_1")), number(row.get("added_us_at_1")),
        )
        for row in rows
    ])  # fmt: skip


def stream_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Streams, each figure of CPU with the first chunk and the arrivals beside it."""
    header = ("", "CPU µs/chunk", "to ferrogw", "first chunk µs @1", "added µs @1", "gap p50 ms", "gap p99 ms",
              "arrivals/chunk", "burst CPU µs/chunk", "to ferrogw", "burst arrivals/chunk", "streams")  # fmt: skip
    return table(header, [
        (
            row["name"], number(row.get("cpu_us_per_chunk"), 1), number(row.get("cpu_us_per_chunk_ratio"), 2),
            number(row.get("first_chunk_us")), number(row.get("added_first_chunk_us")),
            number(row.get("gap_p50_us"), 2, 1e-3), number(row.get("gap_p99_us"), 2, 1e-3),
            number(row.get("arrivals_per_chunk"), 2), number(row.get("cpu_us_per_chunk_burst"), 1),
            number(row.get("cpu_us_per_chunk_burst_ratio"), 2),
            number(row.get("arrivals_per_chunk_burst"), 2), str(row["streams_at_once"]),
        )
        for row in rows if row.get("cpu_us_per_chunk") is not None
    ])  # fmt: skip


def constant_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Streams begun at a constant rate; how late the load was itself tells how far to trust the rest."""
    header = ("", "first chunk p50 ms", "p99 ms", "gap p99 ms", "whole p50 ms", "p99 ms", "load late p99 ms")
    return table(header, [
        (
            row["name"], number(row.get("constant_first_chunk_p50_us"), 2, 1e-3),
            number(row.get("constant_first_chunk_p99_us"), 2, 1e-3), number(row.get("constant_gap_p99_us"), 2, 1e-3),
            number(row.get("constant_total_p50_us"), 2, 1e-3), number(row.get("constant_total_p99_us"), 2, 1e-3),
            number(row.get("constant_lateness_p99_us"), 2, 1e-3),
        )
        for row in rows if row.get("constant_total_p50_us") is not None
    ])  # fmt: skip


def process_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Start and memory, one line a process."""
    header = ("", "ready s", "MB at rest", "MB after load", "version")
    return table(header, [
        (
            row["name"], number(row.get("ready_s"), 3), number(row.get("memory_rest_mb"), 1),
            number(row.get("memory_after_mb"), 1), str(row.get("version", "")),
        )
        for row in rows if row.get("ready_s") is not None
    ])  # fmt: skip


def bound_lines(rows: Sequence[Mapping[str, Any]], install_mb: float | None) -> str:
    """What the project asks of itself beside what it got, for each way of asking Turnout."""
    lines = []
    for row in rows:
        if row["name"].startswith("turnout"):
            values = {**row, "install_mb": install_mb}
            lines += [
                (
                    row["name"],
                    words,
                    f"≤ {bound:g} {unit}",
                    f"{values[key]:.2f} {unit}",
                    "met" if values[key] <= bound else "missed",
                )
                for key, words, unit, bound in BOUNDS
                if values.get(key) is not None
            ]
    return table(("", "bound", "asked", "measured", ""), lines) if lines else ""


def text(found: Mapping[str, Any]) -> str:
    """The whole report for a person."""
    rows = found["rows"]
    parts = [
        f"{found['date']} · {found['machine']} · {found['python']} · {found['rounds']} rounds · {found['command']}",
        *found["notes"],
        "",
        "Requests (no streaming)",
        request_lines(rows),
        "* the load and the stub filled their core: the gateway could do more",
        "",
        f"Streams of {EVENTS + CLOSING_EVENTS} chunks of about 180 bytes, {GAP_US / 1000:g} ms apart; burst: no gaps",
        stream_lines(rows),
        "",
        f"Streams of {SHORT_EVENTS + CLOSING_EVENTS} chunks, {SHORT_GAP_US / 1000:g} ms apart; {CONSTANT_PER_S} a second, timed from when due",
        constant_lines(rows),
        "",
        "Processes",
        process_lines(rows),
        "",
        bound_lines(rows, found.get("install_mb")),
        *(f"! {row['name']}: {problem}" for row in rows for problem in row["problems"]),
    ]
    return "\n".join(parts)
