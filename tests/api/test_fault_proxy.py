"""The fault proxy on sockets: every fault is what a plain client and a plain server see."""

import asyncio
import contextlib
import socket
import statistics
import time

import pytest
import uvloop

from tests.api.fault_lab import PATIENCE_S, SILENCE_S, End, lab
from turnout.api.fault_proxy import HELD_PIECES, KERNEL_BYTES, FaultProxy
from turnout.core.simulation.wire_faults import LARGEST_PIECE_BYTES, Plan, Way

HELD_BYTES = HELD_PIECES * LARGEST_PIECE_BYTES


async def test_without_a_plan_bytes_pass_and_each_end_stays_what_it_was() -> None:
    """Both ways, more than is held at once; a FIN passes alone, the other way goes on; both ended, all is closed."""
    data = bytes(range(256)) * 8192
    async with lab() as here:
        near, far = await here.pair()
        near.say(b"hello", is_last=True)
        assert (b"hello", False) == await far.all()
        far.say(data, is_last=True)
        assert (data, False) == await near.all()
        await here.emptied()
        assert {"up": 5, "down": len(data)} == here.proxy.passed
        assert 1 == here.proxy.accepted


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_by_one_side_is_a_reset_for_the_other(who: str) -> None:
    """It is not made a FIN, which would say that all was well."""
    async with lab() as here:
        near, far = await here.pair()
        resets, hears = (near, far) if who == "client" else (far, near)
        resets.reset()
        assert (b"", True) == await hears.all()


async def test_delay_holds_everything_back_but_lets_it_flow() -> None:
    """Each piece is late by the delay; ten pieces in a row are late once, not ten times."""
    async with lab("delay=100ms") as here:
        near, far = await here.pair()
        began = time.perf_counter()
        for _ in range(10):
            near.say(b"x")
            await asyncio.sleep(0.01)
        await far.hear(1)
        first = time.perf_counter() - began
        await far.hear(9)
        whole = time.perf_counter() - began
    assert 0.099 <= first
    assert 0.19 <= whole < 0.6


async def test_jitter_keeps_the_order_and_is_drawn_from_the_seed() -> None:
    """The same seed holds the same reads back for as long; another one does not."""

    async def lateness(seed: int) -> list[float]:
        took = []
        async with lab("up:jitter=60ms", seed=seed) as here:
            near, far = await here.pair()
            for number in range(8):
                began = time.perf_counter()
                near.say(bytes([number]))
                assert bytes([number]) == await far.hear(1)
                took.append(time.perf_counter() - began)
        return took

    one, again, other = await lateness(1), await lateness(1), await lateness(2)
    apart = [statistics.median(abs(a - b) for a, b in zip(one, them, strict=True)) for them in (again, other)]
    assert apart[0] < apart[1]
    assert max(one) - min(one) > 0.01


async def test_bandwidth_is_kept_to() -> None:
    """32 KiB at 64 KiB a second take half a second, flowing all the time; the other way is free."""
    async with lab("bandwidth=64k") as here:
        near, far = await here.pair()
        began = time.perf_counter()
        far.say(bytes(32768))
        await near.hear(3277)
        first = time.perf_counter() - began
        await near.hear(32768 - 3277)
        whole = time.perf_counter() - began
        near.say(bytes(65536))
        await far.hear(65536)
        back = time.perf_counter() - began - whole
    assert first < 0.4
    assert 0.4 <= whole < 1.2
    assert back < whole


class Reads(asyncio.Protocol):
    """What each read of a client brought."""

    def __init__(self) -> None:
        self.made: list[bytes] = []
        self.has_ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.made.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended.set()


async def test_slice_writes_crumbs() -> None:
    """So many bytes a write: a reader that is awake gets them one by one."""
    made = []
    for plan in ("slice", "slice=4"):
        async with lab(plan) as here:
            _, reads = await asyncio.get_running_loop().create_connection(Reads, here.proxy.host, here.proxy.port)
            far = await here.arrived()
            far.say(b"0123456789", is_last=True)
            await asyncio.wait_for(reads.has_ended.wait(), PATIENCE_S)
            made.append(reads.made)
    assert [[bytes([byte]) for byte in b"0123456789"], [b"0123", b"4567", b"89"]] == made


