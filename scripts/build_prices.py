"""Builds src/turnout/config/prices.json: what vendors ask for a token, from the data of genai-prices (MIT).

Integers in nano-dollars per token (USD per million tokens, times 1,000), rounded up where a vendor asks for less than a whole
one; each price with the day or the hours that it holds from, as there. Kept: the vendors of providers/compatible.toml, models with a price for
tokens. Left out: what is billed by call, page, minute or second of sound, and what a request asks for besides (batch, flex,
priority).
Run once for a release: `pip install genai-prices`, then `python scripts/build_prices.py 2026-11-21` (the day); read the difference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "src/turnout/config/prices.json"

VENDORS: Final = {
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "together": "together",
    "xai": "x-ai",
}
"""Our name for a vendor → theirs."""

KINDS: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read_input",
    "cache_write_mtok": "cache_write_input",
    "cache_write_1h_mtok": "cache_write_1h_input",
    "input_image_mtok": "image_input",
    "output_reasoning_mtok": "reasoning_output",
    "output_image_mtok": "image_output",
}
"""Their name for a kind of token → ours (core/catalog.py's Price)."""


def main() -> int:
    """Write the file."""
    try:
        from genai_prices.data import providers  # noqa: PLC0415 - told how to install it
    except ImportError:
        sys.stderr.write("needs genai-prices: pip install genai-prices\n")
        return 1
    written = dump(build(providers), date.fromisoformat(sys.argv[1]).isoformat())
    TARGET.write_text(written, encoding="utf-8")
    sys.stdout.write(f"{TARGET.relative_to(ROOT)}: {written.count(chr(10))} lines, {len(written):,} bytes\n")
    return 0


def build(providers: list[Any]) -> dict[str, Any]:
    """Vendors with their entries, and whose models each of them sells besides."""
    by_id = {provider.id: provider for provider in providers}
    ours = {theirs: name for name, theirs in VENDORS.items()}
    vendors, like = {}, {}
    for name, theirs in VENDORS.items():
        vendors[name] = [entry for model in by_id[theirs].models if (entry := listed(model))]
        others = [ours[one] for one in by_id[theirs].fallback_model_providers or () if one in ours]
        if others:
            like[name] = others
    return {"vendors": vendors, "like": like}


def listed(model: Any) -> dict[str, Any] | None:
    """One model's entry, None if nothing of it is billed by the token."""
    said = model.prices if isinstance(model.prices, list) else [None]
    dated = [entry for one in said if (entry := dated_price(getattr(one, "prices", model.prices), one))]
    if not dated:
        return None
    return {"id": model.id, "ids": list(patterns(model.match)), "prices": dated}


def dated_price(price: Any, conditional: Any) -> dict[str, Any] | None:
    """A price and when it holds."""
    kinds = {ours: value for theirs, ours in KINDS.items() if (value := price.__dict__.get(theirs)) is not None}
    if "input" not in kinds:
        return None
    thresholds = sorted({tier.start for value in kinds.values() for tier in getattr(value, "tiers", ())})
    built: dict[str, Any] = {kind: nano(at(value, None)) for kind, value in kinds.items()}
    if thresholds:
        built["longer"] = [[above, {kind: nano(at(v, above)) for kind, v in kinds.items()}] for above in thresholds]
    entry: dict[str, Any] = {"price": built}
    constraint: Any = getattr(conditional, "constraint", None)
    if hasattr(constraint, "start_date"):
        entry["since"] = constraint.start_date.isoformat()
    elif constraint is not None:
        entry["daily"] = [second(constraint.start_time), second(constraint.end_time)]
    return entry


def at(value: Any, above: int | None) -> Decimal:
    """What a kind costs where the input is more than `above` tokens; None: at the least."""
    found: Decimal = getattr(value, "base", value)
    for tier in getattr(value, "tiers", ()):
        if above is not None and tier.start <= above:
            found = tier.price
    return found


def nano(usd_per_million: Decimal) -> int:
    """Nano-dollars per token, rounded up."""
    return int((usd_per_million * 1000).to_integral_value(ROUND_CEILING))


def second(time: Any) -> int:
    """Seconds after midnight UTC."""
    offset = time.utcoffset()
    local = time.hour * 3600 + time.minute * 60 + time.second
    return int(local - (offset.total_seconds() if offset else 0)) % 86_400


def patterns(clause: Any) -> Iterator[str | list[str]]:
    """Their clause as patterns of core/price_list.py."""
    if hasattr(clause, "or_"):
        for one in clause.or_:
            yield from patterns(one)
    elif hasattr(clause, "and_"):
        parts = [part for one in clause.and_ for part in patterns(one)]
        if len(parts) != len(clause.and_) or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"a choice within a conjunction: {clause}")
        yield [str(part) for part in parts]
    elif hasattr(clause, "regex"):
        yield f"/{clause.regex}/"
    else:
        ((how, text),) = vars(clause).items()
        if "*" in text or text.startswith("/"):
            raise ValueError(f"a pattern's own character in {clause}")
        shape = {"equals": "{}", "starts_with": "{}*", "ends_with": "*{}", "contains": "*{}*"}[how]
        yield shape.format(text.lower())


def dump(data: dict[str, Any], day: str) -> str:
    """One line an entry, so that a difference can be read."""
    try:
        release = version("genai-prices")
    except PackageNotFoundError:
        release = "unknown"
    source = f"genai-prices {release} (MIT), https://github.com/pydantic/genai-prices"
    lines = [
        f'{{"source": {json.dumps(source)}, "date": "{day}",',
        f'"like": {json.dumps(data["like"])},',
        '"vendors": {',
    ]
    names = list(data["vendors"])
    for name in names:
        entries = [json.dumps(entry, separators=(",", ":")) for entry in data["vendors"][name]]
        end = "]" if name == names[-1] else "],"
        lines += [f'"{name}": [', *[f"{entry}," for entry in entries[:-1]], *entries[-1:], end]
    return "\n".join([*lines, "}}", ""])


if __name__ == "__main__":
    sys.exit(main())
