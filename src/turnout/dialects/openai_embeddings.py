"""Speaks OpenAI's embeddings with clients: POST /v1/embeddings. There is no stream and nothing to translate to.

`input` is a text, a list of texts, a list of tokens, or a list of such lists; it is not looked into beyond that.
Source: OpenAI's reference of POST /embeddings.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

import msgspec

from turnout.core.contracts import Call, Encoder, Relay, Seen
from turnout.core.messages import ChatRequest, Reply
from turnout.core.openai_fields import TEXT, read, split, take_task
from turnout.core.openai_replies import read_object
from turnout.core.pieces import Body
from turnout.core.usage import read_openai
from turnout.core.vendor_errors import TRACE_BYTES
from turnout.errors import GatewayError, InvalidRequest, UpstreamError, UpstreamFault

_Input: TypeAlias = str | list[str | int | list[int]]

_INPUT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Input | None)
_FLAG: msgspec.json.Decoder[bool | None] = msgspec.json.Decoder(bool | None)


class OpenAIEmbeddings:
    """The dialect `openai_embeddings`."""

    name = "openai_embeddings"

    def decode(self, body: Body) -> Call:
        """Read a request. Raises InvalidRequest, with `param`, on anything that is not one. O(bytes)."""
        fields = split(body)
        if "input" not in fields:
            raise InvalidRequest("`input` is missing: a text, or a list of texts.", param="input")
        given: _Input | None = read(fields, "input", _INPUT)
        if not given:
            raise InvalidRequest("`input` must not be empty.", param="input")
        if read(fields, "stream", _FLAG):
            raise InvalidRequest("Embeddings cannot be streamed.", param="stream")
        return Call(
            "embedding",
            self.name,
            fields,
            read(fields, "model", TEXT) or "",
            task=take_task(fields),
            user=read(fields, "user", TEXT) or "",
            needs=frozenset({"embeddings"}),
            input_tokens=_tokens(given),
            size=len(body),
        )

    def to_messages(self, call: Call) -> ChatRequest:
        """Refuses: a provider that does not take embeddings as they are has none."""
        _refuse(call)

    def inspect(self, body: bytes) -> Seen | UpstreamError:
        """Read a whole answer that is forwarded as it is: its `data` must hold something, as every input gives something."""
        raw = read_object(body)
        if isinstance(raw, UpstreamError):
            return raw
        data = raw.get("data")
        if not isinstance(data, list) or not data or not all(isinstance(item, dict) for item in data):
            text = "the provider's answer holds no embeddings in its `data`"
            return UpstreamFault(text, is_ambiguous=True, body=body[:TRACE_BYTES])
        return Seen(usage=read_openai(raw.get("usage")))

    def relay(self, call: Call) -> Relay:
        """Refuses: there is no stream."""
        _refuse(call)

    def encode_reply(self, reply: Reply, call: Call, created: int) -> bytes:  # noqa: ARG002 - the protocol's
        """Refuses: a chat reply is no embedding."""
        _refuse(call)

    def encoder(self, call: Call, request_id: str, created: int) -> Encoder:  # noqa: ARG002 - the protocol's
        """Refuses: there is no stream."""
        _refuse(call)

    def encode_error_event(self, error: GatewayError) -> bytes:  # noqa: ARG002 - the protocol's
        """No stream, no event."""
        return b""


def _tokens(given: _Input) -> int:
    """Estimate: UTF-8 bytes / 4 for texts, exact for tokens."""
    if isinstance(given, str):
        return -(-len(given.encode()) // 4)
    return sum(_tokens(item) if isinstance(item, str) else len(item) if isinstance(item, list) else 1 for item in given)


def _refuse(call: Call) -> NoReturn:
    raise InvalidRequest(f"`{call.name}` is served by a provider that has no embeddings.", param="model")


DIALECT = OpenAIEmbeddings()
