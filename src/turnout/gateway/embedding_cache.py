"""Answers embeddings requests input by input: what is kept is not asked for again, whichever batch it came in.

Stands behind the answers' cache as a Finder, and keeps its items on the same shelf: one budget, one age, one `clear`. Where
every input is kept of one candidate, that is the answer, a hit. Else the exchange gets a Batch, and whoever is asked for it
is asked for the inputs that are not kept of that very candidate (gateway/answer.py): vectors of two models never meet.
Only the first candidate's items are looked for in what other gateways keep: it is the one that would be asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from turnout.core.caching import Kept, pack, shelf_key, unpack, wish
from turnout.core.embedding_batches import Batch, items_of, pack_item, unpack_item
from turnout.core.plan import Choice, Plan
from turnout.gateway.cache import Cache, CacheStats, own_choices
from turnout.gateway.clock import Clock
from turnout.gateway.exchange import Exchange
from turnout.gateway.tasks import Tasks
from turnout.stores import CacheLevel


class EmbeddingCache:
    """Embeddings by input."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._kept_before = 0
        self._asked = 0
        self._cache = cache
        self._clock = clock
        self._tasks = Tasks()

    async def find(self, exchange: Exchange, planned: Plan) -> tuple[Choice, Kept] | None:
        """Return the whole answer if one candidate's items are all there; else have only the others asked for."""
        if exchange.call.kind != "embedding":
            return None
        batch = Batch.of(exchange.call, exchange.ask.workspace)
        choices = own_choices(planned)
        if batch is None or not choices:
            return None
        exchange.batch = batch
        for choice in choices:
            kept = await self._kept(exchange, planned, batch, choice, is_first=choice is choices[0])
            items = {at: item for at, one in kept.items() if (item := unpack_item(one.body)) is not None}
            batch.know(choice.candidate.key, items)
            if (body := batch.whole(choice.candidate.key)) is not None:
                self._kept_before += len(batch.inputs)
                cost = sum(one.cost_nano_usd for one in kept.values())
                at = min(one.at for one in kept.values())
                return choice, Kept(body, at, planned.terms.cache_s, cost, exchange.ask.workspace)
        asked = len(batch.asked(choices[0].candidate.key))
        self._asked += asked
        self._kept_before += len(batch.inputs) - asked
        return None

    async def _kept(
        self, exchange: Exchange, planned: Plan, batch: Batch, choice: Choice, *, is_first: bool
    ) -> Mapping[int, Kept]:
        """Return what is kept of one candidate, by the input's place."""
        now, shelf = self._clock.now(), self._cache.shelf
        max_age_s = min(planned.terms.cache_s, wish(exchange.ask.cache_control).max_age_s)
        found: dict[int, Kept] = {}
        missing: dict[bytes, int] = {}
        for at, question in enumerate(batch.questions):
            key = shelf_key(question, choice.candidate)
            kept = shelf.get(key, now, max_age_s)
            if kept is not None:
                found[at] = kept
            else:
                missing[key] = at
        level = self._cache.level
        if level is not None and missing and is_first:
            room = exchange.snapshot.cache.size_bytes
            now, wall = self._clock.now(), self._clock.wall()
            for (key, at), data in zip(missing.items(), await level.get(list(missing)), strict=False):
                kept = None if data is None else unpack(data, now, wall)
                if kept is None or kept.workspace != exchange.ask.workspace:
                    continue
                shelf.put(key, kept, now, room)
                if now - kept.at < min(kept.ttl_s, max_age_s):
                    found[at] = kept
        return found

    def learn(self, exchange: Exchange, planned: Plan, kept: Kept) -> None:  # noqa: ARG002 - the protocol's
        """Keep the items of an answer that were asked for, each by itself."""
        if exchange.call.kind != "embedding":
            return
        batch = exchange.batch or Batch.of(exchange.call, exchange.ask.workspace)
        choice = exchange.answer[0]
        items = None if batch is None else items_of(kept.body, len(batch.inputs))
        if batch is None or choice is None or items is None:
            return
        candidate, now, wall = choice.candidate, self._clock.now(), self._clock.wall()
        asked = batch.asked(candidate.key)
        shared: dict[bytes, bytes] = {}
        rule = exchange.snapshot.cache
        for at in asked:
            cost = kept.cost_nano_usd // len(asked)
            one = Kept(pack_item(items[at]), kept.at, kept.ttl_s, cost, kept.workspace)
            if len(one.body) > rule.answer_bytes:
                continue
            key = shelf_key(batch.questions[at], candidate)
            self._cache.shelf.put(key, one, now, rule.size_bytes)
            shared[key] = pack(one, now, wall)
        if self._cache.level is not None:
            self._tasks.start(_share(self._cache.level, shared, kept.ttl_s), "share embeddings")

    def clear(self, workspace: str | None) -> int:  # noqa: ARG002 - the protocol's
        """Nothing: the items leave with the shelf that they stand on."""
        return 0

    def tell(self, stats: CacheStats) -> None:
        """Add how many inputs were kept."""
        stats.inputs_kept, stats.inputs_asked = self._kept_before, self._asked

    async def stop(self) -> None:
        """Wait for what is being shared."""
        await self._tasks.ended()


async def _share(level: CacheLevel, items: Mapping[bytes, bytes], ttl_s: float) -> None:
    for key, data in items.items():
        await level.put(key, data, ttl_s)
