"""A question in other words gets a kept answer where that has been right; what is not sure is asked."""

import asyncio
import json
import random

import pytest

from tests.gateway.lab import Client, Lab
from turnout.core.hashed_ngrams import embed
from turnout.core.plan import Ask
from turnout.core.semantic import FEWEST
from turnout.core.trace import render
from turnout.dialects import DIALECTS
from turnout.gateway.memory_transport import Scripted
from turnout.gateway.recording import to_trace
from turnout.gateway.semantic_cache import MOST_UNDER_WAY

pytest.importorskip("numpy", reason="needs numpy: pip install 'turnout[semantic]'")

CONFIG = """
defaults: false
providers:
  stub: {kind: compatible, base_url: "http://stub.invalid/v1", api_key: sk-canary-stub}
models:
  talk: {provider: stub, id: vendor/talk, price: {input: 1, output: 1}}
  vectors: {provider: stub, id: vendor/vectors, price: free, mode: embedding}
tasks:
  faq: {models: [talk], cache: 5m, semantic: {embedder: letters, mode: MODE, max_false_hits: 0.1}}
  other-faq: {models: [talk], cache: 5m, semantic: {embedder: letters, mode: MODE, max_false_hits: 0.1}}
  plain: {models: [talk], cache: 5m}
"""
PASSWORD = "How do I reset my password?"
SAME = "How can I reset my password?"


class Vendor:
    """Answers every question as `answers` says, else with "Answer to" it without its small words; keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.answers = {}
        self.gate = None

    def __call__(self, outgoing):
        body = json.loads(bytes(outgoing.body))
        if "input" in body:
            data = [{"index": at, "embedding": list(embed(text))} for at, text in enumerate(body["input"])]
            return Scripted(body=(json.dumps({"data": data}).encode(),))
        question = body["messages"][-1]["content"]
        self.asked.append(question)
        text = self.answers.get(question, "Open Settings and choose Reset password.")
        message = {"role": "assistant", "content": text}
        told = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        told["usage"] = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        if body.get("stream"):
            delta = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
            end = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
            events = "".join(f"data: {json.dumps(one)}\n\n" for one in (delta, end)) + "data: [DONE]\n\n"
            return Scripted(body=(events.encode(),))
        return Scripted(body=(*([self.gate] if self.gate else []), json.dumps(told).encode()))


async def ask(lab, question, *, task="faq", system="Be short.", workspace="", cache_control="", **fields):
    """One question; waits until everything that it began is over."""
    client = Client()
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    call = DIALECTS["openai_chat"].decode(json.dumps({"messages": messages, **fields}).encode())
    asked = Ask(call.name, task=task, stream=call.stream, needs=call.needs, workspace=workspace)
    asked.cache_control = cache_control
    await lab.engine.serve(call, asked, lab.clock.request_id(), client)
    await settled(lab)
    return client


async def settled(lab):
    """Wait until look-ups and comparisons are over."""
    await lab.engine.cache.finders[1]._tasks.ended()


async def train(lab, vendor):
    """Have so many would-be hits compared that answers may be served."""
    for number in range(FEWEST + 1):
        await ask(lab, PASSWORD + "?" * number)
    vendor.asked.clear()


def told(lab):
    """What came of the task's questions."""
    return lab.engine.cache.stats().semantic["faq"]


@pytest.fixture
def vendor():
    return Vendor()


@pytest.fixture
def lab(tmp_path, vendor):
    """One where draws never pick a hit for comparing."""
    lab = Lab(tmp_path, vendor, config=CONFIG.replace("MODE", "on"))
    lab.clock.draw = lambda: 0.99
    return lab


@pytest.fixture
def shadow(tmp_path, vendor):
    return Lab(tmp_path, vendor, config=CONFIG.replace("MODE", "shadow"))


