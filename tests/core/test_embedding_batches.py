"""An embeddings request is taken apart into inputs and put together again, and no vector lands at another's place."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.embedding_batches import Batch, Item, items_of, pack_item, unpack_item
from turnout.dialects.openai_embeddings import DIALECT
from turnout.errors import UpstreamFault


def batch_of(given_input, workspace="", **fields):
    """A Batch of a request for these inputs."""
    body = json.dumps({"model": "m", "input": given_input, **fields}).encode()
    return Batch.of(DIALECT.decode(body), workspace)


def answer(inputs, *, model="vendor/m", indexed=True):
    """What a vendor answers: its vectors are the inputs' own text."""
    data = [
        {"object": "embedding", **({"index": at} if indexed else {}), "embedding": one} for at, one in enumerate(inputs)
    ]
    usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
    return json.dumps({"object": "list", "data": data, "model": model, "usage": usage}).encode()


def vectors(body):
    """The vectors in the order of their indices, which must be the order of the list."""
    data = json.loads(body)["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return [item["embedding"] for item in data]


def asked(batch, candidate):
    """The inputs that a candidate is asked for."""
    return json.loads(bytes(batch.call_for(candidate).fields["input"]))


TEXTS = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8)


@given(TEXTS, st.data())
def test_whatever_is_kept_each_input_gets_its_own_vector(texts, data):
    """Asked for what is missing, each text once; joined, or whole from what is kept: every place has its own vector."""
    batch = batch_of(texts)
    kept = data.draw(st.sets(st.sampled_from(texts)))
    items = items_of(answer(texts), len(texts))
    batch.know("m@a", {at: items[at] for at, text in enumerate(texts) if text in kept})
    whole = batch.whole("m@a")
    if kept == set(texts):
        assert texts == vectors(whole)
        assert json.loads(whole)["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
        assert json.loads(whole)["model"] == "vendor/m"
        return
    assert whole is None
    missing = asked(batch, "m@a")
    expected = [text for text in dict.fromkeys(texts) if text not in kept] if kept else texts
    assert expected == missing
    joined = batch.join("m@a", answer(missing))
    assert texts == vectors(joined)
    assert json.loads(joined)["usage"]["prompt_tokens"] == len(missing)


def test_what_is_kept_of_one_candidate_is_not_given_by_another():
    """The other is asked for everything, in the client's own bytes."""
    batch = batch_of(["a", "b"])
    batch.know("m@a", {0: items_of(answer(["a"]), 1)[0]})
    assert asked(batch, "m@a") == ["b"]
    assert asked(batch, "m@b") == ["a", "b"]
    body = answer(["a", "b"])
    assert batch.join("m@b", body) is body
    assert batch.whole("m@b") is None


def test_an_answer_with_too_few_vectors_is_no_answer_to_a_part():
    """It cannot be said which are whose; the answer to a whole request is the client's to judge."""
    batch = batch_of(["a", "b", "c"])
    batch.know("m@a", {0: items_of(answer(["a"]), 1)[0]})
    fault = batch.join("m@a", answer(["b"]))
    assert isinstance(fault, UpstreamFault)
    assert fault.is_ambiguous
    whole = batch_of(["a", "b", "c"])
    assert whole.join("m@a", b"anything") == b"anything"


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"{}",
        b'{"data": [{"index": 0, "embedding": []}, {"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": []}, {"index": 2, "embedding": []}]}',
        b'{"data": [{"index": "0", "embedding": []}, {"index": 1, "embedding": []}]}',
        b'{"data": [{"index": 0}, {}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": []}, {"index": 1}]}',
        b'{"model": 7, "data": [{"embedding": []}, {"embedding": []}]}',
    ],
)
def test_items_that_cannot_be_told_apart_are_none(body):
    """Not one for each input, or numbered in another way."""
    assert items_of(body, 2) is None


def test_items_come_in_the_order_of_their_numbers_or_as_they_stand():
    """A vendor may shuffle them, or number none."""
    shuffled = b'{"model": "m", "data": [{"index": 1, "embedding": "b"}, {"index": 0, "embedding": "a", "more": 1}]}'
    first, second = items_of(shuffled, 2)
    assert first == Item(b'"m"', b'"embedding":"a","more":1')
    assert second == Item(b'"m"', b'"embedding":"b"')
    plain = items_of(answer(["x", "y"], indexed=False), 2)
    assert [item.members for item in plain] == [
        b'"object":"embedding","embedding":"x"',
        b'"object":"embedding","embedding":"y"',
    ]


def test_one_text_alone_and_in_a_list_are_the_same_question():
    """So is the same text spelt with an escape; another text, model, member or workspace is another question."""
    (alone,) = batch_of("æ").questions
    assert [alone] == list(batch_of(["æ"]).questions)
    escaped = DIALECT.decode(b'{"model": "m", "input": "\\u00e6"}')
    spelt = DIALECT.decode('{"input": "æ", "model": "m"}'.encode())
    assert list(Batch.of(escaped, "").questions) == [alone] == list(Batch.of(spelt, "").questions)
    for other in (
        batch_of("ø"),
        batch_of("æ", workspace="b"),
        batch_of("æ", dimensions=256),
        batch_of("æ", encoding_format="base64"),
        batch_of("æ", user="u"),
    ):
        assert [alone] != list(other.questions)


def test_tokens_are_one_input_and_lists_of_tokens_are_several():
    """A list of whole numbers is one text."""
    assert len(batch_of([1, 2, 3]).questions) == 1
    assert len(batch_of([[1, 2], [3]]).questions) == 2
    assert batch_of([[1, 2], [3]]).questions[1] == batch_of([3]).questions[0]


def test_a_part_of_a_request_counts_a_part_of_its_tokens():
    """An estimate, by the inputs' length; everything else goes out as the client said it."""
    batch = batch_of(["aaaa" * 10, "bbbb" * 30], dimensions=8)
    batch.know("m@a", {0: items_of(answer(["a"]), 1)[0]})
    call = batch.call_for("m@a")
    assert call.input_tokens == 30
    assert bytes(call.fields["dimensions"]) == b"8"


def test_what_cannot_be_told_from_others_is_not_taken_apart():
    """A member given twice, beside the input or in it."""
    twice = DIALECT.decode(b'{"model": "m", "input": "a", "extra": {"x": 1, "x": 2}}')
    assert Batch.of(twice, "") is None
    inside = msgspec.structs.replace(twice, fields={"input": msgspec.Raw(b'[[{"x": 1, "x": 2}]]')})
    assert Batch.of(inside, "") is None


def test_an_item_is_kept_and_found_again():
    """Byte for byte; what another version wrote is nothing."""
    (item,) = items_of(answer(["a"]), 1)
    assert unpack_item(pack_item(item)) == item
    assert unpack_item(b"\x00") is None


def test_an_answer_that_says_nothing_else_is_joined_too():
    """No usage, no model, no object."""
    batch = batch_of(["a", "b"])
    batch.know("m@a", {0: items_of(answer(["a"]), 1)[0]})
    joined = batch.join("m@a", b'{"data": [{"embedding": "b"}]}')
    assert json.loads(joined).keys() == {"data"}
    assert ["a", "b"] == vectors(joined)
