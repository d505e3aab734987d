"""Answers a question with what was answered to one that is only worded otherwise, where a task says so.

Stands behind the answers' cache as a Finder: it holds vectors, and each of them as long as the answer is on the shelf. What
the user said last is compared; workspace, task, model and everything else in the request is the same or it is never
looked at (core/semantic.py decides, core/lexical_guard.py vetoes).
In shadow, and while the record says so, nobody waits for it: the look-up runs beside the call upstream, and what would have
been the answer is compared with the real one when that is over. Only a look-up that may serve is waited for, and no longer
than LATE_S. Nothing that goes wrong here reaches the request.
"""

from __future__ import annotations

from typing import NamedTuple

from turnout.core.caching import Kept, digest, shelf_key, wish
from turnout.core.catalog import SemanticRule
from turnout.core.lexical_guard import Conflict, Reading, conflict, read
from turnout.core.plan import Choice, Plan
from turnout.core.same_answer import COMPARED_CHARACTERS, disagreement, is_same_text, told_by
from turnout.core.semantic import Record, cosine, question_of
from turnout.gateway.cache import Cache, CacheStats, SemanticStats, own_choices
from turnout.gateway.clock import Clock
from turnout.gateway.embedders import Embedders
from turnout.gateway.exchange import Exchange
from turnout.gateway.lookup import Hit, Lookup
from turnout.gateway.tasks import Tasks
from turnout.gateway.vectors import Vectors

LATE_S = 0.5
"""How long a request waits for a look-up that might answer it. The bundled model takes 11 ms when nobody is before it."""

MOST_UNDER_WAY = 64
"""Look-ups and comparisons at once; further questions are not looked up."""

NEAREST = 4
"""How many near questions are read: the guard may be against the first and not against the second."""


class _Held(NamedTuple):
    """A question that was answered, and under which key its answer is on the shelf."""

    reading: Reading
    key: bytes


class SemanticCache:
    """Questions in other words. embedders: see gateway/embedders.py."""

    def __init__(self, cache: Cache, clock: Clock, embedders: Embedders) -> None:
        self._cache = cache
        self._clock = clock
        self._embedders = embedders
        self._vectors: Vectors[_Held] = Vectors()
        self._records: dict[str, Record] = {}
        self._tasks = Tasks()

    async def find(self, exchange: Exchange, planned: Plan) -> tuple[Choice, Kept] | None:
        """Return an answer that may stand in, None if there is none, or it is to be compared first."""
        rule = planned.terms.semantic
        lookup = None if rule is None else self._begin(exchange, planned, rule)
        if lookup is None:
            return None
        exchange.lookup = lookup
        if not lookup.record.may_serve(self._clock.draw()):
            return None
        await lookup.over(LATE_S)
        hit = lookup.hit
        if hit is None:
            return None
        lookup.was_served = True
        lookup.record.served += 1
        return hit.choice, hit.kept

    def learn(self, exchange: Exchange, planned: Plan, kept: Kept) -> None:
        """Hold the question that this answers, and compare the answer with what would have been given."""
        rule = planned.terms.semantic
        choice = exchange.answer[0]
        if rule is None or choice is None:
            return
        lookup = exchange.lookup or self._begin(exchange, planned, rule)
        if lookup is not None:
            self._tasks.start(self._learn(lookup, exchange, choice, kept), "learn an answer")

    def tell(self, stats: CacheStats) -> None:
        """Add what came of each task's questions."""
        stats.semantic = {
            task: SemanticStats(
                record.state,
                record.looked,
                record.near,
                dict(record.guarded),
                record.would_be,
                record.served,
                record.compared,
                record.false,
                record.false_hit_rate,
            )
            for task, record in self._records.items()
        }

    def clear(self, workspace: str | None) -> int:  # noqa: ARG002 - the protocol's
        """Nothing: each question leaves with its answer, when that leaves the shelf."""
        return 0

    async def stop(self) -> None:
        """Give up what is under way."""
        await self._tasks.stop()
        await self._embedders.stop()

    def _begin(self, exchange: Exchange, planned: Plan, rule: SemanticRule) -> Lookup | None:
        """Start to look; None if this is no question for it, or too many are under way."""
        asked = question_of(exchange.call)
        if asked is None or len(self._tasks) >= MOST_UNDER_WAY:
            return None
        text, rest = asked
        common = digest(rest, exchange.ask.workspace)
        if common is None:
            return None
        record = self._records.get(planned.task)
        if record is None or record.rule != rule:
            record = self._records[planned.task] = Record(rule)
        # What a name stands for may change with the config, and with it the space that its vectors lie in.
        space = exchange.snapshot.revision if rule.embedder in exchange.snapshot.models else ""
        question = f"{rule.embedder}\n{space}\n{planned.task}\n".encode() + common
        lookup = Lookup(text, question, read(text), record, self._embedders.named(rule.embedder))
        lookup.looking = self._tasks.start(self._look(lookup, exchange, planned), "look for a like question")
        return lookup

    async def _look(self, lookup: Lookup, exchange: Exchange, planned: Plan) -> None:
        """Find the nearest question that has an answer, and nothing against it."""
        vectors = await lookup.embedder.embed([lookup.text], exchange.ask)
        if not vectors:
            return
        lookup.vector, record, rule = vectors[0], lookup.record, lookup.record.rule
        threshold = rule.threshold or lookup.embedder.threshold or 1.0
        max_age_s = min(planned.terms.cache_s, wish(exchange.ask.cache_control).max_age_s)
        record.looked += 1
        said: Conflict | None = None
        for choice in own_choices(planned):
            partition = shelf_key(lookup.question, choice.candidate)
            for similarity, held in self._vectors.nearest(partition, lookup.vector, threshold, NEAREST):
                kept = self._cache.shelf.get(held.key, self._clock.now(), max_age_s)
                against = conflict(held.reading, lookup.reading)
                if kept is not None and against is None:
                    record.note("same")
                    lookup.hit = Hit(choice, kept, similarity)
                    return
                said = said or against
        if said is not None:
            record.note(said)

    async def _learn(self, lookup: Lookup, exchange: Exchange, choice: Choice, kept: Kept) -> None:
        """Hold the question with its answer; compare that with what would have been given."""
        await lookup.over()
        if lookup.vector is None:
            return
        question = digest(exchange.call, exchange.ask.workspace)
        assert question is not None  # it is kept under it
        held = _Held(lookup.reading, shelf_key(question, choice.candidate))
        self._vectors.add(shelf_key(lookup.question, choice.candidate), lookup.vector, held, kept)
        if lookup.hit is not None:
            is_same = await _agree(lookup, exchange, lookup.hit.kept, kept)
            lookup.hit = None  # it holds an answer that may have left the shelf
            if is_same is not None:
                lookup.record.compare(is_same=is_same)


async def _agree(lookup: Lookup, exchange: Exchange, one: Kept, other: Kept) -> bool | None:
    """Whether two answers say the same, None if that cannot be told."""
    said, meant = told_by(exchange.call, one.body), told_by(exchange.call, other.body)
    if said is None or meant is None:
        return None
    if disagreement(said, meant):
        return False
    if is_same_text(said.text, meant.text):
        return True
    texts = [said.text[:COMPARED_CHARACTERS], meant.text[:COMPARED_CHARACTERS]]
    vectors = await lookup.embedder.embed(texts, exchange.ask)
    if not vectors:
        return None
    least = lookup.record.rule.answer_threshold or lookup.embedder.answer_threshold or 1.0
    return cosine(*vectors) >= least
