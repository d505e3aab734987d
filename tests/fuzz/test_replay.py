"""Every kept input holds what its target promises: what was ever found stays mended."""

from __future__ import annotations

import importlib

import pytest

from tests.fuzz import CORPUS, TARGETS, pieces

KEPT = [path for path in sorted(CORPUS.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_kept_input_holds(path):
    """As when it was kept."""
    assert importlib.import_module(f"tests.fuzz.{path.parent.name}").check(path.read_bytes()) is None


def test_the_corpus_is_small_and_belongs_to_the_targets():
    """Something for each target; fewer than 200 files of less than 4 KiB."""
    assert sorted(TARGETS) == sorted(path.name for path in CORPUS.iterdir())
    assert {path.parent.name for path in KEPT} == set(TARGETS)
    assert len(KEPT) < 200
    assert max(path.stat().st_size for path in KEPT) < 4096


@pytest.mark.parametrize("first", [0, 1, 7, 16, 17, 255])
def test_pieces_are_the_text(first):
    """However large they are."""
    text, parts = pieces(bytes([first]) + b"a text of some length, long enough")
    assert text == b"".join(parts)
    assert all(parts)
    assert pieces(b"") == (b"", [])
