"""`turnout serve` as a person, a service manager and a passer-by meet it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
import time

import httpx2
import pytest
from click.testing import CliRunner

from tests.process import Served, turnout
from tests.rig import KEY
from turnout.cli import run
from turnout.cli.serve import serve
from turnout.providers import vendors


def key_in(said):
    """The master keys that were shown."""
    return [line.strip() for line in said if line.strip().startswith("sk-turnout-")]


async def test_the_first_start_shows_a_key_once_and_says_that_answers_are_simulated(tmp_path):
    """No config, no key, no account: it serves all the same; the second start shows nothing, and the key still opens."""
    async with Served(tmp_path, env={}) as first, first.http() as client:
        (key,) = key_in(first.said)
        bearer = {"authorization": f"Bearer {key}"}
        asked = {"model": "text-embedding-3-small", "input": "Hej"}  # a chat would take the free tier's three seconds
        answer = await client.post("/v1/embeddings", json=asked, headers=bearer, timeout=30)
        wrong = await client.get("/v1/models")
    assert first.said[0].startswith("Turnout ")
    assert "config defaults (revision " in first.said[0]
    assert any("answers are simulated" in line for line in first.said)
    assert answer.status_code == 200
    assert answer.headers["x-turnout-provider"] == "simulated"
    assert wrong.status_code == 401

    async with Served(tmp_path, env={}) as second, second.http() as client:
        opened = await client.get("/v1/models", headers=bearer)
        renewed = second.said
    assert key_in(renewed) == []
    assert opened.status_code == 200

    files = sorted(path for path in (tmp_path / "home").iterdir() if path.is_file())
    assert {path.name for path in files} >= {"state.sqlite3", "traces.sqlite3"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert [path for path in files if key.encode() in path.read_bytes()] == []


async def test_a_new_key_is_shown_and_shuts_the_old_one_out(tmp_path):
    """--new-master-key."""
    async with Served(tmp_path, env={}) as first:
        (old,) = key_in(first.said)
    async with Served(tmp_path, "--port", "0", "--new-master-key", env={}) as second, second.http() as client:
        (new,) = key_in(second.said)
        statuses = [
            (await client.get("/v1/models", headers={"authorization": f"Bearer {key}"})).status_code
            for key in (old, new)
        ]
    assert statuses == [401, 200]


async def test_sigterm_ends_an_idle_gateway_within_a_second_with_exit_code_0_and_its_traces_written(tmp_path):
    """With no load balancer to wait for, even while a client keeps its connection, which is idle for less than a second; the
    last request's trace is on disk, although a batch waits 0.25 s.
    """
    (tmp_path / "turnout.yaml").write_text("server: {lame_duck: 0}\n")
    async with Served(tmp_path) as gateway, gateway.http() as client:
        asked = {"model": "nobody", "messages": [{"role": "user", "content": "Hej"}]}
        answer = await client.post("/v1/chat/completions", json=asked)
        began = time.perf_counter()
        code = await gateway.stop(signal.SIGTERM)
        took = time.perf_counter() - began
    assert code == 0
    assert took < 2.0
    assert "Traceback" not in "\n".join(gateway.said)
    code, out, _ = await turnout(tmp_path, "explain", answer.headers["x-request-id"])
    assert code == 0
    assert "model_not_found" in out


async def test_ctrl_c_ends_it_without_a_traceback(tmp_path):
    """SIGINT is no failure."""
    async with Served(tmp_path) as gateway, gateway.http() as client:
        assert (await client.get("/health")).json() == {"status": "ready"}
        assert await gateway.stop(signal.SIGINT) == 0
    assert "Traceback" not in "\n".join(gateway.said)
    assert gateway.said[-1].strip().startswith("Listening on")


async def test_a_request_under_way_is_finished_before_the_end_and_readiness_ends_first(tmp_path):
    """The grace period."""
    (tmp_path / "turnout.yaml").write_text(
        "providers: {simulated: {}}\nmodels: {m: {provider: simulated, price: free}}\nserver: {lame_duck: 0}\n"
    )
    async with Served(tmp_path) as gateway, gateway.http() as client:
        asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Skriv en mail til Mette"}]}
        async with client.stream("POST", "/v1/chat/completions", json=asked, timeout=30) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            gateway.process.send_signal(signal.SIGTERM)
            rest = [line async for line in lines]
        code = await gateway.stop()
    assert rest[-2:] == ["data: [DONE]", ""]
    assert code == 0


@pytest.fixture
def _empty_place(tmp_path, monkeypatch):
    """An empty folder and an environment of its own, for the command run in this process."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")) or name in {row.key_env for row in vendors().values()}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("_empty_place")
