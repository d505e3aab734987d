"""Runs the numbered tests in their full size and writes what they measured to docs/proof.md, a row for each.

`python scripts/prove.py [NUMBER…] [--seed N] [--quick]`: all of tests/faults, or the tests of those numbers (`25`, `T25`,
`matrix`). Rows of tests that did not run this time stay as they were, with their dates. `make prove` and
`make prove T=25` call it. Exit code 1 if a test failed: its row then says so.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs/proof.md"
HEAD: Final = """# Proof

What Turnout promises when things break, and what the test of each promise measured. `make prove` runs them all and writes
this page; `make prove T=25` runs one, and `make prove T=25 SEED=7` replays its randomness. After every test the books of
the gateway are compared with the simulated vendor's own (tests/invariants.py says how far each invariant is checked).
The soak has a target of its own, `make soak`. A row that says *skipped* lacked a tool, which it names.

| Test | Promise | Figure | Result | Seed | Date |
| --- | --- | --- | --- | --- | --- |
"""


@dataclass
class Row:
    """One promise and how it did. figures: what its tests printed, in order."""

    promise: str = ""
    figures: list[str] = field(default_factory=list)
    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)
    seed: int | None = None

    def cells(self, date: str) -> list[str]:
        """The cells after the name."""
        told = [f"{self.passed} passed"] if self.passed else []
        told += [f"**{self.failed} FAILED**"] if self.failed else []
        told += [f"*skipped*: {why}" for why in dict.fromkeys(self.skipped)]
        seed = "" if self.seed is None else str(self.seed)
        return [self.promise, "; ".join(self.figures), ", ".join(told), seed, date]


def main() -> int:
    """Run, write the page, return the exit code."""
    parser = argparse.ArgumentParser(description="Runs the numbered tests of the reliability plan.")
    parser.add_argument("numbers", nargs="*", help="25, T25 or matrix; none: all")
    parser.add_argument("--seed", type=int, help="replay a run")
    parser.add_argument("--quick", action="store_true", help="in the size of `make test`; docs/proof.md stays as it is")
    given = parser.parse_args()
    names = [_name(number) for number in given.numbers]
    with tempfile.TemporaryDirectory(prefix="turnout-proof-") as folder:
        told = Path(folder) / "proof.jsonl"
        command = [sys.executable, "-m", "pytest", "tests/faults", "-v", "-p", "no:randomly", "--proof", str(told)]
        command += [] if given.quick else ["--full", "--timeout", "1200"]
        command += ["--seed", str(given.seed)] if given.seed is not None else []
        command += ["-k", " or ".join(f"test_{name.lower()}_" for name in names)] if names else []
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        rows = read(told.read_text(encoding="utf-8").splitlines() if told.exists() else ())
    if not rows:
        print("prove: no such test. The numbered tests are tests/faults/test_tNN_*.py.")
        return code or 1
    if not given.quick:
        record(rows)
        print(f"prove: {len(rows)} rows written to {PAGE.relative_to(ROOT)}")
    return code


def _name(number: str) -> str:
    """`6` and `t06` are T06; a word stays one."""
    digits = number.upper().removeprefix("T")
    return f"T{int(digits):02}" if digits.isdecimal() else number.upper()


def read(lines: Iterable[str]) -> dict[str, Row]:
    """Return the rows that the tests' records make, by name. Records: see tests/faults/conftest.py."""
    rows: dict[str, Row] = {}
    for line in lines:
        record = json.loads(line)
        row = rows.setdefault(record["test"], Row())
        if "figure" in record:
            row.figures.append(record["figure"])
            row.seed = record["seed"] if record["seed"] is not None else row.seed
            continue
        row.promise = row.promise or record["promise"]
        row.passed += record["outcome"] == "passed"
        row.failed += record["outcome"] == "failed"
        if record["outcome"] == "skipped":
            row.skipped.append(record.get("why", "").removeprefix("Skipped: "))
    rows.pop("INVARIANTS", None)  # the tests of the invariants themselves promise nothing to a user
    return rows


def record(rows: dict[str, Row], page: Path = PAGE) -> None:
    """Write `rows` into the page; others stay as they are."""
    date = datetime.now(UTC).strftime("%Y-%m-%d")  # noqa: TID251 a test runner is not the gateway
    table = standing(page.read_text(encoding="utf-8").splitlines()) if page.exists() else {}
    table.update({name: row.cells(date) for name, row in rows.items()})
    lines = [_line(name, table[name]) for name in sorted(table, key=_order)]
    page.write_text(HEAD + "".join(lines), encoding="utf-8")


def standing(lines: Sequence[str]) -> dict[str, list[str]]:
    """Return the rows that a page has, by name."""
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
        if line.startswith("| ") and not line.startswith(("| Test |", "| --- |"))
    ]
    return {first: [_plain(cell) for cell in rest] for first, *rest in cells}


def _order(name: str) -> tuple[int, str]:
    """Numbered rows first, in order."""
    return (int(name[1:]) if re.fullmatch(r"T\d+", name) else 1000, name)


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _plain(cell: str) -> str:
    return cell.replace("\\|", "|")


if __name__ == "__main__":
    sys.exit(main())