@pytest.mark.parametrize(("at", "heard"), [(0, b""), (4, b"0123"), (10, b"0123456789")])
async def test_reset_after_n_bytes(at: int, heard: bytes) -> None:
    """The bytes before it arrive, then RST, to both sides; at 0 in place of the first byte."""
    async with lab(f"down:reset={at}") as here:
        near, far = await here.pair()
        near.say(b"please")
        assert b"please" == await far.hear(6)
        far.say(b"0123456789")
        assert (heard, True) == await near.all()
        assert (b"", True) == await far.all()
        await here.emptied()


async def test_reset_counts_the_bytes_of_the_connection() -> None:
    """Not of one read."""
    async with lab("up:reset=4") as here:
        near, far = await here.pair()
        near.say(b"ab")
        assert b"ab" == await far.hear(2)
        near.say(b"cdef")
        assert (b"cd", True) == await far.all()


async def test_half_close_ends_one_way_only() -> None:
    """The client hears four bytes and FIN; what he says still arrives, and what more is said to him is thrown away."""
    async with lab("half-close=4") as here:
        near, far = await here.pair()
        far.say(b"0123456789")
        assert (b"0123", False) == await near.all()
        far.say(bytes(4 * HELD_BYTES))
        near.say(b"I am still here", is_last=True)
        assert (b"I am still here", False) == await far.all()
        far.writer.close()
        await here.emptied()


async def test_truncate_ends_both_ways_in_good_order() -> None:
    """FIN to the client after four bytes, FIN to the server, nothing more either way, and no RST."""
    async with lab("truncate=4") as here:
        near, far = await here.pair()
        far.say(b"0123456789")
        assert (b"0123", False) == await near.all()
        assert (b"", False) == await far.all()
        near.say(b"lost")
        far.say(b"lost")
        await asyncio.sleep(SILENCE_S)  # long enough for a reset, which must not come: both still hold their ends
        assert 1 == here.proxy.live
        near.say(b"", is_last=True)
        far.say(b"", is_last=True)
        await here.emptied()
        assert {"up": 0, "down": 4} == here.proxy.passed


async def test_truncate_stops_what_was_on_its_way_in_the_other_direction() -> None:
    """What was held for the server when the cut came does not arrive."""
    async with lab("truncate=1;up:bandwidth=1k") as here:
        near, far = await here.pair()
        near.say(bytes(20_000))
        await far.hear(1)
        far.say(b"0")
        heard, is_reset = await far.all()
        near.writer.close()
        far.writer.close()
        await here.emptied()
    assert len(heard) < 19_999
    assert not is_reset


async def test_a_black_hole_takes_all_and_tells_nothing() -> None:
    """Both ways: the connection stands, what is said is read, no byte nor end comes out; it ends when the client leaves."""
    async with lab("black-hole") as here:
        near, far = await here.pair()
        near.say(bytes(4 * HELD_BYTES))
        await asyncio.wait_for(near.writer.drain(), PATIENCE_S)
        far.say(b"answer", is_last=True)
        assert await near.is_silent()
        assert await far.is_silent()
        near.writer.close()
        assert (b"", True) == await far.all()
        await here.emptied()


async def test_a_black_hole_after_n_bytes() -> None:
    """The answer stalls in the middle; the server's end is not told; the request had arrived."""
    async with lab("down:black-hole=3") as here:
        near, far = await here.pair()
        near.say(b"please")
        assert b"please" == await far.hear(6)
        far.say(b"0123456789", is_last=True)
        assert b"012" == await near.hear(3)
        assert await near.is_silent()
        near.writer.close()
        assert (b"", False) == await far.all()
        await here.emptied()


async def test_an_end_before_the_fault_is_the_sources_own() -> None:
    """Four bytes come, the fault was for the eighth: FIN as it was."""
    async with lab("down:black-hole=8;up:reset=8") as here:
        near, far = await here.pair()
        near.say(b"four", is_last=True)
        assert (b"four", False) == await far.all()
        far.say(b"FOUR", is_last=True)
        assert (b"FOUR", False) == await near.all()
        await here.emptied()


async def test_corrupt_damages_one_byte() -> None:
    """All its bits turned, its neighbours whole, wherever the reads fall."""
    async with lab("corrupt=5") as here:
        near, far = await here.pair()
        for piece in (b"012", b"345", b"678"):
            far.say(piece)
            await asyncio.sleep(0)
        assert b"01234\xca678" == await near.hear(9)


def pour(into: socket.socket) -> int:
    """Write without waiting until nothing more is taken; return how many bytes were."""
    into.setblocking(False)
    taken = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            taken += into.send(bytes(LARGEST_PIECE_BYTES))
    return taken


