"""The supervisor, over workers that are a few lines of Python: started, started again, told, and outlived by nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap

import pytest

from tests.bench.procfs import stat_fields
from turnout.api.serving import listen
from turnout.cli.supervisor import TURNOUT, Backoff, Supervisor

QUICK = Backoff(steady_s=5.0, first_s=0.05, longest_s=0.2, forced_s=0.1)

WORKER = textwrap.dedent("""
    import os, signal, socket, sys, time
    sys.path[:0] = {path!r}
    from turnout.api.hand_over import receive, tell_ready
    notes = open({notes!r}, "a", buffering=1)
    def note(text):
        notes.write(text + "\\n")
    holder = socket.socket(fileno=0)
    listener = receive(holder)
    {prepare}
    def end(sign, _frame):
        note(signal.Signals(sign).name)
        if {ends}:
            os._exit(0)
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(sign, end)
    for sign in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(sign, lambda sign, _frame: note(signal.Signals(sign).name))
    note(f"ready {{os.getpid()}}")
    tell_ready(holder)
    {work}
""")


class Place:
    """Supervisor, its workers' notes, and whether all of them were ready."""

    def __init__(self, folder, *, count=1, prepare="pass", work="time.sleep(60)", ends=True):
        self.path = folder / "notes"
        self.path.touch()
        code = WORKER.format(path=sys.path, notes=str(self.path), prepare=prepare, work=work, ends=ends)
        self.listener = listen("127.0.0.1", 0)
        self.ready = 0
        self.supervisor = Supervisor(
            self.listener, [sys.executable, "-c", code], count, on_ready=self.became_ready, backoff=QUICK
        )
        self.running = asyncio.ensure_future(self.supervisor.run())

    def became_ready(self):
        self.ready += 1

    def notes(self, beginning=""):
        return [line for line in self.path.read_text().splitlines() if line.startswith(beginning)]

    def pids(self):
        return [int(line.split()[1]) for line in self.notes("ready")]

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                assert not self.running.done() or self.running.result() is None
                await asyncio.sleep(0.01)

    async def stop(self, sign=signal.SIGTERM):
        os.kill(os.getpid(), sign)
        await asyncio.wait_for(self.running, 20)


def is_alive(pid):
    return (stat_fields(pid) or ["Z"])[0] not in {"Z", "X"}


def test_the_delay_before_a_new_start_doubles_to_its_bound():
    """At once, 1, 2, 4 … 30 s, however long it goes on."""
    backoff = Backoff()
    assert [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == [backoff.delay_s(early) for early in range(1, 9)]
    assert backoff.delay_s(10_000) == 30.0


def test_the_command_takes_nothing_from_the_folder_it_is_started_in():
    """-P: a file named turnout.py there is not run."""
    assert TURNOUT[:3] == (sys.executable, "-P", "-c")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_all_are_ready_once_and_end_by_the_signal_that_came(tmp_path, sign):
    """Each has the listener; when the supervisor has ended, no worker runs and the signals are as they were."""
    place = Place(tmp_path, count=3)
    await place.until(lambda: place.ready == 1)
    pids = place.pids()
    assert len(set(pids)) == 3
    await place.stop(sign)
    assert place.notes("SIG") == [sign.name] * 3
    assert [] == [pid for pid in pids if is_alive(pid)]
    assert place.listener.fileno() == -1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


async def test_signals_that_end_nothing_are_passed_on_to_those_that_are_ready(tmp_path):
    """Each worker reads its configuration again."""
    place = Place(tmp_path, count=2)
    await place.until(lambda: place.ready == 1)
    os.kill(os.getpid(), signal.SIGHUP)
    await place.until(lambda: place.notes("SIG") == ["SIGHUP"] * 2)
    os.kill(os.getpid(), signal.SIGUSR1)
    await place.until(lambda: place.notes("SIG") == ["SIGHUP"] * 2 + ["SIGUSR1"] * 2)
    await place.stop()


async def test_a_worker_that_is_killed_is_replaced_at_once_and_not_announced_again(tmp_path, caplog):
    """The listener stays open meanwhile."""
    place = Place(tmp_path)
    await place.until(lambda: place.ready == 1)
    os.kill(place.pids()[0], signal.SIGKILL)
    await place.until(lambda: len(place.pids()) == 2)
    assert "worker 1 ended (killed by SIGKILL): another starts" in caplog.text
    await place.stop()
    assert place.ready == 1


async def test_a_crash_loop_slows_down_says_so_and_can_be_stopped_in_its_pause(tmp_path, caplog):
    """A worker that ends before it is ready, again and again."""
    place = Place(tmp_path, prepare="note('began'); sys.exit(7)")
    await place.until(lambda: "4 starts in a row that did not last, the next in 0.2 s" in caplog.text)
    assert "worker 1 ended (exit code 7): another starts" in caplog.text
    assert "2 starts in a row that did not last, the next in 0.05 s" in caplog.text
    await place.stop()
    assert place.ready == 0


async def test_one_that_is_not_ready_yet_is_ended_by_sigterm_whatever_came(tmp_path):
    """It has no signals of its own yet: a Ctrl-C would be a traceback."""
    place = Place(tmp_path, prepare="note(f'began {os.getpid()}'); time.sleep(60)")
    await place.until(lambda: place.notes("began"))
    await place.stop(signal.SIGINT)
    assert not is_alive(int(place.notes("began")[0].split()[1]))
    assert place.notes("SIG") == []


async def test_a_second_signal_ends_one_that_does_not_listen(tmp_path):
    """Passed on, and after a short while by force."""
    place = Place(tmp_path, ends=False, work="while True: time.sleep(60)")
    await place.until(lambda: place.ready == 1)
    os.kill(os.getpid(), signal.SIGTERM)
    await place.until(lambda: place.notes("SIG") == ["SIGTERM"])
    await place.stop(signal.SIGTERM)
    assert place.notes("SIG") == ["SIGTERM", "SIGTERM"]
    assert not is_alive(place.pids()[0])


async def test_a_supervisor_that_is_cancelled_leaves_no_worker(tmp_path):
    """Whatever happens to it."""
    place = Place(tmp_path, count=2)
    await place.until(lambda: place.ready == 1)
    place.running.cancel()
    await asyncio.gather(place.running, return_exceptions=True)
    await place_until_dead(place.pids())
    place.listener.close()


async def place_until_dead(pids):
    async with asyncio.timeout(10):
        while [pid for pid in pids if is_alive(pid)]:
            await asyncio.sleep(0.01)
