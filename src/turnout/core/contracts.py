"""Names the few shapes that plug-ins and the engine meet in: Call, Outgoing, Relay, Dialect, Provider, Policy.

Plug-ins are pure: bytes and values in, bytes and values out. What they export is found by name (`DIALECT`, `PROVIDER`,
`POLICY`: one constant per module, its `name` equal to the file's).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from turnout.core.catalog import Account, Candidate, Timeouts
from turnout.core.messages import ChatRequest, Event, Reply
from turnout.core.pieces import Body, Pieces
from turnout.core.usage import Usage
from turnout.errors import GatewayError, UpstreamError

Headers = Mapping[str, str]
"""Header names in lower case; a repeated header's values joined by ", "."""


class Call(msgspec.Struct):
    """What a client asked, as far as routing needs to know it; the rest stays as it came.

    fields: the body's top-level members in order, each value's bytes untouched; no name twice.
    name: `model` as asked. task, user: from the body ("" if not there); the api layer lets headers override them.
    needs: abilities the request asks for (tools, vision, json, stream). input_tokens: an estimate (UTF-8 bytes / 4).
    wants_usage: the client asked for usage in its stream. tools: how many tools are declared. size: of the body, in bytes.
    """

    kind: Literal["chat", "embedding"]
    dialect: str
    fields: dict[str, msgspec.Raw]
    name: str
    task: str = ""
    user: str = ""
    stream: bool = False
    wants_usage: bool = False
    needs: frozenset[str] = frozenset()
    input_tokens: int = 0
    max_output_tokens: int | None = None
    tools: int = 0
    size: int = 0


class Outgoing(msgspec.Struct):
    """One upstream request. url: absolute. headers: lower-case names, without host, content-length, connection and
    accept-encoding, which the transport writes. A header value may hold a secret, the body holds the prompt: neither prints.
    body: a large one in pieces that refer to the client's. on_late: called when it is sent, if a connection had to be opened first.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | Pieces
    timeouts: Timeouts = Timeouts()
    method: str = "POST"
    proxy_url: str = ""
    ca_file: str = ""
    on_late: Callable[[], object] | None = None

    def __repr__(self) -> str:
        """How large it is, and no more."""
        return f"Outgoing({self.method}, {len(self.headers)} headers, {len(self.body)} bytes)"


class Seen(msgspec.Struct):
    """What a whole answer told: its usage (None if absent or absurd), why it stopped.

    output_bytes: how much text it held, for an estimate; only counted where there is no usage.
    """

    usage: Usage | None = None
    finish_reason: str = ""
    output_bytes: int = 0


class Relay(Protocol):
    """An upstream stream's bytes in, the client's bytes out; never raises.

    has_content: real content was seen (text, a tool call, a refusal), not only a role or a comment.
    is_ended: the terminal event was seen. failure: an error event or unreadable data, None while well.
    After `failure` is set, feed returns b"" (an error event is not forwarded by the relay: the engine decides).
    """

    has_content: bool
    is_ended: bool
    failure: UpstreamError | None
    finish_reason: str
    output_bytes: int

    @property
    def usage(self) -> Usage | None:
        """What the vendor counted, None if it has not; an estimate until the answer is over."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what may go to the client now (whole events only)."""
        ...


class Decoder(Protocol):
    """A vendor's stream → events."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """Take the next bytes; return the events that became whole. Split-invariant; never raises."""
        ...


class Encoder(Protocol):
    """Events → a client's stream."""

    def encode(self, event: Event) -> bytes:
        """Return the client's bytes for one event, b"" if it has no place in this format."""
        ...


class Dialect(Protocol):
    """A downstream wire format."""

    name: str

    def decode(self, body: Body) -> Call:
        """Read a request; the Call refers to `body`. Raises InvalidRequest (with `param`) on anything that is not one."""
        ...

    def to_messages(self, call: Call) -> ChatRequest:
        """The whole request, free of the format: only for the translation lane. Raises InvalidRequest."""
        ...

    def inspect(self, body: bytes) -> Seen | UpstreamError:
        """Read a whole answer in this format that is forwarded as it is: usage, finish reason, or what is wrong."""
        ...

    def relay(self, call: Call) -> Relay:
        """The fast lane for a stream in this very format: forwards bytes, taps usage, errors and the end marker."""
        ...

    def encode_reply(self, reply: Reply, call: Call, created: int) -> bytes:
        """A whole answer in this format. created: Unix seconds."""
        ...

    def encoder(self, call: Call, request_id: str, created: int) -> Encoder:
        """For a stream that is translated."""
        ...

    def encode_error_event(self, error: GatewayError) -> bytes:
        """An error inside a stream that has begun: the event that makes this format's SDKs raise."""
        ...


class Provider(Protocol):
    """A vendor's wire protocol. name: the module's. dialects: formats it takes and gives natively (the fast lane).

    base_url: where it is when the config does not say; "" means that the config must. A scheme other than http(s) names
    a transport of the gateway's own (`simulated:`) or a server that it starts (`local:`).
    """

    name: str
    dialects: frozenset[str]
    base_url: str

    def prepare(self, candidate: Candidate) -> object:
        """What `encode` would compute anew for every request to this candidate, None if nothing. Its repr tells nothing.

        Called once per configuration; `encode` finds it as candidate.prepared, and does without it where it is None.
        """
        ...

    def encode(self, call: Call, request: ChatRequest | None, candidate: Candidate) -> Outgoing:
        """One upstream request. request is None in the fast lane: then `call.fields` go out, with the model renamed."""
        ...

    def decode(self, body: bytes) -> Reply | UpstreamError:
        """A whole 2xx answer, translated. In the fast lane the dialect's `inspect` is used instead."""
        ...

    def decoder(self) -> Decoder:
        """For a stream that is translated."""
        ...

    def classify(self, status: int, headers: Headers, body: bytes, now: float) -> UpstreamError:
        """Name a non-2xx answer. now: Unix seconds, for hints given as dates."""
        ...

    def check(self, account: Account) -> str:
        """What is missing for this account to work ("" if nothing): an address, a key."""
        ...


class Load(msgspec.Struct, frozen=True):
    """How a candidate is doing. in_flight: attempts now. latency_s: moving average to the first content, 0 if unknown."""

    in_flight: int = 0
    latency_s: float = 0.0


class Policy(Protocol):
    """Orders candidates: an order, not a choice, so that fallback needs no second concept."""

    name: str

    def order(
        self, candidates: Sequence[Candidate], weights: Sequence[float], loads: Mapping[str, Load], draw: float
    ) -> Sequence[Candidate]:
        """Return a permutation of `candidates`, best first.

        weights: one per candidate, empty for none. loads: by candidate key; a missing one is idle. draw: in [0, 1).
        """
        ...
