"""The local model's keeper: start, crash and restart, stop, and every way in which a process can fail to come up.

The processes are real. Most are a few lines of Python that play the child, so that their faults can be chosen.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from turnout.core.secret import Secret
from turnout.errors import ConfigError, UpstreamUnreachable
from turnout.gateway.local_model import ENVIRONMENT, LocalModel, RestartRule, missing_packages

QUICK = RestartRule(backoff_s=0.01, start_s=20.0, grace_s=0.6)
GOOD = """
    import json, sys
    order = json.loads(sys.stdin.readline())
    print(json.dumps({"base_url": f"http://127.0.0.1:{order['port'] or 4999}/v1"}), flush=True)
    sys.stdin.read()
"""

Play = Callable[..., LocalModel]


@pytest.fixture
async def play(tmp_path: Path) -> AsyncIterator[Play]:
    """Make a keeper of a child that runs the given lines; whatever it started is stopped at the end."""
    kept: list[LocalModel] = []

    def make(lines: str, rule: RestartRule = QUICK, key: str = "") -> LocalModel:
        script = tmp_path / f"child{len(kept)}.py"
        script.write_text(textwrap.dedent(lines), encoding="utf-8")
        command = [sys.executable, "-S", "-E", str(script)]
        kept.append(LocalModel(command=command, rule=rule, packages=(), api_key=Secret(key) if key else None))
        return kept[-1]

    yield make
    for model in kept:
        await model.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; the test's own timeout bounds it."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def restarted(model: LocalModel, crashed: int) -> None:
    """Wait until another process serves."""
    await until(lambda: model.is_running and model.pid != crashed)


def is_alive(pid: int) -> bool:
    """Whether the process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_start_returns_the_address_and_stop_ends_the_process(play: Play) -> None:
    """The whole life of a healthy child."""
    model = play(GOOD)
    assert await model.start() == "http://127.0.0.1:4999/v1"
    pid = model.pid
    assert pid is not None
    assert (True, True) == (model.is_running, is_alive(pid))
    await model.stop()
    assert (False, None, False) == (model.is_running, model.pid, is_alive(pid))


async def test_starting_twice_is_starting_once(play: Play) -> None:
    """A reload may ask again."""
    model = play(GOOD)
    await model.start()
    pid = model.pid
    await model.start()
    assert pid == model.pid


async def test_stopping_what_never_started_is_nothing(play: Play) -> None:
    """Shutdown does not ask what was started."""
    model = play(GOOD)
    await model.stop()
    assert (False, "") == (model.is_running, model.base_url)


async def test_the_child_gets_no_environment_of_ours_and_the_key_by_stdin(play: Play, tmp_path: Path) -> None:
    """Our provider keys are in our environment; the child has no business with them."""
    model = play(
        f"""
        import json, os, sys
        order = json.loads(sys.stdin.readline())
        with open({str(tmp_path / "seen")!r}, "w") as file:
            json.dump([sorted(os.environ), order, sys.argv[1:]], file)
        print(json.dumps({{"base_url": "http://127.0.0.1:1/v1"}}), flush=True)
        sys.stdin.read()
        """,
        key="sesame",
    )
    await model.start()
    names = [name for name, _ in ENVIRONMENT]
    wanted = f'[["{names[0]}"], {{"port": 0, "api_key": "sesame"}}, []]'
    assert wanted == (tmp_path / "seen").read_text(encoding="utf-8")


async def test_after_a_crash_it_starts_again_on_the_same_port(play: Play) -> None:
    """The account's address stays good."""
    model = play(GOOD)
    base_url = await model.start()
    first = model.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await restarted(model, first)
    assert base_url == model.base_url