async def test_in_shadow_everybody_is_answered_upstream_and_the_answers_are_compared(shadow, vendor):
    """Would-be hits are counted, and how many of them would have been wrong; none is served, however many were right."""
    await train(shadow, vendor)
    vendor.answers[SAME] = "Call us and we will do it for you."
    client = await ask(shadow, SAME)
    assert client.headers["x-turnout-cache"] == "miss"
    assert vendor.asked == [SAME]
    stats = told(shadow)
    assert (stats.state, stats.would_be, stats.compared, stats.false) == ("shadow", FEWEST + 1, FEWEST + 1, 1)
    assert stats.false_hit_rate == pytest.approx(1 / (FEWEST + 1))
    assert stats.served == 0


async def test_answers_are_served_once_the_rate_is_known(lab, vendor):
    """Before that everything is asked and compared; then a question in other words costs nothing, and says how like it is."""
    await train(lab, vendor)
    assert told(lab).state == "on"
    client = await ask(lab, SAME)
    assert vendor.asked == []
    assert client.headers["x-turnout-cache"] == "hit"
    assert client.headers["x-turnout-cost"] == "0.000000"
    assert 0.8 <= float(client.headers["x-turnout-similarity"]) < 1.0
    assert "Reset password" in client.body.decode()
    assert told(lab).served == 1
    trace = to_trace(lab.ended[-1])
    assert (trace.cache, trace.given) == ("hit", "talk@stub")
    assert f"an answer of talk@stub, given to a like question ({trace.similarity:.3f})" in "\n".join(render(trace))
    assert lab.engine.cache.stats().saved_calls == 1


async def test_a_share_of_the_hits_is_asked_all_the_same(lab, vendor):
    """So that the rate stays known while answers are served."""
    await train(lab, vendor)
    lab.clock.draw = lambda: 0.05
    compared = told(lab).compared
    assert (await ask(lab, SAME)).headers["x-turnout-cache"] == "miss"
    assert vendor.asked == [SAME]
    assert told(lab).compared == compared + 1


async def test_too_many_false_hits_turn_it_off(lab, vendor):
    """From then on everything is asked; it goes on counting."""
    await train(lab, vendor)
    lab.clock.draw = lambda: 0.05
    false = 0
    while told(lab).state == "on":
        false += 1
        question = SAME + "?" * false
        vendor.answers[question] = f"It costs {false * 100} kr."
        await ask(lab, question)
    lab.clock.draw = lambda: 0.99
    vendor.asked.clear()
    assert (told(lab).state, false) == ("off", 3)
    assert (await ask(lab, SAME)).headers["x-turnout-cache"] == "miss"
    assert vendor.asked == [SAME]
    assert told(lab).compared == FEWEST + false + 1


async def test_another_rule_begins_a_new_record(lab, vendor):
    """What was measured under one threshold says nothing of another."""
    await train(lab, vendor)
    lab.engine.install(lab.index(CONFIG.replace("MODE", "on, threshold: 0.8")))
    assert (await ask(lab, SAME)).headers["x-turnout-cache"] == "miss"
    assert (told(lab).state, told(lab).compared) == ("trial", 1)


async def test_another_config_may_mean_another_space(lab, vendor):
    """Vectors that a model of the config made are not compared with those that it makes under another config."""
    config = CONFIG.replace("embedder: letters", "embedder: vectors, threshold: 0.8, answer_threshold: 0.8")
    config = config.replace("MODE", "on")
    lab.engine.install(lab.index(config))
    await train(lab, vendor)
    assert (await ask(lab, SAME)).headers["x-turnout-cache"] == "hit"
    lab.engine.install(lab.index(config.replace("vendor/vectors", "vendor/other-vectors")))
    assert (await ask(lab, SAME)).headers["x-turnout-cache"] == "miss"
    assert vendor.asked == [SAME]


