"""Speaks Anthropic's Messages API to a vendor: POST /v1/messages, whole and streamed, for clients of any dialect.

The wire is core/anthropic_requests.py and core/anthropic_replies.py; here are address, headers and what an account needs.
Source: Anthropic's reference, versioning and errors pages.
"""

from __future__ import annotations

import msgspec

from turnout.core.anthropic_replies import MessageDecoder, read_message
from turnout.core.anthropic_requests import DEFAULT_MAX_TOKENS, write_messages
from turnout.core.catalog import Account, Candidate
from turnout.core.contracts import Call, Decoder, Headers, Outgoing
from turnout.core.messages import ChatRequest, Reply
from turnout.core.openai_fields import join
from turnout.core.pieces import Pieces
from turnout.core.vendor_errors import classify
from turnout.errors import InvalidRequest, UpstreamError

ADDRESS = "https://api.anthropic.com"

VERSION = "2023-06-01"
"""The only version of the API there is besides its first."""


class Anthropic:
    """The provider `anthropic`."""

    name = "anthropic"
    dialects = frozenset({"anthropic_messages"})
    base_url = ADDRESS

    def prepare(self, candidate: Candidate) -> object:  # noqa: ARG002 - the protocol's
        """Nothing: translating a request costs far more than its headers."""
        return None

    def encode(self, call: Call, request: ChatRequest | None, candidate: Candidate) -> Outgoing:
        """One upstream request; request is None for a client that speaks this format: then its members go out, with the
        model renamed. Raises InvalidRequest for embeddings, which Anthropic has none of. O(bytes).
        """
        if call.kind != "chat":
            raise InvalidRequest(f"{candidate.model.name} cannot serve this kind of request.", param="model")
        account = candidate.account
        headers = [("content-type", "application/json"), ("anthropic-version", VERSION)]
        if account.api_key:
            headers.append(("x-api-key", account.api_key.reveal()))
        return Outgoing(
            url=f"{(account.base_url or ADDRESS).removesuffix('/v1')}/v1/messages",
            headers=(*headers, *account.headers),
            body=_renamed(call, candidate)
            if request is None
            else write_messages(request, candidate.id, candidate.model.max_output_tokens),
            timeouts=account.timeouts,
            proxy_url=account.proxy_url,
            ca_file=account.ca_file,
        )

    def decode(self, body: bytes) -> Reply | UpstreamError:
        """A whole 2xx answer, translated."""
        return read_message(body)

    def decoder(self) -> Decoder:
        """For a stream."""
        return MessageDecoder()

    def classify(self, status: int, headers: Headers, body: bytes, now: float) -> UpstreamError:
        """Name a non-2xx answer. now: Unix seconds."""
        return classify(status, headers, body, now)

    def check(self, account: Account) -> str:
        """What is missing: a key, at Anthropic's own address."""
        if account.api_key or account.base_url not in {"", ADDRESS}:
            return ""
        return f"provider {account.name} needs a key: set ANTHROPIC_API_KEY"


def _renamed(call: Call, candidate: Candidate) -> bytes | Pieces:
    """The client's own members, for this model; with the bound that is required here, if the client gave none."""
    fields = {**call.fields, "model": msgspec.Raw(msgspec.json.encode(candidate.id))}
    if call.max_output_tokens is None:
        limit = candidate.model.max_output_tokens or DEFAULT_MAX_TOKENS
        fields["max_tokens"] = msgspec.Raw(b"%d" % limit)
    return join(fields, call.size)


PROVIDER = Anthropic()
