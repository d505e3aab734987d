"""Joins a vendor's decoder to a client's encoder: a Relay for streams whose formats differ.

The engine sees one shape, whether bytes are only tapped (a dialect's own relay) or rewritten (this one).
"""

from __future__ import annotations

from turnout.core.contracts import Decoder, Encoder
from turnout.core.messages import Ended as EndedEvent
from turnout.core.messages import Event, Failed, Finished, TextAdded, ToolCallAdded, ToolCallStarted, UsageSeen
from turnout.core.openai_relay import EMPTY
from turnout.core.usage import Usage, merge, so_far
from turnout.errors import UpstreamError, UpstreamFault, UpstreamThrottled


class Translation:
    """A Relay (see core/contracts.py) over events. Cost: O(bytes), one encode per event."""

    __slots__ = (
        "_decoder",
        "_encoder",
        "_usage",
        "failure",
        "finish_reason",
        "has_content",
        "is_ended",
        "output_bytes",
    )

    def __init__(self, decoder: Decoder, encoder: Encoder) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self.has_content = False
        self.is_ended = False
        self.failure: UpstreamError | None = None
        self.finish_reason = ""
        self.output_bytes = 0
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """What the vendor counted: as it said once the answer is over, else what that is worth."""
        told = self._usage
        if told is None or (told.basis == "exact" and (self.is_ended or self.finish_reason)):
            return told
        return so_far(told, self.output_bytes)

    def feed(self, data: bytes) -> bytes:
        """Take the vendor's next bytes; return the client's. After the end, or a failure, returns b""."""
        out = b""
        for event in self._decoder.feed(data):
            if self.is_ended or self.failure is not None:
                break
            self._note(event)
            if self.failure is None:
                out += self.pass_on(event)
        return out

    def pass_on(self, event: Event) -> bytes:
        """Return what the client gets for an event."""
        return self._encoder.encode(event)

    def _note(self, event: Event) -> None:
        match event:
            case TextAdded(text):
                self.has_content = self.has_content or bool(text)
                self.output_bytes += len(text.encode())
            case ToolCallStarted():
                self.has_content = True
            case ToolCallAdded(_, arguments):
                self.output_bytes += len(arguments.encode())
            case UsageSeen(usage):
                self._usage = usage if self._usage is None else merge(self._usage, usage)
            case Finished(reason):
                self.finish_reason = reason
            case EndedEvent():
                self.is_ended = self.has_content or bool(self.finish_reason)
                if not self.is_ended:
                    self.failure = UpstreamFault(EMPTY, is_ambiguous=True)
            case Failed(message, is_unreadable=True):
                self.failure = UpstreamFault(message, is_ambiguous=True)
            case Failed(message, kind):
                refusal = UpstreamThrottled if "rate_limit" in kind else UpstreamFault
                words = f"{kind or 'error'}: {message}"
                self.failure = refusal("the provider reported an error inside its answer", words=words)
            case _:
                pass
