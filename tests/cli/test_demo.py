"""`turnout demo`: the command finds the desk, starts a gateway, and hands on what the desk came to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from turnout.cli import run
from turnout.cli.demo import lead_desk_home

COMMAND = [sys.executable, "-c", "import sys; from turnout.cli import main; main()", "demo"]


def test_the_desk_stands_beside_the_package_or_in_the_clone() -> None:
    """Wherever it is, its leads are there too."""
    assert (lead_desk_home() / "lead_desk" / "leads.jsonl").is_file()


def test_the_demo_from_the_command_line(tmp_path: Path) -> None:
    """One lead, a gateway of its own, no key in the environment: figures as JSON, files, no cost."""
    done = subprocess.run(
        [*COMMAND, "--limit", "1", "--out", "out", "--json"],
        cwd=tmp_path,
        env={"TURNOUT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    told = json.loads(done.stdout)
    assert (0, 2, 0.0) == (done.returncode, told["total"]["answers"], told["total"]["cost_usd"])
    assert set(told["origins"]) <= {"simulated", "local"}
    assert {"analysis.json", "analysis.md", "draft.json", "draft.md", "lead.json", "customer.json"} == {
        path.name for path in (tmp_path / "out/01-mette-hansen").iterdir()
    }


def test_a_file_of_no_leads_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before any process starts."""
    path = tmp_path / "leads.jsonl"
    path.write_text("{}\n", encoding="utf-8")
    assert run(["demo", "--leads", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "leads.jsonl:1: no `id`" in capsys.readouterr().err
