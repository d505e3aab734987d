"""Speaks Anthropic's Messages API with clients: POST /v1/messages, whole and streamed.

What decides a route is read; the rest stays as it came, and goes untouched to a vendor of the same format. Unlike there,
`max_tokens` may be left out. Source: Anthropic's reference of POST /v1/messages.
"""

from __future__ import annotations

import re

import msgspec

from turnout.core.anthropic_answers import MessageEncoder, MessageRelay, inspect_message, write_error, write_message
from turnout.core.anthropic_requests import read_messages
from turnout.core.contracts import Call, Encoder, Relay, Seen
from turnout.core.messages import ChatRequest, Reply
from turnout.core.openai_fields import NUMBER, TEXT, read, split, take_task
from turnout.core.pieces import Body
from turnout.errors import GatewayError, InvalidRequest, UpstreamError

IMAGE_TOKENS = 1600
"""What an image counts in the estimate of input tokens: the most that Anthropic makes of one (its page on vision)."""

_FLAG: msgspec.json.Decoder[bool | None] = msgspec.json.Decoder(bool | None)
_LIST: msgspec.json.Decoder[list[msgspec.Raw] | None] = msgspec.json.Decoder(list[msgspec.Raw] | None)
_IMAGE = re.compile(rb'"type":\s*"image"')
_DATA = re.compile(rb'"data":\s*"([^"]*)"')


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Format(msgspec.Struct):
    type: str = ""


class _Output(msgspec.Struct):
    format: _Format | None = None


_FORMAT: msgspec.json.Decoder[_Format | None] = msgspec.json.Decoder(_Format | None)
_OUTPUT: msgspec.json.Decoder[_Output | None] = msgspec.json.Decoder(_Output | None)
_METADATA: msgspec.json.Decoder[_Metadata | None] = msgspec.json.Decoder(_Metadata | None)


class AnthropicMessages:
    """The dialect `anthropic_messages`."""

    name = "anthropic_messages"

    def decode(self, body: Body) -> Call:
        """Read a request. Raises InvalidRequest, with `param`, on anything that is not one. O(bytes)."""
        fields = split(body)
        messages = read(fields, "messages", _LIST)
        if not messages:
            raise InvalidRequest("`messages` must be a list with at least one message.", param="messages")
        size = len(body)
        call = Call("chat", self.name, fields, read(fields, "model", TEXT) or "", input_tokens=-(-size // 4), size=size)
        call.task = take_task(fields)
        if "metadata" in fields:
            metadata = read(fields, "metadata", _METADATA)
            call.user = (metadata.user_id or "") if metadata else ""
        call.max_output_tokens = read(fields, "max_tokens", NUMBER)
        needs: list[str] = []
        if read(fields, "stream", _FLAG):
            needs.append("stream")
            call.stream = call.wants_usage = True
        tools = read(fields, "tools", _LIST)
        call.tools = len(tools) if tools else 0
        if call.tools:
            needs.append("tools")
        output = read(fields, "output_config", _OUTPUT)
        if (output and output.format) or read(fields, "output_format", _FORMAT):
            needs.append("json")
        text = fields["messages"]
        if images := len(_IMAGE.findall(text)):
            needs.append("vision")
            image_bytes = sum(found.end(1) - found.start(1) for found in _DATA.finditer(text))
            call.input_tokens += images * IMAGE_TOKENS - image_bytes // 4
        call.needs = frozenset(needs)
        return call

    def to_messages(self, call: Call) -> ChatRequest:
        """The whole request, free of the format. Raises InvalidRequest on what cannot be translated."""
        return read_messages(call.fields)

    def inspect(self, body: bytes) -> Seen | UpstreamError:
        """Read a whole answer that is forwarded as it is."""
        return inspect_message(body)

    def relay(self, call: Call) -> Relay:  # noqa: ARG002 - the protocol's
        """The fast lane for a stream."""
        return MessageRelay()

    def encode_reply(self, reply: Reply, call: Call, created: int) -> bytes:  # noqa: ARG002 - the protocol's
        """A whole answer. The format has no place for the time."""
        return write_message(reply)

    def encoder(self, call: Call, request_id: str, created: int) -> Encoder:  # noqa: ARG002 - the protocol's
        """For a stream that is translated."""
        return MessageEncoder(request_id)

    def encode_error_event(self, error: GatewayError) -> bytes:
        """The event that makes Anthropic's SDKs raise inside a stream; no message_stop may follow it."""
        return write_error(error)


DIALECT = AnthropicMessages()
