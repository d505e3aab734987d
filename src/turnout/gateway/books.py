"""Keeps one gateway's books: lets exchanges in, sets money aside for each attempt, writes down what is asked and what it came to.

What the engine knows as Accounting. In the order of an attempt: budgets are reserved, then the intent is written, then the
vendor is asked; at its end the entry is written and the reservation settled with the same cost, in one step without a wait,
so that a cancellation finds an attempt either not begun or to be ended. What costs nothing to know is not asked for.
Order of a stop: entries first, since what budgets give back must not be needed any more, the database last (by its owner).
Source: DESIGN §5, RELIABILITY R1 to R3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
from prometheus_client.core import Metric

from turnout.core.books.entry import Entry, Intent
from turnout.core.catalog import Model, Snapshot
from turnout.core.plan import Plan
from turnout.core.principal import Who
from turnout.core.reserving import DEFAULT_OUTPUT_TOKENS, worst_case
from turnout.core.usage import Usage
from turnout.errors import ClientDisconnected
from turnout.gateway.alerts import Alerts
from turnout.gateway.archiving import Archiving
from turnout.gateway.budget_gauges import budget_families
from turnout.gateway.budgets import Budgets
from turnout.gateway.clock import Clock
from turnout.gateway.downstream import Head
from turnout.gateway.exchange import Attempt, Exchange
from turnout.gateway.following import Given
from turnout.gateway.ledger import Ledger
from turnout.gateway.ledger_gauges import ledger_families
from turnout.gateway.limit_gauges import limit_families
from turnout.gateway.limiter import Limiter
from turnout.gateway.transport import Transport
from turnout.stores import Database

NOTHING = Usage(0, 0)

MANY_DIGITS = 5
"""A number of choices with so many digits or more counts as the least of these: no vendor gives as many, and no budget has room."""


class Books:
    """The books of one process; implements Accounting. `start` once the database is open; `stop` before it is closed.

    writer: this process's name in them, never used before.
    """

    def __init__(self, database: Database, snapshot: Snapshot, clock: Clock, transport: Transport) -> None:
        """transport: for webhooks; it stays its owner's."""
        self.writer = clock.token()
        self._clock = clock
        self._snapshot = snapshot
        self._given: Given = ((), ())
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ledger = Ledger(Path(snapshot.server.home), database, self.writer, clock, snapshot.ledger)
        self.alerts = Alerts(database, clock, transport)
        self.budgets = Budgets(database, self.writer, clock, self.alerts.on_spent, self._is_booked)
        self.limiter = Limiter(database, self.writer, clock)
        self.archiving = Archiving(Path(snapshot.server.home), database, clock, snapshot.ledger)
        self._adopt()

    async def start(self) -> None:
        """Begin to write. Raises StoreError."""
        self._loop = asyncio.get_running_loop()
        await self.ledger.start()
        self.budgets.start()
        self.alerts.start()
        await self.limiter.start()
        self.archiving.start()

    async def stop(self) -> None:
        """Write what waits, and give back what is held."""
        await self.archiving.stop()
        await self.ledger.stop()
        await self.budgets.stop()
        await self.alerts.stop()
        await self.limiter.stop()

    def install(self, snapshot: Snapshot) -> None:
        """Go by another configuration from the next request on. From any thread."""
        self._snapshot = snapshot
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._adopt)

    def _is_booked(self) -> bool:
        stats = self.ledger.stats
        return not stats.waiting and not stats.is_long

    def families(self) -> Iterator[Metric]:
        """Return what Prometheus is told."""
        yield from budget_families(self.budgets, self.alerts)
        yield from ledger_families(self.ledger)
        yield from limit_families(self.limiter)

    def give(self, given: Given) -> None:
        """Go by these limits and budgets of keys as well, which were given at run time."""
        self._given = given
        self._adopt()

    def _adopt(self) -> None:
        snapshot, (limits, budgets) = self._snapshot, self._given
        self.ledger.install(snapshot.ledger)
        self.budgets.install(snapshot, budgets)
        self.alerts.install(snapshot.alerts)
        self.limiter.install(snapshot, limits)
        self.archiving.install(snapshot.ledger)

    # ── an exchange ──

    async def admit(self, exchange: Exchange, planned: Plan) -> None:
        """See Accounting. Tokens are counted as asked for, until it is known what was used."""
        ask = exchange.ask
        model = planned.choices[0].candidate.model.name
        exchange.who = who = _who(ask.who, planned.task, model)
        exchange.held = await self.limiter.admit(who, ask.input_tokens + (ask.max_output_tokens or 0))

    def dismiss(self, exchange: Exchange) -> None:
        """See Accounting."""
        if exchange.held is not None:
            exchange.held.end(sum([one.input_tokens + one.output_tokens for one in _used(exchange)]))

    def told(self, exchange: Exchange) -> Head:
        """See Accounting."""
        head = [] if exchange.held is None else [*exchange.held.headers()]
        attempts = exchange.attempts
        if attempts and (reservation := attempts[-1].reservation) is not None:
            attempt = attempts[-1]
            head += reservation.left(None if attempt.usage is None else attempt.cost_nano_usd)
        return head

    # ── an attempt ──

    async def begin(self, exchange: Exchange, attempt: Attempt) -> None:
        """See Accounting."""
        candidate, ask = attempt.choice.candidate, exchange.ask
        price, model = candidate.price, candidate.model
        output = _output_tokens(exchange, model)
        reserved = None if price is None else worst_case(price, 4 * attempt.input_tokens, output, model)
        who = exchange.who
        if model.name != who.model:
            who = _who(ask.who, who.task, model.name)
        reservation = await self.budgets.reserve(who, reserved)
        try:
            self.ledger.intend(
                Intent(
                    f"{exchange.request_id}-{attempt.number}",
                    exchange.request_id,
                    int(self._clock.wall() * 1000),
                    who.key,
                    who.user,
                    who.workspace,
                    who.team,
                    ask.session,
                    who.task,
                    model.name,
                    candidate.account.name,
                    candidate.id,
                    attempt.choice.arm,
                    attempt.input_tokens,
                    output,
                    reserved,
                    reservation.charges,
                )
            )
        except BaseException:
            reservation.release()
            raise
        attempt.reservation = reservation  # from here on it is `end`'s
        attempt.who = who
        if self._snapshot.ledger.durability == "strict":
            await self.ledger.durable()

    def end(self, exchange: Exchange, attempt: Attempt) -> None:
        """See Accounting. An attempt that never reached its vendor has an entry too: that it cost nothing is known."""
        reservation, who = attempt.reservation, attempt.who
        if reservation is None or who is None:
            return
        attempt.who = None
        candidate = attempt.choice.candidate
        used = attempt.usage or NOTHING
        cost = attempt.cost_nano_usd
        self.ledger.settle(
            Entry(
                f"{exchange.request_id}-{attempt.number}",
                exchange.request_id,
                int(self._clock.wall() * 1000),
                who.key,
                who.user,
                who.workspace,
                who.team,
                exchange.ask.session,
                who.task,
                candidate.model.name,
                candidate.account.name,
                candidate.id,
                attempt.choice.arm,
                _ending(exchange, attempt),
                used.basis,
                used.input_tokens,
                used.output_tokens,
                used.cache_read_input_tokens,
                used.cache_write_input_tokens,
                used.reasoning_output_tokens,
                cost,
                reservation.charges,
            )
        )
        reservation.settle(cost)


