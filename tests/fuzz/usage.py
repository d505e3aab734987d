"""core/usage.py and the readers of whole answers: a vendor's counts are believable integers, or they are none."""

from __future__ import annotations

import msgspec

from turnout.core.anthropic_replies import read_message
from turnout.core.openai_replies import inspect_chat, read_reply
from turnout.core.usage import LIMIT_TOKENS, Usage, merge, read_anthropic, read_openai


def check(data: bytes) -> None:
    """Any bytes as an answer, and any JSON as its usage."""
    for reader in (inspect_chat, read_reply, read_message):
        believe(getattr(reader(data), "usage", None))
    try:
        raw = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return
    some = [usage for usage in (read_openai(raw), read_anthropic(raw)) if usage is not None]
    for usage in some:
        believe(usage)
        assert merge(usage, usage) == usage
        for other in some:
            both = merge(usage, other)
            believe(both)
            assert both.output_tokens >= min(usage.output_tokens, other.output_tokens)


def believe(usage: Usage | None) -> None:
    """A count is an int, neither negative nor absurd; a part is no more than its whole."""
    if usage is None:
        return
    counts = [
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_input_tokens,
        usage.cache_write_input_tokens,
        usage.reasoning_output_tokens,
    ]
    assert all(type(count) is int and 0 <= count <= 3 * LIMIT_TOKENS for count in counts), usage
    assert usage.cache_read_input_tokens + usage.cache_write_input_tokens <= 2 * usage.input_tokens, usage
    assert usage.reasoning_output_tokens <= usage.output_tokens, usage
