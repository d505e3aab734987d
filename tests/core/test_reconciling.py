"""core/reconciling.py: the books beside what a provider says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.books.usage import Sums
from turnout.core.reconciling import Difference, Said, compare, plain_name, read_export

USD = 10**9
ANTHROPIC = (
    "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
    "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens"
)


def at(text: str) -> int:
    """Unix seconds of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_openai():
    """Buckets add up; rows without a model (totals) count for none."""
    export = read_export(
        [
            "start_time,end_time,project_id,num_model_requests,model,input_tokens,output_tokens,input_cached_tokens",
            "1763683200,1763769600,p,3,gpt-4o-2024-08-06,100,10,5",
            "1763769600,1763856000,p,1,gpt-4o-2024-08-06,1,2,0",
            "1763769600,1763856000,p,0,,0,0,0",
        ]
    )
    assert ("OpenAI usage", "openai", 1763683200, 1763856000) == (
        export.form, export.vendor, export.start_s, export.end_s
    )  # fmt: skip
    assert {"gpt-4o-2024-08-06": Said(4, 101, 12)} == export.models


def test_anthropic():
    """Cached tokens are input with us; a day is a day in UTC. Its costs are an export of their own."""
    export = read_export(
        [
            ANTHROPIC,
            "2026-11-20,claude-sonnet-4-5,1,2,3,4,5",
            "2026-11-21,claude-sonnet-4-5,10,0,0,0,5",
        ]
    )
    assert {"claude-sonnet-4-5": Said(None, 20, 10)} == export.models
    assert (at("2026-11-20"), at("2026-11-22")) == (export.start_s, export.end_s)
    export = read_export(
        ["usage_date_utc,model,token_type,cost_usd", "2026-11-20,Claude,input,1.5", "2026-11-20,Claude,output,0.5"]
    )
    assert ("Anthropic cost", {"Claude": Said(None, None, None, 2 * USD)}) == (export.form, export.models)


def test_openrouter():
    """A row is a call; the variant is part of the name; the hours that hold the calls are the time."""
    export = read_export(
        [
            "\ufeffgeneration_id,created_at,cost_total,tokens_prompt,tokens_completion,model_permaslug,variant",
            "gen-1,2026-11-21 10:59:59.123,0.000001,10,20,z-ai/glm-4.5-air,free",
            "gen-2,2026-11-21 12:00:00,0.25,1,2,openai/gpt-4o,standard",
            "gen-3,2026-11-21T12:30:00Z,0.25,1,2,openai/gpt-4o,",
        ]
    )
    assert ("openrouter", at("2026-11-21T10:00"), at("2026-11-21T13:00")) == (
        export.vendor,
        export.start_s,
        export.end_s,
    )
    assert {
        "z-ai/glm-4.5-air:free": Said(1, 10, 20, 1000),
        "openai/gpt-4o": Said(2, 2, 4, USD // 2),
    } == export.models


def test_any_csv():
    """Names in any writing, thousands in groups; what it does not have is not told."""
    export = read_export(['Model,Date,Cost (USD),"Input Tokens"', 'm,2026-11-21,"$1,000.50","1,000"', "m,,,"])
    assert ("CSV", "", {"m": Said(None, 1000, None, 1000 * USD + USD // 2)}) == (
        export.form,
        export.vendor,
        export.models,
    )
    timeless = read_export(["model,cost", "m,1"])
    assert (0, 0) == (timeless.start_s, timeless.end_s)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "has the columns none; expected a column `model`"),
        (["a,b", "1,2"], "has the columns a, b; expected"),
        (["model,requests", "m,2"], "expected a column `model`, and `input_tokens`"),
        (["model,cost"], "holds no row that names a model"),
        (["model,cost", "m,1", "m,much"], "line 3: 'much' is no sum of dollars"),
        (["model,cost", "m,NaN"], "line 2: 'NaN' is no sum of dollars"),
        (["model,input_tokens", "m,-1"], "line 2: '-1' is no count"),
        (["model,cost,date", "m,1,yesterday"], "line 2: 'yesterday' is no time"),
        (["model,cost", "m," + "1" * 140_000], "is no CSV: field larger than field limit"),
        (["m" * 140_000], "is no CSV: field larger than field limit"),
    ],
)
def test_what_is_no_export_is_told(lines, what):
    """With the line."""
    with pytest.raises(ValueError, match=r".") as raised:
        read_export(lines)
    assert what in str(raised.value)


def test_names_of_one_model_meet():
    """With and without the date of its version; a variant stays."""
    assert ["gpt-4o"] * 3 == [plain_name(one) for one in ("gpt-4o", "gpt-4o-2024-08-06", "GPT-4o-20240806")]
    assert ["gpt-4", "z-ai/glm:free", "claude-sonnet-4-5"] == [
        plain_name(one) for one in ("gpt-4-0613", "z-ai/glm-20250101:free", "claude-sonnet-4-5-20250929")
    ]


def test_differences():
    """By share, beyond what is negligible; a model of one side alone is compared with nothing."""
    said = {
        "a-2026-01-01": Said(None, 60_000, 500, 10 * USD),
        "a": Said(None, 40_000, 500, 10 * USD),
        "b": Said(None, 1_000_000, 0, 5 * USD),
        "c": Said(None, 1_000_000, 0, 0),
    }
    ours = {
        "a": Sums(input_tokens=100_900, output_tokens=1_090, cost_nano_usd=20 * USD + USD // 10),
        "b": Sums(input_tokens=900_000, cost_nano_usd=4 * USD),
        "d": Sums(input_tokens=5_000, cost_nano_usd=USD),
        "e": Sums(input_tokens=50, cost_nano_usd=USD // 1000),
    }
    found = compare(said, ours, 0.01, plain_name)
    assert [
        ("a", ()),
        ("b", ("cost", "input tokens")),
        ("d", ("cost", "input tokens")),
        ("e", ()),
        ("c", ("input tokens",)),
    ] == [(one.model, one.off) for one in found]
    assert None is found[2].said
    assert Sums() == found[4].ours


def test_only_what_the_export_tells_is_compared():
    """Tokens alone, or cost alone."""
    ours = {"m": Sums(input_tokens=10_000, output_tokens=10_000, cost_nano_usd=USD)}
    assert [()] == [one.off for one in compare({"m": Said(cost_nano_usd=USD)}, ours, 0.0, str)]
    assert [("output tokens",)] == [one.off for one in compare({"m": Said(None, 10_000, 1_000)}, ours, 0.0, str)]
    (_, other) = compare({"x": Said(cost_nano_usd=USD)}, ours, 0.0, str)
    assert ("cost",) == other.off


@given(st.dictionaries(st.sampled_from("abc"), st.builds(Sums, *[st.integers(0, 10**12)] * 11)))
def test_books_that_agree_have_no_difference(ours):
    """Whatever is in them."""
    said = {
        name: Said(one.attempts, one.input_tokens, one.output_tokens, one.cost_nano_usd) for name, one in ours.items()
    }
    assert all(one == Difference(one.model, said[one.model], ours[one.model]) for one in compare(said, ours, 0.0, str))
