"""`turnout drill free-tier` as a person and as a script start it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from turnout.cli import drill
from turnout.core.simulation.verdict import DAY_S, Asked, Safe, Sent, Verdict, judge


def verdict(**more: object) -> Verdict:
    """A good day: one call, answered."""
    good = judge([Asked("high", 0, 60, "answered", 5.0)], [Sent(5, 9)], Safe(1, 1, 1), DAY_S)
    return msgspec.structs.replace(good, **more)


def test_it_works_in_an_empty_folder_and_leaves_nothing(tmp_path: Path) -> None:
    """With no key, no config and no home: figures of all three ways on stdout, and no file anywhere."""
    command = [sys.executable, "-m", "turnout.cli", "drill", "free-tier", "--hours", "3", "--json"]
    command[1:3] = ["-c", "from turnout.cli import main; main()"]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=60)
    assert (0, b"") == (ended.returncode, ended.stderr)
    told = json.loads(ended.stdout)
    assert {"turnout", "first come", "fall back"} == told["ways"].keys()
    assert {"per_minute": 12, "per_day": 750, "at_once": 2} == told["safe"]
    assert (3, 24, []) == (told["hours"], told["learning_hours"], told["missed"])
    assert [] == list(tmp_path.iterdir())


def test_a_person_gets_a_table_in_80_columns() -> None:
    """A day in a few seconds: what was wanted, every figure beside its target, and that all were met."""
    result = CliRunner().invoke(drill.drill, ["free-tier", "--first-day"])
    assert (0, "") == (result.exit_code, result.stderr)
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in result.stdout
    assert "Turnout met every target." in lines[-1]
    bold = [line for line in lines if line.startswith(("safe quota", "429s", "starved", "refused, though"))]
    assert ["100.0%", "0", "0", "0"] == [line[32:].split()[0] for line in bold]


def test_other_days_can_be_asked_for() -> None:
    """A seed and a number of hours; without a day to learn from; part of a day is not judged by the day's quota."""
    result = CliRunner().invoke(drill.drill, ["free-tier", "--seed", "4", "--hours", "2", "--first-day", "--json"])
    told = json.loads(result.stdout)
    assert (4, 2, 0) == (told["seed"], told["hours"], told["learning_hours"])
    shown = CliRunner().invoke(drill.drill, ["free-tier", "--first-day", "--hours", "2"]).stdout
    assert "2 hours against free models" in shown
    assert "≥" not in shown


@pytest.mark.parametrize("options", [["--hours", "0"], ["--hours", "169"], ["--seed", "-1"], ["--hours", "x"]])
def test_what_cannot_be_drilled_is_said(options: list[str]) -> None:
    """A usage error, exit code 2."""
    assert CliRunner().invoke(drill.drill, ["free-tier", *options]).exit_code == 2


def test_a_target_that_is_missed_is_named() -> None:
    """Each in a line, and none for a day that met them all."""
    assert [] == drill.misses(verdict(), is_whole_day=True)
    bad = verdict(used=97, usable=100, throttled=2, starved=1, refused_wrongly=3)
    assert [
        "97.0% of the safe quota was used, not 98%",
        "the vendor refused 2 calls (429)",
        "1 requests starved",
        "3 requests were refused that could have been served",
    ] == drill.misses(bad, is_whole_day=True)
    assert 3 == len(drill.misses(bad, is_whole_day=False))


def test_times_are_said_as_a_person_says_them() -> None:
    """Seconds, minutes, hours."""
    told = verdict().waits["high"]
    console = Console(width=80, record=True, file=io.StringIO())
    for p95_s in (5.0, 130.0, 20_000.0):
        waits = {"high": msgspec.structs.replace(told, p50_s=0.2, p95_s=p95_s)}
        console.print(drill.table({"turnout": verdict(waits=waits)}, is_whole_day=True))
    shown = console.export_text()
    for said in ("0 s / 5 s", "0 s / 2 min", "0 s / 6 h", "1 / 1", "≥ 98%"):
        assert said in shown
