"""The cache before the engine: who is answered from it, what is kept, and what other gateways know."""

import asyncio

import pytest

from tests.gateway.cached import CACHED, DONE, END, STREAM, answer, ask, begin, caches, lab_of, turns
from tests.gateway.lab import CONFIG, OK, Client, Lab, chunk, refusal
from turnout.core.caching import Kept, pack
from turnout.errors import StreamInterrupted, UpstreamFault
from turnout.gateway.memory_transport import Scripted

# ── hits ──


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_question_is_asked_once(tmp_path, stream):
    """Later answers are the very same bytes, cost nothing, and say how old they are."""
    lab = lab_of(tmp_path, {"stub": [STREAM if stream else OK]})
    first = await ask(lab, stream=stream)
    lab.clock.at += 7.9
    second = await ask(lab, stream=stream)
    assert caches(first, second) == ["miss", "hit"]
    assert (second.body, second.ended, second.status) == (first.body, first.ended, 200)
    assert lab.asked == ["stub"]
    names = ("content-type", "x-turnout-model", "x-turnout-provider", "x-turnout-task", "x-turnout-arm")
    assert [second.headers[name] for name in names] == [first.headers[name] for name in names]
    assert [second.headers[name] for name in ("x-request-id", "x-turnout-attempts", "age")] == ["req_2", "0", "7"]
    assert float(second.headers["x-turnout-cost"]) == 0.0
    assert (second.headers["x-turnout-cost"], "age" in first.headers) == ("0.000000", False)
    exchange = lab.ended[1]
    assert (exchange.cache, exchange.answered.candidate.key, exchange.attempts) == ("hit", "first@stub", [])
    told = lab.engine.cache.stats()
    assert (told.hits, told.misses, told.entries, told.saved_calls, told.hit_ratio) == (1, 1, 1, 1, 0.5)
    assert told.saved_nano_usd == lab.ended[0].attempts[0].cost_nano_usd > 0


async def test_without_a_cache_nothing_of_it_is_there(tmp_path):
    """No header, no count, nothing kept."""
    lab = Lab(tmp_path, {"stub": [OK]}, config=CONFIG.replace("\ntasks:", "\ncache: {ttl: none}\ntasks:"))
    assert caches(await ask(lab), await ask(lab)) == [None, None]
    assert (lab.asked, lab.engine.cache.stats().misses) == (["stub", "stub"], 0)


async def test_an_answer_is_given_again_until_it_is_too_old(tmp_path):
    """Five minutes here."""
    lab = lab_of(tmp_path, {"stub": [OK]})
    await ask(lab)
    lab.clock.at += 299.0
    assert caches(await ask(lab)) == ["hit"]
    lab.clock.at += 2.0
    assert caches(await ask(lab), await ask(lab)) == ["miss", "hit"]


async def test_no_workspace_gets_what_another_asked(tmp_path):
    """Nor the one without a name; and its own again it does."""
    lab = lab_of(tmp_path, {"stub": [OK]})
    clients = [await ask(lab, workspace=name) for name in ("", "a", "b", "a", "")]
    assert caches(*clients) == ["miss", "miss", "miss", "hit", "hit"]


async def test_an_answer_of_a_fallback_is_found_where_the_fallback_may_answer(tmp_path):
    """By whoever gave it; what the first candidate would say is not known."""
    lab = lab_of(tmp_path, {"stub": [refusal(500), OK], "backup": [OK]})
    assert (await ask(lab)).headers["x-turnout-model"] == "second"
    again = await ask(lab)
    assert (caches(again), again.headers["x-turnout-model"]) == (["hit"], "second")


async def test_a_named_model_is_answered_by_that_model_alone(tmp_path):
    """What its fallback said is nobody's answer to that name."""
    config = CACHED.replace("context_fallbacks: [large]}", "fallbacks: [second]}")
    lab = lab_of(tmp_path, {"stub": [refusal(500), OK], "backup": [OK]}, config)
    first, second, third = [await ask(lab, "first") for _ in range(3)]
    assert [one.headers["x-turnout-model"] for one in (first, second, third)] == ["second", "first", "first"]
    assert caches(first, second, third) == ["miss", "miss", "hit"]


async def test_no_arm_gets_an_answer_of_the_other(tmp_path):
    """Users of a rollout see the arm that they are on."""
    lab = lab_of(tmp_path, {"stub": [OK], "backup": [answer("new")]})
    control = await ask(lab)
    moved = await ask(lab, user="boss")
    assert (caches(control, moved), moved.headers["x-turnout-arm"]) == (["miss", "miss"], "candidate")
    assert caches(await ask(lab), await ask(lab, user="boss")) == ["hit", "hit"]


