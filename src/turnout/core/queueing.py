"""Decides who goes next of those that wait for a turn.

A request waits in one or several *lanes*. A lane is a set of quotas that a call must fit; models that count against the
same quotas share it. The rules, in order:

1. Rank: a tool conversation that goes on before one that begins, high before medium before low, jobs last.
2. Every fourth turn may be claimed by whoever has waited longer than its rank's patience; of several ranks the one that has
   gone without a turn for longest. So low never starves, and high still has three turns of four.
3. Inside a rank the callers take turns, and each caller's requests keep their order. (Fair queueing by virtual time, with
   every request of equal cost, is this round robin.) The circle goes over all lanes.
4. Who cannot go keeps back whoever would need the same scarce quota after it, else small requests would starve a large
   one; except where the other has a right that it lacks: high may use a day's reserve, and a conversation that goes on may use
   the room that is kept for it.

Nothing here knows a clock or a quota: what is free is asked of the caller. Not thread-safe.
Cost: joining and leaving O(lanes of the ticket); choosing O(lanes that somebody waits in), however many wait
(tests/core/test_queueing.py measures 10, 1,000 and 10,000).
Sources: start-time fair queueing (Goyal, Vin, Cheng 1996), of which this is the case of equal costs; RELIABILITY A6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from itertools import takewhile
from math import inf
from operator import itemgetter
from typing import Final, Literal

from turnout.core.catalog import Priority

Lane = tuple[str, ...]
"""Names of the quotas that a call counts against."""

JOB = 6
RANKS = 7

PATIENCE_S = (30.0, 30.0, 30.0, 30.0, 120.0, 120.0)
"""By rank: how long somebody waits before it may claim a fourth turn. A person waits half a minute (FACTS §3, timeout 30 s);
a client's usual time is 600 s, of which low has most left when its claims begin."""

JOB_LEAD_S = 600.0
"""How long before its time a job may claim a fourth turn; until then it goes only when nobody else could."""

CLAIM_EVERY = 4
"""One turn of four: enough that what is low moves, and that a queue of it cannot double the wait of what is high."""

_RIGHTS = ((True, True), (True, False), (False, True), (False, False), (False, True), (False, False), (False, False))
"""By rank: may use a day's reserve, may use the room kept for conversations."""

_PRIORITY_RANKS: Final[Mapping[Priority, int]] = {"high": 1, "medium": 3, "low": 5}


def rank_of(priority: Priority, *, is_continuing: bool, is_job: bool = False) -> int:
    """Return the place of a request's class in the order, 0 first. O(1)."""
    return JOB if is_job else _PRIORITY_RANKS[priority] - is_continuing


def priority_of(asked: Priority | Literal[""], usual: Priority, tools: int) -> Priority:
    """Return a request's priority: what it asks for, else its task's, raised by the number of tools that it declares.

    Source: FACTS §3: three tools or more are high, one or two are medium.
    """
    if asked:
        return asked
    if tools >= 3:
        return "high"
    return "medium" if tools and usual == "low" else usual


def is_high(rank: int) -> bool:
    """Whether a rank may use what is reserved for high priority."""
    return _RIGHTS[rank][0]


def is_continuing(rank: int) -> bool:
    """Whether a rank is of conversations that go on."""
    return _RIGHTS[rank][1]


class Ticket:
    """One request that waits. lanes: where it may go, the best first, none twice. arrived: seconds.

    claims_at: from when on it may claim a fourth turn; a job's is JOB_LEAD_S before `by`, seconds of the same clock.
    last_at: from when on it claims every turn, with all rights, since its time is nearly over.
    """

    __slots__ = ("arrived", "caller", "claims_at", "lanes", "last_at", "rank")

    def __init__(self, caller: Hashable, rank: int, lanes: tuple[Lane, ...], arrived: float, by: float = 0.0) -> None:
        self.caller = caller
        self.rank = rank
        self.lanes = lanes
        self.arrived = arrived
        self.claims_at = by - JOB_LEAD_S if rank == JOB else arrived + PATIENCE_S[rank]
        self.last_at = inf


class _Flow:
    """One caller's tickets in one rank of one lane. since: when it joined the circle, as a count."""

    __slots__ = ("since", "tickets")

    def __init__(self, since: int) -> None:
        self.since = since
        self.tickets: OrderedDict[Ticket, None] = OrderedDict()


class _Rank:
    """Who waits in one rank of one lane: by caller, in the circle's order, and all by arrival.

    weight: how many there are, one that waits in two lanes as a half in each.
    """

    __slots__ = ("arrivals", "flows", "weight")

    def __init__(self) -> None:
        self.flows: OrderedDict[Hashable, _Flow] = OrderedDict()
        self.arrivals: OrderedDict[Ticket, None] = OrderedDict()
        self.weight = 0.0

    def add(self, ticket: Ticket, count: int) -> None:
        flow = self.flows.get(ticket.caller)
        if flow is None:
            flow = self.flows[ticket.caller] = _Flow(count)
        flow.tickets[ticket] = None
        self.arrivals[ticket] = None
        self.weight += 1 / len(ticket.lanes)

    def to_front(self, ticket: Ticket) -> None:
        """Before its caller's later ones, and its caller before the others. O(those of it that are back already)."""
        flow = self.flows[ticket.caller]
        earlier = list(takewhile(lambda one: one.arrived < ticket.arrived, flow.tickets))
        for one in (ticket, *reversed(earlier)):
            flow.tickets.move_to_end(one, last=False)
        self.arrivals.move_to_end(ticket, last=False)
        self.flows.move_to_end(ticket.caller, last=False)

    def discard(self, ticket: Ticket) -> None:
        flow = self.flows[ticket.caller]
        del flow.tickets[ticket]
        if not flow.tickets:
            del self.flows[ticket.caller]
        del self.arrivals[ticket]
        self.weight -= 1 / len(ticket.lanes)

    def turned(self, caller: Hashable, count: int) -> None:
        """It was this caller's turn: to the end of the circle."""
        self.flows[caller].since = count
        self.flows.move_to_end(caller)

    def ahead(self, caller: Hashable) -> float:
        """About how many of this rank go before a further ticket of `caller`; no fewer than really do."""
        flow = self.flows.get(caller)
        mine = 0 if flow is None else len(flow.tickets)
        others = len(self.flows) - (flow is not None)
        most = mine + (mine + 1) * others
        waiting = len(self.arrivals)
        return self.weight if most >= waiting else self.weight * most / waiting


