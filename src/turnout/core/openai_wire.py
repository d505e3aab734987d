"""Speaks the OpenAI API to a vendor: one class for every provider that does; what differs is data (quirks).

In the fast lane a request is the client's own members in their order, byte for byte, but for `model` (the candidate's id)
and `stream_options` (the gateway needs a stream's usage; the dialect keeps it from a client that did not ask). Headers are
built here; none of the client's passes (RELIABILITY R13, T55). The secret goes into one header and nowhere else.
Source: OpenAI's reference; the vendors' deviations: providers/compatible.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote as escape

import msgspec

from turnout.core.catalog import Account, Candidate
from turnout.core.contracts import Call, Decoder, Headers, Outgoing
from turnout.core.messages import ChatRequest, Reply
from turnout.core.openai_fields import join, split
from turnout.core.openai_replies import ChunkDecoder, read_reply
from turnout.core.openai_requests import write_chat
from turnout.core.vendor_errors import classify
from turnout.errors import InvalidRequest, UpstreamError

QUIRKS = frozenset({
    "version_path",
    "no_stream_options",
    "max_tokens_field",
    "drop",
    "key_header",
    "deployment_path",
    "query",
})  # fmt: skip
"""Every quirk there is; the head of providers/compatible.toml says what each does."""

_PATHS: Mapping[str, str] = {"chat": "/chat/completions", "embedding": "/embeddings"}
_USAGE_WANTED = msgspec.Raw(b'{"include_usage":true}')
_TRUE = msgspec.Raw(b"true")


class Prepared:
    """What requests to one candidate have in common. headers hold the key, so nothing of it prints."""

    __slots__ = ("chat_url", "embedding_url", "headers", "model")

    def __init__(
        self, *, chat_url: str, embedding_url: str, headers: tuple[tuple[str, str], ...], model: msgspec.Raw
    ) -> None:
        self.chat_url = chat_url
        self.embedding_url = embedding_url
        self.headers = headers
        self.model = model

    def __repr__(self) -> str:
        return "Prepared(***)"


class OpenAIProvider:
    """A Provider (core/contracts.py) that takes the OpenAI dialects as they are.

    address: where it lives if the account does not say; a scheme of our own (simulated, local) is answered or looked up
    by the gateway itself and never resolved, so that what is inside cannot be mistaken for something outside.
    """

    dialects = frozenset({"openai_chat", "openai_embeddings"})

    def __init__(self, name: str, address: str = "") -> None:
        self.name = name
        self.base_url = address

    def prepare(self, candidate: Candidate) -> Prepared:
        """Everything about a request that does not depend on what is asked. O(1)."""
        return Prepared(
            chat_url=self._url("chat", candidate),
            embedding_url=self._url("embedding", candidate),
            headers=_headers(candidate.account),
            model=msgspec.Raw(msgspec.json.encode(candidate.id)),
        )

    def encode(self, call: Call, request: ChatRequest | None, candidate: Candidate) -> Outgoing:
        """One upstream request. request is None in the fast lane. O(bytes): one copy of the body, none of a large one."""
        prepared = candidate.prepared
        if not isinstance(prepared, Prepared):
            prepared = self.prepare(candidate)
        account = candidate.account
        quirks = account.quirks
        fields = dict(call.fields) if request is None else {"model": _TRUE, **write_chat(request)}
        fields["model"] = prepared.model
        if call.stream and not quirks.get("no_stream_options"):
            fields["stream_options"] = _with_usage(fields.get("stream_options"))
        if quirks:
            fields = _bend(fields, quirks)
        return Outgoing(
            url=prepared.chat_url if call.kind == "chat" else prepared.embedding_url,
            headers=prepared.headers,
            body=join(fields, call.size),
            timeouts=account.timeouts,
            proxy_url=account.proxy_url,
            ca_file=account.ca_file,
        )

    def decode(self, body: bytes) -> Reply | UpstreamError:
        """A whole 2xx answer, translated."""
        return read_reply(body)

    def decoder(self) -> Decoder:
        """For a stream that is translated."""
        return ChunkDecoder()

    def classify(self, status: int, headers: Headers, body: bytes, now: float) -> UpstreamError:
        """Name a non-2xx answer. now: Unix seconds."""
        return classify(status, headers, body, now)

    def check(self, account: Account) -> str:
        """What is missing for this account to work: an address, if neither the account nor we have one."""
        if account.base_url or self.base_url:
            return ""
        return f"provider {account.name} needs a base_url"

    def _url(self, kind: Literal["chat", "embedding"], candidate: Candidate) -> str:
        quirks = candidate.account.quirks
        base = candidate.account.base_url or self.base_url
        if quirks:
            version, deployment, query = quirks.get("version_path"), quirks.get("deployment_path"), quirks.get("query")
            if isinstance(version, str) and "/" not in base.partition("://")[2]:
                base += version
            if isinstance(deployment, str):
                base += deployment.replace("{id}", escape(candidate.id, safe=""))
            if isinstance(query, str):
                return f"{base}{_PATHS[kind]}?{query}"
        return base + _PATHS[kind]


def _headers(account: Account) -> tuple[tuple[str, str], ...]:
    headers = [("content-type", "application/json")]
    if account.api_key:
        name = account.quirks.get("key_header")
        secret = account.api_key.reveal()
        headers.append((name, secret) if isinstance(name, str) else ("authorization", f"Bearer {secret}"))
    return (*headers, *account.headers)


def _with_usage(given: msgspec.Raw | None) -> msgspec.Raw:
    """Return stream_options that ask for usage; its other members stay. What is no object is the vendor's to refuse."""
    if given is None or bytes(given) == b"null":
        return _USAGE_WANTED
    try:
        options = split(bytes(given))
    except InvalidRequest:
        return given
    return msgspec.Raw(msgspec.json.encode({**options, "include_usage": _TRUE}))


def _bend(fields: dict[str, msgspec.Raw], quirks: Mapping[str, object]) -> dict[str, msgspec.Raw]:
    """Return the members as this vendor wants them."""
    unwanted = quirks.get("drop")
    dropped = set(unwanted) if isinstance(unwanted, list | tuple) else set()
    if quirks.get("no_stream_options"):
        dropped.add("stream_options")
    bound = quirks.get("max_tokens_field")
    renamed = {"max_tokens": bound, "max_completion_tokens": bound} if isinstance(bound, str) else {}
    return {renamed.get(name, name): value for name, value in fields.items() if name not in dropped}
