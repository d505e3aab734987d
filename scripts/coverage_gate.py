"""Decides whether the tests reached enough of the code: every line and branch of each pure file, 95 % of the rest.

Reads what coverage.py measured (its JSON report). Pure is what STYLE calls pure: errors, core, dialects, providers,
policies. The rest is taken together, because a socket's rarest failures are proven by the fault tests, not by a count.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from coverage import Coverage

ROOT: Final = Path(__file__).resolve().parent.parent
PURE: Final = re.compile(r"(^|/)turnout/(errors\.py$|core/|dialects/|providers/|policies/)")
REST_PERCENT: Final = 95.0


class File(NamedTuple):
    """One file's figures: lines and branches that exist, and those reached. missing: line numbers, at most ten."""

    name: str
    total: int
    reached: int
    missing: tuple[str, ...]

    @property
    def percent(self) -> float:
        """Share reached, 100 for a file with nothing to run."""
        return 100.0 * self.reached / self.total if self.total else 100.0


def measured(data: Path) -> list[File]:
    """What one coverage data file holds, file by file."""
    coverage = Coverage(data_file=str(data), data_suffix=False)
    coverage.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(report), ignore_errors=True)
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    return [one_file(name.replace("\\", "/").removeprefix(f"{ROOT}/"), entry) for name, entry in sorted(files.items())]


def one_file(name: str, entry: dict[str, object]) -> File:
    """Read one entry of the report."""
    summary = entry["summary"]
    assert isinstance(summary, dict)
    lines, branches = entry["missing_lines"], entry.get("missing_branches", [])
    assert isinstance(lines, list)
    assert isinstance(branches, list)
    missing = [str(line) for line in lines] + [f"{a}->{b}" for a, b in branches if a not in lines and b not in lines]
    return File(
        name,
        summary["num_statements"] + summary.get("num_branches", 0),
        summary["covered_lines"] + summary.get("covered_branches", 0),
        tuple(missing[:10]),
    )


def judge(files: Sequence[File]) -> tuple[str, list[str]]:
    """Return the figures as one line, and a line for everything that falls short (none: the gate is open)."""
    pure = [file for file in files if PURE.search(file.name)]
    rest = [file for file in files if not PURE.search(file.name)]
    share = File("", sum(file.total for file in rest), sum(file.reached for file in rest), ()).percent
    short = [
        f"{file.name}: {file.percent:.1f} %, not reached: {', '.join(file.missing)}" for file in pure if file.missing
    ]
    if share < REST_PERCENT:
        out = io.StringIO()
        out.write(f"outside the pure folders: {share:.1f} % together, at least {REST_PERCENT:.0f} %; furthest behind:")
        for file in sorted(rest, key=lambda one: one.reached - one.total)[:8]:
            out.write(f"\n    {file.name}: {file.percent:.1f} %, not reached: {', '.join(file.missing)}")
        short.append(out.getvalue())
    whole = sum(not file.missing for file in pure)
    return f"pure files {whole}/{len(pure)} at 100 % line and branch; the rest {share:.1f} %", short
