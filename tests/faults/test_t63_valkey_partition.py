"""T63: a gateway that is cut off from Valkey, in silence, lives on its share: together they never exceed the limit."""

import asyncio

import pytest

from tests.faults.own_network import own_network
from tests.faults.together import Gateways, Steady, most_in_a_minute
from tests.process import SimulatedVendor
from tests.valkey_server import ValkeyServer

LIMIT = 40
QUOTA = f"{{requests_per_minute: {LIMIT}}}"
IMPATIENT = "x-turnout-timeout: 0.2\r\n"
NEAR, FAR = "127.0.0.1", "127.0.0.2"


@pytest.mark.prove
async def test_t63_partition(tmp_path, size, proof):
    """The second gateway's packets are dropped both ways. Both are asked for far more than there is, for 90 s in full."""
    apart_s, together_s = size((2.5, 0), (65, 25))
    with own_network() as network:
        server = ValkeyServer(tmp_path, "--bind", NEAR, FAR)
        async with server, SimulatedVendor(tmp_path) as vendor:
            urls = (server.url, server.url.replace(NEAR, FAR))
            gateways = Gateways(tmp_path, "", vendor, count=2, quota=QUOTA, cache='"0"', urls=urls)
            async with gateways:
                await gateways.until_up()
                load = Steady(gateways.all, 20, headers=IMPATIENT)
                loading = asyncio.ensure_future(load.run(0.5 + apart_s + together_s))
                await asyncio.sleep(0.5)
                network.nft(
                    f"add rule ip filter output ip daddr {FAR} tcp dport {server.port} drop",
                    f"add rule ip filter output ip saddr {FAR} tcp sport {server.port} drop",
                )
                await asyncio.sleep(apart_s)
                network.heal()
                back_s = await gateways.until_up(within_s=10)
                sent = await loading
                lines = gateways.logged()
    most, total = most_in_a_minute(vendor)
    by_gateway = [sum(one.status == 200 and one.gateway == at for one in sent) for at in (0, 1)]
    assert {one.status for one in sent} <= {200, 429}
    assert min(by_gateway) >= LIMIT // 4
    assert LIMIT // 2 <= most <= LIMIT
    assert total == sum(by_gateway)
    assert 1 <= len(lines) <= 4, lines
    proof(
        f"apart for {apart_s:g} s: at most {most} of {LIMIT} calls in any 60 s, {total} in all ({by_gateway[0]} by the near gateway, "
        f"{by_gateway[1]} by the one cut off); shared again {back_s:.1f} s after"
    )
