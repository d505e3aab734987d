"""Tests of cli/__init__.py: subcommands are found, listed without being imported, and fail in words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from turnout import __version__
from turnout.cli import COMMANDS, LazyGroup, run, turnout
from turnout.errors import ConfigError, StoreError


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Name and purpose, in the order of the table."""
    assert run(["--help"]) == 0
    printed = capsys.readouterr().out
    places = [printed.index(f"  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert all(" ".join(line.split())[:40] in " ".join(printed.split()) for _, line in COMMANDS.values())


def test_help_imports_no_command() -> None:
    """Neither the servers nor the YAML loader are read to print a list."""
    code = (
        "import sys, turnout.cli\n"
        "assert turnout.cli.run(['--help']) == 0\n"
        "print([name for name in ('uvicorn', 'yaml', 'rich', 'turnout.gateway', 'turnout.config') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"


def test_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`turnout --version`."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"turnout, version {__version__}\n"


def test_a_wrong_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as for any wrong command line."""
    assert run(["explian"]) == 2
    assert "Did you mean 'explain'?" in capsys.readouterr().err
    assert run(["--wrong"]) == 2
    assert "--wrong" in capsys.readouterr().err


def test_commands_are_found_by_name_only() -> None:
    """What is not in the table is not imported."""
    group = LazyGroup("turnout")
    context = click.Context(group)
    check = group.get_command(context, "check")
    assert check is not None
    assert check.name == "check"
    assert group.get_command(context, "os") is None
    assert group.list_commands(context) == list(COMMANDS)
    assert turnout.get_command(context, "init") is not None


def raising(error: BaseException) -> click.Command:
    """A command that fails so."""

    @click.command()
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (ConfigError(("t.yaml:1:1 a: one", "t.yaml:2:1 b: two")), 2, "t.yaml:1:1 a: one\nt.yaml:2:1 b: two\n"),
        (StoreError("the state file is locked"), 1, "Error: the state file is locked\n"),
        (OSError(28, "No space left on device"), 1, "Error: [Errno 28] No space left on device\n"),
        (click.ClickException("no such request"), 1, "Error: no such request\n"),
        (click.exceptions.Exit(7), 7, ""),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
    ],
)
def test_failures_become_words_and_an_exit_code(
    error: BaseException, code: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each, on standard error, and never a traceback."""
    assert code == run([], raising(error))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert printed.strip() == captured.err.strip()


@pytest.mark.parametrize(
    ("failure", "code", "told"),
    [
        (StoreError("the disk is full"), 1, {"code": "store_unavailable", "message": "the disk is full"}),
        (ConfigError(("a:1: x", "a:2: y")), 2, {"code": "config_error", "message": "a:1: x\na:2: y"}),
        (OSError(2, "No such file", "here"), 1, {"code": "failed", "message": "[Errno 2] No such file: 'here'"}),
        (click.ClickException("there is none"), 1, {"code": "failed", "message": "there is none"}),
        (
            click.BadParameter("is no day", param_hint="--to"),
            2,
            {"code": "usage", "message": "Invalid value for --to: is no day"},
        ),
        (click.exceptions.Abort(), 130, {"code": "interrupted", "message": "Interrupted."}),
    ],
)
def test_where_json_is_asked_for_failures_are_json_too(
    capsys: pytest.CaptureFixture[str], failure: Exception, code: int, told: dict[str, str]
) -> None:
    """On stderr, as one object, with the same exit code."""

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def breaks(*, as_json: bool) -> None:
        del as_json
        raise failure

    assert run(["--json"], breaks) == code
    printed = capsys.readouterr()
    assert ("", {"error": told}) == (printed.out, json.loads(printed.err))
    assert run(["keys", "show", "--json"]) == 2
    assert "usage" == json.loads(capsys.readouterr().err)["error"]["code"]


def test_a_bug_is_not_hidden() -> None:
    """What has no name is not turned into words: it must be seen."""
    with pytest.raises(ZeroDivisionError):
        run([], raising(ZeroDivisionError()))


def test_a_command_that_ends_is_success() -> None:
    """Whatever it returns, unless it is an exit code."""
    returning: Callable[[object], click.Command] = lambda value: click.Command("x", callback=lambda: value)
    assert run([], returning(None)) == 0
    assert run([], returning(3)) == 3


def test_the_console_script_exits_with_the_code() -> None:
    """As a shell sees it; a reader that has enough of the output is no failure to talk about."""
    command = [sys.executable, "-c", "from turnout.cli import main; main()"]
    wrong = subprocess.run([*command, "nope"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    piped = f"{sys.executable} -c 'from turnout.cli import main; main()' check --json | head -c 1"
    done = subprocess.run(["/bin/sh", "-c", piped], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{", "")
