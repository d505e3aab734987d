"""Gets an exchange its turns: says how urgent it is and how long it can wait, keeps its client's connection alive
meanwhile, and tells what came of each turn.

Where no quota is known nothing of this is asked. Whoever needs none is free now: it goes before the wait for anybody else.
Who fails or rests is no reason not to wait for who is well.
Sources: FACTS §3 (what tools cost); nginx's `proxy_read_timeout` of 60 s and HAProxy's common 30 s, which a
comment every ten seconds keeps from ending a stream that waits.
"""

from __future__ import annotations

import asyncio

from turnout.core.follow_ups import calls_to_follow, goes_on
from turnout.core.health import Health
from turnout.core.plan import Choice, Plan
from turnout.core.queueing import priority_of
from turnout.errors import QuotaExhausted, UpstreamError, UpstreamThrottled, UpstreamTimeout, UpstreamUnreachable
from turnout.gateway.answer import SSE_HEADERS
from turnout.gateway.clock import Clock
from turnout.gateway.exchange import AnswerHeads, Attempt, Exchange
from turnout.gateway.scheduler import Scheduler
from turnout.gateway.waiting import Turn, Want

COMMENT_S = 10.0
COMMENT = b": waiting\n\n"

CALLS_TOOLS = frozenset({"tool_calls", "tool_use", "function_call"})
"""Why an answer ended, where the conversation goes on with what a tool says."""


class Turns:
    """The exchanges' way to the scheduler."""

    def __init__(self, scheduler: Scheduler, health: Health, clock: Clock, heads: AnswerHeads) -> None:
        self._scheduler = scheduler
        self._health = health
        self._clock = clock
        self._heads = heads

    async def next(self, exchange: Exchange, planned: Plan, queue: list[Choice]) -> tuple[Choice, Turn | None]:
        """Take whoever of `queue` is to be asked next out of it, with its turn. Raises QuotaExhausted."""
        now, ask = self._clock.now(), exchange.ask
        first = queue[0]
        if not ask.tools and ask.by is None and self._is_well(first, now):
            exchange.priority = priority = priority_of(ask.priority, planned.terms.priority, 0)
            tokens = ask.input_tokens + (ask.max_output_tokens or 0)
            if (turn := self._scheduler.easy(first, tokens, priority)) is not None:
                del queue[0]
                return first, turn
        well = [choice for choice in queue if self._is_well(choice, now)]
        want = self._want(exchange, planned, (well or queue)[0], now)
        scheduled: list[Choice] = []
        free: Choice | None = None
        for choice in well or queue:
            if not choice.candidate.quotas:
                free = choice
                break
            scheduled.append(choice)
        turn = self._scheduler.free_now(scheduled, want) if scheduled and well else None
        if turn is None and free is None:
            turn = await self._wait(exchange, scheduled, want, now, has_well=bool(well))
        elif turn is None and scheduled:
            turn = await self._scheduler.now(scheduled, want)
        chosen = free if turn is None else turn.choice
        assert chosen is not None
        queue.remove(chosen)
        if want.by is not None:
            exchange.deadline = self._clock.now() + planned.total_s  # a job's time for its answer begins with its turn
        return chosen, turn

    def hedge(self, exchange: Exchange, planned: Plan, choice: Choice) -> Turn | None:
        """Return a turn for a second attempt beside the first, if nobody has to wait for it."""
        return self._scheduler.now_or_never([choice], self._want(exchange, planned, choice, self._clock.now()))

    def _is_well(self, choice: Choice, now: float) -> bool:
        key = choice.candidate.key
        return not self._health.is_failing(key) and self._health.resting_until(key) <= now

    def _want(self, exchange: Exchange, planned: Plan, choice: Choice, now: float) -> Want:
        """Say what it needs. choice: the best of those that it may go to."""
        ask, call = exchange.ask, exchange.call
        exchange.priority = priority_of(ask.priority, planned.terms.priority, ask.tools)
        until, by = exchange.deadline, None
        if ask.by is not None:
            until = by = now + ask.by - self._clock.wall()
        if ask.timeout_s is not None and not (by is not None and call.stream):
            until = min(until, exchange.started + ask.timeout_s)
        # A turn that leaves no time for the answer is wasted; at least half of the time is for waiting.
        load = self._health.loads().get(choice.candidate.key)
        answer_s = 0.0 if load is None else min(load.latency_s, max(until - now, 0.0) / 2)
        return Want(
            caller=(ask.workspace, ask.key_id, ask.user),
            priority=exchange.priority,
            deadline=until - answer_s,
            tokens=ask.input_tokens + (ask.max_output_tokens or 0),
            follow_ups=calls_to_follow(ask.tools),
            is_continuing=ask.tools > 0 and goes_on(call.fields.get("messages")),
            by=by,
            is_again=bool(exchange.attempts),
        )

    async def _wait(self, exchange: Exchange, choices: list[Choice], want: Want, now: float, *, has_well: bool) -> Turn:
        """Wait in the line; without anybody who is well, first until one of `choices` may be asked again."""
        alive = _KeepAlive(exchange, self._heads) if exchange.call.stream else None
        try:
            if not has_well:
                choices = await self._cooled(choices, want, now)
            return await self._scheduler.turn(choices, want)
        finally:
            exchange.waited_s += self._clock.now() - now
            if alive is not None:
                alive.stop()

    async def _cooled(self, choices: list[Choice], want: Want, now: float) -> list[Choice]:
        """Wait until at least one of `choices` is not told to wait any more; return those. Raises QuotaExhausted."""
        until = {choice.candidate.key: self._cools_until(choice.candidate.key) for choice in choices}
        first = max(now, min(until.values()))
        if first > want.deadline:
            raise QuotaExhausted("whoever is left was told to wait for longer", retry_after_s=first - now)
        if first > now:
            await asyncio.sleep(first - now)
        return [choice for choice in choices if until[choice.candidate.key] <= first]

    def _cools_until(self, key: str) -> float:
        return self._health.resting_until(key) if self._health.is_throttled(key) else 0.0


class _KeepAlive:
    """Sends a comment every COMMENT_S, after the head of the stream if the client has none."""

    def __init__(self, exchange: Exchange, heads: AnswerHeads) -> None:
        self._exchange = exchange
        self._heads = heads
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(COMMENT_S, self._comment)

    def _comment(self) -> None:
        down = self._exchange.down
        if not down.is_started:
            down.start(200, self._heads.waiting(self._exchange, SSE_HEADERS))
            self._exchange.is_waiting = True
        if not down.is_paused:
            down.write(COMMENT)
        self._timer = self._loop.call_later(COMMENT_S, self._comment)

    def stop(self) -> None:
        """Send no more."""
        self._timer.cancel()


def close(turn: Turn, attempt: Attempt, error: UpstreamError | None) -> None:
    """Say what came of an attempt's turn, once its books are closed. error: what ended it."""
    if not attempt.is_sent or _never_arrived(error):
        turn.give_back()
        return
    if isinstance(error, UpstreamThrottled):
        turn.refused(error.retry_after_s)
    usage = attempt.usage
    tokens = 0 if usage is None else usage.input_tokens + usage.output_tokens
    turn.end(tokens, goes_on=error is None and attempt.finish_reason in CALLS_TOOLS)


def _never_arrived(error: UpstreamError | None) -> bool:
    return isinstance(error, UpstreamUnreachable) or (isinstance(error, UpstreamTimeout) and error.phase == "connect")
