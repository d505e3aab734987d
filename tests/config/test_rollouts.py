"""Tests of config/rollouts.py."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder
from turnout.config.revision import revision_of
from turnout.config.rollouts import with_base_url, with_percent
from turnout.core.catalog import Rollout
from turnout.core.secret import Secret
from turnout.errors import ConfigError

LITELLM = """
providers:
  litellm: {kind: compatible, base_url: http://127.0.0.1:4001/v1, api_key: sk-x, names: "{provider}/{id}"}
rollouts:
  litellm: {tasks: all, percent: 10, candidate: {provider: litellm}}
"""


def test_the_example_of_the_issue(folder: Folder) -> None:
    """Every chat model has a second path, under the proxy's name for it, at its own price."""
    snapshot = folder.snapshot(LITELLM, {"OPENROUTER_API_KEY": "k"})
    assert snapshot.rollouts == {"litellm": Rollout("litellm", 10.0, provider="litellm", origin="turnout.yaml:5")}
    there = snapshot.candidates["glm-4.5-air-free", "litellm"]
    assert (there.key, there.id) == ("glm-4.5-air-free@litellm", "openrouter/z-ai/glm-4.5-air:free")
    assert there.price == snapshot.models["glm-4.5-air-free"].price
    assert ("glm-4.5-air-free", "openrouter") in snapshot.candidates
    # Its own provider is not configured, the proxy may have the key.
    assert snapshot.candidates["gpt-4o", "litellm"].id == "openai/gpt-4o"
    assert ("gpt-4o", "openai") not in snapshot.candidates
    assert ("text-embedding-3-small", "litellm") not in snapshot.candidates


def test_a_model_of_the_new_account_keeps_its_own_name_there(folder: Folder) -> None:
    """What lives there already is not renamed."""
    snapshot = folder.snapshot(LITELLM + "models: {own: {provider: litellm, id: fast}}\n")
    assert snapshot.candidates["own", "litellm"].id == "fast"


def test_everything_about_a_rollout_can_be_said(folder: Folder) -> None:
    """Tasks may be named by alias; users stand in include and exclude as they are written."""
    text = """
rollouts:
  r: {tasks: [chat, task-planning], percent: 2.5, candidate: {models: [gpt-4o, gpt-4o-mini]}, include: [0042, no], exclude: [me]}
"""
    assert folder.snapshot(text).rollouts["r"] == Rollout(
        "r",
        2.5,
        frozenset({"chat", "complex-reasoning"}),
        models=("gpt-4o", "gpt-4o-mini"),
        include=frozenset({"0042", "no"}),
        exclude=frozenset({"me"}),
        origin="turnout.yaml:3",
    )


def test_a_rollout_without_a_percentage_is_off(folder: Folder) -> None:
    """0, by default."""
    rollout = folder.snapshot("rollouts: {r: {candidate: {models: [gpt-4o]}}}\n").rollouts["r"]
    assert (rollout.percent, rollout.origin) == (0.0, "default")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LITELLM_ROLLOUT_PERCENTAGE": "25"}, (25.0, "LITELLM_ROLLOUT_PERCENTAGE")),
        ({"TURNOUT_ROLLOUT_LITELLM": "50"}, (50.0, "TURNOUT_ROLLOUT_LITELLM")),
        (
            {"TURNOUT_ROLLOUT_LITELLM": "50", "LITELLM_ROLLOUT_PERCENTAGE": "25"},
            (50.0, "TURNOUT_ROLLOUT_LITELLM"),
        ),
        ({"ENABLE_LITELLM": "true"}, (10.0, "turnout.yaml:5")),
        ({"ENABLE_LITELLM": "1", "LITELLM_ROLLOUT_PERCENTAGE": "0"}, (0.0, "LITELLM_ROLLOUT_PERCENTAGE")),
        ({"ENABLE_LITELLM": "false", "LITELLM_ROLLOUT_PERCENTAGE": "100"}, (0.0, "ENABLE_LITELLM")),
        ({"ENABLE_LITELLM": "0", "TURNOUT_ROLLOUT_LITELLM": "100"}, (0.0, "ENABLE_LITELLM")),
        ({"ENABLE_LITELLM": "", "LITELLM_ROLLOUT_PERCENTAGE": ""}, (10.0, "turnout.yaml:5")),
    ],
)
def test_the_environment_sets_it_at_start(
    variables: dict[str, str], expected: tuple[float, str], folder: Folder
) -> None:
    """FACTS §4: the switch turns it off whatever else is said, the percentage wins over the file, and origin says who."""
    snapshot = folder.snapshot(LITELLM, variables)
    rollout = snapshot.rollouts["litellm"]
    assert expected == (rollout.percent, rollout.origin)
    assert snapshot.origins["rollouts.litellm.percent"] == expected[1]


