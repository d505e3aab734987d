"""Compares the books with what a provider says: reads its usage export, and tells the difference model by model.

Known exports, told apart by their columns: OpenAI's usage (buckets with `num_model_requests`), Anthropic's usage and cost
(`usage_date_utc`), OpenRouter's activity (a row for each generation), and any CSV that has a column for the model and for
tokens or cost. A vendor calls a model by its dated version where we asked for the plain name ("gpt-4o-2024-08-06" for
"gpt-4o"): such names are brought together, by the price list where it has them, else by cutting the date off.
What is compared is what the export has: cost where it tells it, and tokens. Untrusted input: a number that is none is an
error with its line. Sources: the vendors' exports as public tools read them (2026-11).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from turnout.core.books.usage import Sums

NANO_PER_USD: Final = 10**9
HOUR_S: Final = 3600
DAY_S: Final = 86_400

NEGLIGIBLE_NANO_USD: Final = NANO_PER_USD // 100
"""A cent: below it a difference of cost is no difference, whatever its share."""

NEGLIGIBLE_TOKENS: Final = 100


class Form(msgspec.Struct, frozen=True):
    """A kind of export. needs: columns that only it has. vendor: "" where it does not say. input: columns that add up."""

    name: str
    vendor: str
    needs: tuple[str, ...]
    model: tuple[str, ...]
    start: tuple[str, ...]
    end: tuple[str, ...] = ()
    variant: str = ""
    requests: tuple[str, ...] = ()
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    cost: tuple[str, ...] = ()
    is_by_row: bool = False


FORMS: Final = (
    Form(
        "OpenAI usage",
        "openai",
        ("num_model_requests", "model"),
        model=("model",),
        start=("start_time", "start_time_iso"),
        end=("end_time", "end_time_iso"),
        requests=("num_model_requests",),
        input=("input_tokens",),
        output=("output_tokens",),
    ),
    Form(
        "Anthropic usage",
        "anthropic",
        ("usage_date_utc", "usage_output_tokens"),
        model=("model_version", "model"),
        start=("usage_date_utc",),
        input=(
            "usage_input_tokens_no_cache",
            "usage_input_tokens_cache_write_5m",
            "usage_input_tokens_cache_write_1h",
            "usage_input_tokens_cache_write",
            "usage_input_tokens_cache_read",
        ),
        output=("usage_output_tokens",),
    ),
    Form(
        "Anthropic cost",
        "anthropic",
        ("usage_date_utc", "cost_usd"),
        model=("model", "model_version"),
        start=("usage_date_utc",),
        cost=("cost_usd",),
    ),
    Form(
        "OpenRouter activity",
        "openrouter",
        ("generation_id", "model_permaslug"),
        model=("model_permaslug",),
        variant="variant",
        start=("created_at",),
        input=("tokens_prompt",),
        output=("tokens_completion",),
        cost=("cost_total",),
        is_by_row=True,
    ),
    Form(
        "CSV",
        "",
        (),
        model=("model", "model_id", "model_name"),
        start=("date", "day", "start_time", "timestamp", "created_at", "time"),
        end=("end_time",),
        requests=("requests", "num_requests", "calls"),
        input=("input_tokens", "prompt_tokens", "tokens_prompt"),
        output=("output_tokens", "completion_tokens", "tokens_completion"),
        cost=("cost_usd", "cost", "total_cost", "amount_usd"),
    ),
)


class Said(msgspec.Struct):
    """What the provider says of one model. None: the export does not tell."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano_usd: int | None = None


class Export(msgspec.Struct):
    """A whole export. vendor: "" where it does not say. start_s, end_s: what time it is about, half open, Unix seconds; 0 and
    0 where it has no time.
    """

    form: str
    vendor: str
    models: dict[str, Said]
    start_s: int = 0
    end_s: int = 0


class Difference(msgspec.Struct, frozen=True):
    """One model. said: None where the export does not have it. ours: nothing where the books do not. off: what differs more
    than it may, in words.
    """

    model: str
    said: Said | None
    ours: Sums
    off: tuple[str, ...] = ()


def read_export(lines: Iterable[str]) -> Export:
    """Read a provider's export. lines: of the file, its heads first. Raises ValueError: what is wrong, and in which line."""
    table = csv.DictReader(lines)
    try:
        heads = [_plain(head) for head in table.fieldnames or ()]
    except csv.Error as error:
        raise ValueError(f"is no CSV: {error}") from None
    form = next(one for one in FORMS if set(one.needs) <= set(heads))
    told = (*form.input, *form.output, *form.cost)
    if not set(form.model) & set(heads) or not set(told) & set(heads):
        expected = "a column `model`, and `input_tokens` and `output_tokens` or `cost_usd`"
        raise ValueError(f"has the columns {', '.join(heads[:12]) or 'none'}; expected {expected}")
    table.fieldnames = heads
    export = Export(form.name, form.vendor, {})
    try:
        for row in table:
            try:
                _add(
                    export,
                    form,
                    {name: (value or "").strip() for name, value in row.items() if name and isinstance(value, str)},
                )
            except ValueError as error:
                raise ValueError(f"line {table.line_num}: {error}") from None
    except csv.Error as error:
        raise ValueError(f"line {table.line_num}: is no CSV: {error}") from None
    if not export.models:
        raise ValueError("holds no row that names a model")
    return export


