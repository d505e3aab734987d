"""Two formats joined into one Relay."""

from turnout.core.messages import (
    Ended,
    Event,
    Failed,
    Finished,
    Started,
    TextAdded,
    ToolCallAdded,
    ToolCallStarted,
    UsageSeen,
)
from turnout.core.translation import Translation
from turnout.core.usage import Usage
from turnout.errors import UpstreamFault, UpstreamThrottled

EVENTS: dict[bytes, Event] = {
    b"s": Started("id", "m"),
    b"t": TextAdded("hé"),
    b"e": TextAdded(""),
    b"c": ToolCallStarted(0, "call", "f"),
    b"a": ToolCallAdded(0, '{"x"'),
    b"u": UsageSeen(Usage(3, 4)),
    b"v": UsageSeen(Usage(3, 9)),
    b"f": Finished("stop"),
    b".": Ended(),
    b"!": Failed("too busy", "overloaded"),
    b"r": Failed("slow down", "rate_limit_error"),
}


class Letters:
    """A vendor whose stream is one letter an event."""

    def feed(self, data):
        return [EVENTS[data[at : at + 1]] for at in range(len(data))]


class Names:
    """A client's format: the events' names."""

    def encode(self, event):
        return type(event).__name__.encode() + b" "


def relay():
    return Translation(Letters(), Names())


def test_events_come_out_in_the_clients_format_and_the_flags_follow():
    """Text is content; a role, an empty text or a count is not."""
    one = relay()
    assert one.feed(b"seu") == b"Started TextAdded UsageSeen "
    assert (one.has_content, one.is_ended, one.finish_reason) == (False, False, "")
    assert one.feed(b"tf") == b"TextAdded Finished "
    assert (one.has_content, one.finish_reason, one.output_bytes) == (True, "stop", 3)
    one.feed(b".")
    assert one.is_ended


def test_a_tool_call_is_content_and_its_arguments_are_output():
    """Counted for the estimate."""
    one = relay()
    one.feed(b"ca")
    assert (one.has_content, one.output_bytes) == (True, 4)


def test_a_later_count_replaces_an_earlier_one():
    """Vendors count as they go."""
    one = relay()
    one.feed(b"uv")
    assert one.usage is not None
    assert one.usage.output_tokens == 9


def test_nothing_comes_out_after_the_end_or_after_a_failure():
    """An error event is the engine's to tell, not the relay's."""
    ended, failed = relay(), relay()
    assert ended.feed(b".t") == b"Ended "
    assert ended.feed(b"t") == b""
    assert failed.feed(b"t!t") == b"TextAdded "
    assert failed.feed(b"t") == b""
    assert type(failed.failure) is UpstreamFault
    assert "too busy" in failed.failure.message


def test_a_rate_limit_told_inside_a_stream_is_a_refusal_for_rate():
    """A cool-down, not a mark against health."""
    one = relay()
    one.feed(b"r")
    assert type(one.failure) is UpstreamThrottled
