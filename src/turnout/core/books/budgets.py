"""Says, as statements, what budgets have spent, and which writer may use how much of what is left without asking again.

A *lease* is taken out of a budget's period before it is used (pre-deducted), so writers that know nothing of each other
never spend more than the limit together (RELIABILITY R2, DESIGN §5). Three rules keep the sums right:

- Everything adds to or takes from `amount_nano_usd`; nothing sets it. What a writer has left of a lease is the lease less
  its open reservations less what it settled and the ledger does not have yet, whatever comes in which order.
- An entry adds its cost to `spent_nano_usd` and takes it from its writer's lease, in the transaction that appends it. A cost
  above its reservation makes the lease smaller, at last negative: then it counts as nothing, and the next one to be asked for
  makes it up. So nothing is counted twice, and nothing is spent that is not in the ledger (RELIABILITY R1, F3).
- Who changes a period's leases changes its row in `budget_period` first, and so waits for others that do: PostgreSQL locks
  that row until the transaction ends. Periods go in their order, before leases in theirs, so two never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from turnout.core.books.entry import Charge, Entry
from turnout.core.books.statements import Row, Sql, Steps
from turnout.core.budgeting import Account, Granted, Room, Window, grant, windows
from turnout.core.pricing import format_usd
from turnout.core.resolving import resolve
from turnout.core.rules import Budget, Tier

_SPEND: Final = """
INSERT INTO budget_period
    (budget, starts_at, ends_at, rule, scope, who, limit_nano_usd, spent_nano_usd, seeded_nano_usd, recalls, is_open)
VALUES (?, ?, NULL, '', '', '', 0, ?, 0, 0, 0)
ON CONFLICT (budget, starts_at) DO UPDATE SET spent_nano_usd = budget_period.spent_nano_usd + excluded.spent_nano_usd
"""

_USE_UP: Final = """
INSERT INTO lease (writer, budget, starts_at, amount_nano_usd, expires_at) VALUES (?, ?, ?, ?, 0)
ON CONFLICT (budget, starts_at, writer) DO UPDATE SET
    amount_nano_usd = lease.amount_nano_usd + excluded.amount_nano_usd
"""

_TURN: Final = """
UPDATE budget_period SET limit_nano_usd = ? WHERE budget = ? AND starts_at = ? AND is_open = 1
RETURNING spent_nano_usd, recalls
"""

_OPEN: Final = """
INSERT INTO budget_period
    (budget, starts_at, ends_at, rule, scope, who, limit_nano_usd, spent_nano_usd, seeded_nano_usd, recalls, is_open)
VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 1)
ON CONFLICT (budget, starts_at) DO UPDATE SET
    ends_at = excluded.ends_at, rule = excluded.rule, scope = excluded.scope, who = excluded.who, is_open = 1
RETURNING spent_nano_usd
"""

_BEFORE: Final = "SELECT 1 FROM budget_period WHERE budget = ? AND starts_at < ? LIMIT 1"

_HOURS: Final = """
SELECT CAST(COALESCE(SUM(cost_nano_usd), 0) AS BIGINT) FROM rollup
WHERE hour_s >= ? AND CASE CAST(? AS TEXT)
    WHEN 'team' THEN team
    WHEN 'workspace' THEN workspace
    WHEN 'user' THEN user_id
    WHEN 'key' THEN key_id
    WHEN 'task' THEN task
    WHEN 'model' THEN model
    ELSE '' END = ?
"""

_FIRST_HOUR: Final = """
SELECT CAST(COALESCE(SUM(cost_nano_usd), 0) AS BIGINT) FROM entry
WHERE at_ms >= ? AND at_ms < ? AND CASE CAST(? AS TEXT)
    WHEN 'team' THEN team
    WHEN 'workspace' THEN workspace
    WHEN 'user' THEN user_id
    WHEN 'key' THEN key_id
    WHEN 'task' THEN task
    WHEN 'model' THEN model
    ELSE '' END = ?