async def test_it_stays_down_after_too_many_crashes_in_a_row(
    play: Play, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One start and three more, then an error in the log and no busy loop."""
    starts = tmp_path / "starts"
    model = play(
        f"""
        import json, sys
        open({str(starts)!r}, "a").write(".")
        sys.stdin.readline()
        print(json.dumps({{"base_url": "http://127.0.0.1:4999/v1"}}), flush=True)
        sys.exit(3)
        """
    )
    with caplog.at_level(logging.ERROR, "turnout.local_model"):
        await model.start()
        await until(lambda: any("stays down" in line for line in caplog.messages))
    assert ("....", False) == (starts.read_text(encoding="utf-8"), model.is_running)


async def test_a_restart_that_fails_counts_as_a_crash(
    play: Play, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The child comes up once and never again."""
    once = tmp_path / "once"
    model = play(
        f"""
        import json, os, sys
        if os.path.exists({str(once)!r}):
            sys.exit("no memory")
        open({str(once)!r}, "w").close()
        sys.stdin.readline()
        print(json.dumps({{"base_url": "http://127.0.0.1:4999/v1"}}), flush=True)
        """
    )
    with caplog.at_level(logging.WARNING, "turnout.local_model"):
        await model.start()
        await until(lambda: any("stays down" in line for line in caplog.messages))
    assert sum("no memory" in line for line in caplog.messages) == 3


async def test_a_child_that_stayed_up_earns_a_fresh_count(play: Play) -> None:
    """More crashes than allowed in a row, each after a steady time (here: any time)."""
    model = play(GOOD, RestartRule(restarts=1, backoff_s=0.01, steady_s=0.0))
    await model.start()
    for _ in range(3):
        pid = model.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await restarted(model, pid)
    assert model.is_running


async def test_it_can_be_started_anew_after_it_stayed_down(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """A person mends the cause and reloads."""
    model = play(GOOD, RestartRule(restarts=0))
    await model.start()
    assert model.pid is not None
    with caplog.at_level(logging.ERROR, "turnout.local_model"):
        os.kill(model.pid, signal.SIGKILL)
        await until(lambda: any("stays down" in line for line in caplog.messages))
    await model.start()
    assert model.is_running


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            'import sys; sys.stdin.readline(); print(\'{"error": "bad file"}\', flush=True); sys.stdin.read()',
            "bad file",
        ),
        ('import sys; sys.exit("out of memory")', "out of memory"),
        ("import os; os._exit(7)", "exit code 7"),
        ("print('loading', flush=True); import os; os._exit(9)", "did not start"),
        ("print('{}', flush=True); import sys; sys.stdin.read()", "did not start"),
    ],
)
async def test_a_child_that_does_not_come_up_says_why(play: Play, lines: str, said: str) -> None:
    """Its own error, its last words on stderr, or its exit code."""
    model = play(lines)
    with pytest.raises(UpstreamUnreachable, match=said):
        await model.start()
    assert (False, None) == (model.is_running, model.pid)


async def test_a_child_that_never_answers_is_ended(play: Play, tmp_path: Path) -> None:
    """Loading has a deadline."""
    pid_file = tmp_path / "pid"
    model = play(
        f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)",
        RestartRule(start_s=1.0, grace_s=0.6),
    )
    with pytest.raises(UpstreamUnreachable, match="within 1 s"):
        await model.start()
    assert not is_alive(int(pid_file.read_text(encoding="utf-8")))


async def test_a_child_that_ignores_the_polite_signal_is_killed(play: Play) -> None:
    """Shutdown is bounded by the grace."""
    model = play(
        """
        import json, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.stdin.readline()
        print(json.dumps({"base_url": "http://127.0.0.1:4999/v1"}), flush=True)
        time.sleep(60)
        """,
        RestartRule(grace_s=0.4),
    )
    await model.start()
    pid = model.pid
    assert pid is not None
    await model.stop()
    assert not is_alive(pid)


async def test_a_cancelled_start_leaves_no_process(play: Play, tmp_path: Path) -> None:
    """The gateway may be stopped while the model loads."""
    pid_file = tmp_path / "pid"
    model = play(
        f"import os, time; open({str(pid_file)!r} + '.new', 'w').write(str(os.getpid()));"
        f"os.rename({str(pid_file)!r} + '.new', {str(pid_file)!r}); time.sleep(60)"
    )
    starting = asyncio.ensure_future(model.start())
    await until(pid_file.exists)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not is_alive(int(pid_file.read_text(encoding="utf-8")))


async def test_a_talkative_child_never_waits_for_us(play: Play) -> None:
    """More on stderr than a pipe holds, in one endless line."""
    model = play("import sys; sys.stderr.write('x' * 300_000); sys.stderr.flush()" + textwrap.dedent(GOOD))
    assert await model.start()


async def test_a_missing_extra_is_an_error_that_says_what_to_install() -> None:
    """Nothing is started; the message holds the command."""
    with pytest.raises(ConfigError, match="needs turnout_no_such_thing") as caught:
        await LocalModel(packages=("json", "turnout_no_such_thing")).start()
    assert "pip install --require-hashes --no-deps -r requirements/local.txt" in caught.value.message


def test_missing_packages_names_only_what_is_not_there() -> None:
    """`turnout check` and the demo ask before they promise a local model."""
    assert missing_packages(("json", "turnout_no_such_thing")) == ("turnout_no_such_thing",)


@pytest.mark.local_model
async def test_the_real_model_comes_up_answers_and_leaves() -> None:
    """The command that ships, with a key, once from start to stop."""
    model = LocalModel(api_key=Secret("sesame"))
    base_url = await model.start()
    port = int(base_url.removesuffix("/v1").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n")
    head = await reader.readline()
    writer.close()
    await model.stop()
    assert head.startswith(b"HTTP/1.1 200")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
