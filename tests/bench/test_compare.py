"""Two gateways are measured at once; one without its protections serves all the same, and lacks what is said to be left out."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.bench import bare

ROOT = Path(__file__).parents[2]


async def compared(*arguments):
    """What the command tells: exit code, JSON, errors."""
    command = (sys.executable, "-m", "tests.bench.compare", *arguments, "--rounds", "1", "--seconds", "0.3", "--json")
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, json.loads(out) if out else None, errors.decode()


async def test_a_tree_is_compared_with_itself_without_its_protections():
    """Both are at work, and the first is what the others are compared with."""
    code, found, errors = await compared(".", "--bare")
    assert code == 0, errors
    whole, stripped = found
    assert whole["ratio"] == 1.0
    assert (whole["tree"], stripped["tree"]) == (str(ROOT), f"{ROOT} without its protections")
    assert 0.0 < stripped["micros"] < 2 * whole["micros"]


async def test_what_does_not_serve_is_named(tmp_path):
    """A folder that only looks like a tree."""
    (tmp_path / "src" / "turnout").mkdir(parents=True)
    (tmp_path / "src" / "turnout" / "__init__.py").write_text("")
    code, found, errors = await compared(str(tmp_path))
    assert (code, found) == (1, None)
    assert f"{tmp_path} does not serve the case plain: ended with 1" in errors
    assert "Traceback" not in errors.rpartition("does not serve")[0]


def test_what_has_another_name_by_now_is_said(monkeypatch):
    """Else a figure would be told of protections that are still there."""
    monkeypatch.setattr(bare, "PROTECTIONS", ((bare.Admission, "admit", bare.nothing),))
    with pytest.raises(AttributeError, match="Admission has no admit of its own"):
        bare.strip()
