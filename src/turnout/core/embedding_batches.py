"""Takes an embeddings request apart into its inputs, asks for some of them, and puts an answer together again.

What is kept is one input's item of `data`, as the vendor wrote it but for its `index`, and the name of the model that the
vendor gave. Vectors of two models have nothing to do with each other: a Batch knows for each candidate which inputs are
kept of it, asks it for the others alone, and joins its answer with its own. Each input is asked for once, however often
it stands in the request. `usage` says what was asked for: nothing, if all was kept.
Source: OpenAI's reference of POST /embeddings (a list of whole numbers is one input, of tokens).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from turnout.core.caching import canonical, digest
from turnout.core.contracts import Call
from turnout.core.vendor_errors import TRACE_BYTES
from turnout.errors import UpstreamFault

_INPUTS = msgspec.json.Decoder(list[msgspec.Raw])


class Item(NamedTuple):
    """One input's part of an answer. model: as the vendor names it, as JSON. members: of its item of `data`, without `index`
    and braces: they are put together again by being put side by side, as a batch may have 16 MB of them.
    """

    model: bytes
    members: bytes | memoryview


class _Answer(msgspec.Struct):
    data: list[dict[str, msgspec.Raw]]
    model: str = ""


_ANSWER = msgspec.json.Decoder(_Answer)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_INDEX = msgspec.json.Decoder(int)


class Batch:
    """One embeddings request. inputs: each as JSON. questions: one digest an input, in order.

    A question is an input together with everything else in the request, and with its workspace (see core/caching.py).
    """

    __slots__ = ("_call", "_known", "inputs", "questions")

    def __init__(self, call: Call, inputs: Sequence[msgspec.Raw], questions: Sequence[bytes]) -> None:
        self._call = call
        self._known: dict[str, dict[int, Item]] = {}
        self.inputs = inputs
        self.questions = questions

    @classmethod
    def of(cls, call: Call, workspace: str) -> Batch | None:
        """Take a request apart; None if it cannot be told from others. O(bytes), about 4 µs an input."""
        given = call.fields["input"]
        rest = {name: value for name, value in call.fields.items() if name != "input"}
        common = digest(msgspec.structs.replace(call, fields=rest), workspace)
        if common is None:
            return None
        listed = memoryview(given)[0] == ord("[")
        inputs = _INPUTS.decode(given) if listed else [given]
        if listed and any(memoryview(one)[0] not in b'"[' for one in inputs):
            inputs = [given]
        questions = []
        for one in inputs:
            told = canonical({"input": one})
            if told is None:
                return None
            questions.append(blake2b(told, key=common, digest_size=32).digest())
        return cls(call, inputs, questions)

    def know(self, candidate: str, items: Mapping[int, Item]) -> None:
        """Note what is kept of one candidate. items: by the input's place."""
        self._known[candidate] = dict(items)

    def asked(self, candidate: str) -> list[int]:
        """Return the places of the inputs that this candidate is asked for: those that are not kept, each text once."""
        known = self._known.get(candidate)
        if not known:
            return list(range(len(self.inputs)))
        first = {self.questions[at]: at for at in reversed(range(len(self.inputs)))}
        return sorted(at for at in first.values() if at not in known)

    def call_for(self, candidate: str) -> Call:
        """Return what this candidate is to be asked: the whole request, or those inputs that are not kept of it."""
        places = self.asked(candidate)
        if len(places) == len(self.inputs):
            return self._call
        asked = [self.inputs[at] for at in places]
        share = sum(map(len, asked)) / sum(map(len, self.inputs))
        fields = {**self._call.fields, "input": msgspec.Raw(msgspec.json.encode(asked))}
        return msgspec.structs.replace(self._call, fields=fields, input_tokens=round(self._call.input_tokens * share))

    def join(self, candidate: str, body: bytes) -> bytes | UpstreamFault:
        """Return the answer to the whole request. body: what the candidate answered to `call_for`.

        A fault if it does not hold one item for each input that was asked for, and some are to be added to it.
        """
        places = self.asked(candidate)
        if len(places) == len(self.inputs):
            return body
        found = items_of(body, len(places))
        if found is None:
            text = "the provider's answer does not hold one embedding for each input"
            return UpstreamFault(text, is_ambiguous=True, body=body[:TRACE_BYTES])
        fresh = dict(zip(places, found, strict=True))
        rest = {name: value for name, value in _FIELDS.decode(body).items() if name != "data"}
        return self._listed({**self._known.get(candidate, {}), **fresh}, msgspec.json.encode(rest))

    def whole(self, candidate: str) -> bytes | None:
        """Return the answer to the whole request from what is kept of this candidate, None if something is missing."""
        known = self._known.get(candidate, {})
        if len(known) < len(self.inputs):
            return None
        rest = b'{"object":"list","model":%b,"usage":{"prompt_tokens":0,"total_tokens":0}}' % known[0].model
        return self._listed(known, rest)

    def _listed(self, items: Mapping[int, Item], rest: bytes) -> bytes:
        """All items in the request's order, and the other members of the answer. items: by place, of a text that stands
        there twice the first will do. rest: a JSON object.
        """
        by_question = {self.questions[at]: item.members for at, item in items.items()}
        pieces: list[bytes | memoryview] = [b'{"data":[']
        for index, question in enumerate(self.questions):
            pieces += (b'%b{"index":%d,' % (b"," if index else b"", index), by_question[question], b"}")
        return b"".join([*pieces, b"]", b"," if len(rest) > 2 else b"", rest[1:]])


def items_of(body: bytes, count: int) -> list[Item] | None:
    """Return the items of an answer in the order of the inputs; None unless there is just one for each of `count`.

    A vendor that numbers none is taken to keep the order. O(bytes), never raises.
    """
    try:
        answer = _ANSWER.decode(body)
        numbers = [_INDEX.decode(item["index"]) for item in answer.data if "index" in item]
    except ValueError:
        return None
    if len(answer.data) != count or (numbers and sorted(numbers) != list(range(count))):
        return None
    if not all("embedding" in item for item in answer.data):
        return None
    model = msgspec.json.encode(answer.model)
    found: list[Item] = [Item(model, b"")] * count
    for place, item in zip(numbers or range(count), answer.data, strict=True):
        item.pop("index", None)
        found[place] = Item(model, msgspec.json.encode(item)[1:-1])
    return found


def pack_item(item: Item) -> bytes:
    """Return an item as it is kept."""
    return b"\n".join(item)


def unpack_item(data: bytes) -> Item | None:
    """Return an item that was kept, which refers to `data`; None if it is none (another version may have kept it)."""
    at = data.find(b"\n") + 1
    return Item(data[: at - 1], memoryview(data)[at:]) if 0 < at < len(data) else None