def compare(
    said: Mapping[str, Said], ours: Mapping[str, Sums], tolerance: float, name_of: Callable[[str], str]
) -> list[Difference]:
    """Return every model that either side has, the dearest first. tolerance: the share by which they may differ.

    name_of: under which name two names of one model meet (see `plain_name`). O(models).
    """
    theirs: dict[str, Said] = {}
    for model, one in said.items():
        theirs[name_of(model)] = _both(theirs.get(name_of(model)), one)
    mine: dict[str, Sums] = {}
    for model, sums in ours.items():
        added = zip(*(msgspec.structs.astuple(one) for one in (mine.get(name_of(model), Sums()), sums)), strict=True)
        mine[name_of(model)] = Sums(*(a + b for a, b in added))
    has = _told_at_all(said.values())
    found = []
    for name in sorted({*theirs, *mine}):
        there, here = theirs.get(name), mine.get(name, Sums())
        found.append(Difference(name, there, here, _off(there or _nothing(has), here, tolerance)))
    return sorted(found, key=lambda one: (-_weight(one), one.model))


def plain_name(model: str) -> str:
    """Return a model's name without the date of its version, in lower case. O(length)."""
    base, colon, variant = model.lower().partition(":")
    return re.sub(r"[-@](20\d\d-?\d\d-?\d\d|\d{4})$", "", base) + colon + variant


def _add(export: Export, form: Form, row: dict[str, str]) -> None:
    model = _first(row, form.model)
    if not model:
        return
    if form.variant and row.get(form.variant, "") not in {"", "standard"}:
        model = f"{model}:{row[form.variant]}"
    told = Said(
        1 if form.is_by_row else _count(row, form.requests),
        _count(row, form.input),
        _count(row, form.output),
        _cost(row, form.cost),
    )
    export.models[model] = _both(export.models.get(model), told)
    if start := _first(row, form.start):
        start_s, end_s = _times(start, _first(row, form.end))
        export.start_s = min(export.start_s or start_s, start_s)
        export.end_s = max(export.end_s, end_s)


def _plain(head: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", head.strip().lstrip("\ufeff").lower()).strip("_")


def _first(row: Mapping[str, str], names: Iterable[str]) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _count(row: Mapping[str, str], names: Iterable[str]) -> int | None:
    """The sum of the columns that are there; None if none is."""
    found = [row[name].replace(",", "") or "0" for name in names if name in row]
    for text in found:
        if not re.fullmatch(r"[0-9]{1,15}(\.0+)?", text):
            raise ValueError(f"{text[:40]!r} is no count")
    return sum(int(text.partition(".")[0]) for text in found) if found else None


def _cost(row: Mapping[str, str], names: Iterable[str]) -> int | None:
    found = [row[name] for name in names if name in row][:1]
    for text in found:
        try:
            value = Decimal(text.replace("$", "").replace(",", "") or "0")
        except InvalidOperation:
            raise ValueError(f"{text[:40]!r} is no sum of dollars") from None
        if not value.is_finite() or abs(value) > NANO_PER_USD:
            raise ValueError(f"{text[:40]!r} is no sum of dollars")
        return round(value * NANO_PER_USD)
    return None


def _times(start: str, end: str) -> tuple[int, int]:
    """A row's time: its bucket, the day it names, or the hour that holds its instant."""
    start_s, is_day = _instant(start)
    if end:
        return start_s, _instant(end)[0]
    if is_day:
        return start_s, start_s + DAY_S
    hour_s = start_s - start_s % HOUR_S
    return hour_s, hour_s + HOUR_S


def _instant(text: str) -> tuple[int, bool]:
    """Unix seconds, and whether it is a whole day; UTC unless said."""
    if re.fullmatch(r"[0-9]{9,11}(\.0+)?", text):
        return int(text.partition(".")[0]), False
    try:
        at = datetime.fromisoformat(text.replace(" UTC", ""))
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time, expected such as 2026-11-01 or 2026-11-01T10:00:00Z") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()), re.fullmatch(r"[0-9-]{10}", text) is not None


def _both(one: Said | None, other: Said) -> Said:
    if one is None:
        return other
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Said(*(None if a is None and b is None else (a or 0) + (b or 0) for a, b in pairs))


def _told_at_all(said: Iterable[Said]) -> Said:
    """What the export has at all, over its models."""
    whole = Said()
    for one in said:
        whole = _both(whole, one)
    return whole


def _nothing(has: Said) -> Said:
    """What an export says of a model that it does not name: nothing, of all that it tells."""
    return Said(*(None if one is None else 0 for one in msgspec.structs.astuple(has)))


def _off(said: Said, ours: Sums, tolerance: float) -> tuple[str, ...]:
    checks = (
        ("cost", said.cost_nano_usd, ours.cost_nano_usd, NEGLIGIBLE_NANO_USD),
        ("input tokens", said.input_tokens, ours.input_tokens, NEGLIGIBLE_TOKENS),
        ("output tokens", said.output_tokens, ours.output_tokens, NEGLIGIBLE_TOKENS),
    )
    return tuple(
        name
        for name, there, here, least in checks
        if there is not None and abs(there - here) > max(least, tolerance * max(abs(there), abs(here)))
    )


def _weight(one: Difference) -> int:
    return max(one.ours.cost_nano_usd, one.said.cost_nano_usd or 0 if one.said else 0)
