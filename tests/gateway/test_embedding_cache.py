"""Embeddings are asked for once an input, and every vector comes back at its own place."""

import json
import random

import pytest

from tests.gateway.lab import OK, Client, Lab
from turnout.core.caching import Kept, pack, unpack
from turnout.core.plan import Ask
from turnout.dialects import DIALECTS
from turnout.errors import NoCandidate, UpstreamFault
from turnout.gateway.memory_transport import Scripted

CONFIG = """
defaults: false
providers:
  stub: {kind: compatible, base_url: "http://stub.invalid/v1", api_key: sk-canary-stub}
  backup: {kind: compatible, base_url: "http://backup.invalid/v1", api_key: sk-canary-backup}
models:
  vectors: {provider: stub, id: vendor/vectors, price: {input: 10}, mode: embedding, fallbacks: [others]}
  others: {provider: backup, id: vendor/others, price: free, mode: embedding}
  talk: {provider: stub, id: vendor/talk, price: free}
cache: {ttl: 5m}
retry: {max_retries: 1}
"""


class Vendor:
    """Answers with the text itself as its vector, after the model's name; keeps what it was asked. down: hosts that fail."""

    def __init__(self):
        self.asked = []
        self.down = set()
        self.leaves_out = 0

    def __call__(self, outgoing):
        host = outgoing.url.split("//")[1].split(".")[0]
        if host in self.down:
            return Scripted(503, {}, (b"{}",))
        body = json.loads(bytes(outgoing.body))
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        self.asked.append(texts)
        data = [{"object": "embedding", "index": at, "embedding": f"{host}:{text}"} for at, text in enumerate(texts)]
        usage = {"prompt_tokens": 100 * len(texts), "total_tokens": 100 * len(texts)}
        told = {"object": "list", "data": data[self.leaves_out :], "model": body["model"], "usage": usage}
        return Scripted(body=(json.dumps(told).encode(),))


async def ask(lab, given, *, workspace="", cache_control="", **fields):
    """One embeddings request."""
    client = Client()
    body = json.dumps({"model": "vectors", "input": given, **fields}).encode()
    call = DIALECTS["openai_embeddings"].decode(body)
    asked = Ask(call.name, kind="embedding", needs=call.needs, workspace=workspace, cache_control=cache_control)
    await lab.engine.serve(call, asked, lab.clock.request_id(), client)
    return client