def test_any_rollout_has_its_variable(folder: Folder) -> None:
    """Upper case, with _ for - and dot."""
    text = "rollouts: {new-path.2: {candidate: {models: [gpt-4o]}}}\n"
    assert folder.snapshot(text, {"TURNOUT_ROLLOUT_NEW_PATH_2": "7"}).rollouts["new-path.2"].percent == 7.0


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        (LITELLM, {"LITELLM_ROLLOUT_PERCENTAGE": "101"}, "LITELLM_ROLLOUT_PERCENTAGE: 101 is out of range"),
        (LITELLM, {"TURNOUT_ROLLOUT_LITELLM": "lots"}, "TURNOUT_ROLLOUT_LITELLM: 'lots' is no number"),
        (LITELLM, {"ENABLE_LITELLM": "perhaps"}, "ENABLE_LITELLM: 'perhaps' is neither true nor false"),
        (
            LITELLM,
            {"TURNOUT_ROLLOUT_LITELM": "5"},
            "TURNOUT_ROLLOUT_LITELM: names no rollout, did you mean TURNOUT_ROLLOUT_LITELLM?",
        ),
        ("", {"TURNOUT_ROLLOUT_X": "5"}, "TURNOUT_ROLLOUT_X: names no rollout, the rollouts are: none"),
    ],
)
def test_a_bad_variable_is_named(text: str, variables: dict[str, str], expected: str, folder: Folder) -> None:
    """Bad values and names that lead nowhere are errors of the variable."""
    (problem,) = folder.problems(text, variables)
    assert problem.startswith(expected)


def test_variables_for_a_rollout_that_is_not_there_are_a_notice(folder: Folder) -> None:
    """ENABLE_LITELLM may be another program's; it is told, not refused."""
    loaded = folder.load("", {"ENABLE_LITELLM": "maybe", "LITELLM_ROLLOUT_PERCENTAGE": "5"})
    assert loaded.notices[-2:] == (
        "ENABLE_LITELLM is set, but there is no rollout named litellm",
        "LITELLM_ROLLOUT_PERCENTAGE is set, but there is no rollout named litellm",
    )


def test_a_percentage_can_be_laid_over_a_snapshot(folder: Folder) -> None:
    """Percentage, origin and revision change, and change back; the snapshot itself does not."""
    snapshot = folder.snapshot(LITELLM)
    changed = with_percent(snapshot, "litellm", 25, "turnout rollout set")
    assert (changed.rollouts["litellm"].percent, changed.rollouts["litellm"].origin) == (25.0, "turnout rollout set")
    assert changed.origins["rollouts.litellm.percent"] == "turnout rollout set"
    assert snapshot.rollouts["litellm"].percent == 10.0
    assert changed.revision == revision_of(changed) != snapshot.revision
    assert with_percent(changed, "litellm", 10, "again").revision == snapshot.revision


@pytest.mark.parametrize(
    ("name", "percent", "expected"),
    [
        ("litelm", 5.0, "rollouts.litelm: unknown rollout, did you mean 'litellm'?"),
        ("litellm", 101.0, "rollouts.litellm.percent: 101 is out of range, expected 0 to 100"),
        ("litellm", float("nan"), "rollouts.litellm.percent: nan is out of range, expected 0 to 100"),
    ],
)
def test_a_wrong_change_is_refused(name: str, percent: float, expected: str, folder: Folder) -> None:
    """An unknown rollout, a percentage that is none."""
    with pytest.raises(ConfigError) as caught:
        with_percent(folder.snapshot(LITELLM), name, percent, "x")
    assert caught.value.problems == (expected,)


def test_an_account_can_be_moved_to_where_its_server_listens(folder: Folder) -> None:
    """The account and its candidates get the address, others stay, and so does the revision."""
    snapshot = folder.snapshot(LITELLM, {"OPENROUTER_API_KEY": "k"})
    moved = with_base_url(snapshot, "litellm", "http://127.0.0.1:5", Secret("between us"))
    assert moved.accounts["litellm"].base_url == "http://127.0.0.1:5"
    assert moved.accounts["litellm"].api_key == Secret("between us")
    assert moved.candidates["gpt-4o", "litellm"].account is moved.accounts["litellm"]
    assert moved.candidates["kimi-k2-free", "openrouter"] is snapshot.candidates["kimi-k2-free", "openrouter"]
    assert moved.revision == snapshot.revision
