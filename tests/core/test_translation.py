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
    b"x": Failed("it cannot be read", is_unreadable=True),
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
    assert one.usage is None
    one.feed(b"uvf")
    assert one.usage == Usage(3, 9)


def test_a_count_that_comes_before_the_end_is_an_estimate():
    """Anthropic tells a token of output at the start: a stream that breaks after it was not that short."""
    one = relay()
    one.feed(b"u" + b"t" * 8)
    assert one.usage == Usage(3, 6, basis="estimated")


def test_nothing_comes_out_after_the_end_or_after_a_failure():
    """An error event is the engine's to tell, not the relay's; the vendor's words stand apart from ours."""
    ended, failed = relay(), relay()
    assert ended.feed(b"f.t") == b"Finished Ended "
    assert ended.feed(b"t") == b""
    assert failed.feed(b"t!t") == b"TextAdded "
    assert failed.feed(b"t") == b""
    assert type(failed.failure) is UpstreamFault
    assert "too busy" in failed.failure.message
    assert "too busy" not in failed.failure.plain


def test_an_end_without_an_answer_is_a_failure():
    """Neither content nor a reason: nothing that a client could take for an answer."""
    one = relay()
    assert one.feed(b"su.") == b"Started UsageSeen "
    assert not one.is_ended
    assert type(one.failure) is UpstreamFault
    assert one.failure.is_ambiguous


def test_what_cannot_be_read_is_no_word_of_the_vendors():
    """It may have done the work all the same."""
    one = relay()
    one.feed(b"x")
    assert one.failure is not None
    assert (one.failure.message, one.failure.is_ambiguous) == ("it cannot be read", True)


def test_a_rate_limit_told_inside_a_stream_is_a_refusal_for_rate():
    """A cool-down, not a mark against health."""
    one = relay()
    one.feed(b"r")
    assert type(one.failure) is UpstreamThrottled
