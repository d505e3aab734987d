"""What vendors count: believed only where it is a plain number, and never to our cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.usage import LIMIT_TOKENS, Usage, count, estimate, merge, read_anthropic, read_openai, so_far, total

ABSURD = [-1, 1.0, "7", None, True, LIMIT_TOKENS + 1, 10**18, [], {}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details",
     "prompt_cache_hit_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
)  # fmt: skip
COUNTS = st.builds(Usage, st.integers(0, 9), st.integers(0, 9))


@pytest.mark.parametrize("value", ABSURD)
def test_an_absurd_count_is_no_usage(value):
    """Negative, float, text, huge, a boolean: the vendor's count is not used at all."""
    assert count(value) is None
    assert read_openai({"prompt_tokens": value, "completion_tokens": 1}) is None
    assert read_openai({"prompt_tokens": 1, "completion_tokens": value}) is None
    assert read_anthropic({"input_tokens": value, "output_tokens": 1}) is None
    assert read_anthropic({"input_tokens": 1, "output_tokens": value}) is None


def test_believable_counts():
    """The bounds belong to it."""
    assert count(0) == 0
    assert count(LIMIT_TOKENS) == LIMIT_TOKENS


@pytest.mark.parametrize("raw", [None, [], "x", 3, {}])
def test_what_is_no_usage_object(raw):
    """Absent is absent."""
    assert read_openai(raw) is None
    assert read_anthropic(raw) is None


def test_openai_counts_parts():
    """Cached and reasoning tokens are parts of the whole; an embedding has no output."""
    raw = {
        "prompt_tokens": 24, "completion_tokens": 11, "total_tokens": 35,
        "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    assert read_openai(raw) == Usage(24, 11, cache_read_input_tokens=8, reasoning_output_tokens=2)
    assert read_openai({"prompt_tokens": 5, "total_tokens": 5}) == Usage(5, 0)
    assert read_openai({"prompt_tokens": 5, "completion_tokens": 1, "prompt_cache_hit_tokens": 3}) == Usage(5, 1, 3)


def test_parts_larger_than_the_whole_are_left_out():
    """A vendor cannot make a request cheaper by an absurd discount."""
    raw = {
        "prompt_tokens": 5, "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 4},
    }  # fmt: skip
    assert read_openai(raw) == Usage(5, 3)


def test_reasoning_counted_besides_is_added():
    """xAI: the total is the sum of all three, so the output is text and reasoning."""
    raw = {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 18,
        "completion_tokens_details": {"reasoning_tokens": 10},
    }
    assert read_openai(raw) == Usage(5, 13, reasoning_output_tokens=10)


def test_anthropic_input_includes_the_cached():
    """Its input_tokens leaves them out; ours does not."""
    raw = {"input_tokens": 20, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 12}
    assert read_anthropic(raw) == Usage(125, 12, cache_read_input_tokens=100, cache_write_input_tokens=5)
    assert read_anthropic({"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": None}) == Usage(1, 2)


def test_the_estimate_is_four_bytes_a_token_rounded_up():
    """And says that it is one."""
    assert estimate(9, 8) == Usage(3, 2, basis="estimated")


def test_a_count_before_the_end_is_at_least_what_was_told_and_what_was_seen():
    """The input is known by then."""
    assert so_far(Usage(5, 1, cache_read_input_tokens=2), 41) == Usage(
        5, 11, cache_read_input_tokens=2, basis="estimated"
    )
    assert so_far(Usage(5, 30), 41) == Usage(5, 30, basis="estimated")


def test_the_last_report_wins_only_if_monotone():
    """A count that shrinks makes both unbelievable."""
    assert merge(Usage(5, 1), Usage(5, 9)) == Usage(5, 9)
    assert merge(Usage(5, 9), Usage(6, 1)) == Usage(6, 9, basis="estimated")


@given(COUNTS, COUNTS)
def test_merging_never_loses_tokens(earlier, later):
    """What was counted once stays on the bill."""
    merged = merge(earlier, later)
    assert merged.input_tokens >= max(earlier.input_tokens, later.input_tokens)
    assert merged.output_tokens >= max(earlier.output_tokens, later.output_tokens)


@given(JSON | st.dictionaries(FIELDS, JSON | st.integers(0, 50)))
def test_reading_never_raises_and_parts_fit(raw):
    """Untrusted input (R11)."""
    for usage in (read_openai(raw), read_anthropic(raw)):
        if usage is not None:
            assert 0 <= usage.cache_read_input_tokens <= usage.input_tokens
            assert 0 <= usage.reasoning_output_tokens <= usage.output_tokens


def test_openai_counts_writes_and_images():
    """Parts of the whole, as their details say; together beyond it, all but the cached ones are left out."""
    raw = {
        "prompt_tokens": 30, "completion_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 9, "image_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 2, "image_tokens": 9},
    }  # fmt: skip
    expected = Usage(30, 11, 8, 9, 2, image_input_tokens=10, image_output_tokens=9)
    assert expected == read_openai(raw)
    raw["prompt_tokens"], raw["completion_tokens"] = 26, 10
    assert Usage(26, 10, 8, reasoning_output_tokens=2) == read_openai(raw)


def test_anthropic_counts_writes_for_an_hour_and_thoughts():
    """A part beyond its whole is left out."""
    raw = {
        "input_tokens": 1, "output_tokens": 9, "cache_creation_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
        "output_tokens_details": {"thinking_tokens": 4},
    }  # fmt: skip
    expected = Usage(6, 9, 0, 5, 4, cache_write_1h_input_tokens=3)
    assert expected == read_anthropic(raw)
    raw["cache_creation_input_tokens"], raw["output_tokens"] = 2, 3
    assert Usage(3, 3, 0, 2) == read_anthropic(raw)


def test_two_attempts_add_up():
    """Every kind; exact only if both are."""
    one = Usage(1, 2, 3, 4, 5, "exact", 6, 7, 8)
    assert Usage(2, 4, 6, 8, 10, "exact", 12, 14, 16) == total(one, one)
    assert "estimated" == total(one, Usage(1, 1, basis="estimated")).basis
