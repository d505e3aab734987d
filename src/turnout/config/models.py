"""Builds the models: each a public name for one provider's model, with what it costs, holds and can do.

What a user's entry does not say about price, window and abilities is taken from the shipped entry for the same vendor's
model; a price that neither says is the list's (config/prices.py). So a known model needs no price. Nothing else is taken
over: an entry replaces the shipped one of its name.
`fallbacks` are flat orders, used one level deep and never followed on, so two models may name each other.
"""

from __future__ import annotations

from typing import cast

import msgspec

from turnout.config import schema
from turnout.config.accounts import known_providers, vendor_of
from turnout.config.draft import Defined, Draft
from turnout.config.prices import listed_price
from turnout.config.problems import Path, suggestion
from turnout.config.settings import laid_over
from turnout.core.catalog import FREE, Model, Price


def models(draft: Draft) -> dict[str, Model]:
    """Every model by name, shipped ones included, whether or not their provider is configured."""
    built: dict[str, Model] = {}
    providers = known_providers(draft)
    for name, defined in draft.models.items():
        provider = defined.table.provider
        if provider is not None and provider not in providers:
            what = f"unknown provider '{provider}', {suggestion(provider, providers, 'known providers')}"
            draft.wrong(("models", name, "provider"), what, document=defined.document)
        built[name] = _model(draft, defined, provider or "")
    for name, defined in draft.models.items():
        built[name] = msgspec.structs.replace(
            built[name],
            fallbacks=_others(draft, defined, "fallbacks", built),
            context_fallbacks=_others(draft, defined, "context_fallbacks", built),
        )
    return built


def default_fallbacks(draft: Draft, built: dict[str, Model]) -> tuple[str, ...]:
    """The fallbacks of models that list none."""
    written, document = draft.fallbacks
    names = draft.model_names(written, ("fallbacks",), document)
    for name in names:
        if name in built and built[name].mode != "chat":
            at = ("fallbacks", list(written).index(name))
            draft.wrong(at, f"'{name}' makes embeddings, default fallbacks are for chat", document=document)
    return tuple(names)


def price(table: schema.Free | schema.PriceTable | schema.CeilingTable | None) -> Price | None:
    """A price or a ceiling as the file says it; None if it says nothing."""
    if table is None or isinstance(table, str):
        return FREE if table else None
    if isinstance(table, schema.CeilingTable):
        return Price(input=table.input or 0, output=table.output or 0)
    written = [] if table.long is None else table.long if isinstance(table.long, list) else [table.long]
    longer = {one.above: _kinds(one) for one in written if one is not None and one.above is not None}
    return msgspec.structs.replace(_kinds(table), longer=tuple(sorted(longer.items(), key=lambda step: step[0])))


def _kinds(table: schema.KindsTable) -> Price:
    return laid_over(
        Price(),
        table,
        input="input",
        output="output",
        cache_read_input="cached_input",
        cache_write_input="cache_write",
        cache_write_1h_input="cache_write_1h",
        image_input="image_input",
        reasoning_output="reasoning",
        image_output="image_output",
    )


def _model(draft: Draft, defined: Defined[schema.ModelTable], provider: str) -> Model:
    table = defined.table
    known = None if defined.is_shipped else _known(draft, defined.name, table, provider)
    mode = table.mode or (known.mode if known else None) or "chat"
    path: Path = ("models", defined.name, "price")
    if isinstance(table.price, schema.PriceTable) and mode == "chat" and not defined.document.has(*path, "output"):
        draft.wrong(
            path,
            "the key 'output' is missing, a chat model costs for both sides",
            document=defined.document,
            of_key=True,
        )
    can = table.can if table.can is not None else known.can if known else None
    id_ = table.id or (known.id if known else None) or defined.name
    said = price(table.price if table.price is not None else known.price if known else None)
    return Model(
        name=defined.name,
        provider=provider,
        id=id_,
        price=listed_price(draft, defined.name, vendor_of(draft, provider), id_, mode) if said is None else said,
        context_tokens=table.context or (known.context if known else None),
        max_output_tokens=table.max_output or (known.max_output if known else None),
        can=None if can is None else frozenset(one for one in can if one),
        streams=True if table.stream is None else table.stream,
        mode=mode,
        region=table.region or "",
    )


def _known(draft: Draft, name: str, table: schema.ModelTable, provider: str) -> schema.ModelTable | None:
    """The shipped entry for the same model of the same vendor."""
    vendor = vendor_of(draft, provider)
    for known_name, known in draft.known_models.items():
        is_it = (known.id or known_name) == table.id if table.id is not None else known_name == name
        if vendor and known.provider == vendor and is_it:
            return known
    return None


def _others(draft: Draft, defined: Defined[schema.ModelTable], key: str, built: dict[str, Model]) -> tuple[str, ...]:
    """Models that stand in for this one, of the same mode."""
    written = cast("schema.Texts | None", getattr(defined.table, key))
    if written is None:
        return ()
    path: Path = ("models", defined.name, key)
    if not written and key == "fallbacks":
        draft.wrong(path, "is empty, leave it out; `fallbacks: []` at the top switches the default ones off")
    names = draft.model_names(written, path, defined.document, defined.name)
    for name in names:
        if name in built and built[name].mode != built[defined.name].mode:
            what = f"'{name}' is for {built[name].mode}, this model for {built[defined.name].mode}"
            draft.wrong((*path, written.index(name)), what, document=defined.document)
    return tuple(names)
