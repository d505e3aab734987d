"""Prompts are kept only where the config says so: sealed, without what is personal, for their time; reading one is audited."""

import asyncio
import json
import logging

import msgspec
import pytest

from tests.gateway.lab import CONFIG, OK, Lab
from turnout.core.books.audit import Wanted, latest
from turnout.core.books.prompts import EXPIRED_AT_ONCE, SealedPrompt, add, find, has_any
from turnout.core.books.statements import Sql
from turnout.core.redact import redact
from turnout.core.sealing import Unreadable
from turnout.errors import StoreError
from turnout.gateway.audit import Actor, Trail
from turnout.gateway.prompts import LONGEST_BYTES, WAITING_BYTES, Prompts

ANNA = Actor("anna", "admin", "192.0.2.7")
KEEPING = CONFIG + "\nprivacy: {prompts: redacted, keep: 1h}\n"
ROOT = b"r" * 32
SAID = "Jeg er ola@x.dk, nøgle sk-abcdef1234567890, kendt a-known-secret"


class Desk:
    """An engine whose exchanges' prompts are kept in `database`."""

    def __init__(self, folder, database, config=KEEPING, root=ROOT):
        self.lab = Lab(folder, {"backup": [OK]}, config=config)
        self.clock = self.lab.clock
        self.database = database
        self.trail = Trail(database, self.clock, lambda text: text)
        self.prompts = Prompts(
            database,
            self.trail,
            self.clock,
            root,
            lambda: self.lab.engine.index.snapshot,
            lambda text: redact(text, ["a-known-secret"]),
        )

    async def ask(self, content=SAID, **fields):
        """One request; return its id."""
        await self.lab.ask("second", messages=[{"role": "user", "content": content}], **fields)
        exchange = self.lab.ended[-1]
        self.prompts.record(exchange)
        return exchange.request_id

    async def kept(self, request_id):
        """What is shown of it."""
        await self.prompts.flush()
        return await self.prompts.show(ANNA, request_id)


@pytest.fixture
def desk(tmp_path, database):
    return Desk(tmp_path, database)


async def test_a_prompt_is_kept_without_what_is_personal_or_secret(desk, tmp_path):
    """Known secrets, keys, people; what is left can be read, and the rest of the request with it."""
    name = await desk.ask(metadata={"who": "ola@x.dk"}, temperature=0.5)
    kept = await desk.kept(name)
    assert (name, 1.8e9 + 1000, "openai_chat", "", "") == (kept.request_id, kept.at, kept.dialect, kept.task, kept.cut)
    fields = {field: json.loads(bytes(raw)) for field, raw in kept.fields.items()}
    assert [{"role": "user", "content": "Jeg er <EMAIL_1>, nøgle sk-***, kendt ***"}] == fields["messages"]
    assert ({"who": "<EMAIL_1>"}, 0.5, "second") == (fields["metadata"], fields["temperature"], fields["model"])


async def test_nothing_can_be_read_of_it_in_the_database(desk):
    """It is sealed, and bound to its request: moved to another row it does not open."""
    name = await desk.ask("Hej verden")
    await desk.prompts.flush()
    sealed = (await desk.database.read(lambda: find(name, 0))).sealed
    assert b"verden" not in sealed
    await desk.database.write(lambda: add([SealedPrompt("req_other", 2_000_000_000_000, sealed)]))
    assert isinstance(await desk.kept("req_other"), Unreadable)


async def test_another_root_key_does_not_open_it(desk, tmp_path, database):
    """And says so."""
    name = await desk.ask()
    await desk.prompts.flush()
    other = Desk(tmp_path, database, root=b"s" * 32)
    assert "another root key" in (await other.kept(name)).why


async def test_nothing_is_kept_unless_the_config_says_so(tmp_path, database):
    """The default. Nor is anything written to delete what is not there."""
    desk = Desk(tmp_path, database, config=CONFIG)
    name = await desk.ask()
    assert await desk.kept(name) is None
    await desk.prompts.expire()
    assert not await database.read(has_any)
    await database.write(lambda: add([SealedPrompt("req_old", 0, b"x")]))
    await desk.prompts.expire()  # it knows that none is kept, and does not look again
    assert await database.read(has_any)


async def test_only_the_kinds_that_the_config_names_are_taken_out(tmp_path, database):
    """privacy.kinds."""
    desk = Desk(tmp_path, database, config=KEEPING.replace("keep: 1h", "keep: 1h, kinds: [phone]"))
    kept = await desk.kept(await desk.ask("ola@x.dk, tlf. 20304050"))
    assert "ola@x.dk, tlf. <PHONE_1>" == json.loads(bytes(kept.fields["messages"]))[0]["content"]


async def test_every_look_is_in_the_audit_trail_and_one_that_found_nothing_too(desk):
    """Who, from where, which request."""
    name = await desk.ask()
    await desk.kept(name)
    assert await desk.kept("req_none") is None
    rows = [row for _, row in await desk.database.read(lambda: latest(Wanted(action="prompt"), 10))]
    assert [
        ("anna", "192.0.2.7", "prompt.show", "req_none", "failed"),
        ("anna", "192.0.2.7", "prompt.show", name, "done"),
    ] == [(row.actor, row.address, row.action, row.target, row.outcome) for row in rows]