def vectors(client):
    """In the order of their indices."""
    data = json.loads(client.body)["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return [item["embedding"] for item in data]


@pytest.fixture
def vendor():
    return Vendor()


@pytest.fixture
def lab(tmp_path, vendor):
    return Lab(tmp_path, vendor, config=CONFIG)


async def test_what_was_asked_before_is_not_asked_again_in_whatever_batch(lab, vendor):
    """Only the new inputs go out, each once; the answer is whole, and its usage is of what was asked."""
    await ask(lab, ["a", "b"])
    client = await ask(lab, ["c", "b", "a", "c"])
    assert vendor.asked == [["a", "b"], ["c"]]
    assert ["stub:c", "stub:b", "stub:a", "stub:c"] == vectors(client)
    assert json.loads(client.body)["usage"]["prompt_tokens"] == 100
    assert client.headers["x-turnout-cache"] == "miss"
    again = await ask(lab, ["c", "a"])
    assert len(vendor.asked) == 2
    assert ["stub:c", "stub:a"] == vectors(again)
    assert (again.headers["x-turnout-cache"], again.headers["x-turnout-cost"]) == ("hit", "0.000000")
    stats = lab.engine.cache.stats()
    assert (stats.inputs_kept, stats.inputs_asked) == (5, 3)
    assert stats.saved_nano_usd == 2 * 100 * 10_000


async def test_a_batch_that_is_all_kept_costs_nothing_and_says_its_age(lab, vendor):
    """As old as its oldest part; older than it may be, and it is asked for anew."""
    await ask(lab, "a")
    lab.clock.at += 100
    await ask(lab, "b")
    lab.clock.at += 100
    client = await ask(lab, ["b", "a"])
    assert client.headers["age"] == "200"
    assert json.loads(client.body)["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    lab.clock.at += 150
    client = await ask(lab, ["b", "a"])
    assert vendor.asked == [["a"], ["b"], ["a"]]
    assert ["stub:b", "stub:a"] == vectors(client)


async def test_a_client_may_want_it_younger(lab, vendor):
    """What is older than `max-age` is asked for, the rest is not."""
    await ask(lab, ["a"])
    lab.clock.at += 20
    await ask(lab, ["b"])
    lab.clock.at += 20
    await ask(lab, ["a", "b"], cache_control="max-age=30")
    assert vendor.asked == [["a"], ["b"], ["a"]]


async def test_vectors_of_two_models_are_never_mixed(lab, vendor):
    """When another model has to answer, it is asked for everything; what is kept of it is its own."""
    await ask(lab, ["a", "b"])
    vendor.down.add("stub")
    client = await ask(lab, ["a", "c"])
    assert ["backup:a", "backup:c"] == vectors(client)
    assert vendor.asked == [["a", "b"], ["a", "c"]]
    vendor.down.clear()
    assert ["stub:c", "stub:a"] == vectors(await ask(lab, ["c", "a"]))
    assert vendor.asked[2:] == [["c"]]


async def test_workspaces_know_nothing_of_each_other(lab, vendor):
    """The same text, asked twice."""
    await ask(lab, ["a"], workspace="one")
    client = await ask(lab, ["a"], workspace="two")
    assert client.headers["x-turnout-cache"] == "miss"
    assert vendor.asked == [["a"], ["a"]]
    assert await lab.engine.cache.clear("one") == 1
    assert (await ask(lab, ["a"], workspace="two")).headers["x-turnout-cache"] == "hit"


async def test_no_cache_asks_for_all_and_keeps_it_and_no_store_does_neither(lab, vendor):
    """As RFC 9111 has it."""
    await ask(lab, ["a"])
    lab.clock.at += 200
    assert (await ask(lab, ["a"], cache_control="no-cache")).headers["x-turnout-cache"] == "bypass"
    await ask(lab, ["b"], cache_control="no-store")
    lab.clock.at += 200
    assert (await ask(lab, ["a"])).headers["age"] == "200"
    assert (await ask(lab, ["b"])).headers["x-turnout-cache"] == "miss"
    assert vendor.asked == [["a"], ["a"], ["b"], ["b"]]


async def test_an_answer_that_leaves_one_out_is_a_fault_where_a_part_was_asked(lab, vendor):
    """It cannot be said whose vectors those are; nothing of it is kept."""
    await ask(lab, ["a"])
    vendor.leaves_out = 1
    vendor.down.add("backup")
    with pytest.raises((UpstreamFault, NoCandidate)):
        await ask(lab, ["a", "b", "c"])
    vendor.leaves_out = 0
    assert ["stub:a", "stub:b", "stub:c"] == vectors(await ask(lab, ["a", "b", "c"]))


async def test_an_answer_whose_items_cannot_be_told_apart_goes_through_and_is_not_kept(lab, vendor):
    """A whole request's answer is the client's to judge."""
    vendor.leaves_out = 1
    client = await ask(lab, ["a", "b"])
    assert len(json.loads(client.body)["data"]) == 1
    vendor.leaves_out = 0
    assert (await ask(lab, ["a", "b"])).headers["x-turnout-cache"] == "miss"


async def test_what_cannot_be_told_from_others_is_asked_as_it_is(lab, vendor):
    """A member given twice inside another."""
    for _ in range(2):
        call = DIALECTS["openai_embeddings"].decode(b'{"model": "vectors", "input": "a", "extra": {"x": 1, "x": 2}}')
        await lab.engine.serve(call, Ask(call.name, kind="embedding", needs=call.needs), "req", Client())
    assert vendor.asked == [["a"], ["a"]]


async def test_a_thousand_random_batches_are_answered_as_if_there_were_no_cache(lab, vendor):
    """Over a small room that evicts, with two workspaces: always the right vector, and never asked twice in a batch."""
    draw = random.Random(7)
    texts = [f"text {number}" for number in range(60)]
    for _ in range(300):
        batch = [draw.choice(texts) for _ in range(draw.randint(1, 9))]
        client = await ask(lab, batch, workspace=draw.choice(["one", "two"]))
        assert [f"stub:{text}" for text in batch] == vectors(client)
    asked = sum(map(len, vendor.asked))
    assert asked < 300


async def test_a_model_that_was_told_to_wait_is_stood_in_for_whole(lab, vendor):
    """Its kept vectors are no part of what another model answers."""
    await ask(lab, ["a"])
    lab.health.throttled("vectors@stub", lab.clock.at, 100.0, 0.0)
    assert ["backup:a", "backup:b"] == vectors(await ask(lab, ["a", "b"]))


async def test_a_batch_may_be_longer_than_any_answer_that_is_kept(tmp_path, vendor):
    """Its items are kept if each of them is short enough; a single one that is not is asked for anew."""
    lab = Lab(tmp_path, vendor, config=CONFIG.replace("ttl: 5m", "ttl: 5m, max_answer: 1KiB"))
    texts = [f"{number:0500}" for number in range(9)]
    await ask(lab, texts)
    await ask(lab, ["x" * 1024])
    assert (await ask(lab, texts)).headers["x-turnout-cache"] == "hit"
    assert (await ask(lab, ["x" * 1024])).headers["x-turnout-cache"] == "miss"


async def test_chat_is_none_of_its_business(tmp_path):
    """It goes by, and is kept whole."""
    lab = Lab(tmp_path, {"stub": [OK]}, config=CONFIG)
    await lab.ask("talk")
    assert (await lab.ask("talk")).headers["x-turnout-cache"] == "hit"
    stats = lab.engine.cache.stats()
    assert (stats.entries, stats.inputs_kept, stats.inputs_asked) == (1, 0, 0)


class Level:
    """What other gateways keep, in a dict."""

    def __init__(self):
        self.held = {}

    async def get(self, keys):
        return [self.held.get(key) for key in keys]

    async def put(self, key, value, ttl_s):
        self.held[key] = value

    async def clear(self):
        self.held.clear()
        return 0


async def test_what_another_gateway_keeps_is_not_asked_for(tmp_path, vendor):
    """Item by item; what cannot be read is asked for."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = Lab(tmp_path / "one", vendor, config=CONFIG), Lab(tmp_path / "two", vendor, config=CONFIG)
    one.engine.cache.level = two.engine.cache.level = level = Level()
    await ask(one, ["a", "b"])
    await one.engine.cache.stop()
    assert len(level.held) == 2
    first, second = level.held
    level.held[first] = b"\x00"
    foreign = unpack(level.held[second], 0.0, 0.0)
    foreign = Kept(foreign.body, one.clock.now(), foreign.ttl_s, workspace="another")
    assert ["stub:a", "stub:b"] == vectors(await ask(two, ["a", "b"]))
    assert vendor.asked == [["a", "b"], ["a"]]
    assert (await ask(two, ["b"])).headers["x-turnout-cache"] == "hit"
    three = Lab(tmp_path / "one", vendor, config=CONFIG)
    three.engine.cache.level = level
    level.held[second] = pack(foreign, three.clock.now(), three.clock.wall())
    assert (await ask(three, ["b"])).headers["x-turnout-cache"] == "miss"
    two.clock.at += 200
    one.clock.at += 200
    level.held.pop(next(iter(level.held)))
    fresh = Lab(tmp_path / "one", vendor, config=CONFIG)
    fresh.engine.cache.level = level
    fresh.clock.at += 400
    assert (await ask(fresh, ["b"])).headers["x-turnout-cache"] == "miss"
    for lab in (one, two, fresh):
        await lab.engine.cache.stop()
