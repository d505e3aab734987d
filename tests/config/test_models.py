"""Tests of config/models.py."""

from __future__ import annotations

from tests.config.conftest import Folder
from turnout.core.catalog import FREE, Model, Price


def test_everything_about_a_model_can_be_said(folder: Folder) -> None:
    """Each key reaches its field; money is nano-dollars a token."""
    text = """
models:
  m:
    provider: openai
    id: gpt-99
    price: {input: 0.25, output: 2, cached_input: 0.025, cache_write: 0.5}
    context: 1_000_000
    max_output: 8192
    can: [tools, vision]
    stream: false
    fallbacks: [gpt-4o]
    context_fallbacks: [gpt-4o-mini]
    region: eu
"""
    assert folder.snapshot(text).models["m"] == Model(
        "m",
        "simulated",
        "gpt-99",
        Price(250, 2000, 25, 500),
        1_000_000,
        8192,
        frozenset({"tools", "vision"}),
        streams=False,
        fallbacks=("gpt-4o",),
        context_fallbacks=("gpt-4o-mini",),
        region="eu",
    )


def test_a_known_model_needs_no_price(folder: Folder) -> None:
    """Price, window and abilities of the vendor's model are taken over, under any name and any account there."""
    text = """
providers: {openai-eu: {kind: openai, api_key: k}, stub: {kind: compatible, base_url: "http://x"}}
models:
  gpt-4o-mini: {provider: openai}
  mine: {provider: openai-eu, id: gpt-4o, can: [json]}
  small: {provider: openai-eu, id: text-embedding-3-small}
  claude-3.5-sonnet: {provider: anthropic, region: eu}
  elsewhere: {provider: stub, id: gpt-4o}
  other: {provider: openai, id: glm-4.5-air-free}
"""
    models = folder.snapshot(text).models
    assert models["gpt-4o-mini"].price == Price(150, 600, 75)
    assert models["gpt-4o-mini"].fallbacks == ()
    assert models["mine"].price == Price(2500, 10_000, 1250)
    assert (models["mine"].context_tokens, models["mine"].can) == (128_000, frozenset({"json"}))
    assert (models["small"].mode, models["small"].price) == ("embedding", Price(20))
    assert models["claude-3.5-sonnet"].id == "claude-3-5-sonnet-20241022"
    assert models["elsewhere"] == Model("elsewhere", "stub", "gpt-4o")
    assert models["other"].price is None


def test_a_price_in_the_file_wins_over_what_is_known(folder: Folder) -> None:
    """The example of the issue: its own price for a known model."""
    text = "models: {gpt-4o-mini: {provider: openai, price: {input: 0.2, output: 0.7}}, gpt-4o: {provider: openai, price: free}}\n"
    models = folder.snapshot(text).models
    assert models["gpt-4o-mini"].price == Price(200, 700)
    assert models["gpt-4o"].price == FREE


def test_every_kind_of_token_can_be_priced(folder: Folder) -> None:
    """And what long requests cost, in one step or several, in any order."""
    text = """
models:
  m:
    provider: openai
    price: {input: 1, output: 5, cached_input: 0.1, cache_write: 1.25, cache_write_1h: 2, image_input: 0.7, reasoning: 6,
      image_output: 9, long: [{above: 200_000, input: 3, output: 7}, {above: 100_000, input: 2, output: 6}]}
  n: {provider: openai, mode: embedding, price: {input: 1, long: {above: 10, input: 2}}}
"""
    models = folder.snapshot(text).models
    longer = ((100_000, Price(2000, 6000)), (200_000, Price(3000, 7000)))
    assert Price(1000, 5000, 100, 1250, 2000, 700, 6000, 9000, longer) == models["m"].price
    assert Price(1000, longer=((10, Price(2000)),)) == models["n"].price
    (problem,) = folder.problems("models: {m: {provider: openai, price: {input: 1, output: 1, long: {input: 2}}}}\n")
    assert problem.endswith("models.m.price.long: the key 'above' is missing")


def test_models_may_name_each_other_as_fallbacks(folder: Folder) -> None:
    """Fallbacks are one level deep, so gpt-4o and claude-3.5-sonnet standing in for each other is no cycle."""
    models = folder.snapshot("").models
    assert models["gpt-4o"].fallbacks == ("claude-3.5-sonnet", "gpt-4o-mini")
    assert models["claude-3.5-sonnet"].fallbacks == ("gpt-4o", "gpt-4o-mini")


def test_default_fallbacks_can_be_changed_and_switched_off(folder: Folder) -> None:
    """For models that list none."""
    assert folder.snapshot("").default_fallbacks == ("glm-4.5-air-free", "deepseek-chat-v3.1-free")
    assert folder.snapshot("fallbacks: [kimi-k2-free]\n").default_fallbacks == ("kimi-k2-free",)
    assert folder.snapshot("fallbacks: []\n").default_fallbacks == ()


def test_an_unpriced_model_is_not_free(folder: Folder) -> None:
    """Unknown is None, free is a price."""
    models = folder.snapshot("models: {m: {provider: groq, id: x}}\n").models
    assert models["m"].price is None
    assert models["glm-4.5-air-free"].price == FREE


def test_a_problem_in_one_model_does_not_hide_another(folder: Folder) -> None:
    """Both are named; a broken entry still counts as a name."""
    problems = folder.problems("models:\n  a: 5\n  b: {provider: nope, fallbacks: [a, c]}\n")
    assert [one.split(": ")[0] for one in problems] == [
        "turnout.yaml:2:6 models.a",
        "turnout.yaml:3:17 models.b.provider",
        "turnout.yaml:3:38 models.b.fallbacks[1]",
    ]
