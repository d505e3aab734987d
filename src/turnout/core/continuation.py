"""Joins a broken text answer to the next candidate's continuation of it: no word twice, no word lost.

What a client has seen cannot be taken back, so it is shown whole words only: `Splice` holds back what follows the last
complete word (one word of delay). When the stream breaks, what is held is dropped, the next candidate is asked to go on
after what was shown (an assistant turn at the end of the conversation), and its text is joined with the white space that
the first one had already written there.

A model that was not made to go on from an assistant turn begins anew, or repeats the last sentence. So the beginning of
the continuation is compared with what was shown: if it repeats all of it, or at least REPEATED_CHARACTERS of its end,
those words are dropped. A shorter repetition is taken for the text's own ("very, very").

Only for plain text: never where the answer is JSON, a tool call or sound (`refusal`), whose halves do not fit together.
Pure; sizes in characters. Source: RELIABILITY R4 ("an explicit continuation"), DESIGN §1.
"""

from __future__ import annotations

import re

import msgspec

from turnout.core.contracts import Call, Decoder, Encoder
from turnout.core.messages import (
    Continued,
    Ended,
    Event,
    Finished,
    Started,
    TextAdded,
    UsageSeen,
)
from turnout.core.translation import Translation
from turnout.core.usage import Usage, total

REPEATED_CHARACTERS = 32
"""The shortest end of the text whose repetition is not taken for the author's wish: about six words."""

RESTATED_CHARACTERS = 12
"""The shortest whole text whose repetition means that the model began anew."""

COMPARED_CHARACTERS = 4000
"""How far back repetitions are looked for: more than a page."""

HELD_CHARACTERS = 64
"""The longest word that is waited for; a longer run without a space is shown as it comes."""

SHOWN_CHARACTERS = 1_000_000
"""A longer answer is not continued: it would have to be sent along as a prompt."""

_TAIL = re.compile("[^\\s\u0e00-\u0e7f\u2e80-\uffef]*+\\s*+")
"""The unfinished word at the end and the white space before it, read backwards: a search for an end is quadratic. Thai,
Chinese, Japanese and Korean are written without spaces: each of their characters ends a word."""

_WORD_STARTS = re.compile(r"(?:(?<=\s)|\A)\S")

_UNSPACED = re.compile("[\u0e00-\u0e7f\u2e80-\uffef]\\Z")


def refusal(call: Call) -> str:
    """Return why an answer to `call` could not be continued, "" if it could. O(1); nothing is parsed but short members."""
    if not call.stream or call.kind != "chat":
        return "only streams of text are"
    fields = call.fields
    for name in ("tools", "mcp_servers", "functions", "audio", "logprobs", "thinking"):
        if bytes(fields.get(name, b"null")) not in {b"null", b"[]", b"false"}:
            return f"it asks for `{name}`"
    if bytes(fields.get("n", b"1")) not in {b"1", b"null"}:
        return "it asks for several answers"
    if b'"audio"' in bytes(fields.get("modalities", b"")):
        return "it asks for sound"
    if any(b'"json_' in bytes(fields.get(name, b"")) for name in ("response_format", "output_config", "output_format")):
        return "it asks for JSON"
    return ""


