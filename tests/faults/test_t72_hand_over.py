"""T72: a new version takes over under load, again and again, and nobody is refused, reset or cut."""

import asyncio
import os
import signal
import socket
import time

from tests.faults.life import Load, ask, write_config
from tests.process import Served, SimulatedVendor, turnout
from turnout.api.hand_over import door_of, knock

START_S = 30.0


async def taken_over(old, home, port, vendor, *more):
    """Start the next one and wait for the end of the old; return the new one, entered."""
    new = Served(home, "--port", str(port), "--take-over", *more, vendor=vendor)
    await new.__aenter__()
    await asyncio.wait_for(old.process.wait(), START_S)
    await old.stop()
    assert old.exit_code == 0
    return new


async def test_t72_upgrades_under_load_lose_nothing(tmp_path, size, proof):
    """20 times and 100,000 requests in full: connections kept and new, streams and whole answers; workers every third time."""
    turns, requests = size((2, 300), (20, 100_000))
    async with SimulatedVendor(tmp_path) as vendor:
        every = "traces: {rows: 1000000}\n"  # the books are compared as a whole
        write_config(tmp_path, vendor.origin, grace=20, lame_duck=5, more=every)
        gateway = await Served(tmp_path, "--port", "0").__aenter__()
        try:
            port = int(gateway.url.rpartition(":")[2])
            load = Load(port, gateway.key, clients=size(8, 16))
            loading = asyncio.ensure_future(load.run())
            began = time.perf_counter()
            for turn in range(turns):
                workers = ("--workers", "2") if turn % 3 == 1 else ()
                books = vendor if turn == turns - 1 else None  # the witness's books are whole at the end
                gateway = await taken_over(gateway, tmp_path, port, books, *workers)
                while load.answered < requests * (turn + 1) // turns:
                    await asyncio.sleep(0.02)
            load.is_over = True
            await loading
            took = time.perf_counter() - began
        finally:
            await gateway.stop()
    assert {} == load.wrong
    assert load.answered >= requests
    proof(
        f"{turns} hand-overs under {load.answered / took:,.0f} requests a second: {load.answered:,} answered, 0 refused, "
        f"0 reset, 0 truncated; longest answer {load.longest_s:.2f} s"
    )


async def test_t72_a_taker_that_fails_half_way_changes_nothing(tmp_path, size):
    """It knocks, gets the socket, and dies: the old one serves on, and the next one takes over all the same."""
    async with SimulatedVendor(tmp_path) as vendor:
        write_config(tmp_path, vendor.origin, grace=5)
        async with Served(tmp_path, "--port", "0") as gateway:
            port = int(gateway.url.rpartition(":")[2])
            door = door_of(tmp_path / "home", port)
            for _ in range(3):
                holder = knock(door)
                listener = await asyncio.to_thread(socket.recv_fds, holder, 64, 1)
                os.close(listener[1][0])
                holder.close()
            await gateway.until_said("nobody took over")
            (tmp_path / "broken.yaml").write_text("models: {x: {provider: nobody}}\n")
            code, _, told = await turnout(
                tmp_path, "serve", "--port", str(port), "--take-over", "--config", "broken.yaml"
            )
            assert (code, told[:14]) == (2, "broken.yaml:1:")
            assert (await ask(port, gateway.key, "quick")).status == 200
            new = await taken_over(gateway, tmp_path, port, vendor)
            try:
                assert (await ask(port, new.key, "quick")).status == 200
            finally:
                assert await new.stop(signal.SIGTERM) == 0


async def test_t72_nobody_there_is_an_ordinary_start_and_the_door_is_for_its_owner_alone(tmp_path):
    """So that a service may always be started with --take-over; a dead one's door is no hindrance."""
    write_config(tmp_path, "http://127.0.0.1:9")
    async with Served(tmp_path, "--port", "0") as first:
        port = int(first.url.rpartition(":")[2])
        door = door_of(tmp_path / "home", port)
        while not door.exists():
            await asyncio.sleep(0.01)
        assert door.stat().st_mode & 0o777 == 0o600
        first.process.kill()
        await first.process.wait()
        await first.stop()
    async with Served(tmp_path, "--port", str(port), "--take-over") as second:
        assert second.url.endswith(f":{port}")
        while (holder := knock(door)) is None:
            await asyncio.sleep(0.01)
        holder.close()
        assert await second.stop() == 0
    assert not door.exists()
