"""Decides what is the same question, which answers may be given again, and which are still held.

    wish        what the client says about it in `Cache-Control`
    objection   why a request is nothing for a cache: its answer has effects elsewhere, or cannot be the same twice
    digest      the whole question as 32 bytes: workspace, format, and every member of the body, known to us or not
    shelf_key   that question, put to one candidate: another model, address or vendor's id is another answer
    flaw        why an answer is not to be given again
    Shelf       the answers, the longest unused and the old ones leave

Rules. Two requests are the same only if every vendor's parser must read the same from both: order of members and white
space do not count, everything else does (`1.0` is not `1`). A body with a member given twice is none of ours: parsers do
not agree on which of the two counts. What differs by workspace, or by where an answer came from, is never the same.
Nothing here reads a clock. Sources: RELIABILITY R12, F12, B5, T40, T41; RFC 9111 §5.2.1 (requests' directives).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

import msgspec

from turnout.core.catalog import Candidate
from turnout.core.contracts import Call
from turnout.core.json_depth import Nesting
from turnout.core.pieces import LARGE_BYTES
from turnout.core.sse import Framer, parse

# ── the request ──


class Wish(msgspec.Struct, frozen=True):
    """What a client wants of the cache. reads: an answer given before will do, if it is no older than `max_age_s`.

    writes: its answer may be kept.
    """

    reads: bool = True
    writes: bool = True
    max_age_s: float = float("inf")


_ANY: Final = Wish()


def wish(cache_control: str) -> Wish:
    """Read a request's `Cache-Control`: `no-cache`, `no-store`, `max-age=N`. What else stands there is passed over.

    A `max-age` that is no number means 0: a client that wanted something fresh must not get something old. Never raises.
    """
    if not cache_control:
        return _ANY
    reads = writes = True
    max_age_s = float("inf")
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        match name.strip():
            case "no-store":
                reads = writes = False
            case "no-cache":
                reads = False
            case "max-age":
                told = value.strip(' \t"')
                max_age_s = min(max_age_s, int(told) if told.isascii() and told.isdigit() and len(told) < 16 else 0)
            case _:
                pass
    return Wish(reads and max_age_s > 0, writes, max_age_s)


class _Tool(msgspec.Struct):
    type: str | None = None
    function: msgspec.Raw = msgspec.Raw()
    input_schema: msgspec.Raw = msgspec.Raw()


_TOOLS: msgspec.json.Decoder[list[_Tool] | None] = msgspec.json.Decoder(list[_Tool] | None)
_EFFECTS = ("mcp_servers", "plugins", "web_search_options", "container")
"""Members that make the vendor do more than answer: search, call other servers, run code."""
_NOTHING = frozenset({b"null", b"false", b"[]", b"{}"})


def objection(call: Call) -> str:
    """Return why no cache may come between this request and a model, "" if one may. Never raises.

    O(1), and O(tools) where there are any. Whatever the vendor stores, searches or runs is done anew for each request.
    """
    fields = call.fields
    if call.size > LARGE_BYTES:
        return f"it is longer than {LARGE_BYTES} bytes"
    if "store" in fields and bytes(fields["store"]) not in _NOTHING:
        return "the vendor is asked to store it"
    for name in _EFFECTS:
        if name in fields and bytes(fields[name]) not in _NOTHING:
            return f"it has `{name}`"
    if "tools" in fields:
        try:
            tools = _TOOLS.decode(fields["tools"]) or ()
        except ValueError:
            return "its tools cannot be read"
        if not all(_is_plain(tool) for tool in tools):
            return "a tool of it is run by the vendor"
    return ""


def _is_plain(tool: _Tool) -> bool:
    """Whether the client runs it: a function of OpenAI's kind, or a tool with a schema of Anthropic's."""
    if tool.type == "function" or tool.type is None:
        return bool(bytes(tool.function) or bytes(tool.input_schema))
    return tool.type == "custom" and bool(bytes(tool.input_schema))


_EXACT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
_SORTED = msgspec.json.Encoder(order="sorted", decimal_format="number")


def canonical(fields: Mapping[str, msgspec.Raw]) -> bytes | None:
    """Return the one text that stands for all requests equal to this: members in order, no white space, numbers as given.

    None where a member is given twice anywhere. O(bytes): about 6 µs for 500 bytes, 25 µs for 8 KiB.
    """
    text = msgspec.json.encode(fields)
    try:
        told = _SORTED.encode(_EXACT.decode(text))
    except (ValueError, ArithmeticError, RecursionError):
        return None
    # Repeats are dropped by the decoder. Colons are written as they are by everybody, so as many of them means as many
    # members; where somebody escapes them, or some are missing, they are counted outside of strings.
    if text.count(b":") != told.count(b":") or b"\\u003" in text:
        given, kept = Nesting(len(text)), Nesting(len(text))
        given.feed(text)
        kept.feed(told)
        if given.members != kept.members:
            return None
    return told


def digest(call: Call, workspace: str) -> bytes | None:
    """Return the question as 32 bytes, None if it cannot be told apart (see canonical).

    O(bytes): canonical, and 1 µs a KiB for BLAKE2b. No two different questions share one (2^128 tries for a collision).
    """
    told = canonical(call.fields)
    if told is None:
        return None
    before = msgspec.json.encode((workspace, call.dialect, call.kind))
    return blake2b(before + told, digest_size=32).digest()


def shelf_key(question: bytes, candidate: Candidate) -> bytes:
    """Return the key under which this candidate's answer to the question is held.

    With all that decides where a request goes: after a change of the config the same name may stand for another model.
    """
    account = candidate.account
    return question + f"{candidate.key}\n{candidate.id}\n{account.kind}\n{account.base_url}".encode()


# ── the answer ──


class _Function(msgspec.Struct, frozen=True):
    name: str = ""


class _Called(msgspec.Struct, frozen=True):
    function: _Function = _Function()


class _Message(msgspec.Struct, frozen=True):
    tool_calls: list[_Called] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, frozen=True):
    finish_reason: str | None = None
    message: _Message = _Message()


class _Completion(msgspec.Struct, frozen=True):
    choices: list[_Choice] = []


class _Block(msgspec.Struct, frozen=True):
    type: str = ""
    name: str = ""


class _Reply(msgspec.Struct, frozen=True):
    stop_reason: str | None = None
    content: list[_Block] = []


_COMPLETION = msgspec.json.Decoder(_Completion)
_REPLY = msgspec.json.Decoder(_Reply)

_PROPER = frozenset({"stop", "tool_calls", "function_call", "end_turn", "stop_sequence", "tool_use"})
"""Ends of an answer that is as long as its model wanted it. Not `length`: who asks again for an answer that was cut off
wants another one; not `content_filter`, `refusal` or `error`."""

_SAYING = frozenset({"stop", "end_turn", "stop_sequence"})

_TAIL_BYTES = 4096
"""Where the reason is looked for: its event, the one with the usage and the end marker take 1 KiB."""

_REASONS = re.compile(rb'"(?:finish_reason|stop_reason)": ?"((?:[^"\\]|\\.)*+)"')
_NAMES = re.compile(rb'"name": ?"((?:[^"\\]|\\.)*+)"')
_CALLS = re.compile(rb'"(?:tool_calls|function_call)": ?[\[{]|"type": ?"(?:[a-z_]*_)?tool_use"')


def flaw(call: Call, body: bytes, safe_tools: frozenset[str], reason: str = "") -> str:
    """Return why this answer, which ended well, is not to be given again, "" if it may be. Never raises.

    body: whole or a stream, in the client's format. safe_tools: whose calls may be repeated. reason: why it ended, as far as
    that is known, which is enough for one answer without tools. Else O(bytes): 2 µs for a whole answer of 1 KB; for a stream
    10 µs, and where there are tools 4 µs a KB.
    """
    if call.kind == "embedding":
        return ""
    if reason in _SAYING and not call.tools and "functions" not in call.fields and "n" not in call.fields:
        return ""
    if call.stream:
        # Of several answers each has its reason; else the last one counts, and stands at the end.
        reasons = _found(_REASONS, body if "n" in call.fields else body[-_TAIL_BYTES:])
        names: set[str] = set()
        # In a stream every name is a tool's. (In the arguments, which are JSON inside a string, its quotes are escaped.)
        if (call.tools or "functions" in call.fields or not reasons <= _SAYING) and _CALLS.search(body):
            names = _found(_NAMES, body)
    else:
        try:
            reasons, names = _told(call, body)
        except ValueError:
            return "it cannot be read"
    if not reasons or not reasons <= _PROPER:
        return f"it ended with {', '.join(sorted(reasons)) or 'no reason'}"
    if not names <= safe_tools:
        return f"it calls {', '.join(sorted(names - safe_tools))}"
    return ""


def _found(what: re.Pattern[bytes], body: bytes) -> set[str]:
    return {found.decode("utf-8", "replace") for found in what.findall(body)}


def _told(call: Call, body: bytes) -> tuple[set[str], set[str]]:
    """Return why a whole answer stopped, and the tools that it calls."""
    if call.dialect == "anthropic_messages":
        reply = _REPLY.decode(body)
        return {reply.stop_reason or ""}, {block.name for block in reply.content if block.type.endswith("tool_use")}
    reasons: set[str] = set()
    names: set[str] = set()
    for choice in _COMPLETION.decode(body).choices:
        reasons.add(choice.finish_reason or "")
        names |= {called.function.name for called in choice.message.tool_calls or ()}
        if choice.message.function_call is not None:
            names.add(choice.message.function_call.name)
    return reasons, names


class Kept(msgspec.Struct, frozen=True, weakref=True):
    """An answer that ended well. body: in its client's format, whole or a stream, without comments.

    at: when it was given, seconds of the same clock as `now`. ttl_s: how long it may be given again.
    cost_nano_usd: what it cost then, and what each use of it saves; 0 if that is not known.
    """

    body: bytes
    at: float
    ttl_s: float
    cost_nano_usd: int = 0
    workspace: str = ""


_FORMAT = 1
_PACKED = msgspec.msgpack.Decoder(tuple[int, float, float, int, str, bytes])


def pack(kept: Kept, now: float, wall: float) -> bytes:
    """Return `kept` as bytes for a store that several gateways share: with its age by the wall's clock."""
    return msgspec.msgpack.encode(
        (_FORMAT, wall - (now - kept.at), kept.ttl_s, kept.cost_nano_usd, kept.workspace, kept.body)
    )


