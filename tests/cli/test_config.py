"""Tests of cli/config.py: `turnout init` and `turnout check`, as a person meets them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from turnout.cli import run
from turnout.cli.config import _print_table
from turnout.config.describe import Line
from turnout.providers import vendors

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and an environment without anything that the config would look at."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")) or name in {row.key_env for row in vendors().values()}:
            monkeypatch.delenv(name)


def test_init_writes_a_file_that_is_well_as_it_is(capsys: Capture) -> None:
    """In an empty environment; every commented example of it is well too, with the keys that it names."""
    assert run(["init"]) == 0
    assert "Wrote turnout.yaml" in capsys.readouterr().out
    assert run(["check"]) == 0
    assert "turnout.yaml: all well; 1 providers, 21 models, 10 tasks, 4 routes, 0 rollouts" in capsys.readouterr().out


def test_every_example_in_the_first_file_can_be_switched_on(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking the # away from every line that holds configuration gives a config that is well."""
    assert run(["init"]) == 0
    path = Path("turnout.yaml")
    lines = []
    for line in path.read_text().splitlines():
        is_example = line.startswith(
            ("  # ", "# retry: ", "# breaker: ", "# timeouts: ", "# traces: ", "# cache: ", "# valkey: ")
        )
        lines.append(line.replace("# ", "", 1) if is_example else line)
    Path("key").write_text("sk-ant")
    path.write_text("\n".join(lines).replace("file:/run/secrets/anthropic", "file:key"))
    monkeypatch.setenv("TURNOUT_MASTER_KEY", "kJ8s2mNq0vXz4Lw7Tg5Rb1Yc")
    for name in ("OPENROUTER_API_KEY", "MY_KEY", "LITELLM_MASTER_KEY"):
        monkeypatch.setenv(name, "sk-x")
    monkeypatch.setenv("VALKEY_URL", "redis://127.0.0.1:6379/0")
    code = run(["check", "--json"])
    told = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (code, told.get("problems")) == (0, None)
    assert set(told["config"]["providers"]) == {"openrouter", "anthropic", "ollama", "mine", "litellm"}
    assert told["config"]["rollouts"]["litellm"]["percent"] == 10.0
    assert told["origins"]["traces.rows"].startswith("turnout.yaml:")


def test_init_keeps_what_is_there_unless_forced(capsys: Capture) -> None:
    """A file of the user's is not lost by a slip."""
    Path("turnout.yaml").write_text("server: {port: 1}\n")
    assert run(["init"]) == 1
    assert capsys.readouterr().err == "Error: turnout.yaml is there already; --force replaces it.\n"
    assert Path("turnout.yaml").read_text() == "server: {port: 1}\n"
    assert run(["init", "--force"]) == 0
    assert Path("turnout.yaml").read_text().startswith("# turnout.yaml")


def test_init_writes_where_it_is_told(capsys: Capture) -> None:
    """A path, or a folder; a place where nothing can be written is an error in words."""
    Path("there").mkdir()
    assert run(["init", "there"]) == 0
    assert run(["init", "mine.yaml"]) == 0
    assert Path("there/turnout.yaml").read_text() == Path("mine.yaml").read_text()
    assert run(["init", "nowhere/turnout.yaml"]) == 1
    assert capsys.readouterr().err == "Error: nowhere/turnout.yaml cannot be written: No such file or directory.\n"


def test_check_prints_each_value_and_where_it_came_from(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, value and origin with tabs between, when it is not a terminal; notices and a summary at the end."""
    Path("turnout.yaml").write_text("server:\n  port: 4001\n")
    monkeypatch.setenv("OPENROUTER_API_KEY", "canary")
    assert run(["check"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "server.port\t4001\tturnout.yaml:2" in lines
    assert "server.host\t127.0.0.1\tdefault" in lines
    assert "providers.openrouter.api_key\t***\tOPENROUTER_API_KEY" in lines
    assert lines[-2] == "openrouter: key from OPENROUTER_API_KEY"
    assert lines[-1].startswith("turnout.yaml: all well; 1 providers, ")
    assert "canary" not in printed


def test_check_without_a_file_tells_the_defaults(capsys: Capture) -> None:
    """And that answers would be simulated."""
    assert run(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("no provider key found")
    assert lines[-1].startswith("defaults: all well")


def test_check_takes_the_file_that_is_given_or_named(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """FILE wins over TURNOUT_CONFIG, that over ./turnout.yaml."""
    for name, port in (("turnout.yaml", 1), ("named.yaml", 2), ("given.yaml", 3)):
        Path(name).write_text(f"server: {{port: {port}}}\n")
    assert run(["check"]) == 0
    assert "server.port\t1\tturnout.yaml:1" in capsys.readouterr().out
    monkeypatch.setenv("TURNOUT_CONFIG", "named.yaml")
    assert run(["check"]) == 0
    assert "server.port\t2\tnamed.yaml:1" in capsys.readouterr().out
    assert run(["check", "given.yaml"]) == 0
    assert "server.port\t3\tgiven.yaml:1" in capsys.readouterr().out


def test_check_prints_every_problem_and_exits_with_2(capsys: Capture) -> None:
    """One line each on standard error, nothing on standard output."""
    Path("turnout.yaml").write_text("server: {port: http, master_key: sk-1234}\nzzz: 1\n")
    assert run(["check"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(": ")[0] for line in captured.err.splitlines()] == [
        "turnout.yaml:1:16 server.port",
        "turnout.yaml:1:34 server.master_key",
        "turnout.yaml:2:1 zzz",
    ]
    assert "sk-1234" not in captured.err


def test_check_speaks_json(capsys: Capture) -> None:
    """The effective config, origins and notices; or the problems, with the same exit code."""
    Path("turnout.yaml").write_text("server: {port: 4001}\n")
    assert run(["check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["file"] == "turnout.yaml"
    assert told["config"]["server"]["port"] == 4001
    assert told["origins"]["server.port"] == "turnout.yaml:1"
    assert len(told["revision"]) == 12
    assert told["notices"][0].startswith("no provider key found")
    Path("turnout.yaml").write_text("server: {port: x}\n")
    assert run(["check", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["problems"] == ["turnout.yaml:1:16 server.port: 'x' is no whole number, expected 0 to 65,535"]


def test_check_of_a_file_that_is_not_there(capsys: Capture) -> None:
    """Says what to do, exit code 2."""
    assert run(["check", "nope.yaml"]) == 2
    assert "nope.yaml: cannot be read: No such file or directory; " in capsys.readouterr().err


def test_check_draws_a_table_on_a_terminal() -> None:
    """Columns instead of tabs; what looks like markup is text."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from turnout.cli import main; main()", "check"]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        printed = b""
        while chunk := _read(ours):
            printed += chunk
    os.close(ours)
    assert process.returncode == 0
    assert b"server.port" in printed
    assert b"\t4000\t" not in printed
    assert b"all well" in printed


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other side has closed
        return b""


def test_a_table_repeats_values_as_they_are(capsys: Capture) -> None:
    """Brackets are a list, not rich's markup."""
    _print_table([Line("fallbacks", "[bold]", "default")])
    assert capsys.readouterr().out.splitlines()[1].split() == ["fallbacks", "[bold]", "default"]