async def test_a_name_that_stands_for_something_else_has_no_answers_yet(tmp_path):
    """A reload that points it elsewhere."""
    lab = lab_of(tmp_path, {"stub": [OK]})
    await ask(lab, "first")
    lab.engine.install(lab.index(CACHED.replace("id: vendor/first", "id: vendor/better")))
    assert caches(await ask(lab, "first"), await ask(lab, "first")) == ["miss", "hit"]


async def test_a_slow_client_gets_a_long_answer_at_its_own_pace(tmp_path):
    """Not all of it at once into memory."""
    text = "x" * 200_000
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(chunk(text), END, DONE))]})
    first = await ask(lab, stream=True)
    slow = Client()
    slow.is_paused = True
    slow.may_go_on.clear()
    task = asyncio.ensure_future(ask(lab, client=slow, stream=True))
    await turns()
    assert (slow.drains, slow.body) == (1, b"")
    slow.is_paused = False
    slow.may_go_on.set()
    await task
    assert (slow.body == first.body, slow.ended) == (True, "finish")


# ── what the client wants ──


async def test_no_cache_asks_anew_and_keeps_the_answer(tmp_path):
    """Both times that it is said; the others then get the newer one."""
    lab = lab_of(tmp_path, {"stub": [answer("old"), answer("new")]})
    clients = [await ask(lab), await ask(lab, control="no-cache"), await ask(lab)]
    assert caches(*clients) == ["miss", "bypass", "hit"]
    assert [b"new" in client.body for client in clients] == [False, True, True]


async def test_no_store_leaves_no_trace_in_the_cache(tmp_path):
    """Neither read nor kept."""
    lab = lab_of(tmp_path, {"stub": [OK]})
    clients = [await ask(lab, control="no-store"), await ask(lab), await ask(lab, control="no-store")]
    assert caches(*clients) == ["bypass", "miss", "bypass"]
    assert lab.engine.cache.stats().entries == 1


async def test_max_age_takes_no_older_answer(tmp_path):
    """Others still get it."""
    lab = lab_of(tmp_path, {"stub": [answer("old"), answer("new")]})
    await ask(lab)
    lab.clock.at += 61.0
    clients = [await ask(lab, control=f"max-age={age}") for age in (62, 60)]
    assert caches(*clients) == ["hit", "miss"]
    assert b"new" in (await ask(lab)).body


# ── what is not kept ──


@pytest.mark.parametrize(
    ("fields", "given"),
    [
        ({"store": True}, OK),
        ({"tools": [{"type": "web_search"}]}, OK),
        ({"messages": [{"role": "user", "content": "x" * 300_000}]}, OK),
        ({"seed": 1, "metadata": {"x": {"a": 1}}}, answer(reason="length")),
        ({}, answer(reason="tool_calls", tool_calls=[{"function": {"name": "createBooking", "arguments": "{}"}}])),
        ({}, answer("x" * 2_000_000)),
    ],
)
async def test_what_may_not_be_given_again_is_asked_every_time(tmp_path, fields, given):
    """What has effects elsewhere, what is too long, what was cut off, what books something."""
    lab = lab_of(tmp_path, {"stub": [given]}, CACHED.replace("context: 1000, ", ""))
    first, second = [await ask(lab, "first", **fields) for _ in range(2)]
    assert "hit" not in caches(first, second)
    assert (lab.asked, lab.engine.cache.stats().entries) == (["stub", "stub"], 0)


async def test_failures_are_not_kept(tmp_path):
    """A refusal, and a stream that breaks off."""
    broken = Scripted(body=(chunk("He"), UpstreamFault("reset", is_ambiguous=True)))
    lab = lab_of(tmp_path, {"stub": [refusal(500), broken, STREAM]})
    with pytest.raises(UpstreamFault):
        await ask(lab, "task:paid", stream=True)
    with pytest.raises(StreamInterrupted):
        await ask(lab, "task:paid", stream=True)
    assert caches(await ask(lab, "task:paid", stream=True)) == ["miss"]


async def test_a_text_that_two_models_wrote_is_not_kept(tmp_path):
    """It is nobody's answer; one that a task may continue, and that did not have to be, is."""
    config = CACHED.replace(
        "work: {models: [first, second, third]}", "work: {models: [first, second], continuation: text}"
    )
    broken = Scripted(body=(chunk("One two three four "), UpstreamFault("reset", is_ambiguous=True)))
    lab = lab_of(tmp_path, {"stub": [broken, STREAM], "backup": [STREAM]}, config)
    first, second, third = [await ask(lab, stream=True) for _ in range(3)]
    assert (caches(first, second, third), first.ended) == (["miss", "miss", "hit"], "finish")
    assert b"continued_by" in first.body
    assert b"continued_by" not in second.body


