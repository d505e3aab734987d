"""How models behave, by their names, and how long they take."""

import statistics

import pytest

from turnout.core.simulation.chance import Chance
from turnout.core.simulation.profiles import (
    DEFAULT,
    EMBEDDING,
    FREE,
    INSTANT,
    LISTED,
    PAID,
    Profile,
    profile_for,
    timing,
)


@pytest.mark.parametrize(
    ("name", "profile"),
    [("z-ai/glm-4.5-air:free", FREE), ("text-embedding-3-small", EMBEDDING), ("gpt-4o", PAID), ("anything", PAID)],
)
def test_the_first_pattern_that_fits_rules(name: str, profile: Profile) -> None:
    """Free models by their ending, embeddings by their name, all else as paid."""
    assert profile is profile_for(DEFAULT, name)


def test_a_name_that_no_pattern_fits_has_no_profile() -> None:
    """A world may know only some models."""
    assert profile_for({"gpt-*": PAID}, "claude-3-haiku") is None


def test_every_listed_model_is_known() -> None:
    """What is told by the list of models works."""
    assert all(profile_for(DEFAULT, name) for name in LISTED)


@pytest.mark.parametrize(("kind", "median_s"), [("chat", 3.2), ("email", 4.6), ("code", 7.0), ("analysis", 7.0)])
def test_free_models_take_what_friday_measured(kind: str, median_s: float) -> None:
    """The median of whole answers is FACTS §3's figure, within 5 %."""
    totals = []
    for number in range(2000):
        pace = timing(FREE, kind, 50, Chance(3, b"", number))
        totals.append(pace.first_s + 50 * pace.per_token_s)
    assert abs(statistics.median(totals) / median_s - 1) < 0.05


def test_without_a_total_first_token_and_tokens_are_given() -> None:
    """`first_token_s` and `per_token_s` are used as they are where there is no spread."""
    pace = timing(Profile(first_token_s=0.5, per_token_s=0.01), "chat", 9, Chance(1, b"", 0))
    assert (0.5, 0.01) == (pace.first_s, pace.per_token_s)


def test_an_empty_answer_takes_time_too() -> None:
    """No token divides by zero."""
    assert timing(FREE, "chat", 0, Chance(1, b"", 0)).per_token_s > 0


def test_instant_takes_no_time() -> None:
    """The profile of tests."""
    pace = timing(INSTANT, "chat", 9, Chance(1, b"", 0))
    assert (0.0, 0.0) == (pace.first_s, pace.per_token_s)