def unpack(data: bytes, now: float, wall: float) -> Kept | None:
    """Return what another gateway kept, None if it cannot be read: another version's, or broken. Never raises."""
    try:
        version, at, ttl_s, cost_nano_usd, workspace, body = _PACKED.decode(data)
    except ValueError:
        return None
    if version != _FORMAT:
        return None
    return Kept(body, now - max(0.0, wall - at), ttl_s, cost_nano_usd, workspace)


def kept_of(call: Call, body: bytes, at: float, ttl_s: float, cost_nano_usd: int, workspace: str) -> Kept:
    """Return an answer as it is kept: of a stream the comments, which say nothing, are left out. O(bytes)."""
    if call.stream and (body.startswith(b":") or b"\n:" in body or (b"\r" in body and b"\r:" in body)):
        body = b"".join([frame for frame in Framer(len(body)).feed(body) if parse(frame) is not None])
    return Kept(body, at, ttl_s, cost_nano_usd, workspace)


ENTRY_BYTES = 512
"""What an answer takes besides its body: key, Kept, their places in the table. Measured, rounded up."""

_SWEPT = 4
"""How many of the longest unused are looked at, for their age, whenever one is added: so the old leave, at O(1) each."""


class Shelf:
    """The answers that are held, within a number of bytes. Not thread-safe. All operations are O(1) but `clear`.

    Whoever is longest unused leaves first when there is no room; what is too old leaves when it is met.
    """

    __slots__ = ("_entries", "evicted", "size_bytes")

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, Kept] = OrderedDict()
        self.size_bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float, max_age_s: float) -> Kept | None:
        """Return the answer, if it is there and no older than its own time and `max_age_s` allow."""
        kept = self._entries.get(key)
        if kept is None:
            return None
        age_s = now - kept.at
        if age_s >= kept.ttl_s:
            self._drop(key)
            return None
        if age_s > max_age_s:
            return None
        self._entries.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: Kept, now: float, room_bytes: int) -> None:
        """Hold `kept`. room_bytes: how much all of them may take together; one that alone takes more is not held."""
        if key in self._entries:
            self._drop(key)
        self._sweep(now)
        size = _size(key, kept)
        if size > room_bytes:
            return
        while self.size_bytes + size > room_bytes:
            self._drop(next(iter(self._entries)))
            self.evicted += 1
        self._entries[key] = kept
        self.size_bytes += size

    def clear(self, workspace: str | None = None) -> int:
        """Forget one workspace's answers, or all of them; return how many. O(entries)."""
        gone = [key for key, kept in self._entries.items() if workspace is None or kept.workspace == workspace]
        for key in gone:
            self._drop(key)
        return len(gone)

    def _sweep(self, now: float) -> None:
        for _ in range(min(_SWEPT, len(self._entries))):
            key, kept = next(iter(self._entries.items()))
            if now - kept.at < kept.ttl_s:
                return
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        self.size_bytes -= _size(key, self._entries.pop(key))


def _size(key: bytes, kept: Kept) -> int:
    return len(kept.body) + len(key) + ENTRY_BYTES
