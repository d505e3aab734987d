"""Tests of config/revision.py."""

from __future__ import annotations

import re

import msgspec
import pytest

from tests.config.conftest import Folder
from tests.config.test_build import EXAMPLE, KEYS
from turnout.config.revision import revision_of


def test_equal_content_has_an_equal_revision(folder: Folder) -> None:
    """Comments, order of entries, and defaults that are said do not count."""
    one = folder.snapshot("server: {port: 4000}\naliases: {a: gpt-4o, b: gpt-4o}\n", {"TURNOUT_HOME": "/one"})
    two = folder.snapshot(
        "# words\naliases: {b: gpt-4o, a: gpt-4o}\n", {"TURNOUT_HOME": "/two", "TURNOUT_PORT": "4000"}
    )
    assert re.fullmatch(r"[0-9a-f]{12}", one.revision)
    assert one.revision == two.revision == folder.snapshot("aliases: {a: gpt-4o, b: gpt-4o}\n").revision


@pytest.mark.parametrize(
    "change",
    [
        "server: {port: 4001}",
        "fallbacks: []",
        "retry: {max_retries: 1}",
        "tasks: {t: {models: [gpt-4o]}}",
        "aliases: {a: gpt-4o}",
    ],
)
def test_other_content_has_another(change: str, folder: Folder) -> None:
    """Whatever is said otherwise shows."""
    assert folder.snapshot("").revision != folder.snapshot(change + "\n").revision


def test_the_order_of_models_counts(folder: Folder) -> None:
    """A list of models is an order."""
    one, two = (f"fallbacks: [{names}]\n" for names in ("gpt-4o, gpt-4o-mini", "gpt-4o-mini, gpt-4o"))
    assert folder.snapshot(one).revision != folder.snapshot(two).revision


def test_a_rotated_key_shows_and_a_percentage_shows_but_not_where_it_came_from(folder: Folder) -> None:
    """16 bits of each secret's hash are in it; a rollout's origin is not."""
    snapshot = folder.snapshot(EXAMPLE, KEYS)
    assert snapshot.revision != folder.snapshot(EXAMPLE, {**KEYS, "LITELLM_MASTER_KEY": "other"}).revision
    assert snapshot.revision != folder.snapshot(EXAMPLE, {**KEYS, "TURNOUT_ROLLOUT_LITELLM": "11"}).revision
    assert snapshot.revision == folder.snapshot(EXAMPLE, {**KEYS, "TURNOUT_ROLLOUT_LITELLM": "10"}).revision


def test_what_it_does_not_know_is_a_bug(folder: Folder) -> None:
    """A new kind of value must be decided on, not hashed by its address."""
    snapshot = msgspec.structs.replace(folder.snapshot(""), default_fallbacks=(object(),))  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        revision_of(snapshot)