def continued(call: Call, shown: str) -> Call:
    """Return `call` with an assistant turn at its end that says `shown`, to be gone on with. O(bytes).

    A limit on the answer's tokens is lowered by what `shown` took (characters / 4, at least one is left). White space at
    its end is left out: Anthropic refuses such a turn.
    """
    shown = shown.rstrip()
    if not shown:
        return call
    fields = dict(call.fields)
    turn = msgspec.json.encode({"role": "assistant", "content": shown})
    fields["messages"] = msgspec.Raw(bytes(fields["messages"]).rstrip()[:-1] + b"," + turn + b"]")
    limit = call.max_output_tokens
    if limit is not None:
        limit = max(1, limit - len(shown) // 4)
        for name in ("max_tokens", "max_completion_tokens"):
            if bytes(fields.get(name, b"null")) != b"null":
                fields[name] = msgspec.Raw(b"%d" % limit)
    more = len(shown.encode()) // 4
    return msgspec.structs.replace(call, fields=fields, max_output_tokens=limit, input_tokens=call.input_tokens + more)


class Splice:
    """The text of one answer, over all candidates that wrote it. Cost: O(characters), and O(COMPARED_CHARACTERS) a join.

    `add` text as it comes; `finish` at the proper end. When it breaks: `break_off`, then `add` again, from the next one.
    """

    __slots__ = ("_gap", "_held", "_is_gap_whole", "_is_joining", "shown")

    def __init__(self) -> None:
        self.shown = ""
        self._held = ""
        self._gap = ""
        self._is_gap_whole = False
        self._is_joining = False

    def add(self, text: str) -> str:
        """Return what may be shown now."""
        self._held += text
        if self._is_joining and not self._join(is_over=False):
            return ""
        tail = _TAIL.match(self._held[::-1])
        length = tail.end() if tail is not None else 0
        return self._show(len(self._held) - (length if length <= HELD_CHARACTERS else 0))

    def finish(self) -> str:
        """Return what was held back: the answer is complete."""
        if self._is_joining:
            self._join(is_over=True)
        return self._show(len(self._held))

    def break_off(self) -> str:
        """Forget what was not shown; return what was, for the next candidate to go on with."""
        if not self._is_joining:  # else nothing of the last one was shown, and the place of the join is the same
            stripped = self._held.lstrip()
            self._gap = self._held[: len(self._held) - len(stripped)]
            self._is_gap_whole = bool(stripped)
        self._held = ""
        self._is_joining = bool(self.shown)
        return self.shown

    def _show(self, end: int) -> str:
        out, self._held = self._held[:end], self._held[end:]
        self.shown += out
        return out

    def _join(self, *, is_over: bool) -> bool:
        """Decide how what has come of the continuation follows what was shown; False while that cannot be told."""
        words = self._held.lstrip()
        if not words and not is_over:
            return False
        repeated = self._repeated(words, is_over=is_over)
        if repeated is None:
            return False
        self._is_joining = False
        if repeated:
            self._held = words[repeated:]
        elif self.shown[-1:].isspace():
            self._held = self._gap + words if words else ""
        elif self._gap:
            own = self._held[: len(self._held) - len(words)]
            is_longer = not self._is_gap_whole and own.startswith(self._gap)
            self._held = (own if is_longer else self._gap) + words if words else ""
        return True

    def _repeated(self, words: str, *, is_over: bool) -> int | None:
        """Return how many characters of `words` repeat the end of what was shown; None while it may still become some."""
        shown = self.shown
        first = max(0, len(shown) - COMPARED_CHARACTERS)
        starts = [match.start() for match in _WORD_STARTS.finditer(shown, first)]
        if first:
            starts.insert(0, 0)  # a whole restatement is looked for however long it is
        for start in starts:
            length = len(shown) - start
            is_whole = start == starts[0]
            if length < (RESTATED_CHARACTERS if is_whole else REPEATED_CHARACTERS):
                break
            if len(words) <= length and shown.startswith(words, start):
                if not is_over:
                    return None
                if is_whole and len(words) >= RESTATED_CHARACTERS:
                    return len(words)  # it began anew, and said less
            if words.startswith(shown[start:]) and (not words[length : length + 1].strip() or _UNSPACED.search(shown)):
                return length
        return 0


class Parts:
    """One answer, in as many parts as candidates wrote at it: they share the encoder and the Splice.

    earlier: what the parts that broke off have used, None before any did.
    """

    __slots__ = ("_broke_at", "earlier", "encoder", "is_finished", "splice")

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.splice = Splice()
        self.is_finished = False
        self._broke_at = 0
        self.earlier: Usage | None = None

    @property
    def can_go_on(self) -> bool:
        """Whether another candidate may continue it: not once it was said why the answer stopped."""
        return not self.is_finished and len(self.splice.shown) <= SHOWN_CHARACTERS

    def next(self, decoder: Decoder) -> Spliced:
        """Return the relay for the next candidate's stream."""
        return Spliced(decoder, self)

    def break_off(self, used: Usage) -> None:
        """The part at hand ended in the middle; used: by it alone."""
        self._broke_at = len(self.splice.break_off())
        self.earlier = used if self.earlier is None else total(self.earlier, used)

    def seam(self, model: str) -> bytes:
        """Return the event that tells the client who goes on, and from where."""
        return self.encoder.encode(Continued(model, self._broke_at))


class Spliced(Translation):
    """A Relay (core/contracts.py) for one part: events go through the Splice into the encoder that all parts share.

    The client is told the sum of what all parts used.
    """

    __slots__ = ("_earlier", "_splice", "parts")

    def __init__(self, decoder: Decoder, parts: Parts) -> None:
        super().__init__(decoder, parts.encoder)
        self.parts = parts
        self._splice = parts.splice
        self._earlier = parts.earlier

    def pass_on(self, event: Event) -> bytes:
        """Encode what of an event the client may see now."""
        encode = self._encoder.encode
        match event:
            case TextAdded(text):
                shown = self._splice.add(text)
                return encode(TextAdded(shown)) if shown else b""
            case Started() if self._earlier is not None:
                return b""
            case UsageSeen(usage) if self._earlier is not None:
                return encode(UsageSeen(total(self._earlier, usage)))
            case Finished() | Ended():
                self.parts.is_finished = True
                rest = self._splice.finish()
                return (encode(TextAdded(rest)) if rest else b"") + encode(event)
            case _:
                return encode(event)