async def poured(into: socket.socket) -> int:
    """The same until it takes nothing for a while."""
    taken, since = 0, time.perf_counter()
    while time.perf_counter() - since < SILENCE_S:
        more = pour(into)
        if more:
            taken, since = taken + more, time.perf_counter()
        await asyncio.sleep(0.005)
    return taken


@pytest.fixture
def client() -> socket.socket:
    """A bare client whose own buffer is small, so that what it could write is what others took."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        yield one


async def test_never_read_leaves_the_writer_waiting(client: socket.socket) -> None:
    """The connection stands; no more than the kernel's buffers is taken."""
    async with lab("never-read") as here:
        client.connect((here.proxy.host, here.proxy.port))
        assert 0 < await poured(client) <= 8 * KERNEL_BYTES
        assert {"up": 0, "down": 0} == here.proxy.passed


async def test_a_slow_reader_is_felt_by_the_writer(client: socket.socket) -> None:
    """Back-pressure: the server's side is slow, so the client can write what is held and not a megabyte more."""
    async with lab("up:bandwidth=1k") as here:
        client.connect((here.proxy.host, here.proxy.port))
        assert HELD_BYTES <= await poured(client) <= HELD_BYTES + 10 * KERNEL_BYTES


async def test_plans_change_for_the_connections_to_come() -> None:
    """The queue first, one each; then what is in use; who stands keeps what he had."""
    async with lab() as here:
        old = await here.pair()
        here.proxy.use("down:slice=2;down:truncate=4")
        here.proxy.queue.extend(["down:truncate=1", Plan(down=Way(end="truncate", end_at=2))])
        heard = []
        for _ in range(4):
            near, far = await here.pair()
            far.say(b"0123456789")
            heard.append(await near.all())
        old[1].say(b"0123456789", is_last=True)
        heard.append(await old[0].all())
    assert [(b"0", False), (b"01", False), (b"0123", False), (b"0123", False), (b"0123456789", False)] == heard


async def test_cut_all_resets_everybody_now() -> None:
    """Both sides, whatever the plan of the connection was; the proxy goes on."""
    async with lab("up:never-read") as here:
        pairs = [await here.pair() for _ in range(3)]
        here.proxy.use("")
        pairs.append(await here.pair())
        assert 4 == here.proxy.live
        assert 4 == here.proxy.cut_all()
        for near, far in pairs:
            assert [(b"", True), (b"", True)] == [await near.all(), await far.all()]
        await here.emptied()
        near, far = await here.pair()
        near.say(b"again")
        assert b"again" == await far.hear(5)


async def test_a_server_that_is_not_there_is_a_reset() -> None:
    """The client was accepted, so he learns it so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with FaultProxy("127.0.0.1", port) as proxy:
        near = End(*await asyncio.open_connection(proxy.host, proxy.port))
        assert (b"", True) == await near.all()
        near.writer.close()


async def test_stopping_ends_every_connection_and_may_be_repeated() -> None:
    """Also one that has just come, and one that would be served for ever."""
    async with lab("black-hole") as here:
        near, far = await here.pair()
        await here.come()
        await here.proxy.stop()
        await here.proxy.stop()
        assert 0 == here.proxy.live
        await near.all()
        await far.all()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(here.proxy.host, here.proxy.port)


async def test_it_stands_before_ipv6_too() -> None:
    """Listener and server alike."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("needs IPv6 on loopback")
    async with lab(host="::1") as here:
        near, far = await here.pair()
        near.say(b"hello")
        assert b"hello" == await far.hear(5)


async def test_what_cannot_be_is_said() -> None:
    """A plan that cannot be read, a port that is taken."""
    with pytest.raises(ValueError, match="unknown fault 'nonsense'"):
        FaultProxy("127.0.0.1", 1, "nonsense")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy = FaultProxy("127.0.0.1", 1, listen_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await proxy.start()


def test_it_runs_on_uvloop_as_well() -> None:
    """The loop of `turnout simulate`: bytes, a reset, an end."""
    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        runner.run(test_without_a_plan_bytes_pass_and_each_end_stays_what_it_was())
        runner.run(test_reset_after_n_bytes(4, b"0123"))
        runner.run(test_cut_all_resets_everybody_now())
        runner.run(test_truncate_ends_both_ways_in_good_order())
