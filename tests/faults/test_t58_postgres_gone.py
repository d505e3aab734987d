"""T58: PostgreSQL gone for long under load: no request with a known key fails, the journal grows by at most 1 KiB a request, is
drained within 60 s after, and the books have every attempt once.
"""

import asyncio

from tests.faults.banked import booked, over, until_drained, with_a_key
from tests.faults.together import Steady, p99, wrong
from tests.postgres_server import PostgresServer
from tests.rig import Rig

RATE = 50


async def test_t58_postgres_gone(tmp_path, size, proof):
    """An hour at 50 requests a second, at the same rate for two minutes in full: what grows with time is the journal alone."""
    gone_s = size(2.5, 120)
    with PostgresServer("synchronous_commit=on") as server:
        async with Rig(tmp_path, config=over(server.new_database())) as rig:
            await with_a_key(rig)
            load = Steady([rig], RATE)
            before = await load.run(0.5)
            await until_drained(rig)
            server.kill()
            empty = _journal_bytes(rig)
            sent = await load.run(gone_s)
            stats = rig.service.books.ledger.stats
            a_request = (_journal_bytes(rig) - empty) / len(sent)
            await asyncio.to_thread(server.start)
            drained_s = await until_drained(rig)
            after = await load.run(0.5)
            await until_drained(rig)
            left = _journal_bytes(rig)
        dispatched = len(rig.world.witness.dispatches)
        assert (dispatched, dispatched) == booked(server)
    assert [] == wrong(before) + wrong(sent) + wrong(after)
    assert len(sent) == stats.waiting
    assert a_request <= 1024
    assert drained_s <= 60
    proof(
        f"gone for {gone_s:.0f} s at {RATE} requests a second: {len(sent)} of {len(sent)} answered, p99 "
        f"{1000 * p99(sent):.0f} ms; {a_request:.0f} bytes of journal a request, drained in {drained_s:.1f} s to "
        f"{left / 1024:.0f} KiB; all {dispatched} attempts in the ledger once"
    )


def _journal_bytes(rig):
    return rig.service.books.ledger.stats.journal_bytes
