"""T45: one caller asks for many times what it can get; the nine beside it see no error and hardly wait longer.

All have the same key and differ by `x-turnout-user`. The nine are measured alone first, then beside the tenth, in one run.
"""

from __future__ import annotations

from tests.bench.load import percentile
from tests.faults.flood import Flood, Load, ask, goodput
from tests.faults.test_t44_overload import CONFIG, port_of
from tests.process import Served, SimulatedVendor

DELAY_S = 0.4
PLACES = 50
QUIET_PER_S = 9.0
"""One request a second from each: four under way, where five places are kept for whoever has less than a share."""


async def test_t45_nine_quiet_callers_beside_a_noisy_one(tmp_path, size, proof):
    """The noisy one gets what the others leave, and is told to come later for the rest."""
    seconds = size(1.0, 20.0)
    async with SimulatedVendor(tmp_path, "--fault-for", "*", f"delay={DELAY_S}") as vendor:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin, places=PLACES))
        async with Served(tmp_path, "--port", "0", vendor=vendor) as gateway, Load() as load, gateway.http() as client:
            port = port_of(gateway)
            wires = [ask(port, f"quiet-{number}") for number in range(9)]
            # Half a second after the noise, so that it has all it can get, and its connections are open.
            nine = Flood(port, wires, QUIET_PER_S, seconds, 60, after_s=0.5)
            noisy = Flood(port, [ask(port, "noisy")], 4 * PLACES / DELAY_S, seconds + 0.5, 300)
            (alone,) = await load.run(nine)
            beside, noise = await load.run(nine, noisy)
            metrics = (await client.get("/metrics")).text
    usual_s, share = alone.percentile("total", 0.99), size(0.9, 0.99)
    loud_s = percentile(beside.series["total"], share)
    assert beside.count("complete") == beside.planned, beside
    assert loud_s <= size(3.0, 1.2) * usual_s, (alone, beside)  # of nine requests one may be late for any reason
    assert noise.count("refused") > noise.count("complete") > 0
    assert 'turnout_shed_total{reason="share"}' in metrics
    proof(
        f"the nine: {beside.count('complete')} of {beside.planned} answered, p99 {usual_s * 1e3:.0f} ms alone and "
        f"{beside.percentile('total', 0.99) * 1e3:.0f} ms beside {noisy.rate_per_s:.0f} requests/s of the tenth, "
        f"of which {goodput(noise):.0f}/s were served"
    )