class _Turns:
    """Who had turns at one quota. unclaimed: how many since the last that was claimed. latest: by rank, as a count."""

    __slots__ = ("latest", "unclaimed")

    def __init__(self) -> None:
        self.unclaimed = 0
        self.latest = [0] * RANKS


class Line:
    """Everybody who waits."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, dict[int, _Rank]] = {}
        self._turns: dict[str, _Turns] = {}  # by quota, while somebody waits
        self._count = 0
        self._tickets: dict[Ticket, None] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._tickets

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._tickets)

    def join(self, ticket: Ticket, *, is_back: bool = False) -> None:
        """Begin to wait. is_back: it had a turn that it could not use, so it goes before who came after it."""
        self._count += 1
        self._tickets[ticket] = None
        for lane in ticket.lanes:
            ranks = self._lanes.setdefault(lane, {})
            rank = ranks.get(ticket.rank)
            if rank is None:
                rank = ranks[ticket.rank] = _Rank()
            rank.add(ticket, self._count)
            if is_back:
                rank.to_front(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Wait no longer, however that ended. One that does not wait is none of ours, and nothing happens."""
        if ticket not in self._tickets:
            return
        del self._tickets[ticket]
        for lane in ticket.lanes:
            ranks = self._lanes[lane]
            rank = ranks[ticket.rank]
            rank.discard(ticket)
            if not rank.arrivals:
                del ranks[ticket.rank]
                if not ranks:
                    del self._lanes[lane]
        if not self._tickets:
            self._turns.clear()

    def urge(self, ticket: Ticket) -> None:
        """Its time is nearly over: look at it first of its rank, as if it had waited for longest. O(lanes of the ticket)."""
        for lane in ticket.lanes if ticket in self._tickets else ():
            self._lanes[lane][ticket.rank].arrivals.move_to_end(ticket, last=False)

    def ahead(self, lane: Lane, rank: int, caller: Hashable) -> int:
        """Return about how many would go before a further request of `caller` in this lane. O(ranks).

        Of who waits in several lanes a part is counted in each. Who comes later and goes first is not.
        """
        ranks = self._lanes.get(lane)
        if ranks is None:
            return 0
        before = sum(one.weight for at, one in ranks.items() if at < rank)
        own = ranks.get(rank)
        return int(before + (0.0 if own is None else own.ahead(caller)) + 1e-9)

    def next(self, now: float, in_the_way: Callable[[Ticket, Lane], Collection[str]]) -> tuple[Ticket, Lane] | None:
        """Return who goes now and in which lane, and let it leave; None if nobody can.

        in_the_way: which quotas keep a ticket from going in a lane; none: it goes. Asked of at most one ticket, or two, for
        each rank of each lane. Never raises.
        """
        kept_back: dict[str, list[tuple[bool, bool]]] = {}
        for key, ticket, lane in sorted(self._heads(now), key=itemgetter(0)):
            rights = _RIGHTS[ticket.rank] if now < ticket.last_at else (True, True)
            if any(
                high >= rights[0] and going_on >= rights[1]
                for name in lane
                for high, going_on in kept_back.get(name, ())
            ):
                continue
            names = in_the_way(ticket, lane)
            if not names:
                self._goes(ticket, lane, is_claimed=not key[0])
                return ticket, lane
            if ticket.rank != JOB:  # what keeps a job is that others may still come: it keeps nobody
                for name in names:
                    kept_back.setdefault(name, []).append(rights)
        return None

    def _heads(self, now: float) -> Iterator[tuple[tuple[int, int, int, int], Ticket, Lane]]:
        """Who could be next: of each rank of each lane the first of the circle, and who claims; the best has the least key."""
        for lane, ranks in self._lanes.items():
            turns = [had for name in lane if (had := self._turns.get(name)) is not None]
            may_claim = any(had.unclaimed >= CLAIM_EVERY - 1 for had in turns)
            for at, rank in ranks.items():
                oldest = next(iter(rank.arrivals))
                if oldest.last_at <= now or (may_claim and oldest.claims_at <= now):
                    latest = min((had.latest[at] for had in turns), default=0)
                    yield (0, latest, at, oldest.lanes.index(lane)), oldest, lane
                flow = next(iter(rank.flows.values()))
                first = next(iter(flow.tickets))
                yield (1, at, flow.since, first.lanes.index(lane)), first, lane

    def _goes(self, ticket: Ticket, lane: Lane, *, is_claimed: bool) -> None:
        self._count += 1
        for name in lane:
            turns = self._turns.setdefault(name, _Turns())
            turns.unclaimed = 0 if is_claimed else turns.unclaimed + 1
            turns.latest[ticket.rank] = self._count
        for at in ticket.lanes:
            self._lanes[at][ticket.rank].turned(ticket.caller, self._count)
        self.leave(ticket)
