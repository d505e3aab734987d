"""Shares quotas with other gateways through Valkey: every call is taken from a common pool, by one atomic script.

The scheduler grants a turn from its own books first; then this asks the pool. Small quotas are thus taken one by one, and
nobody holds more than a share that it may use alone (core/shares.py). When the pool has no room, or there is no contact,
the share is tried; if that has none either, the answer is no, and `wait_s` says for how long. Room that comes free at
another gateway is told to whoever has the best claim, by a message; nothing polls.

A request waits for the store at most as long as one command may take (R6); without contact it does not wait at all. What
happens to a call afterwards is told behind its back; what is lost of that, the store learns when contact begins again:
then we tell it all that we used. shared_quotas.lua is the other half.
Sources: RELIABILITY R6, E1 to E3, F4, T36, T60 to T65.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from math import inf
from typing import Final, TypeAlias, TypeVar

import msgspec

from turnout.core.catalog import Quota
from turnout.core.quota_window import TRAVEL_S
from turnout.core.shares import ALONE_S, Answer, OwnUse, Seed, Use, Welcome, limits_of
from turnout.errors import StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.tasks import Tasks
from turnout.gateway.valkey_link import ValkeyLink

LEASE_S: Final = 15.0
"""After a gateway was killed its places come free. Source: RELIABILITY T36."""

WITHOUT_S: Final = 1.0
"""Without contact and room somebody who waits looks again after so many seconds; when contact begins, at once."""

RANK_S: Final = 1e10
"""More than any Unix time, so that a claim of rank and arrival is one number, still exact to a microsecond or so."""

T = TypeVar("T")

_Change: TypeAlias = tuple[str, list[str], float, int, int]
"""Of one call: its id, its quotas, when it was taken, requests, tokens."""

_pack = msgspec.msgpack.encode


class Grant:
    """Leave for one call. is_alone: by our share. Say `end` or `give_back`; the first counts."""

    __slots__ = ("_shared", "account", "at", "id", "is_alone", "is_open", "stamp", "tokens", "uses")

    def __init__(
        self, shared: SharedQuotas, name: str, account: str, uses: Mapping[str, Use], tokens: int, stamp: float | None
    ) -> None:
        self._shared = shared
        self.stamp = stamp or 0.0  # seconds of the store's clock
        self.at = shared.now()
        self.id = name
        self.account = account
        self.uses = uses
        self.tokens = tokens
        self.is_alone = stamp is None
        self.is_open = True

    def sent(self) -> None:
        """It is sent only now."""
        if self._shared.now() - self.at > TRAVEL_S:
            self._shared.sent(self)

    def end(self, tokens: int) -> None:
        """It is over, and used that many tokens."""
        if self.is_open:
            self.is_open = False
            self._shared.ended(self, tokens)

    def give_back(self) -> None:
        """It was never sent."""
        if self.is_open:
            self.is_open = False
            self._shared.given_back(self)


class SharedQuotas:
    """Every quota of one gateway, as it is shared. changed: called when somebody who waits should look again.

    used_by_all: called once a second with a quota's name, what all used of it today (requests, tokens), and now.
    """

    def __init__(
        self, quotas: Mapping[str, Quota], link: ValkeyLink, clock: Clock, *, lease_s: float = LEASE_S
    ) -> None:
        self._link = link
        self.now = clock.now
        self._offset = clock.wall() - clock.now()  # set once: a wall clock that is set anew does no harm (T66)
        self._lease_s = lease_s
        self._script = files("turnout.gateway").joinpath("shared_quotas.lua").read_text(encoding="utf-8")
        self._own: dict[str, OwnUse] = {}
        self._closed: dict[str, float] = {}
        self._accounts: dict[str, list[str]] = {}
        self._held: dict[str, Grant] = {}
        self._members: dict[str, list[str]] = {}
        self._seeded: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._opens_s: dict[str, float] = {}
        self._pending: dict[str, list[tuple[str, *_Change]]] = {}
        self._tasks = Tasks()
        self._count = 0
        self.changed: Callable[[], None] = lambda: None
        self.used_by_all: Callable[[str, int, int, float], object] = lambda *_: None
        self.install(quotas)
        link.beats.append(self._beat)
        link.told = self._told
        link.changed = self._look_again

    def install(self, quotas: Mapping[str, Quota]) -> None:
        """Share these from now on; what was used stays."""
        now, wall = self._times()
        own: dict[str, OwnUse] = {}
        accounts: dict[str, list[str]] = {}
        for name, quota in quotas.items():
            known = self._own.get(name)
            if known is None:
                known = OwnUse(quota, now, wall)
            known.configure(quota)
            own[name] = known
            accounts.setdefault(quota.account, []).append(name)
        self._own, self._accounts = own, accounts

    @property
    def is_settled(self) -> bool:
        """Whether every pool serves us, and we hold our shares."""
        return self._link.is_up and all(self._opens_s.get(account, 1.0) <= 0 for account in self._accounts)

    # ── taking ──

    def wait_s(self, names: Sequence[str], now: float) -> float:
        """Return for how long a call is not worth asking for again, 0.0 if it is. O(names)."""
        return max(0.0, *(self._closed.get(name, 0.0) - now for name in names))

    def take_alone(self, names: Sequence[str], tokens: int) -> Grant | None:
        """Take a call from our share, without a word to anybody; None if it has no room."""
        now, wall = self._times()
        known = [name for name in names if name in self._own]
        if not known:
            return None
        account = self._own[known[0]].quota.account
        if now - self._heard.get(account, -inf) > ALONE_S:
            for name in known:
                self._own[name].lost()
        for name in known:
            self._own[name].turn(now, wall)
        if any(self._own[name].wait_s(1, tokens, now) > 0 for name in known):
            return None
        places = {name: self._own[name].take_place() for name in known}
        uses = {name: self._own[name].take(1, tokens, now, is_alone=True, has_place=places[name]) for name in known}
        return Grant(self, self._name(), account, uses, tokens, None)

    async def take(self, names: Sequence[str], tokens: int, rank: int, arrived: float) -> Grant | None:
        """Take a call from the pool or from our share; None if neither has room: then `wait_s` says for how long.

        tokens: an estimate. rank, arrived: of the claim; where several gateways want the same room, the lowest rank has it, and
        of these who came first, in Unix seconds. At most BUDGET_S.
        """
        known = [name for name in names if name in self._own]
        wait_s = WITHOUT_S
        if known and self._link.is_up:
            answer = await self._ask_pool(known, tokens, rank * RANK_S + arrived)
            if isinstance(answer, Grant):
                return answer
            wait_s = answer
        grant = self.take_alone(known, tokens)
        if grant is None and known:
            self._close(known, tokens, wait_s)
        return grant

    async def _ask_pool(self, names: Sequence[str], tokens: int, rank: float) -> Grant | float:
        """Return leave from the pool, or the seconds until asking again is worth it. Places of our own are brought along."""
        places = {name: self._own[name].take_place() for name in names}
        grant: Grant | float = WITHOUT_S
        try:
            grant = await self._granted(names, places, tokens, rank)
        except StoreError:
            pass  # the share is tried, as if the pool had no room
        finally:
            if not isinstance(grant, Grant):
                for name in names:
                    if places[name]:
                        self._own[name].leave_place()
        return grant

    async def _granted(
        self, names: Sequence[str], places: Mapping[str, bool], tokens: int, rank: float
    ) -> Grant | float:
        account = self._own[names[0]].quota.account
        name = self._name()
        now, wall = self._times()
        wanted = []
        for one in names:
            own = self._own[one]
            own.turn(now, wall)
            limits = limits_of(own.quota, tokens)
            if places[one]:
                limits.at_once = 0
            wanted.append((one, limits, own.day))
        try:
            answer = await self._run("take", account, _pack((name, rank, 1, tokens, wanted, self._lease_s)), Answer)
        except BaseException:  # it left, or we were late: what it may have taken stays counted, its place is free
            self._note("end", account, (name, list(names), 0.0, 0, 0))
            raise
        if answer.word == "yes":
            now, wall = self._times()
            uses = {}
            for one in names:
                own = self._own[one]
                own.turn(now, wall)
                uses[one] = own.take(1, tokens, now, is_alone=False, has_place=places[one])
            grant = self._held[name] = Grant(self, name, account, uses, tokens, answer.number)
            return grant
        if answer.word != "no":
            self._seeded.pop(account, None)
            self._link.beat_soon()
        return max(answer.number, 0.001)

    def _close(self, names: Sequence[str], tokens: int, wait_s: float) -> None:
        """Nothing may go until the pool or the share has room. A share that never has waits for contact, which tells us."""
        now = self.now()
        alone_s = max(self._own[name].wait_s(1, tokens, now) for name in names)
        until = now + min(wait_s, alone_s)
        for name in names:
            self._closed[name] = until

    def _times(self) -> tuple[float, float]:
        now = self.now()
        return now, now + self._offset

    def _name(self) -> str:
        self._count += 1
        return f"{self._link.member}/{self._count}"

    # ── afterwards ──

    def sent(self, grant: Grant) -> None:
        """See Grant.sent."""
        now = self.now()
        for name, use in grant.uses.items():
            if name in self._own:
                self._own[name].sent(use, now)
        self._tell(grant, "sent", 1, grant.tokens)
        grant.stamp += now - grant.at  # about: what cannot be found there is not taken back
        grant.at = now

    def ended(self, grant: Grant, tokens: int) -> None:
        """See Grant.end."""
        now = self.now()
        self._held.pop(grant.id, None)
        for name, use in grant.uses.items():
            if name in self._own:
                self._own[name].settle(use, tokens, now)
                self._own[name].end(use)
        if tokens != grant.tokens:
            self._tell(grant, "settle", 0, tokens - grant.tokens)
        self._tell(grant, "end", 0, 0)
        self._freed(grant)

    def given_back(self, grant: Grant) -> None:
        """See Grant.give_back."""
        now = self.now()
        self._held.pop(grant.id, None)
        for name, use in grant.uses.items():
            if name in self._own:
                self._own[name].give_back(use, now)
        self._tell(grant, "back", 1, grant.tokens)
        self._freed(grant)

    def _freed(self, grant: Grant) -> None:
        """A place of our share is free at once; one of the pool once the store has heard of it."""
        if grant.is_alone:
            self._open(grant.uses)

    def _tell(self, grant: Grant, kind: str, requests: int, tokens: int) -> None:
        """Tell the store behind everybody's back; whatever is said until it can hear goes in one message."""
        if not grant.is_alone:
            self._note(kind, grant.account, (grant.id, list(grant.uses), grant.stamp, requests, tokens))

    def _note(self, kind: str, account: str, change: _Change) -> None:
        if self._link.is_up:
            pending = self._pending.setdefault(account, [])
            pending.append((kind, *change))
            if len(pending) == 1:
                self._tasks.start(self._flush(account), f"tell Valkey about {account}")

    async def _flush(self, account: str) -> None:
        changes = self._pending.pop(account)
        try:
            await self._run("change", account, _pack(changes), Answer)
        except StoreError:
            return  # when contact begins again, we tell all
        if any(kind in ("end", "back") for kind, *_ in changes):
            self._open(name for change in changes for name in change[2])

    def _open(self, names: Iterable[str]) -> None:
        for name in names:
            self._closed.pop(name, None)
        self.changed()

    def _told(self, _: bytes) -> None:
        """Another gateway made room, and ours is the best claim that the store knows of."""
        self._look_again()

    def _look_again(self) -> None:
        self._closed.clear()
        self.changed()

    # ── the beat ──

    async def _beat(self) -> None:
        for account, names in list(self._accounts.items()):
            seeds = None if self._seeded.get(account) == self._link.session else self._seeds(names)
            welcome = await self._greet(account, names, seeds)
            if welcome.word == "seed":
                welcome = await self._greet(account, names, self._seeds(names))
            if welcome.word != "yes":
                raise StoreError("it knows us by a later connection")
            self._seeded[account] = self._link.session
            self._members[account] = welcome.members

    async def _greet(self, account: str, names: Sequence[str], seeds: list[Seed] | None) -> Welcome:
        now, wall = self._times()
        quotas = []
        for name in names:
            own = self._own[name]
            own.turn(now, wall)
            spent = (own.day, own.spent[0], own.spent[1])
            quotas.append((name, limits_of(own.quota), own.day, own.share, own.wanted(), spent))
        holds = [
            (grant.id, [name for name, use in grant.uses.items() if not use.has_place])
            for grant in self._held.values()
            if grant.account == account
        ]
        members = self._members.get(account, [])
        arguments = _pack((members, seeds if seeds is not None else False, quotas, holds, self._lease_s))
        welcome = await self._run("join", account, arguments, Welcome)
        if welcome.word == "yes":
            self._heard[account] = now
            self._opens_s[account] = welcome.opens_s
            for given in welcome.given:
                mine = self._own.get(given.name)
                if mine is not None:
                    mine.granted(given.more, given.goal)
                    mine.known = [given.used.requests_day, given.used.tokens_day]
                    self.used_by_all(given.name, given.used.requests_day, given.used.tokens_day, now)
        return welcome

    def _seeds(self, names: Sequence[str], *, is_last: bool = False) -> list[Seed]:
        """All that we used and that still counts. is_last: by our share too, which nobody holds from now on."""
        now, wall = self._times()
        for name in names:
            self._own[name].turn(now, wall)
        return [self._own[name].seed(name, now, is_last=is_last) for name in names]

    async def leave(self) -> None:
        """Give back our share and our places, so that the others need not wait for them. Never raises."""
        for account, names in self._accounts.items():
            if self._link.is_up:
                try:
                    await self._run("leave", account, _pack(self._seeds(names, is_last=True)), Answer)
                except StoreError:
                    break
        await self._tasks.stop()

    async def _run(self, operation: str, account: str, arguments: bytes, kind: type[T]) -> T:
        answer = await self._link.run(self._script, f"turnout:{{{account}}}", operation, arguments)
        try:
            return msgspec.msgpack.decode(answer, type=kind, strict=False)
        except msgspec.DecodeError as error:
            wrong = StoreError(f"the answer of our script cannot be read: {error}")
            self._link.failed(wrong)
            raise wrong from None