"""

_SEED: Final = """
UPDATE budget_period SET spent_nano_usd = spent_nano_usd + ?, seeded_nano_usd = seeded_nano_usd + ?
WHERE budget = ? AND starts_at = ?
"""

_LEASES: Final = """
SELECT writer, amount_nano_usd, expires_at FROM lease WHERE budget = ? AND starts_at = ?
"""

_TAKE: Final = """
INSERT INTO lease (writer, budget, starts_at, amount_nano_usd, expires_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (budget, starts_at, writer) DO UPDATE SET
    amount_nano_usd = lease.amount_nano_usd + excluded.amount_nano_usd, expires_at = excluded.expires_at
"""

_RECALL: Final = "UPDATE budget_period SET recalls = recalls + 1 WHERE budget = ? AND starts_at = ?"

_RENEW: Final = "UPDATE lease SET expires_at = ? WHERE writer = ?"

_FORGET: Final = "DELETE FROM lease WHERE budget = ? AND starts_at = ? AND writer = ? AND amount_nano_usd = 0"

_HELD: Final = """
SELECT lease.budget, lease.starts_at, lease.amount_nano_usd,
    COALESCE(budget_period.spent_nano_usd, 0), COALESCE(budget_period.recalls, 0),
    (SELECT CAST(COALESCE(SUM(other.amount_nano_usd), 0) AS BIGINT) FROM lease other
     WHERE other.budget = lease.budget AND other.starts_at = lease.starts_at
     AND other.amount_nano_usd > 0 AND other.expires_at > ?)
FROM lease LEFT JOIN budget_period ON budget_period.budget = lease.budget AND budget_period.starts_at = lease.starts_at
WHERE lease.writer = ?
"""

_STANDING: Final = """
SELECT budget, starts_at, ends_at, rule, scope, who, limit_nano_usd, spent_nano_usd,
    (SELECT CAST(COALESCE(SUM(amount_nano_usd), 0) AS BIGINT) FROM lease
     WHERE lease.budget = budget_period.budget AND lease.starts_at = budget_period.starts_at
     AND amount_nano_usd > 0 AND expires_at > ?)
FROM budget_period
WHERE is_open = 1 AND starts_at <= ? AND (ends_at IS NULL OR ends_at > ?)
ORDER BY CAST(spent_nano_usd AS REAL) / (limit_nano_usd + 1) DESC, budget, starts_at
LIMIT ?
"""


_TOLD: Final = (
    *("budget", "starts_at", "ends_at", "rule", "scope", "who"),
    *("limit_nano_usd", "spent_nano_usd", "leased_nano_usd"),
)


class Held(msgspec.Struct, frozen=True, array_like=True):
    """One lease of a writer, and how its period stands. recalls: how often others have wanted it back. leased: by all."""

    charge: Charge
    amount_nano_usd: int
    spent_nano_usd: int
    recalls: int
    leased_nano_usd: int


class Standing(msgspec.Struct, frozen=True):
    """How one budget stands in its period of now. leased_nano_usd: held by writers: reserved, on its way, or idle.

    ends_at: Unix seconds, None for a budget that lasts for life. rule: the name of the Budget. who: "" for everybody.
    period, is_hard: of the Budget.
    """

    budget: str
    starts_at: int
    ends_at: int | None
    rule: str
    scope: str
    who: str
    limit_nano_usd: int
    spent_nano_usd: int
    leased_nano_usd: int
    period: str = ""
    is_hard: bool = True

    @property
    def left_nano_usd(self) -> int:
        """What may be spent yet, of what nobody holds. Never negative."""
        return max(0, self.limit_nano_usd - self.spent_nano_usd - self.leased_nano_usd)


def consume(writer: str, entries: Iterable[Entry]) -> Steps[None]:
    """Book entries that were appended just now, in the same transaction: to what their budgets have spent, and off what
    `writer` holds of them. A correction holds nothing: it changes what was spent alone. Two statements a budget.
    """
    spent: dict[Charge, int] = {}
    used: dict[Charge, int] = {}
    for entry in entries:
        cost = entry.cost_nano_usd or 0
        if not cost:
            continue
        for charge in entry.charges:
            spent[charge] = spent.get(charge, 0) + cost
            if not entry.corrects:
                used[charge] = used.get(charge, 0) + cost
    for charge in _in_order(spent):
        yield Sql(_SPEND, (charge.budget, charge.starts_at, spent[charge]))
    for charge in _in_order(used):
        yield Sql(_USE_UP, (writer, charge.budget, charge.starts_at, -used[charge]))


def release(writer: str) -> Steps[None]:
    """Give back all that `writer` holds. Only once it is dead and its journal is in the ledger."""
    yield Sql("DELETE FROM lease WHERE writer = ?", (writer,))


def lease(
    writer: str,
    accounts: Sequence[Account],
    asks: Sequence[Sequence[tuple[int, int]]],
    returned: Sequence[int],
    wall: float,
    expires_at: int,
) -> Steps[Granted]:
    """Take out of `accounts` what each of `asks` needs, all of it or nothing, in their order; opens periods that are new.

    accounts: no two with the same charge. asks: per request, (position in accounts, nano-dollars) pairs; () only opens.
    returned: per account, nano-dollars that `writer` gives back first.
    wall, expires_at: Unix seconds, now and until when nobody else may have what is taken. Four statements an account.
    """
    rooms = [Room(account.limit_nano_usd) for account in accounts]
    positions = sorted(range(len(accounts)), key=lambda at: _key(accounts[at].charge))
    for at in positions:
        rooms[at].spent_nano_usd, rooms[at].recalls = yield from _turn(accounts[at])
    for at in positions:
        charge = accounts[at].charge
        if returned[at]:
            yield Sql(_TAKE, (writer, *_key(charge), -returned[at], expires_at))
        for holder, amount, until in (yield Sql(_LEASES, (charge.budget, charge.starts_at))):
            assert isinstance(amount, int)
            assert isinstance(until, int)
            if holder == writer:
                rooms[at].own_nano_usd = amount
            elif until > wall:
                rooms[at].others_nano_usd += max(0, amount)
    granted = grant([account.is_hard for account in accounts], rooms, asks)
    for at in positions:
        charge = accounts[at].charge
        if at in granted.recalled:
            yield Sql(_RECALL, (charge.budget, charge.starts_at))
        if granted.leased[at] or rooms[at].own_nano_usd is None:
            yield Sql(_TAKE, (writer, charge.budget, charge.starts_at, granted.leased[at], expires_at))
    return granted


def _turn(account: Account) -> Steps[tuple[int, int]]:
    """Wait for others at a period's row; return what was spent, and how often its leases were recalled."""
    charge = account.charge
    turn = Sql(_TURN, (account.limit_nano_usd, charge.budget, charge.starts_at))
    rows = yield turn
    if not rows:
        yield from _open(account)
        rows = yield turn
    (spent, recalls), *_ = rows
    assert isinstance(spent, int)
    assert isinstance(recalls, int)
    return spent, recalls


def _open(account: Account) -> Steps[None]:
    """Begin a period. A budget's first one begins with what the ledger has of it already: it is older than the budget. In a
    later one each attempt is charged to the period that it was reserved in, though it may end in the next.
    """
    charge = account.charge
    of = (account.rule, account.scope, account.who)
    rows = yield Sql(_OPEN, (*_key(charge), account.ends_at, *of, account.limit_nano_usd))
    (booked,), *_ = rows  # by entries that were charged to it before a lost or restored database knew it
    assert isinstance(booked, int)
    if (yield Sql(_BEFORE, _key(charge))):
        return
    so_far = yield from _so_far(charge.starts_at, account.scope, account.who)
    if so_far > booked:
        yield Sql(_SEED, (so_far - booked, so_far - booked, *_key(charge)))


def _so_far(since: int, scope: str, who: str) -> Steps[int]:
    """Return what the ledger has of somebody since an instant: from its sums by the hour, and of a first part of an hour from
    its entries, so that it takes no longer for a month of many.
    """
    hour = -(-since // 3600) * 3600
    total = 0
    for statement in (Sql(_HOURS, (hour, scope, who)), Sql(_FIRST_HOUR, (since * 1000, hour * 1000, scope, who))):
        (part,), *_ = yield statement
        assert isinstance(part, int)
        total += part
    return total


def tend(
    writer: str, returned: Sequence[tuple[Charge, int]], wall: float, expires_at: int, *, renew: bool
) -> Steps[list[Held]]:
    """Give back what a writer does not need; return what it holds then. A lease that has come to nothing is forgotten.

    returned: nano-dollars; negative makes up for costs above their reservations, which are in what was spent. expires_at: for
    those leases, and where they are to be renewed for all of the writer's.
    """
    for charge, amount in sorted(returned, key=lambda pair: _key(pair[0])):
        if amount:
            yield Sql(_TAKE, (writer, *_key(charge), -amount, expires_at))
        yield Sql(_FORGET, (*_key(charge), writer))
    if renew:
        yield Sql(_RENEW, (expires_at, writer))
    return (yield from held(writer, wall))


def held(writer: str, wall: float) -> Steps[list[Held]]:
    """Return what a writer holds. Changes nothing. wall: Unix seconds."""
    rows = yield Sql(_HELD, (int(wall), writer))
    return [_held(row) for row in rows]


def standings(budgets: Sequence[Budget], tiers: Mapping[str, Tier], wall: float, most: int) -> Steps[list[Standing]]:
    """Return how budgets stand in their periods of now, the most used first, at most `most`; one that is for a name, or for
    everybody, also before it was used. Changes nothing. Limits are those of now, whatever they were when money was taken.
    """
    of_tiers = (tier.budget for tier in tiers.values() if tier.budget is not None)
    rules = {one.name: one for one in (*budgets, *of_tiers)}
    now = windows(rules.values(), wall)
    instant = int(wall)
    rows = yield Sql(_STANDING, (instant, instant, instant, most))
    found = [msgspec.convert(dict(zip(_TOLD, row, strict=True)), Standing) for row in rows]
    kept = [
        msgspec.structs.replace(one, limit_nano_usd=rule.limit_nano_usd, period=rule.period, is_hard=rule.is_hard)
        for one in found
        if (rule := rules.get(one.rule)) is not None and one.starts_at == now[one.rule].starts_at
    ]
    if len(rows) < most:
        seen = {one.rule for one in kept}
        kept += [_unused(rule, now[name]) for name, rule in rules.items() if name not in seen and not _is_many(rule)]
    return kept


def standing_told(one: Standing) -> dict[str, object]:
    """Return a standing ready for JSON: money as nano-dollars and as dollars, times as Unix seconds."""
    amounts = {
        "limit": one.limit_nano_usd,
        "spent": one.spent_nano_usd,
        "held": one.leased_nano_usd,
        "left": one.left_nano_usd,
    }
    return {
        "budget": one.budget,
        "scope": one.scope,
        "who": one.who,
        "period": one.period,
        "starts_at": one.starts_at,
        "resets_at": one.ends_at,
        "hard": one.is_hard,
        **{f"{name}_nano_usd": amount for name, amount in amounts.items()},
        **{f"{name}_usd": format_usd(amount)[1:] for name, amount in amounts.items()},
    }


def _is_many(budget: Budget) -> bool:
    """Whether it is one budget for each of many."""
    return budget.match == "*" and budget.scope != "all"


def _unused(budget: Budget, at: Window) -> Standing:
    who = "" if budget.scope == "all" else budget.match
    of = (budget.name, budget.scope, who, budget.limit_nano_usd)
    return Standing(budget.name, at.starts_at, at.ends_at, *of, 0, 0, budget.period, budget.is_hard)


def _held(row: Row) -> Held:
    budget, starts_at, amount, spent, recalls, leased = row
    return msgspec.convert(((budget, starts_at), amount, spent, recalls, leased), Held)


def _key(charge: Charge) -> tuple[str, int]:
    return charge.budget, charge.starts_at


def _in_order(charges: Iterable[Charge]) -> list[Charge]:
    return sorted(charges, key=_key)


resolve(Standing, Held)
