"""A command that ends when its parent does."""

from __future__ import annotations

import subprocess
import sys

from examples.lead_desk import tied


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a tied command with a pipe to its stdin."""
    return subprocess.Popen(
        [sys.executable, "-P", tied.__file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_it_is_the_turnout_command() -> None:
    """Arguments, output and exit code pass through."""
    process = start("--version")
    assert process.stdin is not None
    assert process.stdout is not None
    out = process.stdout.read()
    assert (0, b"turnout, version") == (process.wait(30), out[:16])
    process.stdin.close()
    process.stdout.close()


def test_it_stops_in_order_when_its_stdin_ends() -> None:
    """A server ends as after a polite signal, although nobody sent one."""
    process = start("simulate", "--json", "--port", "0")
    assert process.stdin is not None
    assert process.stdout is not None
    assert b"base_url" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()
