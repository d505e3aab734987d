"""T28: a journal's disk that is full, over quota or failing never crashes the gateway and never loses an entry: it says so, refuses (or goes on in memory, as configured), and is healthy within five seconds of the disk."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess

import pytest

from tests.faults.killing import Strace, configure, reckon, until
from tests.process import Served, SimulatedVendor
from tests.rig import CONFIG, Rig

HEALTHY_S = 5.0
PROMPT = {"model": "quick", "messages": [{"role": "user", "content": "hej"}]}
FAILURES = {"full": ("write", "ENOSPC"), "over quota": ("write", "EDQUOT"), "broken": ("write", "EIO")}


async def ask(gateway):
    """Return the status and the error's code of one request."""
    async with gateway.http() as client:
        answer = await client.post("/v1/chat/completions", json=PROMPT, timeout=20)
    return answer.status_code, answer.json().get("error", {}).get("code")


async def metric(gateway, name):
    async with gateway.http() as client:
        text = (await client.get("/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def is_served_again(gateway):
    """Wait until requests are served; return how long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (await ask(gateway))[0] != 200:
        assert loop.time() - began < 4 * HEALTHY_S
        await asyncio.sleep(0.05)
    return loop.time() - began


def segment(gateway):
    """The one segment of the gateway's journal."""
    (path,) = (gateway.home / "home" / "journal").glob("*.log")
    return path


@pytest.mark.parametrize(
    "failure", ["full", *(pytest.param(name, marks=pytest.mark.prove) for name in FAILURES if name != "full")]
)
async def test_t28_a_disk_that_takes_nothing_refuses_requests_until_it_does(tmp_path, failure, proof):
    """No vendor is asked for what could not be booked."""
    call, error = FAILURES[failure]
    async with SimulatedVendor(tmp_path) as vendor:
        configure(tmp_path, vendor.origin)
        async with Served(tmp_path, vendor=vendor) as gateway:
            assert (await ask(gateway))[0] == 200
            async with Strace([gateway.process.pid], f"error={error}", calls=call, path=segment(gateway)):
                for _ in range(3):
                    assert (503, "ledger_unavailable") == await ask(gateway)
                assert 1 == await metric(gateway, "turnout_ledger_degraded")
                asked = len(vendor.witnessed())
            took = await is_served_again(gateway)
            assert 0 == await metric(gateway, "turnout_ledger_degraded")
        assert 1 == asked
        dispatches, orphans, entries = reckon(gateway, vendor)
    assert (2, 0) == (dispatches, orphans)
    assert took < HEALTHY_S
    proof(
        f"{error}: 503 without a vendor asked, served again after {took:.1f} s, {entries} for {dispatches} dispatches"
    )


@pytest.mark.prove
async def test_t28_a_disk_that_takes_nothing_is_done_without_if_that_is_wanted(tmp_path, proof):
    """`continue`: in memory, up to a bound, and into the books all the same."""
    async with SimulatedVendor(tmp_path) as vendor:
        configure(tmp_path, vendor.origin, "ledger: {when_full: continue}")
        async with Served(tmp_path, vendor=vendor) as gateway:
            async with Strace([gateway.process.pid], "error=ENOSPC", calls="write", path=segment(gateway)):
                for _ in range(5):
                    assert (200, None) == await ask(gateway)
                assert 1 == await metric(gateway, "turnout_ledger_degraded")
            await is_served_again(gateway)
        dispatches, orphans, entries = reckon(gateway, vendor)
    assert (6, 0) == (dispatches, orphans)
    proof(f"full, to be gone on without: {dispatches} served and booked ({entries})")


@pytest.mark.prove
async def test_t28_a_sync_that_fails_is_believed_at_once(tmp_path, proof):
    """`strict`: the vendor is not asked before what was written is on the disk, in another segment if need be."""
    async with SimulatedVendor(tmp_path) as vendor:
        configure(tmp_path, vendor.origin, "ledger: {durability: strict}")
        async with Served(tmp_path, vendor=vendor) as gateway:
            assert (await ask(gateway))[0] == 200
            before = segment(gateway)
            async with Strace([gateway.process.pid], "error=EIO", calls="fdatasync", path=before):
                assert (503, "ledger_unavailable") == await ask(gateway)
                took = await is_served_again(gateway)  # the disk still fails for that file: it goes on in another
            await until(lambda: not before.exists())
        dispatches, _, entries = reckon(gateway, vendor)
    assert 2 == dispatches
    assert took < HEALTHY_S
    proof(f"EIO by fdatasync: 503, then on in a new segment after {took:.1f} s, {entries}")


@pytest.mark.prove
async def test_t28_a_limit_on_the_size_of_files_is_survived(tmp_path, proof):
    """RLIMIT_FSIZE, of every file that the gateway writes, its databases too; lifted later."""
    async with SimulatedVendor(tmp_path) as vendor:
        configure(tmp_path, vendor.origin)
        async with Served(tmp_path, vendor=vendor) as gateway:
            assert (await ask(gateway))[0] == 200
            pid = gateway.process.pid
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, hard))
            for _ in range(3):
                assert (503, "ledger_unavailable") == await ask(gateway)
            assert 1 == await metric(gateway, "turnout_ledger_degraded")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
            took = await is_served_again(gateway)
        dispatches, orphans, entries = reckon(gateway, vendor)
    assert (2, 0) == (dispatches, orphans)
    assert took < HEALTHY_S
    proof(f"RLIMIT_FSIZE: 503, served again after {took:.1f} s, {entries}")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB where the journal is to be."""
    if os.geteuid() != 0:
        pytest.skip("needs the right to mount: run it as root")
    folder = tmp_path / "home" / "journal"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_t28_a_disk_of_one_mebibyte(small_disk, tmp_path, proof):
    """Filled by somebody else, and emptied again; the gateway's own entries leave it by themselves."""
    async with Rig(tmp_path, config=CONFIG) as rig, rig.http() as client:

        async def status():
            prompt = {**PROMPT, "model": "work"}
            return (await client.post("/v1/chat/completions", json=prompt)).status_code

        assert 200 == await status()
        filler = small_disk / "somebody-elses"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        statuses = [await status() for _ in range(30)]
        assert {503} == set(statuses[-10:])
        filler.unlink()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while await status() != 200:
            assert loop.time() - began < HEALTHY_S
            await asyncio.sleep(0.05)
        took = loop.time() - began
    proof(f"1 MiB filled by another: 503; served again {took:.1f} s after there was room")
