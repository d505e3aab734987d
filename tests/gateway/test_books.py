"""gateway/books.py: what one gateway's books say of exchanges, on a real database and a real journal."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from tests.gateway.lab import CONFIG, OK, Client, Lab, chunk, refusal
from turnout.core.books.ledger import Wanted, latest
from turnout.core.principal import Who
from turnout.core.rules import Budget, LedgerRule, Limit, Rates
from turnout.errors import BudgetExceeded, GatewayError, LedgerUnavailable, RateLimited, UpstreamUnreachable
from turnout.gateway.books import Books
from turnout.gateway.clock import SystemClock
from turnout.gateway.memory_transport import MemoryTransport, Scripted
from turnout.stores.sqlite_books import SqliteBooks

ANNA = Who(key="k_1", user="anna", workspace="w", team="t")
COST = 10 * 1000 + 5 * 2000  # OK's 10 tokens in and 5 out, at 1 and 2 dollars a million
HI = b"data: [DONE]\n\n"


class Office:
    """A lab whose engine keeps books."""

    def __init__(self, lab, books, database):
        self.lab = lab
        self.books = books
        self.database = database

    def rule(self, **fields):
        """Go by other rules from now on."""
        self.books.install(msgspec.structs.replace(self.lab.engine.index.snapshot, **fields))

    async def entries(self):
        """What the ledger says, oldest first."""
        await self.books.ledger.flush()
        return (await self.database.read(lambda: latest(Wanted(), 100)))[::-1]

    def open(self):
        """How many attempts are open, and what is reserved of budgets and held of limits."""
        reserved = sum(purse.reserved for purse in self.books.budgets.known(100))
        return self.books.ledger.stats.open, reserved


@asynccontextmanager
async def office(folder, answers, *, config=CONFIG, **rules):
    """Open one, with these rules."""
    clock = SystemClock()
    snapshot = msgspec.structs.replace(
        Lab(folder, answers, config=config).engine.index.snapshot, **{"limits": (), "budgets": (), "tiers": {}, **rules}
    )
    database = SqliteBooks(folder / "books.sqlite3")
    await database.open()
    books = Books(database, snapshot, clock, MemoryTransport(OK))
    await books.start()
    lab = Lab(folder, answers, config=config, clock=clock, accounting=books)
    try:
        yield Office(lab, books, database)
    finally:
        await books.stop()
        await database.close()


def budget(usd_nano, **fields):
    """A budget for everybody."""
    return Budget("all", "all", "*", usd_nano, **fields)


async def test_an_answer_leaves_one_entry_with_whom_it_is_for_and_what_it_cost(tmp_path):
    """The attempt's name is what its vendor got, and the budget's period is told."""
    async with office(tmp_path, {"stub": [OK]}, budgets=(budget(10**9),)) as one:
        client = await one.lab.ask("task:paid", who=ANNA, max_tokens=20)
        (entry,) = await one.entries()
        assert (f"{entry.request_id}-1", "ok", "exact", 10, 5, COST) == (
            entry.attempt_id,
            entry.outcome,
            entry.basis,
            entry.input_tokens,
            entry.output_tokens,
            entry.cost_nano_usd,
        )
        assert ("k_1", "anna", "w", "t", "paid", "first", "stub", "vendor/first") == (
            entry.key_id,
            entry.user,
            entry.workspace,
            entry.team,
            entry.task,
            entry.model,
            entry.provider,
            entry.vendor_model,
        )
        assert ["all"] == [charge.budget for charge in entry.charges]
        assert "1.00" == client.headers["x-turnout-budget-limit"]
        assert (0, 0) == one.open()


async def test_each_attempt_has_its_own_entry(tmp_path):
    """A fallback's is its own: of the model that it went to."""
    async with office(tmp_path, {"stub": [refusal(503)], "backup": [OK]}) as one:
        await one.lab.ask("task:work", who=ANNA)
        told = [(entry.model, entry.outcome, entry.cost_nano_usd) for entry in await one.entries()]
        assert [("first", "upstream_fault", 0), ("second", "ok", 0)] == told


async def test_what_never_reached_its_vendor_cost_nothing_and_that_is_known(tmp_path):
    """Its intent was written, so it has its entry."""
    async with office(tmp_path, {"stub": [UpstreamUnreachable("refused")]}) as one:
        with pytest.raises(UpstreamUnreachable):
            await one.lab.ask("task:paid")
        told = [(entry.outcome, entry.basis, entry.cost_nano_usd) for entry in await one.entries()]
        assert [("upstream_unreachable", "exact", 0)] == told
        assert (0, 0) == one.open()


async def test_a_budget_without_room_passes_to_who_costs_nothing(tmp_path):
    """The trace says why, and the client has its answer."""
    async with office(tmp_path, {"stub": [OK], "backup": [OK]}, budgets=(budget(10),)) as one:
        client = await one.lab.ask("task:work", who=ANNA)
        assert (200, ["backup"]) == (client.status, one.lab.asked)
        assert ["budget"] == [told.code for told in one.lab.ended[0].decided.filtered]
        assert ["second"] == [entry.model for entry in await one.entries()]


