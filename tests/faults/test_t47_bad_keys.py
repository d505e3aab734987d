"""T47: a flood of distinct bad keys costs no memory and no database query, and valid traffic hardly waits longer.

A key is hashed and compared in memory; nothing is kept of one that is wrong, so there is no cache of them to bound. How many
a second one process can refuse is measured too: it is what the machine carries, less than the 100,000 of a larger one.
"""

from __future__ import annotations

import random

from tests.bench.load import percentile
from tests.faults.flood import Flood, Load, ask
from tests.faults.hostile import resident_kib
from tests.process import Served, SimulatedVendor
from tests.rig import CONFIG, KEY, Rig

DELAY_S = 0.3
VALID_PER_S = 40
GROWTH_KIB = 10 * 1024


def bad_key(chance: random.Random) -> str:
    """A key as ours look, of any length up to a kilobyte now and then."""
    return f"sk-turnout-{chance.getrandbits(4 * chance.choice((20, 40, 43, 43, 43, 1000))):x}"


def floods_wires(port: int, count: int, chance: random.Random) -> list[str]:
    """So many requests, each with a key of its own."""
    wire = ask(port)
    return [wire.replace(KEY, bad_key(chance)) for _ in range(count)]


async def test_t47_a_flood_of_bad_keys_hurts_nobody(tmp_path, size, seed, proof):
    """The valid requests alone, then beside the flood; then the flood as fast as it goes, and the memory that is left of it."""
    chance = random.Random(seed)
    seconds, rate = size(1.0, 15.0), 3000
    async with SimulatedVendor(tmp_path, "--fault-for", "*", f"delay={DELAY_S}") as vendor:
        (tmp_path / "turnout.yaml").write_text(
            CONFIG.format(url=vendor.origin).replace("first_chunk: 1", "first_chunk: 5")
        )
        async with Served(tmp_path, "--port", "0", vendor=vendor) as gateway, Load() as load:
            port = int(gateway.url.rpartition(":")[2])
            wires = floods_wires(port, size(4000, 60_000), chance)
            valid = Flood(port, [ask(port)], VALID_PER_S, seconds, 60)
            (alone,) = await load.run(valid)
            (first,) = await load.run(
                Flood(port, wires[:500], rate, 0.2, 60)
            )  # what the first of them makes Python keep
            before = resident_kib(gateway.process.pid)
            beside, flood = await load.run(valid, Flood(port, wires, rate, seconds, 60))
            (storm,) = await load.run(Flood(port, wires, 4 * rate, size(0.5, 5.0), 60))
            grown = resident_kib(gateway.process.pid) - before
            async with gateway.http() as client:
                metrics = (await client.get("/metrics")).text
    refused = flood.statuses[401] + storm.statuses[401]
    assert flood.planned + storm.planned == refused, (flood, storm)
    assert (valid.rate_per_s * seconds, alone.planned) == (beside.count("complete"), alone.count("complete")), beside
    assert f'turnout_errors_total{{code="unauthenticated",status="401"}} {refused + first.planned:.1f}' in metrics
    assert grown <= GROWTH_KIB
    share = size(0.5, 0.99)  # of 40 requests, the hundredth is the slowest, and the machine's doing
    usual_s, flooded_s = (percentile(one.series["total"], share) for one in (alone, beside))
    assert flooded_s <= 1.2 * usual_s, (alone, beside)
    proof(
        f"{refused} bad keys, all 401: beside {rate}/s the valid requests' p99 was {beside.percentile('total', 0.99) * 1e3:.0f} ms "
        f"({alone.percentile('total', 0.99) * 1e3:.0f} ms without); {storm.statuses[401] / storm.elapsed_s:.0f}/s by itself; memory "
        f"+ {max(0, grown)} KiB"
    )


async def test_t47_no_bad_key_asks_the_database(tmp_path, size, seed, proof):
    """The store is asked when it starts and when it looks for changes, and not once more for any number of keys."""
    chance = random.Random(seed)
    count = size(500, 5000)
    statements = []
    async with Rig(tmp_path) as rig:
        await rig.service.flush_traces()
        rig.service.state._database.set_trace_callback(statements.append)
        rig.service.traces._database.set_trace_callback(statements.append)
        async with rig.http() as client:
            client.headers["authorization"] = ""
            found = {
                (await client.get("/v1/models", headers={"authorization": f"Bearer {bad_key(chance)}"})).status_code
                for _ in range(count)
            }
        rig.service.state._database.set_trace_callback(None)
        rig.service.traces._database.set_trace_callback(None)
    asked = [one for one in statements if "rollout_change" not in one and "data_version" not in one]
    assert {401} == found
    assert [] == asked, statements[:9]
    assert "PRAGMA data_version" in statements  # the look for changes, four times a second: the callback does see
    proof(f"{count} bad keys: {len(asked)} database statements")
