"""core/rollout.py: which arm a request is on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import Rollout
from turnout.core.rollout import arm, is_active, place

USERS = [f"user-{number}" for number in range(10_000)]


def arm_of(rollout: Rollout, user: str = "", session: str = "", key_id: str = "", draw: float = 0.5) -> str:
    """Only the arm."""
    return arm(rollout, user, session, key_id, draw)[0]


def share(rollout: Rollout) -> float:
    """How many of ten thousand users are on the candidate arm, in percent."""
    return 100 * sum(arm_of(rollout, user) == "candidate" for user in USERS) / len(USERS)


@given(st.text(), st.text(), st.floats(0, 100), st.floats(0, 100), st.floats(0, 1, exclude_max=True))
def test_raising_only_adds_and_lowering_only_takes_away(name, user, one, other, draw):
    """Whoever is on the candidate arm at a percentage is on it at every higher one, named or not."""
    low, high = sorted((one, other))
    if arm_of(Rollout(name, low), user, draw=draw) == "candidate":
        assert arm_of(Rollout(name, high), user, draw=draw) == "candidate"


@given(st.text(), st.text(), st.floats(0, 100), st.lists(st.floats(0, 1, exclude_max=True), min_size=2))
def test_the_same_user_stays(name, user, percent, draws):
    """Chance, session and key move nobody who is named."""
    arms = {arm_of(Rollout(name, percent), user or "u", f"s{draw}", f"k{draw}", draw) for draw in draws}
    assert len(arms) == 1


@given(st.text(), st.text())
def test_a_place_is_on_the_line(name, user):
    """0 is possible, 100 is not: 100 % takes everybody."""
    assert 0 <= place(name, user) < 100


def test_a_place_is_the_same_everywhere():
    """Another process, another version: the same hash. Changing this moves users."""
    assert round(place("litellm", "user\0user-1"), 2) == 10.92


@pytest.mark.parametrize("percent", [1, 10, 25, 50, 75])
def test_the_share_is_the_percentage(percent):
    """Within 1.5 points of ten thousand users (three standard deviations at 50 %)."""
    assert abs(share(Rollout("litellm", percent)) - percent) < 1.5


def test_the_ends_are_exact():
    """0 is nobody, 100 is everybody, and a hundredth of a percent can be told from nothing."""
    assert (share(Rollout("litellm", 0)), share(Rollout("litellm", 100))) == (0.0, 100.0)
    assert 0 < share(Rollout("litellm", 0.05)) < 0.2


def test_two_rollouts_divide_the_same_users_differently():
    """Half of one half is a quarter, as with independent coins."""
    both = sum(arm_of(Rollout("a", 50), user) == arm_of(Rollout("b", 50), user) == "candidate" for user in USERS)
    assert abs(both / len(USERS) - 0.25) < 0.015


def test_the_draw_says_nothing_about_who_got_in():
    """A policy that uses the same draw afterwards still sees all of [0, 1) on the candidate arm."""
    draws = [number / 10_000 for number in range(10_000)]
    inside = [draw for draw in draws if arm_of(Rollout("a", 10), draw=draw) == "candidate"]
    assert abs(len(inside) / 10_000 - 0.10) < 0.01
    assert abs(sum(inside) / len(inside) - 0.5) < 0.05


@pytest.mark.parametrize(
    ("user", "session", "key_id", "who"),
    [("u", "s", "k", "user"), ("", "s", "k", "session"), ("", "", "k", "key"), ("", "", "", "draw")],
)
def test_who_is_placed(user, session, key_id, who):
    """The user, else the session, else the key, else chance; and the reason says which."""
    side, reason = arm(Rollout("a", 100), user, session, key_id, 0.5)
    assert side == "candidate"
    assert reason.startswith(f"this {who} stands at ")
    assert reason.endswith(" of 100, below 100")


def test_a_session_is_not_the_user_of_the_same_name():
    """Each kind of identity has its own places."""
    places = [arm(Rollout("a", 0.0001), *who, 0.5)[1] for who in (("x", "", ""), ("", "x", ""), ("", "", "x"))]
    assert len({reason.partition("stands")[2] for reason in places}) == 3
    assert all(reason.endswith(", not below 0.0001") for reason in places)


def test_lists_come_before_the_percentage():
    """Excluded wins over included, both over chance."""
    rollout = Rollout("a", 0, include=frozenset({"in", "both"}), exclude=frozenset({"out", "both"}))
    every = Rollout("a", 100, exclude=frozenset({"out"}))
    assert arm(rollout, "in", "", "", 0.5) == ("candidate", "this user is included")
    assert arm(rollout, "both", "", "", 0.5) == ("control", "this user is excluded")
    assert arm(every, "out", "", "", 0.5) == ("control", "this user is excluded")
    assert arm_of(rollout, "someone") == "control"


def test_nobody_is_not_a_user():
    """A list with an empty name in it does not catch everybody who is anonymous."""
    assert arm_of(Rollout("a", 100, exclude=frozenset({""}))) == "candidate"
    assert arm_of(Rollout("a", 0, include=frozenset({""}))) == "control"


def test_off_is_off():
    """Without a percentage and without a list nobody is moved."""
    assert arm(Rollout("a"), "u", "", "", 0.0) == ("control", "a is off")
    assert [
        is_active(rollout) for rollout in (Rollout("a"), Rollout("a", 0.1), Rollout("a", include=frozenset({"u"})))
    ] == [False, True, True]


def test_a_name_of_broken_unicode_is_placed_too():
    """JSON can carry lone surrogates; a request must not die of its user."""
    assert 0 <= place("a", "\ud800") < 100