# ── other gateways, and others who know ──


class Shared:
    """What other gateways keep: in memory here, and asked as the shared one is."""

    def __init__(self):
        self.held = {}
        self.asked = 0

    async def get(self, keys):
        self.asked += 1
        await asyncio.sleep(0)
        return [self.held.get(key) for key in keys]

    async def put(self, key, value, ttl_s):
        await asyncio.sleep(0)
        self.held[key] = value
        assert ttl_s == 300.0

    async def clear(self):
        count = len(self.held)
        self.held.clear()
        return count


async def test_what_one_gateway_was_told_another_knows(tmp_path):
    """Asked once for all who ask the same; then it is in memory."""
    shared = Shared()
    one, other = lab_of(tmp_path, {"stub": [STREAM]}), lab_of(tmp_path, {"stub": [STREAM]})
    one.engine.cache.level = other.engine.cache.level = shared
    first = await ask(one, stream=True)
    await one.engine.cache.stop()
    other.clock.at += 5.0
    begun = [begin(other, stream=True) for _ in range(3)]
    clients = await asyncio.gather(*[task for _, task in begun])
    assert (caches(*clients), shared.asked, other.asked) == (["hit", "coalesced", "coalesced"], 2, [])
    assert [(client.body, client.headers["age"]) for client in clients] == [(first.body, "5")] * 3
    assert caches(await ask(other, stream=True)) == ["hit"]
    assert (shared.asked, other.engine.cache.stats().misses) == (2, 0)
    assert await other.engine.cache.clear() == 1
    assert shared.held == {}


async def test_what_others_keep_is_checked_before_it_is_believed(tmp_path):
    """Another workspace's, too old for the client, or not to be read: it is asked."""
    shared = Shared()
    lab = lab_of(tmp_path, {"stub": [OK]})
    await ask(lab)
    (key,) = lab.engine.cache.shelf._entries
    now, wall = lab.clock.now(), lab.clock.wall()
    for data, control in (
        (pack(Kept(b"theirs", now, 300.0, 0, "other"), now, wall), ""),
        (pack(Kept(b"theirs", now - 100.0, 300.0), now, wall), "max-age=60"),
        (pack(Kept(b"theirs", now - 301.0, 300.0), now, wall), ""),
        (b"broken", ""),
    ):
        await lab.engine.cache.clear()
        lab.engine.cache.level = shared
        shared.held[key] = data
        client = await ask(lab, control=control)
        assert (caches(client), client.body) == (["miss"], OK.body[0])
        await lab.engine.cache.stop()


class Oracle:
    """Somebody who knows one answer."""

    def __init__(self):
        self.knows = None
        self.heard = []
        self.cleared = []

    async def find(self, exchange, planned):
        await asyncio.sleep(0)
        return None if self.knows is None else (planned.choices[0], self.knows)

    def learn(self, exchange, planned, kept):
        self.heard.append(kept.body)

    def clear(self, workspace):
        self.cleared.append(workspace)
        return 5


async def test_finders_are_asked_once_a_flight_and_hear_what_is_kept(tmp_path):
    """What they know is a hit; clearing clears theirs too."""
    lab = lab_of(tmp_path, {"stub": [OK]})
    oracle = Oracle()
    lab.engine.cache.finders.append(oracle)
    assert caches(await ask(lab)) == ["miss"]
    assert oracle.heard == [OK.body[0]]
    oracle.knows = Kept(b"known", lab.clock.now() - 3.0, 300.0, 7)
    client = await ask(lab, temperature=0.1)
    assert (caches(client), client.body, client.headers["age"]) == (["hit"], b"known", "3")
    assert lab.asked == ["stub"]
    assert (await lab.engine.cache.clear("a"), oracle.cleared) == (5, ["a"])
    assert await lab.engine.cache.clear() == 6


async def test_very_many_at_once_share_the_room(tmp_path):
    """What is on its way may take about what is kept may take; longer answers are then not kept."""
    gate = asyncio.Event()
    config = CACHED.replace("ttl: 5m", "ttl: 5m, size: 256 KiB, max_answer: 256 KiB")
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(gate, chunk("x" * 100_000), END, DONE))]}, config)
    begun = [begin(lab, stream=True, seed=number) for number in range(4)]
    await turns()
    gate.set()
    clients = await asyncio.gather(*[task for _, task in begun])
    assert [len(client.body) > 100_000 for client in clients] == [True] * 4
    assert (lab.engine.cache.stats().entries, lab.engine.cache.stats().unkept) == (2, 2)