def _ending(exchange: Exchange, attempt: Attempt) -> str:
    """How it ended, as it is known now: of its exchange nobody can say yet. Cut off without an error, it was not wanted any
    more: since another was quicker, or since the client left.
    """
    if attempt.error is not None:
        return attempt.error.code
    if attempt.is_whole:
        return "ok"
    is_beaten = any(one.first_content and one.error is None for one in exchange.attempts if one is not attempt)
    return "superseded" if is_beaten else ClientDisconnected.code


def _who(asker: Who, task: str, model: str) -> Who:
    return msgspec.structs.replace(asker, task=task, model=model)


def _output_tokens(exchange: Exchange, model: Model) -> int:
    """How long the answer may become: all of its choices together, where several are asked for."""
    each = exchange.ask.max_output_tokens or model.max_output_tokens or DEFAULT_OUTPUT_TOKENS
    asked = exchange.call.fields.get("n")
    if asked is None:
        return each
    digits = bytes(asked)
    if not digits.isdigit():  # what is no number of choices is its vendor's to refuse
        return each
    return each * (max(1, int(digits)) if len(digits) < MANY_DIGITS else 10**MANY_DIGITS)


def _used(exchange: Exchange) -> list[Usage]:
    return [attempt.usage for attempt in exchange.attempts if attempt.usage is not None]
