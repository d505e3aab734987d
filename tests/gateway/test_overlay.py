"""Percentages that were set at run time, over what config and environment say."""

import pytest

from tests.core.worlds import model, snapshot
from turnout.core.catalog import Rollout
from turnout.gateway.overlay import base_of, news, overlaid, prepared, set_rollout, superseded
from turnout.providers import PROVIDERS
from turnout.stores import RolloutChange
from turnout.stores.sqlite import SqliteStateStore

AT = 1_800_000_000.0


def configured(percent):
    """A config that gives the rollout this percentage."""
    return snapshot([model("glm")], rollouts=[Rollout("litellm", percent, provider="litellm", origin="turnout.yaml:9")])


def percent_after(changes, base):
    return overlaid(configured(base), {one.name: one for one in changes}).rollouts["litellm"].percent


@pytest.fixture
def store(tmp_path):
    opened = SqliteStateStore(tmp_path / "state.sqlite3")
    yield opened
    opened.close()


def test_what_was_set_holds_and_says_who_and_when(store):
    """Read back from the store, as after a restart."""
    set_rollout(store, configured(10), "litellm", 25, at=AT, by="turnout rollout set, anna")
    after = overlaid(configured(10), store.rollout_changes())
    assert after.rollouts["litellm"].percent == 25
    assert after.rollouts["litellm"].origin == "turnout rollout set, anna, 2027-01-15 08:00:00 UTC"
    assert after.revision != configured(10).revision


def test_once_config_or_environment_say_something_else_that_holds():
    """The last decision wins, wherever it was made."""
    change = RolloutChange("litellm", 25, ("10 from turnout.yaml",), AT, "x")
    assert [percent_after([change], base) for base in (10, 11, 0)] == [25, 11, 0]


def test_a_change_of_a_rollout_that_is_gone_does_nothing():
    """Nor does no change at all."""
    other = RolloutChange("other", 25, ("10 from turnout.yaml",), AT, "x")
    assert overlaid(configured(10), {"other": other}) == configured(10)
    assert news(configured(10), {}, {"other": other}) == []


def test_a_change_made_while_a_gateway_runs_holds_whatever_shell_it_was_typed_in(store):
    """The shell lacks the variable that the gateway was started with, so it saw another base."""
    known = store.rollout_changes()
    set_rollout(store, configured(10), "litellm", 0, at=AT, by="an operator in a hurry")
    assert overlaid(configured(40), store.rollout_changes()).rollouts["litellm"].percent == 40
    for change in news(configured(40), known, store.rollout_changes()):
        store.add_rollout_change(change)
    changes = store.rollout_changes()
    assert changes["litellm"].bases == ("10 from turnout.yaml", "40 from turnout.yaml")
    assert [overlaid(configured(base), changes).rollouts["litellm"].percent for base in (10, 40, 50)] == [0, 0, 50]
    assert news(configured(40), known, changes) == []


def test_old_changes_are_no_news():
    """One that was there when the gateway started, and did not hold, does not come to hold."""
    old = {"litellm": RolloutChange("litellm", 25, ("10 from turnout.yaml",), AT, "x")}
    assert news(configured(40), old, old) == []
    seen_elsewhere = {
        "litellm": RolloutChange("litellm", 25, ("10 from turnout.yaml", "30 from turnout.yaml"), AT, "x")
    }
    assert news(configured(40), old, seen_elsewhere) == []
    again = {"litellm": RolloutChange("litellm", 25, ("10 from turnout.yaml",), AT + 1, "x")}
    assert [one.bases for one in news(configured(40), old, again)] == [("40 from turnout.yaml",)]


@pytest.mark.parametrize(
    ("name", "percent", "words"),
    [("nope", 5, "no rollout named 'nope' \\(litellm\\)"), ("litellm", 101, "101"), ("litellm", float("nan"), "nan")],
)
def test_what_cannot_be_set_is_refused_and_not_written(store, name, percent, words):
    """With what is known."""
    with pytest.raises(ValueError, match=words):
        set_rollout(store, configured(10), name, percent, at=AT, by="x")
    assert store.rollout_changes() == {}


def test_where_no_rollout_is_configured_it_is_said(store):
    """Not an empty pair of brackets."""
    with pytest.raises(ValueError, match="none is configured"):
        set_rollout(store, snapshot([model("glm")]), "litellm", 5, at=AT, by="x")


def test_the_switch_in_the_environment_overrules_though_the_number_is_the_same():
    """FACTS §4: the flag must work. A line that has only moved overrules nothing."""
    change = {"litellm": RolloutChange("litellm", 25, ("0 from turnout.yaml",), AT, "x")}
    percents = []
    for origin in ("turnout.yaml:9", "turnout.yaml:70", "ENABLE_LITELLM"):
        said = snapshot([model("glm")], rollouts=[Rollout("litellm", 0, provider="litellm", origin=origin)])
        percents.append(overlaid(said, change).rollouts["litellm"].percent)
    assert percents == [25, 25, 0]


def test_what_was_overruled_does_not_come_back(store):
    """File 10, set 25, file 50, file 10 again: 10."""
    set_rollout(store, configured(10), "litellm", 25, at=AT, by="anna")
    assert superseded(configured(10), store.rollout_changes(), AT) == []
    for change in superseded(configured(50), store.rollout_changes(), AT + 1):
        store.add_rollout_change(change)
    after = store.rollout_changes()
    assert after["litellm"].bases == (base_of(configured(50).rollouts["litellm"]),)
    assert overlaid(configured(50), after) == configured(50)
    assert overlaid(configured(10), after).rollouts["litellm"].percent == 10
    set_rollout(store, configured(10), "litellm", 30, at=AT + 2, by="anna")
    assert overlaid(configured(10), store.rollout_changes()).rollouts["litellm"].percent == 30


def test_candidates_are_readied_once_and_what_is_readied_never_prints():
    """It holds the key."""
    ready = prepared(configured(10), PROVIDERS)
    ours = [one.prepared for one in ready.candidates.values()]
    assert all(one is not None for one in ours)
    assert "sk-" not in repr(ready.candidates)