@pytest.mark.parametrize(
    ("change", "question"),
    [
        ({"system": "Be long."}, SAME),
        ({"workspace": "other"}, SAME),
        ({"temperature": 0.5}, SAME),
        ({"user": "somebody"}, SAME),
        ({"stream": True}, SAME),
        ({"unknown_member": 1}, SAME),
        ({"task": "plain"}, SAME),
        ({}, "How do I delete my password?"),
        ({}, "How do I reset my router?"),
        ({}, "How do I not reset my password?"),
        ({"cache_control": "no-cache"}, SAME),
        ({"cache_control": "no-store"}, SAME),
        ({"cache_control": "max-age=0"}, SAME),
        ({"cache_control": "max-age=5"}, SAME),
        ({"task": "other-faq"}, SAME),
    ],
)
async def test_what_differs_in_anything_else_is_asked(lab, vendor, change, question):
    """System prompt, workspace, parameters, members that nobody knows, another task, other words of content, a wish."""
    await train(lab, vendor)
    if change.get("task") == "other-faq":  # which knows its rate too, from questions of another kind
        for number in range(FEWEST + 1):
            await ask(lab, "Where is the car?" + "?" * number, task="other-faq")
        vendor.asked.clear()
    lab.clock.at += 10
    client = await ask(lab, question, **change)
    assert client.headers.get("x-turnout-cache") != "hit"
    assert vendor.asked == [question]


async def test_no_answer_ever_crosses_a_workspace_or_a_prompt(tmp_path, vendor):
    """A thousand random questions of four workspaces with two prompts, near each other on purpose: each answer was given
    to the same workspace and prompt, and to a question that nothing speaks against.
    """
    lab = Lab(tmp_path, vendor, config=CONFIG.replace("MODE", "on").replace("max_false_hits: 0.1", "max_false_hits: 1"))
    draw = random.Random(11)
    lab.clock.draw = draw.random
    given = {}
    hits = 0
    for number in range(1000):
        workspace, system = draw.choice("abcd"), draw.choice(["Be short.", "Be kind."])
        verb, thing = draw.choice(["reset", "change", "delete"]), draw.choice(["password", "phone number"])
        question = f"How {draw.choice(['do', 'can'])} I {verb} my {thing}{'?' * draw.randint(1, 3)}"
        vendor.answers[question] = f"Answer {number}."
        client = await ask(lab, question, workspace=workspace, system=system)
        text = json.loads(client.body)["choices"][0]["message"]["content"]
        about = (workspace, system, verb, thing)
        assert about == given.setdefault(text, about)
        hits += "x-turnout-similarity" in client.headers
    assert hits > 50
    assert told(lab).guarded


async def test_the_words_against_a_near_question_are_counted(shadow, vendor):
    """By what they were; such a question is not compared."""
    await ask(shadow, PASSWORD)
    await ask(shadow, "How do I not reset my password?")
    stats = told(shadow)
    assert (stats.guarded, stats.near, stats.would_be, stats.compared) == ({"negation": 1}, 1, 0, 0)


async def test_a_question_leaves_with_its_answer(lab, vendor):
    """When that is too old, is cleared, or has to make room."""
    await train(lab, vendor)
    assert len(lab.engine.cache.finders[1]._vectors) == FEWEST + 1
    assert await lab.engine.cache.clear("") == FEWEST + 1
    assert len(lab.engine.cache.finders[1]._vectors) == 0
    await ask(lab, PASSWORD)
    lab.clock.at += 301
    assert (await ask(lab, SAME)).headers["x-turnout-cache"] == "miss"
    assert vendor.asked == [PASSWORD, SAME]


async def test_what_was_cleared_is_not_served_while_somebody_still_reads_it(lab, vendor):
    """The shelf decides, not who else holds the answer."""
    await train(lab, vendor)
    shelf = lab.engine.cache.shelf
    still_read = list(shelf._entries.values())
    await lab.engine.cache.clear()
    assert (await ask(lab, SAME)).headers["x-turnout-cache"] == "miss"
    assert len(still_read) == FEWEST + 1


