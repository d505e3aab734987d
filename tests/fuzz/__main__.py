"""Fuzzes the targets with atheris: `python -m tests.fuzz [TARGET] --seconds N [--keep]`.

One target: in this process. All of them: in processes of their own, two at a time. Printed are the executions and what
made a target fail, which is also kept in a file. --keep adds to corpus/TARGET/ the inputs that reach lines which nothing
there reaches yet. Exit code 1 if anything failed, 3 without atheris.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.fuzz import CORPUS, TARGETS

LONGEST_INPUT: Final = 2048
MOST_KEPT: Final = 25
AT_ONCE: Final = int(os.environ.get("FUZZ_AT_ONCE", "2"))
ONE_INPUT_S: Final = 10
"""An input that takes longer is a failure: everything here is bounded by its input."""


class Outcome(NamedTuple):
    """How one target did. failure: the end of what it printed, "" if nothing failed."""

    target: str
    executions: int
    failure: str


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description="Fuzzes one target, or all.")
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="for each target; default: 60")
    parser.add_argument("--keep", action="store_true", help="add what reaches new lines to the corpus")
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("tests.fuzz needs atheris: pip install -r requirements/prove.txt")
        return 3
    if given.target:
        return fuzz(given.target, given.seconds, keep=given.keep)
    failed = 0
    for outcome in all_targets(given.seconds, keep=given.keep):
        print(f"{outcome.target}: {outcome.executions:,} executions, {'FAILED' if outcome.failure else 'all well'}")
        if outcome.failure:
            failed += 1
            print(outcome.failure)
    return 1 if failed else 0


def all_targets(seconds: int, *, keep: bool = False) -> list[Outcome]:
    """Fuzz every target for so long, AT_ONCE at a time, each in a process of its own."""

    def one(target: str) -> Outcome:
        command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(seconds), *(["--keep"] if keep else [])]
        done = subprocess.run(
            command, cwd=CORPUS.parents[2], capture_output=True, text=True, errors="replace", check=False
        )
        printed = done.stdout + done.stderr
        counted = re.findall(r"stat::number_of_executed_units: (\d+)", printed)
        return Outcome(target, int(counted[-1]) if counted else 0, printed[-4000:] if done.returncode else "")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, TARGETS))


def fuzz(target: str, seconds: int, *, keep: bool) -> int:
    """Fuzz one target in a child, which libFuzzer ends as it likes; then keep what is worth it."""
    with tempfile.TemporaryDirectory(prefix=f"turnout-fuzz-{target}-") as folder:
        found = Path(folder) / "found"
        found.mkdir()
        code = subprocess.run(
            [sys.executable, "-c", CHILD, target, str(seconds), str(found)], cwd=CORPUS.parents[2], check=False
        ).returncode
        for crash in Path(folder).glob("*-*"):
            kept = Path(tempfile.gettempdir()) / f"turnout-fuzz-{target}-{crash.name}"
            kept.write_bytes(crash.read_bytes())
            print(f"{target} failed on {crash.read_bytes()!r}; kept in {kept}", flush=True)
        if keep:
            keep_new(target, sorted(found.iterdir(), key=lambda path: path.stat().st_size))
    return 1 if code else 0


CHILD: Final = (
    "import sys; from tests.fuzz.__main__ import explore; explore(sys.argv[1], int(sys.argv[2]), sys.argv[3])"
)


def explore(target: str, seconds: int, found: str) -> None:
    """Run libFuzzer over one target. Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["turnout"]):
        module = importlib.import_module(f"tests.fuzz.{target}")
    options = (
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        f"-timeout={ONE_INPUT_S}",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=0",
        f"-artifact_prefix={Path(found).parent}/",
    )
    atheris.Setup(["tests.fuzz", *options, found, str(CORPUS / target)], module.check)
    atheris.Fuzz()


def keep_new(target: str, found: Iterable[Path]) -> None:
    """Add to the corpus the smallest inputs that take a step between two lines of ours which no kept input takes."""
    check = importlib.import_module(f"tests.fuzz.{target}").check
    folder = CORPUS / target
    known: set[Any] = set()
    for path in folder.iterdir():
        known |= steps(check, path.read_bytes())
    for path in found:
        data = path.read_bytes()
        new = steps(check, data) - known
        if new and len(list(folder.iterdir())) < MOST_KEPT:
            known |= new
            (folder / f"found-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)


def steps(check: Callable[[bytes], None], data: bytes) -> set[Any]:
    """Return every (file, line, next line) of the package that checking `data` goes through."""
    taken: set[Any] = set()

    def local(frame: types.FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            taken.add((frame.f_code.co_filename, previous.get(frame.f_code, 0), frame.f_lineno))
            previous[frame.f_code] = frame.f_lineno
        return local

    def called(frame: types.FrameType, _event: str, _arg: object) -> Any:
        return local if "/src/turnout/" in frame.f_code.co_filename else None

    previous: dict[types.CodeType, int] = {}
    sys.settrace(called)
    try:
        check(data)
    finally:
        sys.settrace(None)
    return taken


if __name__ == "__main__":
    sys.exit(main())
