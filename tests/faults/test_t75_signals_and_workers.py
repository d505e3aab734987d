"""T75: every signal is defined, a dead worker is replaced within a second at the cost of its own requests alone, a crash loop slows down, and no process is ever left behind."""

import asyncio
import os
import re
import signal
import time

import httpx2
import pytest

from tests.bench.procfs import stat_fields, tree_of
from tests.faults.life import Load, Vendor, ask, traces, write_config
from tests.process import Served, SimulatedVendor
from turnout.gateway.local_model import missing_packages

REPLACED_S = 1.0
PATIENCE_S = 20.0

LOCAL = """defaults: false
providers: {local: {kind: local}}
models: {small: {provider: local, id: smollm2-135m, price: free}}
"""


def alive(pids):
    """Those of these processes that run still; a zombie runs no more."""
    return [pid for pid in pids if (stat_fields(pid) or ["Z"])[0] not in {"Z", "X"}]


async def until(condition):
    """Wait for `condition`; return how long it took."""
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < PATIENCE_S
        await asyncio.sleep(0.01)
    return time.perf_counter() - began


def port_of(gateway):
    return int(gateway.url.rpartition(":")[2])


async def test_t75_signals_that_end_nothing(tmp_path):
    """It says what it did, if that is worth a line, and serves on; SIGPIPE in earnest too, when nobody reads its log."""
    telling = {signal.SIGUSR1: "SIGUSR1", signal.SIGUSR2: "SIGUSR2", signal.SIGPIPE: "", signal.SIGHUP: "in force"}
    async with Vendor() as vendor:
        write_config(tmp_path, vendor.origin)
        async with Served(tmp_path, vendor=vendor) as gateway:
            write_config(tmp_path, vendor.origin, more="tasks: {work: {models: [quick]}}\n")
            for sign, told in telling.items():
                gateway.process.send_signal(sign)
                if told:
                    await gateway.until_said(told)
                assert (await ask(port_of(gateway), gateway.key, "quick")).status == 200
            gateway.process._transport.get_pipe_transport(2).close()
            gateway.process.send_signal(signal.SIGUSR1)
            assert (await ask(port_of(gateway), gateway.key, "quick")).status == 200
            assert await gateway.stop(signal.SIGINT) in {
                0,
                120,
            }  # 120: Python's word for a stderr that cannot be flushed


@pytest.mark.prove
async def test_t75_sigquit_ends_at_once_and_says_so(tmp_path, proof):
    """As a second SIGTERM does."""
    async with Vendor(tokens=5000, per_token_s=0.1) as vendor:
        write_config(tmp_path, vendor.origin, grace=60, lame_duck=30)
        async with Served(tmp_path, vendor=vendor) as gateway:
            stream = asyncio.ensure_future(ask(port_of(gateway), gateway.key, "slow", stream=True))
            await until(lambda: vendor.world.witness.count and vendor.world.witness.dispatches[0].sent_tokens)
            began = time.perf_counter()
            gateway.process.send_signal(signal.SIGQUIT)
            assert await gateway.process.wait() == 0
            took = time.perf_counter() - began
            assert b"gateway_stopping" in (await stream).body
            await gateway.stop()
    assert took < 2.0
    proof(f"SIGQUIT: ended in {took:.2f} s with an error event, exit code 0")


async def test_t75_a_killed_worker_costs_its_own_requests_and_is_replaced_within_a_second(tmp_path, size, proof):
    """As the kernel does when memory runs out. A client meets a reset at most once a kill, and nobody is refused."""
    kills = size(1, 15)
    async with SimulatedVendor(tmp_path) as vendor:
        write_config(tmp_path, vendor.origin)
        async with Served(tmp_path, "--port", "0", "--workers", "2") as gateway:
            load = Load(port_of(gateway), gateway.key, clients=8, pause_s=0.005)
            loading = asyncio.ensure_future(load.run())
            longest = 0.0
            for kill in range(kills):
                if kill:
                    await asyncio.sleep(3)  # steady again, both of them: else it would be a crash loop
                _, *workers = tree_of(gateway.process.pid)
                assert len(workers) == 2
                for pid in workers:  # both: then an answer is a new worker's
                    os.kill(pid, signal.SIGKILL)
                began = time.perf_counter()
                await until(lambda gone=workers: not alive(gone))
                async with httpx2.AsyncClient(base_url=gateway.url) as client:
                    assert (await client.get("/health/ready", timeout=PATIENCE_S)).status_code == 200
                longest = max(longest, time.perf_counter() - began)
                enough = load.answered + 50
                await until(lambda enough=enough: load.answered > enough and len(tree_of(gateway.process.pid)) == 3)
            load.is_over = True
            await loading
    assert gateway.exit_code == 0
    assert set(load.wrong) <= {"reset", "truncated"}
    assert sum(load.wrong.values()) <= kills * load.clients
    assert longest < REPLACED_S * size(3, 1)  # in `make test`, other tests have the machine too
    proof(
        f"{kills} times both of 2 workers killed: serving again after {longest:.2f} s at most; {load.answered} requests "
        f"answered, {sum(load.wrong.values())} broke in flight, 0 refused"
    )


