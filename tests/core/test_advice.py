"""core/advice.py: why nobody can serve a request, and what would help."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from tests.core.worlds import model, snapshot
from turnout.core.advice import ADVICE, ASK_THEM, NOT_READY, OPERATORS, denied, nobody
from turnout.core.catalog import Task
from turnout.core.eligible import Ask, Code, Filtered
from turnout.core.targets import Index, Target, find
from turnout.errors import NoCandidate, PermissionDenied

STORED = (
    "has a stored key that was given for https://10.1.2.3:443, and its address is now x: `turnout secrets set stub`"
)
MASTER, ADMIN, VIRTUAL = (Ask("", task="t", key_id=key_id) for key_id in ("", "admin:anna", "k_4f2a"))


@pytest.fixture
def target() -> Target:
    """A task."""
    found = find(Index.of(snapshot([model("glm")], tasks=[Task("t", ("glm",))])), MASTER)
    assert isinstance(found, Target)
    return found


def test_every_reason_has_its_own_advice():
    """All that there are, and no other; each a clause that needs nothing else."""
    assert set(get_args(Code)) == set(ADVICE)
    assert len(set(ADVICE.values())) == len(ADVICE)
    assert OPERATORS < set(ADVICE)


@pytest.mark.parametrize("code", get_args(Code))
@pytest.mark.parametrize("ask", [MASTER, VIRTUAL], ids=["master", "virtual"])
def test_every_reason_is_a_proper_sentence(target, code, ask):
    """It never tells the name of the reason instead of what it means, and leaves no place in the text unfilled."""
    told = nobody(target, [Filtered("glm", "stub", code, "cannot")], ask).message
    advice = told.partition("What helps: ")[2]
    assert re.fullmatch(r"nobody can serve task t: glm \(stub\) [a-z ]+\. What helps: [a-z].*[^.]\.", told)
    assert "{" not in told
    assert "_" not in advice or re.search(r"tasks\.t\.price_ceiling|max_(retries|tokens)", advice)
    assert (code in OPERATORS and ask is VIRTUAL) == (ASK_THEM in advice)


def test_where_a_provider_is_and_how_its_key_is_given_is_for_the_operator(target):
    """A virtual key is told that it is not ready and whom to ask; what is kept, for traces, is whole in any case."""
    filtered = [Filtered("glm", "stub", "no_key", STORED), Filtered("kimi", "stub", "price", "costs $3")]
    for ask in (MASTER, ADMIN):
        told = nobody(target, filtered, ask)
        assert (f"glm (stub) {STORED}; " in told.message, told.message) == (True, told.plain)
        assert (
            "give stub its key with `turnout secrets set stub`, or remove or raise tasks.t.price_ceiling."
            in told.message
        )
    outside = nobody(target, filtered, VIRTUAL)
    assert (
        f"nobody can serve task t: glm (stub) {NOT_READY}; kimi (stub) costs $3. What helps: {ASK_THEM}."
        == outside.message
    )
    assert nobody(target, filtered, MASTER).message == outside.plain


def test_who_may_not_ask_is_denied_and_what_for_is_kept_with_it(target):
    """One reason of a grant is enough: an SDK does not repeat it."""
    filtered = [
        Filtered("glm", "stub", "no_key", STORED),
        Filtered("kimi", "stub", "grant", "is not granted to this key"),
    ]
    error = nobody(target, filtered, VIRTUAL)
    assert isinstance(error, PermissionDenied)
    assert ("task", "task t", True) == (error.param, error.asked, STORED in error.plain)
    assert "secrets set" not in error.message
    own = denied("no", "model", target)
    assert ("no", "no", "model", "task t") == (own.message, own.plain, own.param, own.asked)


def test_a_name_without_models_says_so(target):
    """There is nobody to give a reason for."""
    error = nobody(target, [], VIRTUAL)
    assert isinstance(error, NoCandidate)
    assert "task t has no models: give it some" == error.message
