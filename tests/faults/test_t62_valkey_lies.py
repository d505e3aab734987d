"""T62: a Valkey that is slow, lossy, in crumbs, or answers errors and garbage costs no request more than one that froze."""

import asyncio

import pytest

from tests.faults.own_network import own_network
from tests.faults.together import Gateways, Steady, median, p99, wrong
from tests.process import SimulatedVendor
from tests.valkey_server import ValkeyServer
from turnout.api.fault_proxy import FaultProxy

RPS = 100
WIRES = {
    "200 ms slow": "down:delay=200ms",
    "1 byte a second": "down:bandwidth=1;slice=1",
    "silent": "down:black-hole=0",
    "never reads": "up:never-read",
    "garbage": "down:corrupt=0",
    "garbage later": "down:corrupt=2000",
    "reset": "down:reset=100",
}
REFUSALS = {
    "LOADING": b"-LOADING Valkey is loading the dataset in memory\r\n",
    "READONLY": b"-READONLY You can't write against a read only replica.\r\n",
    "OOM": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "WRONGTYPE": b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    "NOSCRIPT": b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
    "a number": b":42\r\n",
    "a wrong reply": b"$3\r\nxyz\r\n",
    "an empty list": b"*0\r\n",
    "no RESP at all": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a huge length": b"$9999999999\r\n",
}


class Liar:
    """Answers every command alike, on a port of its own. open: its connections now."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.open = 0
        self.asked = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader, writer):
        self.open += 1
        try:
            while data := await reader.read(65536):
                self.asked += data.count(b"*")
                writer.write(self.answer)
                await writer.drain()
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.close()


def _quick(names, few):
    """All of them in full; a few in `make test`."""
    return [name if name in few else pytest.param(name, marks=pytest.mark.prove) for name in names]


@pytest.mark.parametrize("name", _quick(WIRES, []))
async def test_t62_wires(tmp_path, size, proof, name):
    """From a moment on the connection is bad: 0 failures, one line, and as quick as without Valkey."""
    async with (
        ValkeyServer(tmp_path) as valkey,
        FaultProxy(valkey.host, valkey.port) as proxy,
        SimulatedVendor(tmp_path, is_logged=False) as vendor,
        Gateways(tmp_path, f"redis://127.0.0.1:{proxy.port}/0", vendor) as gateways,
    ):
        await gateways.until_up()
        load = Steady(gateways.all, RPS)
        well = await load.run(size(0.3, 3))
        proxy.use(WIRES[name])
        proxy.cut_all()
        bad = await load.run(size(1.0, 10))
        lines = gateways.logged()
        accepted = proxy.accepted
        proxy.use("")
        proxy.cut_all()
        back_s = await gateways.until_up(within_s=12)
    assert ([], []) == (wrong(well), wrong(bad))
    assert len(lines) <= 4, lines  # one is this fault's, the others come of a busy machine
    assert median(bad) <= median(well) + 0.01
    assert accepted <= 2 * (2 + size(1.0, 10) + 1)
    proof(
        f"{name}: 0 of {len(bad)} failed, p99 {p99(well) * 1000:.1f} -> {p99(bad) * 1000:.1f} ms; back in {back_s:.1f} s"
    )


@pytest.mark.parametrize("name", _quick(REFUSALS, ["LOADING"]))
async def test_t62_refusals(tmp_path, size, proof, name):
    """Who answers so from the start is not used, and every request is answered; garbage ends the connection."""
    async with (
        Liar(REFUSALS[name]) as liar,
        SimulatedVendor(tmp_path, is_logged=False) as vendor,
        Gateways(tmp_path, liar.url, vendor, quota="{}") as gateways,
    ):
        sent = await Steady(gateways.all, RPS).run(size(0.3, 5))
        lines = gateways.logged()
        assert liar.open <= 2
    assert [] == wrong(sent)
    assert len(lines) <= 1, lines
    proof(f"{name}: 0 of {len(sent)} failed, {liar.asked} commands were sent there")


@pytest.mark.prove
async def test_t62_what_a_real_server_refuses(tmp_path, size, proof):
    """Out of memory, a replica that takes no writes, another type at our key, scripts gone: alone, and back without a restart."""
    async with (
        ValkeyServer(tmp_path) as valkey,
        SimulatedVendor(tmp_path, is_logged=False) as vendor,
        Gateways(tmp_path, valkey.url, vendor) as gateways,
    ):
        await gateways.until_up()
        load = Steady(gateways.all, RPS)
        told = []
        for name, harm, mend in (
            ("OOM", ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            ("READONLY", ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
            ("no scripts", ("SCRIPT", "FLUSH"), ("PING",)),
            (
                "another type",
                ("EVAL", "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'x')", "1", "turnout:{stub}"),
                ("PING",),
            ),
            ("damaged bytes", ("SET", "turnout:{stub}", b"\xc1\xff\x00"), ("PING",)),
            ("everything gone", ("FLUSHALL",), ("PING",)),
        ):
            await valkey.ask(*harm)
            sent = await load.run(size(0.5, 5))
            assert [] == wrong(sent), name
            await valkey.ask(*mend)
            told.append(f"{name} {await gateways.until_up(within_s=12):.1f} s")
        assert len(gateways.logged()) <= 12, gateways.logged()
    proof(f"0 failed; shared again after: {', '.join(told)}")


@pytest.mark.prove
async def test_t62_a_lossy_line(tmp_path, size, proof):
    """30 % of the packets to and from Valkey are lost at random: 0 failures, and few requests wait."""
    with own_network() as network:
        async with (
            ValkeyServer(tmp_path) as valkey,
            SimulatedVendor(tmp_path, is_logged=False) as vendor,
            Gateways(tmp_path, valkey.url, vendor) as gateways,
        ):
            await gateways.until_up()
            load = Steady(gateways.all, RPS)
            well = await load.run(size(0.5, 5))
            network.nft(
                *(
                    f"add rule ip filter output tcp {end} {valkey.port} numgen random mod 100 < 30 drop"
                    for end in ("dport", "sport")
                )
            )
            lossy = await load.run(size(2, 30))
            lines = gateways.logged()
            network.heal()
            back_s = await gateways.until_up(within_s=12)
    assert ([], []) == (wrong(well), wrong(lossy))
    late = sum(one.took_s >= 0.04 for one in lossy if one.due_s >= 1)
    assert median(lossy) <= median(well) + 0.01
    assert len(lines) <= 2 * size(2, 30) + 2, lines
    proof(
        f"30 % of packets lost: 0 of {len(lossy)} failed, p99 {p99(lossy) * 1000:.1f} ms, {late} waited for the store; "
        f"{len(lines)} lines; back in {back_s:.1f} s"
    )
