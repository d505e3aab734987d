"""Tests of config/prices.py."""

from __future__ import annotations

import importlib.util
from datetime import UTC, date, datetime

import pytest

from tests.config.conftest import Folder
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.config.prices import price_list
from turnout.core.catalog import FREE, Price
from turnout.core.price_list import price_at
from turnout.providers import vendors

KEYS = {"OPENROUTER_API_KEY": "k", "OPENAI_API_KEY": "k", "DEEPSEEK_API_KEY": "k", "GROQ_API_KEY": "k"}


def at(text: str) -> float:
    """Unix seconds of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_what_is_listed_needs_no_price_in_the_file(folder: Folder) -> None:
    """By vendor and id, under any name; where it came from is told."""
    text = """
providers: {openai-eu: {kind: openai, api_key: k}}
models:
  mini: {provider: openai-eu, id: gpt-4o-mini-2024-07-18}
  llama: {provider: openrouter, id: meta-llama/llama-3.3-70b-instruct}
  small: {provider: openai, id: text-embedding-3-small, mode: embedding}
"""
    snapshot = folder.snapshot(text, KEYS)
    assert Price(150, 600, 75) == snapshot.models["mini"].price
    assert snapshot.models["llama"].price
    assert Price(20) == snapshot.models["small"].price
    assert f"list of {price_list().date}" == snapshot.origins["models.mini.price"]


def test_a_vendors_free_models_cost_nothing(folder: Folder) -> None:
    """By the vendor's own word in the id, listed or not; at another vendor the word means nothing."""
    text = """
models:
  new: {provider: openrouter, id: "nobody/knows:free"}
  paid: {provider: openrouter, id: "nobody/knows"}
  other: {provider: groq, id: "nobody/knows:free"}
"""
    models = folder.snapshot(text, KEYS).models
    assert [FREE, None, None] == [models[name].price for name in ("new", "paid", "other")]


def test_a_chat_model_that_is_listed_for_its_input_alone_is_unpriced(folder: Folder) -> None:
    """Half a price is none; for embeddings it is whole."""
    text = "models: {a: {provider: openai, id: text-embedding-3-large, mode: chat}}\n"
    assert None is folder.snapshot(text, KEYS).models["a"].price


def test_a_price_is_that_of_its_day_and_hour(folder: Folder) -> None:
    """And the config is to be read again when it changes."""
    path = folder.write("models: {a: {provider: openrouter, id: meta-llama/llama-3.1-70b-instruct}}\n")
    router = {"OPENROUTER_API_KEY": "k"}
    before = load(path, Environment(router, at("2026-11-02T12:00")))
    after = load(path, Environment(router, at("2026-11-03T00:00")))
    assert [Price(400, 400), Price(720, 720)] == [one.snapshot.models["a"].price for one in (before, after)]
    assert at("2026-11-03") == before.stale_at
    assert before.snapshot.revision != after.snapshot.revision
    path = folder.write("models: {a: {provider: deepseek, id: deepseek-flash}}\n")
    cheap, dear = (load(path, Environment(KEYS, at(f"2026-11-21T{one}"))) for one in ("00:59", "01:00"))
    assert cheap.snapshot.models["a"].price != dear.snapshot.models["a"].price
    assert (at("2026-11-21T01:00"), at("2026-11-21T04:00")) == (cheap.stale_at, dear.stale_at)


def test_a_price_that_stays_asks_for_nothing(folder: Folder) -> None:
    """After the last day of the list that begins anything."""
    text = "defaults: false\nmodels: {a: {provider: openai, id: gpt-4o}}\n"
    assert None is load(folder.write(text), Environment({"OPENAI_API_KEY": "k"}, at("2030-01-01"))).stale_at


def test_what_is_listed_is_known_for_models_that_only_a_request_names(folder: Folder) -> None:
    """By account, of its vendor's; an account without a vendor's list has none, and the revision is the content's."""
    text = (
        'defaults: false\nproviders: {eu: {kind: openai, api_key: k}, stub: {kind: compatible, base_url: "http://x"}}\n'
    )
    path = folder.write(text)
    early, late = (load(path, Environment({}, at(one))).snapshot for one in ("2026-01-01", "2027-06-01"))
    assert {"eu"} == set(early.list_prices)
    assert Price(150, 600, 75) == early.list_prices["eu"]["gpt-4o-mini"]
    assert early.revision == late.revision


def test_the_list_is_whole() -> None:
    """Every vendor is one of ours, every price is more than nothing, no threshold stands twice."""
    known = price_list()
    assert known.vendors.keys() <= vendors().keys()
    assert date(2026, 11, 1) < known.date
    assert "genai-prices" in known.source
    prices = [dated.price for entries in known.vendors.values() for one in entries for dated in one.prices]
    assert len(prices) > 1200
    assert all(price.input >= 0 and price.output >= 0 and not price.is_free for price in prices)
    assert all([above for above, _ in one.longer] == sorted({above for above, _ in one.longer}) for one in prices)


@pytest.mark.skipif(
    importlib.util.find_spec("genai_prices") is None, reason="needs genai-prices: pip install genai-prices"
)
def test_the_list_says_what_its_source_says() -> None:
    """For every id that the source names: the same model, the same price of input and output at three instants."""
    from genai_prices.data import providers

    from scripts.build_prices import VENDORS, nano

    by_id = {provider.id: provider for provider in providers}
    known, checked = price_list(), 0
    for name, theirs in VENDORS.items():
        for entry in known.vendors[name]:
            for id_ in [one for one in entry.ids if isinstance(one, str) and not set("*/^$") & set(one)]:
                model = by_id[theirs].find_model(id_)
                if (
                    model is None or model.id != entry.id
                ):  # an earlier pattern of theirs takes it: ours is the plain id's
                    continue
                for when in ("2026-01-01T02:00", "2026-11-21T12:00", "2027-02-01T20:00"):
                    moment = datetime.fromisoformat(when).replace(tzinfo=UTC)
                    asked, price = model.get_prices(moment), price_at(entry.prices, moment.timestamp())
                    told = [getattr(one, "base", one) or 0 for one in (asked.input_mtok, asked.output_mtok)]
                    assert [nano(one) if one else 0 for one in told] == [price.input, price.output], (name, id_, when)
                    checked += 1
    assert checked > 1000
