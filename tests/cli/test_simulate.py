"""`turnout simulate` as a person and as a script start it."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from turnout.cli.simulate import simulate
from turnout.core.simulation.faults import KINDS
from turnout.core.simulation.wire_faults import KINDS as WIRE_KINDS

START = [sys.executable, "-c", "from turnout.cli.simulate import simulate; simulate()"]
CHAT = json.dumps({"model": "m:free", "messages": [{"role": "user", "content": "Hej"}]}).encode()


def port_of(base_url: str) -> int:
    """Return the port in a URL."""
    return int(base_url.rsplit(":", 1)[1].removesuffix("/v1"))


async def started(*arguments: str) -> asyncio.subprocess.Process:
    """Start the command on a free port."""
    return await asyncio.create_subprocess_exec(
        *START, "--port", "0", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ask(port: int) -> int:
    """Send a chat request; return its status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/v1/chat/completions", CHAT)
        return connection.getresponse().status
    finally:
        connection.close()


async def test_it_says_where_it_listens_serves_and_ends_cleanly(tmp_path: Path) -> None:
    """As JSON: one line; faults from the command line; the log; Ctrl-C is no failure."""
    log = tmp_path / "witness.jsonl"
    process = await started("--json", "--instant", "--fault", "503", "--fault-for", "other", "500", "--log", str(log))
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    assert [await asyncio.to_thread(ask, port_of(told["base_url"])) for _ in range(2)] == [503, 200]
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, err) == (0, b"", b"")
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [(record["event"], record["status"]) for record in records] == [
        ("received", 503),
        ("ended", 503),
        ("received", 200),
        ("ended", 200),
    ]


def test_a_person_is_told_how_to_use_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it listens, a provider to paste, and at the end what it saw."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    statuses: list[int] = []
    is_over = threading.Event()

    def use() -> None:
        while not (statuses or is_over.is_set()):
            with contextlib.suppress(ConnectionRefusedError):
                statuses.append(ask(port))
        if statuses:
            os.kill(os.getpid(), signal.SIGTERM)

    user = threading.Thread(target=use)
    user.start()
    options = ["--port", str(port), "--speed", "1000", "--failure-rate", "0", "--log", str(tmp_path / "log")]
    try:
        simulate.main(options, standalone_mode=False)
    finally:
        is_over.set()
        user.join()
    told = capsys.readouterr().out
    assert statuses == [200]
    assert told.startswith(f"Simulated provider at http://127.0.0.1:{port}/v1\n")
    assert f"base_url: http://127.0.0.1:{port}/v1," in told
    assert told.endswith("Ended after 1 model calls.\n")


def test_the_faults_can_be_listed() -> None:
    """Each with its argument and one line, in two groups: the vendor's, the network's."""
    result = CliRunner().invoke(simulate, ["--list-faults"])
    assert result.exit_code == 0
    vendor, network = (group.splitlines() for group in result.output.split("\n\n"))
    assert (len(vendor), len(network)) == (1 + len(KINDS), 1 + len(WIRE_KINDS))
    assert "  reset-at=N " in "\n".join(vendor)
    assert "  down:reset=N " in "\n".join(network)


def witnessed(port: int) -> list[dict[str, Any]]:
    """Return what the witness on `port` has written down."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/witness")
        return list(json.loads(connection.getresponse().read())["dispatches"])
    finally:
        connection.close()


async def told_by(process: asyncio.subprocess.Process) -> dict[str, str]:
    """Return the line of JSON that the command prints first."""
    assert process.stdout is not None
    told: dict[str, str] = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    return told


async def test_wire_faults_stand_before_the_vendor_but_not_before_its_witness() -> None:
    """Two plans are one: the answer is late, and cut by RST after 20 bytes; the witness answers whole."""
    process = await started("--json", "--instant", "--wire", "down:delay=30ms", "--wire", "reset=20")
    told = await told_by(process)
    try:
        began = time.perf_counter()
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(ask, port_of(told["base_url"]))
        assert time.perf_counter() - began >= 0.029
        port = int(told["witness"].split(":")[2].split("/")[0])
        assert [record["status"] for record in await asyncio.to_thread(witnessed, port)] == [200]
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, err) == (0, b"", b"")


async def test_wire_faults_stand_before_any_server() -> None:
    """With --before nothing is simulated: what the other server says passes, damaged as asked; a person is told how it went."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    there = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        process = await started("--before", there, "--wire", "truncate=4")
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert line.startswith(f"Wire faults before {there} at 127.0.0.1:")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(line.split(". ")[0].rpartition(":")[2]))
        assert await reader.read() == b"hell"
        writer.close()
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, err) == (0, b"Ended after 1 connections.\n", b"")


async def test_before_tells_a_script_where_it_listens() -> None:
    """As JSON: its own address and the other's."""
    process = await started("--before", "[::1]:9", "--json")
    told = await told_by(process)
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 20)
    assert told["before"] == "[::1]:9"
    assert told["address"].startswith("127.0.0.1:")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "nonsense"], "unknown fault 'nonsense'"),
        (["--speed", "0"], "speed"),
        (["--failure-rate", "2"], "failure-rate"),
        (["--log", "/nowhere/at/all.jsonl"], "Cannot write /nowhere/at/all.jsonl"),
        (["--wire", "nonsense"], "unknown fault 'nonsense'"),
        (["--wire", "reset", "--wire", "truncate"], "the way down can end once"),
        (["--before", "here"], "'here' is not HOST:PORT"),
        (["--before", "here:0"], "'here:0' is not HOST:PORT"),
        (["--before", "here:80", "--fault", "503"], "--before simulates nothing"),
    ],
)
def test_what_cannot_be_is_said(arguments: list[str], said: str) -> None:
    """In one line, without a traceback."""
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code in {1, 2}
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("more", [[], ["--wire", "slice"], ["--before", "127.0.0.1:9"]])
def test_a_port_that_is_taken_is_said(more: list[str]) -> None:
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(simulate, ["--port", str(taken.getsockname()[1]), *more])
    assert result.exit_code == 1
    assert "Try another --port" in result.output