async def test_streams_are_compared_and_served_as_streams(lab, vendor):
    """By their text, whatever their pieces."""
    await ask(lab, PASSWORD, stream=True)
    for number in range(FEWEST):
        await ask(lab, PASSWORD + "?" * (number + 1), stream=True)
    vendor.asked.clear()
    client = await ask(lab, SAME, stream=True)
    assert vendor.asked == []
    assert client.headers["content-type"].startswith("text/event-stream")
    assert client.body.endswith(b"data: [DONE]\n\n")


async def test_no_cache_learns_all_the_same(lab, vendor):
    """The answer is kept, and so is its question."""
    await ask(lab, PASSWORD, cache_control="no-cache")
    await ask(lab, SAME)
    assert told(lab).would_be == 1


async def test_an_answer_that_cannot_be_compared_says_nothing(shadow, vendor):
    """Neither right nor wrong: here the answer that came later calls no words its own."""
    await ask(shadow, PASSWORD)
    shadow.engine.cache.finders[1]._embedders._made["letters"] = Mute()
    vendor.answers[SAME] = "Open Settings, choose Reset password."
    await ask(shadow, SAME)
    assert told(shadow).compared == 0


class Mute:
    """An embedder that has no vectors."""

    threshold = answer_threshold = 0.5

    async def embed(self, texts, ask):
        return None

    async def stop(self):
        pass


class Late(Mute):
    """An embedder that waits to be let go, then knows the letters."""

    def __init__(self, whole):
        self.gate = asyncio.Event()
        self.threshold, self.answer_threshold = whole.threshold, whole.answer_threshold
        self._whole = whole

    async def embed(self, texts, ask):
        await self.gate.wait()
        return await self._whole.embed(texts, ask)


async def test_a_look_up_that_is_late_is_not_waited_for(lab, vendor):
    """The request goes upstream after half a second; what is found later is compared."""
    await train(lab, vendor)
    finder = lab.engine.cache.finders[1]
    late = finder._embedders._made["letters"] = Late(finder._embedders.named("letters"))
    task = asyncio.ensure_future(ask(lab, SAME))
    while not vendor.asked:
        await asyncio.sleep(0.01)
    late.gate.set()
    assert (await task).headers["x-turnout-cache"] == "miss"
    assert told(lab).compared == FEWEST + 1


async def test_a_client_that_leaves_while_it_is_looked_up_leaves_nothing_behind(lab, vendor):
    """Nobody is asked, and the look-up ends by itself."""
    await train(lab, vendor)
    finder = lab.engine.cache.finders[1]
    late = finder._embedders._made["letters"] = Late(finder._embedders.named("letters"))
    task = asyncio.ensure_future(ask(lab, SAME))
    while not len(finder._tasks):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    late.gate.set()
    await settled(lab)
    assert vendor.asked == []
    assert lab.engine.cache.stats().flights == 0


async def test_too_many_look_ups_are_not_begun(shadow, vendor):
    """The requests are served all the same."""
    finder = shadow.engine.cache.finders[1]
    late = finder._embedders._made["letters"] = Late(finder._embedders.named("letters"))
    many = [asyncio.ensure_future(ask(shadow, f"Is number {number} free?")) for number in range(MOST_UNDER_WAY + 5)]
    while len(vendor.asked) < len(many):
        await asyncio.sleep(0)
    assert len(finder._tasks) <= 2 * MOST_UNDER_WAY
    late.gate.set()
    assert all("x-turnout-cache" in client.headers for client in await asyncio.gather(*many))
    assert 0 < told(shadow).looked <= MOST_UNDER_WAY
    await shadow.engine.cache.stop()


async def test_stop_gives_up_what_is_under_way(shadow, vendor):
    """A look-up that waits for its embedder is cancelled."""
    finder = shadow.engine.cache.finders[1]
    finder._embedders._made["letters"] = Late(finder._embedders.named("letters"))
    task = asyncio.ensure_future(ask(shadow, PASSWORD))
    while not vendor.asked:
        await asyncio.sleep(0)
    await shadow.engine.cache.stop()
    await task
    assert not len(finder._tasks)
