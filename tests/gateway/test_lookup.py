"""A look-up is waited for as long as one wants, and goes on whoever stops waiting."""

import asyncio

from turnout.core.catalog import SemanticRule
from turnout.core.lexical_guard import read
from turnout.core.semantic import Record
from turnout.gateway.embedders import LetterEmbedder
from turnout.gateway.lookup import Lookup


async def test_it_goes_on_when_nobody_waits_any_more():
    """Neither a time that passes nor a waiter that leaves ends it."""
    gate = asyncio.Event()
    lookup = Lookup("a", b"", read("a"), Record(SemanticRule()), LetterEmbedder())
    await lookup.over()
    lookup.looking = asyncio.ensure_future(gate.wait())
    await lookup.over(0.001)
    waiter = asyncio.ensure_future(lookup.over())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait({waiter})
    assert not lookup.looking.done()
    gate.set()
    await lookup.over()
    assert lookup.looking.done()
    assert (lookup.vector, lookup.hit, lookup.was_served) == (None, None, False)