async def test_a_prompt_is_gone_when_its_time_is_over(desk):
    """At once for whoever asks; from the database with the next round, in batches."""
    name = await desk.ask()
    await desk.prompts.flush()
    many = [SealedPrompt(f"req_{at}", at, b"x") for at in range(EXPIRED_AT_ONCE + 1)]
    await desk.database.write(lambda: add(many))
    desk.clock.at += 3599
    await desk.prompts.expire()
    assert await desk.database.read(lambda: find("req_5", 0)) is None
    assert await desk.kept(name) is not None
    desk.clock.at += 2
    assert await desk.kept(name) is None
    assert await desk.database.read(has_any)
    await desk.prompts.expire()
    assert not await desk.database.read(has_any)


async def test_pictures_are_left_out_and_a_long_prompt_is_cut(desk):
    """Data is no text; the beginning of a text that is too long can still be read."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'QUJD' * 1000}"}}
    kept = await desk.kept(await desk.ask([{"type": "text", "text": "Hej"}, picture]))
    assert '"url":"<data>"' in bytes(kept.fields["messages"]).decode().replace(" ", "")
    kept = await desk.kept(await desk.ask("æ ord " * LONGEST_BYTES))
    assert {} == kept.fields
    assert LONGEST_BYTES - 8 <= len(kept.cut.encode()) <= LONGEST_BYTES
    assert "æ ord" in kept.cut


async def test_a_cut_leaves_no_half_of_anything_personal(desk):
    """It falls between words; what is beyond it, in later texts too, is not there at all."""
    text = f"{'ord ' * (LONGEST_BYTES // 4 - 3)}til ola.nordmann@example.com"
    kept = await desk.kept(await desk.ask(text, metadata={"who": "kari@x.dk"}))
    assert {} == kept.fields
    assert kept.cut.count("ord ") > LONGEST_BYTES // 4 - 100
    assert "x.dk" not in kept.cut
    assert "nordmann" not in kept.cut


async def test_what_waits_is_bounded_and_what_is_beyond_is_counted(desk):
    """A database that is slow costs prompts, not memory."""
    await desk.ask()
    exchange = desk.lab.ended[-1]
    exchange.call = msgspec.structs.replace(exchange.call, size=WAITING_BYTES)
    desk.prompts.record(exchange)
    assert 1 == desk.prompts.dropped
    assert await desk.kept(exchange.request_id) is not None
    desk.prompts.record(exchange)
    assert 1 == desk.prompts.dropped


async def test_a_database_that_fails_costs_prompts_and_one_line_each_way(desk, caplog):
    """No request waits or fails; it is kept again as soon as it can be."""

    def renamed(there, text):
        yield Sql(text)
        return there

    caplog.set_level(logging.WARNING)
    away, back = "ALTER TABLE prompt RENAME TO prompt_away", "ALTER TABLE prompt_away RENAME TO prompt"
    await desk.database.write(lambda: renamed(None, away))
    for _ in range(2):
        await desk.ask()
        await desk.prompts.flush()
    await desk.prompts.expire()
    with pytest.raises(StoreError):
        await desk.kept("req_1")
    await desk.database.write(lambda: renamed(None, back))
    name = await desk.ask()
    assert await desk.kept(name) is not None
    assert 2 == desk.prompts.dropped
    told = [record.getMessage() for record in caplog.records if record.name == "turnout.prompts"]
    assert ["prompts cannot be kept", "prompts are kept again"] == [told[0][:22], told[1]]
    assert 2 == len(told)


async def test_who_asks_while_a_prompt_is_being_written_waits_for_it(desk):
    """A long one takes a while to be made impersonal; it is there for whoever looks right after its request."""
    name = await desk.ask("ord " * 100_000)
    first = asyncio.ensure_future(desk.prompts.flush())
    await asyncio.sleep(0)
    assert await desk.kept(name) is not None
    await first


async def test_it_runs_by_itself_and_writes_the_last_ones_when_it_stops(desk):
    """What waits is written soon, what is over is deleted; stopping twice is no harm."""
    await desk.database.write(lambda: add([SealedPrompt("req_old", 0, b"x")]))
    await desk.prompts.start()
    first = await desk.ask()
    desk.clock.at += 0.1
    async with asyncio.timeout(10):
        while await desk.database.read(lambda: find("req_old", 0)) is not None:
            await asyncio.sleep(0)
        while await desk.database.read(lambda: find(first, 0)) is None:
            await asyncio.sleep(0)
    second = await desk.ask()
    await desk.prompts.stop()
    await desk.prompts.stop()
    assert await desk.database.read(lambda: find(first, 0)) is not None
    assert await desk.database.read(lambda: find(second, 0)) is not None