@pytest.mark.parametrize("weak", ["sk-1234", "", "changeme-changeme-changeme", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])
def test_a_weak_master_key_is_refused_before_anything_listens(weak, monkeypatch, capsys, tmp_path):
    """Exit code 2, one line, and never the key itself."""
    monkeypatch.setenv("TURNOUT_MASTER_KEY", weak)
    assert run(["serve", "--port", "0"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("TURNOUT_MASTER_KEY")
    assert len(told.err.splitlines()) == 1
    assert not weak or weak not in told.err
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("_empty_place")
def test_a_broken_config_is_every_problem_and_exit_code_2(tmp_path, capsys):
    """As `turnout check` says it."""
    (tmp_path / "turnout.yaml").write_text("server: {port: http}\nzzz: 1\n")
    assert run(["serve"]) == 2
    assert [line.split(": ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "turnout.yaml:1:16 server.port",
        "turnout.yaml:2:1 zzz",
    ]


@pytest.mark.usefixtures("_empty_place")
def test_a_port_that_is_taken_is_said_and_no_key_is_made_that_nobody_sees(tmp_path):
    """Exit code 1 with what to do; the key is shown by the first start that works."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(serve, ["--port", str(port)])
    assert result.exit_code == 1
    assert f"Cannot listen on 127.0.0.1:{port}: " in result.output
    assert "Try --port" in result.output
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("_empty_place")
def test_a_home_that_cannot_be_written_is_said(tmp_path):
    """The path is in it, and the port is free again."""
    (tmp_path / "home").write_text("a file where the folder should be")
    result = CliRunner().invoke(serve, ["--port", "0"])
    assert result.exit_code == 1
    assert str(tmp_path / "home") in result.output
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("_empty_place")
def test_a_new_master_key_is_not_made_while_another_is_given(monkeypatch, tmp_path):
    """It would be shown and open nothing."""
    monkeypatch.setenv("TURNOUT_MASTER_KEY", KEY)
    result = CliRunner().invoke(serve, ["--port", "0", "--new-master-key"])
    assert result.exit_code == 2
    assert "TURNOUT_MASTER_KEY" in result.output
    assert KEY not in result.output
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("_empty_place")
def test_it_listens_where_it_is_told_reloads_on_sighup_and_ends_on_sigterm(tmp_path, capsys):
    """In this very process, so that what it does is seen: an IPv6 address is written as one."""
    (tmp_path / "turnout.yaml").write_text("providers: {simulated: {}}\nserver: {host: 127.0.0.1, port: 1}\n")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    live, is_over = [], threading.Event()

    def use():
        while not (live or is_over.is_set()):
            try:
                live.append(httpx2.get(f"http://[::1]:{port}/health/ready").status_code)
            except httpx2.ConnectError:
                time.sleep(0.01)
        if live:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)

    user = threading.Thread(target=use)
    user.start()
    try:
        serve.main(["--host", "::1", "--port", str(port)], standalone_mode=False)
    finally:
        is_over.set()
        user.join()
    told = capsys.readouterr().err
    assert live == [200]
    assert "simulated: no key" in told
    assert f"Listening on http://[::1]:{port}/v1" in told
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