@pytest.mark.prove
async def test_t75_a_crash_loop_slows_down_and_the_other_worker_serves_on(tmp_path, proof):
    """A worker that cannot start again (the file has been broken since): at once, after 1 s, 2 s …; a line each."""
    async with Vendor() as vendor:
        write_config(tmp_path, vendor.origin)
        async with Served(tmp_path, "--port", "0", "--workers", "2") as gateway:
            (tmp_path / "turnout.yaml").write_text("models: {x: {provider: nobody}}\n")
            _, first, second = tree_of(gateway.process.pid)
            os.kill(first, signal.SIGKILL)
            line = await gateway.until_said("2 starts in a row that did not last, the next in 1 s")
            assert "exit code 2" in line
            assert (await ask(port_of(gateway), gateway.key, "quick")).status == 200
            write_config(tmp_path, vendor.origin)
            await until(lambda: len(tree_of(gateway.process.pid)) == 3)
            assert second in tree_of(gateway.process.pid)
            began = time.perf_counter()
            assert await gateway.stop() == 0
            took = time.perf_counter() - began
    crashes = [one for one in gateway.said if re.search(r"worker \d ended", one)]
    assert len(crashes) == 2
    assert took < 3.0
    proof("a worker that cannot start: at once, then after 1 s, 2 s … 30 s; the other one serves on")


@pytest.mark.prove
async def test_t75_the_supervisor_passes_signals_on_and_ends_with_its_workers(tmp_path, size, proof):
    """SIGHUP reaches each worker; SIGTERM lets streams finish; nobody is left."""
    count = size(6, 100)
    async with Vendor(tokens=10, per_token_s=0.1) as vendor:
        write_config(tmp_path, vendor.origin, lame_duck=1)
        async with Served(tmp_path, "--port", "0", "--workers", "3", vendor=vendor) as gateway:
            family = tree_of(gateway.process.pid)
            write_config(tmp_path, vendor.origin, lame_duck=1, more="tasks: {work: {models: [quick]}}\n")
            gateway.process.send_signal(signal.SIGHUP)
            await until(lambda: sum("in force" in line for line in gateway.said) == 3)
            streams = [
                asyncio.ensure_future(ask(port_of(gateway), gateway.key, "slow", stream=True)) for _ in range(count)
            ]
            await until(lambda: vendor.world.witness.count == count)
            gateway.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*streams)
            assert await gateway.process.wait() == 0
            await gateway.stop()
    assert len(family) == 4
    assert [] == alive(family)
    assert {(200, True)} == {(one.status, one.is_whole) for one in answers}
    assert len(traces(tmp_path)) == count
    proof(f"3 workers ended with their supervisor, {count} streams whole, 0 processes left")


async def test_t75_a_killed_supervisor_leaves_no_orphan_and_a_free_port(tmp_path, proof):
    """Workers finish what they have and end by themselves; a new gateway can take the port meanwhile."""
    async with Vendor(tokens=10, per_token_s=0.1) as vendor:
        write_config(tmp_path, vendor.origin)
        async with Served(tmp_path, "--port", "0", "--workers", "2") as gateway:
            family = tree_of(gateway.process.pid)
            port = port_of(gateway)
            streams = [asyncio.ensure_future(ask(port, gateway.key, "slow", stream=True)) for _ in range(4)]
            await until(lambda: vendor.world.witness.count == 4)
            gateway.process.kill()
            await gateway.process.wait()
            answers = await asyncio.gather(*streams)
            took = await until(lambda: not alive(family))
            await gateway.stop()
            async with Served(tmp_path, "--port", str(port)) as again:
                assert (await ask(port, again.key, "quick")).status == 200
    assert len(family) == 3
    assert [True] * 4 == [one.is_whole for one in answers]
    assert took < 3.0
    proof(f"supervisor killed: 4 streams whole, 0 orphans {took:.2f} s after the last")


@pytest.mark.prove
async def test_t75_one_master_key_for_all_workers(tmp_path):
    """It is made once, shown once, and opens every worker; the books are one."""
    (tmp_path / "turnout.yaml").write_text("server: {lame_duck: 0}\n")
    async with Served(tmp_path, "--port", "0", "--workers", "3", env={}) as gateway:
        (key,) = [line.strip() for line in gateway.said if line.strip().startswith("sk-turnout-")]
        statuses = set()
        for _ in range(20):
            async with httpx2.AsyncClient(base_url=gateway.url, headers={"authorization": f"Bearer {key}"}) as client:
                statuses.add((await client.get("/v1/models")).status_code)
        gateway.key = ""  # it was shown, as it must be
    assert {200} == statuses


@pytest.mark.skipif(bool(missing_packages()), reason="needs the local model: requirements/local.txt")
@pytest.mark.parametrize(
    "sign", [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.prove) for one in (signal.SIGINT, signal.SIGKILL))]
)
async def test_t75_a_stop_while_a_local_model_loads_leaves_no_child(tmp_path, sign, proof):
    """Neither a child nor a traceback."""
    (tmp_path / "turnout.yaml").write_text(LOCAL)
    gateway = Served(tmp_path)
    starting = asyncio.ensure_future(gateway.__aenter__())
    await until(lambda: gateway._process is not None and len(tree_of(gateway.process.pid)) == 2)
    family = tree_of(gateway.process.pid)
    gateway.process.send_signal(sign)
    code = await gateway.process.wait()
    with pytest.raises(AssertionError):
        await starting
    took = await until(lambda: not alive(family))
    await gateway.stop()
    assert code == (0 if sign is not signal.SIGKILL else -9)
    assert "Traceback" not in "\n".join(gateway.said)
    proof(f"{sign.name} while a local model loads: exit code {code}, its child gone {took:.2f} s later")