async def test_a_budget_without_room_is_told_where_nobody_is_free(tmp_path):
    """402 with the budget's name; nothing was sent, and nothing is written."""
    async with office(tmp_path, {"stub": [OK]}, budgets=(budget(10),)) as one:
        with pytest.raises(BudgetExceeded, match="'all'"):
            await one.lab.ask("task:paid", who=ANNA)
        assert ([], [], (0, 0)) == (one.lab.asked, await one.entries(), one.open())


async def test_an_unpriced_model_is_refused_where_a_budget_stands(tmp_path):
    """And served where none does: its entry has no cost."""
    async with office(tmp_path, {"stub": [OK]}) as one:
        await one.lab.ask("unpriced")
        assert [None] == [entry.cost_nano_usd for entry in await one.entries()]
        one.rule(budgets=(budget(10**9),))
        await asyncio.sleep(0)
        with pytest.raises(BudgetExceeded, match="no price"):
            await one.lab.ask("unpriced")


@pytest.mark.parametrize(("count", "is_served"), [(None, True), (1, True), (3, False), ("x", True), (10**6, False)])
async def test_several_choices_cost_as_many_answers(tmp_path, count, is_served):
    """What is set aside is for all of them; what is no number of choices is for the vendor to refuse."""
    async with office(tmp_path, {"stub": [OK]}, budgets=(budget(5_000_000),)) as one:
        more = {} if count is None else {"n": count}
        try:
            await one.lab.ask("task:paid", who=ANNA, max_tokens=1000, **more)
        except BudgetExceeded:
            assert not is_served
        else:
            assert is_served


async def test_a_limit_refuses_before_anything_is_spent(tmp_path):
    """The first takes the minute's only request; its tokens are put right at its end."""
    limit = Limit("user", "*", Rates(requests_minute=1, tokens_minute=1000))
    async with office(tmp_path, {"stub": [OK]}, limits=(limit,)) as one:
        client = await one.lab.ask("task:paid", who=ANNA)
        assert ("1", "0") == (
            client.headers["x-ratelimit-limit-requests"],
            client.headers["x-ratelimit-remaining-requests"],
        )
        with pytest.raises(RateLimited, match="anna"):
            await one.lab.ask("task:paid", who=ANNA)
        await one.lab.ask("task:paid", who=Who(user="bob"))
        assert ["stub", "stub"] == one.lab.asked


async def test_limits_and_budgets_of_keys_hold_from_when_they_are_given(tmp_path):
    """And those of the config with them; a new config does not lose them."""
    async with office(tmp_path, {"stub": [OK]}) as one:
        one.books.give(([Limit("key", "k_1", Rates(requests_minute=1))], [Budget("key:k_2", "key", "k_2", 10)]))
        one.rule(tiers={}, limits=(), budgets=())
        await asyncio.sleep(0)
        await one.lab.ask("task:paid", who=ANNA)
        with pytest.raises(RateLimited):
            await one.lab.ask("task:paid", who=ANNA)
        with pytest.raises(BudgetExceeded, match="key:k_2"):
            await one.lab.ask("task:paid", who=Who(key="k_2"))


async def test_without_a_journal_no_vendor_is_asked_and_nothing_stays_reserved(tmp_path):
    """Fail closed: 503, and the budget is whole."""
    async with office(tmp_path, {"stub": [OK]}, budgets=(budget(10**9),)) as one:
        one.books.ledger._bound_bytes = 0  # a journal that is full
        with pytest.raises(LedgerUnavailable):
            await one.lab.ask("task:paid", who=ANNA, max_tokens=10)
        assert ([], (0, 0)) == (one.lab.asked, one.open())


async def test_strict_waits_for_the_disk_before_the_vendor_is_asked(tmp_path):
    """And the books are as ever."""
    async with office(tmp_path, {"stub": [OK]}, ledger=LedgerRule(durability="strict")) as one:
        await one.lab.ask("task:paid")
        assert ["ok"] == [entry.outcome for entry in await one.entries()]


@pytest.mark.parametrize("steps", range(1, 24))
async def test_whoever_leaves_when_the_books_are_whole(tmp_path, steps):
    """Cancelled after any number of the loop's turns: what was begun has its entry, and nothing stays open or reserved."""
    stream = Scripted(body=(chunk("Hej"), chunk(" du"), HI), headers={"content-type": "text/event-stream"})
    async with office(
        tmp_path,
        {"stub": [stream]},
        budgets=(budget(10**9),),
        limits=(Limit("all", "*", Rates(requests_minute=100, tokens_minute=10_000, at_once=1)),),
        ledger=LedgerRule(durability="strict"),
    ) as one:
        task = asyncio.ensure_future(one.lab.ask("task:paid", Client(), who=ANNA, stream=True, max_tokens=10))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (0, 0) == one.open()
        assert len(one.lab.asked) <= len(await one.entries()) <= 1
        again = await one.lab.ask("task:paid", who=ANNA, stream=True, max_tokens=10)
        assert "finish" == again.ended


async def test_a_refusal_by_the_database_is_no_refusal_of_the_client(tmp_path):
    """A budget that cannot be asked is 503, not 402: nobody knows."""
    async with office(tmp_path, {"stub": [OK]}, budgets=(budget(10**9),)) as one:
        await one.database.close()
        with pytest.raises(GatewayError) as told:
            await one.lab.ask("task:paid", who=ANNA)
        assert (503, []) == (told.value.status, one.lab.asked)
