"""Tests of config/load.py: finding, reading, precedence, and that what ships is what FACTS says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.config.conftest import Folder
from turnout.config.environment import Environment
from turnout.config.load import Loaded, find_config, load, shipped
from turnout.core.catalog import FREE, Price
from turnout.errors import ConfigError
from turnout.policies import POLICIES

# FACTS §1: task → models in order, why, cost level, needs.
TASKS = {
    "chat": (
        "glm-4.5-air-free, gpt-oss-20b-free, gemma-3-27b-free",
        "accurate, good Danish",
        "free",
        "conversation, danish",
    ),
    "email-draft": (
        "glm-4.5-air-free, gpt-oss-20b-free, claude-3-haiku",
        "professional writing",
        "free",
        "writing, danish",
    ),
    "email-analysis": (
        "gpt-oss-20b-free, glm-4.5-air-free, claude-3-haiku",
        "fast (2.6 s on average)",
        "free",
        "summarising",
    ),
    "invoice-create": (
        "gemma-3-27b-free, gpt-4o-mini, gemini-2.0-flash-exp",
        "reliable structured data",
        "free",
        "json",
    ),
    "calendar-check": ("gemma-3-27b-free, gpt-4o-mini, gemini-2.0-flash-exp", "simple date logic", "free", "dates"),
    "calendar-create": ("gemma-3-27b-free, gpt-4o-mini, gemini-2.0-flash-exp", "precise events", "free", "json, tools"),
    "lead-analysis": (
        "kimi-k2-free, glm-4.5-air-free, claude-3-haiku",
        "long context, business sense",
        "free",
        "reasoning",
    ),
    "data-analysis": ("llama-3.1-70b, claude-3-haiku, gemini-2.0-flash-exp", "complex queries", "high", "reasoning"),
    "code-generation": ("qwen3-coder-free, deepseek-chat-v3.1-free, claude-3-haiku", "code specialist", "free", "code"),
    "complex-reasoning": (
        "deepseek-chat-v3.1-free, glm-4.5-air-free, llama-3.1-70b",
        "reasoning; also plans tasks",
        "free",
        "reasoning",
    ),
}
# FACTS §2: alias → provider, id (None: not given there), price in USD per million tokens, window, bound of the output.
MODELS: dict[str, tuple[str, str | None, object, int | None, int | None]] = {
    "glm-4.5-air-free": ("openrouter", "z-ai/glm-4.5-air:free", "free", 128_000, None),
    "gpt-oss-20b-free": ("openrouter", "openai/gpt-oss-20b:free", "free", 128_000, None),
    "deepseek-chat-v3.1-free": ("openrouter", "deepseek/deepseek-chat-v3.1:free", "free", 32_000, None),
    "minimax-m2-free": ("openrouter", "minimax/minimax-m2:free", "free", None, 8_000),
    "kimi-k2-free": ("openrouter", "moonshotai/kimi-k2:free", "free", 200_000, None),
    "qwen3-coder-free": ("openrouter", "qwen/qwen3-coder:free", "free", 32_000, None),
    "gemma-3-27b-free": ("openrouter", "google/gemma-3-27b-it:free", "free", 8_000, None),
    "gpt-4o": ("openai", "gpt-4o", (2.50, 10), 128_000, None),
    "gpt-4o-mini": ("openai", "gpt-4o-mini", (0.15, 0.60), 128_000, None),
    "gpt-3.5-turbo": ("openai", "gpt-3.5-turbo", (0.50, 1.50), 16_000, None),
    "claude-3.5-sonnet": ("anthropic", None, (3, 15), 200_000, None),
    "claude-3.5-haiku": ("anthropic", None, (0.25, 1.25), 200_000, None),
    "claude-3-haiku": ("anthropic", None, (0.25, 1.25), 200_000, None),
    "gemini-2.0-flash-exp": ("gemini", "gemini-2.0-flash-exp", None, 1_000_000, None),
    "llama-3.1-70b": ("openrouter", "meta-llama/llama-3.1-70b-instruct", None, 128_000, None),
    "llama3.2": ("ollama", "llama3.2", "free", None, None),
    "codellama": ("ollama", "codellama", "free", None, None),
    "qwen2.5-coder": ("ollama", "qwen2.5-coder", "free", None, None),
    "text-embedding-3-small": ("openai", "text-embedding-3-small", (0.02, 0), None, None),
    "text-embedding-3-large": ("openai", "text-embedding-3-large", (0.13, 0), None, None),
    "text-embedding-ada-002": ("openai", "text-embedding-ada-002", (0.10, 0), None, None),
}
GLM, DEEPSEEK, QWEN = "glm-4.5-air-free", "deepseek-chat-v3.1-free", "qwen3-coder-free"
FALLBACKS = {
    GLM: (DEEPSEEK, "minimax-m2-free", "kimi-k2-free"),
    DEEPSEEK: (QWEN, GLM),
    QWEN: (DEEPSEEK, GLM),
    "gpt-4o": ("claude-3.5-sonnet", "gpt-4o-mini"),
    "claude-3.5-sonnet": ("gpt-4o", "gpt-4o-mini"),
    "gpt-4o-mini": ("claude-3.5-haiku", "llama3.2"),
}
GROUPS = {
    "production-chat": {"gpt-4o": 0.4, "claude-3.5-sonnet": 0.4, "gpt-4o-mini": 0.2},
    "development-chat": {"gpt-4o-mini": 0.5, "claude-3.5-haiku": 0.3, "llama3.2": 0.2},
    "code-chat": {"gpt-4o": 0.3, "claude-3.5-sonnet": 0.4, "qwen2.5-coder": 0.2, "codellama": 0.1},
    "embeddings": {"text-embedding-3-small": 0.7, "text-embedding-ada-002": 0.3},
}
ALIASES = {
    "gpt-4": "production-chat",
    "claude": "production-chat",
    "dev-chat": "development-chat",
    "code": "code-chat",
    "embed": "embeddings",
    "task-planning": "complex-reasoning",
}
# A key, so that models keep the providers of the shipped file instead of the simulated one.
SHIPPED = load(None, Environment({"GROQ_API_KEY": "k"})).snapshot


def test_the_ten_tasks_are_those_of_facts() -> None:
    """Models in order, reason, cost level and needs."""
    assert set(SHIPPED.tasks) == set(TASKS)
    for name, (models, because, level, needs) in TASKS.items():
        task = SHIPPED.tasks[name]
        assert task.models == tuple(models.split(", "))
        assert task.because == because
        assert task.price_ceiling == (FREE if level == "free" else None)
        assert task.needs == frozenset(needs.split(", "))
        assert task.policy == "priority"


def test_the_models_are_those_of_facts() -> None:
    """Where they live, what they cost and hold; a price that FACTS does not give is as listed."""
    assert set(SHIPPED.models) == set(MODELS)
    for name, (provider, model_id, price, context, output) in MODELS.items():
        model = SHIPPED.models[name]
        assert model.provider == provider
        assert model_id in (None, model.id)
        assert (model.context_tokens, model.max_output_tokens) == (context, output)
        if isinstance(price, tuple):
            assert isinstance(model.price, Price)
            assert [model.price.input, model.price.output][: len(price)] == [round(usd * 1000) for usd in price]
        else:
            assert (model.price == FREE) == (price == "free")
        assert model.mode == ("embedding" if name.startswith("text-") else "chat")


def test_fallbacks_groups_and_aliases_are_those_of_facts() -> None:
    """The chains outside tasks, the weighted groups (code-generation, a task's name, as code-chat), the aliases."""
    assert {name: model.fallbacks for name, model in SHIPPED.models.items() if model.fallbacks} == FALLBACKS
    assert SHIPPED.default_fallbacks == (GLM, DEEPSEEK)
    assert SHIPPED.models["gpt-4o"].context_fallbacks == ("claude-3.5-sonnet",)
    assert SHIPPED.models["claude-3.5-sonnet"].context_fallbacks == ("gpt-4o",)
    assert {name: dict(zip(one.models, one.weights, strict=True)) for name, one in SHIPPED.routes.items()} == GROUPS
    assert {one.policy for one in SHIPPED.routes.values()} == {"weighted"} <= set(POLICIES)
    assert SHIPPED.aliases == ALIASES


def test_the_shipped_file_is_well() -> None:
    """Read as any other file, without a problem."""
    assert shipped().problems == []


# ── finding ──


def test_finds_the_file_as_given_then_by_variable_then_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given wins over TURNOUT_CONFIG, that over ./turnout.yaml, that over the defaults alone."""
    monkeypatch.chdir(tmp_path)
    named = Environment({"TURNOUT_CONFIG": "/etc/t.yaml"})
    assert find_config(None, Environment({})) is None
    Path("turnout.yaml").touch()
    assert find_config(None, Environment({})) == Path("turnout.yaml")
    assert find_config(None, named) == Path("/etc/t.yaml")
    assert find_config(Path("mine.yaml"), named) == Path("mine.yaml")


def test_no_file_is_the_defaults(tmp_path: Path) -> None:
    """Nothing to watch, and a local Ollama if one was found."""
    loaded = load(None, Environment({"OPENROUTER_API_KEY": "k"}), ollama=True)
    assert list(loaded.snapshot.accounts) == ["openrouter", "ollama"]
    assert loaded.notices == ("openrouter: key from OPENROUTER_API_KEY", "ollama: no key, http://127.0.0.1:11434/v1")
    assert loaded.watched_files == ()
    assert loaded.ollama
    assert isinstance(loaded, Loaded)


# ── reading ──


def test_a_file_that_cannot_be_read_is_one_problem(folder: Folder) -> None:
    """Missing, a folder, a pipe, more than 1 MB: said at once, without waiting and without reading it all."""
    pipe = folder.path / "pipe"
    os.mkfifo(pipe)
    large = folder.write(b"#" * 10_000_000, "large.yaml")
    began = time.monotonic()
    for path, why in (
        (folder.path / "nope.yaml", "cannot be read: No such file or directory"),
        (folder.path, "is no regular file"),
        (pipe, "is no regular file"),
        (large, "the file has 1,000,001 bytes or more"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path, Environment({}))
        assert len(caught.value.problems) == 1
        assert why in caught.value.problems[0]
        assert str(path) in caught.value.problems[0]
    assert time.monotonic() - began < 1


def test_a_text_that_cannot_be_read_hides_no_follow_up(folder: Folder) -> None:
    """After a syntax error nothing is guessed about what the file may have meant."""
    (problem,) = folder.problems("rollouts: [\n", {"TURNOUT_ROLLOUT_X": "5"})
    assert problem.startswith("turnout.yaml:2:1 rollouts[0]: ")


def test_yaml_1_1_surprises_are_not_errors(folder: Folder) -> None:
    """`no` is Norway, `0123` an id, `12:30` a reason, `on` a name; duplicate keys are refused elsewhere."""
    text = """
models: {on: {provider: groq, id: 0123, region: no, price: free}}
tasks: {lunch: {models: [on], because: 12:30, regions: [no]}}
server: {port: 04000}
"""
    snapshot = folder.snapshot(text)
    assert (snapshot.models["on"].id, snapshot.models["on"].region) == ("0123", "no")
    assert (snapshot.tasks["lunch"].because, snapshot.tasks["lunch"].regions) == ("12:30", frozenset({"no"}))
    assert snapshot.server.port == 4000


def test_anchors_work(folder: Folder) -> None:
    """Written once, used twice; positions of problems are the anchor's."""
    text = "x-free: &free {provider: groq, price: free}\nmodels:\n  a: {<<: *free, id: x}\n  b: *free\n"
    models = folder.snapshot(text).models
    assert (models["a"].id, models["b"].id) == ("x", "b")
    assert models["a"].price == models["b"].price == FREE


def test_the_file_is_watched_and_named_by_its_path(folder: Folder) -> None:
    """So that a reload knows what to look at."""
    loaded = folder.load("server: {port: 1}\n")
    assert loaded.watched_files == (folder.path / "turnout.yaml",)
    assert loaded.snapshot.origins["server.port"] == "turnout.yaml:1"
    assert not loaded.ollama


WORDS = [
    "server",
    "port",
    "models",
    "tasks",
    "routes",
    "aliases",
    "rollouts",
    "providers",
    "fallbacks",
    "provider",
    "openai",
]
WORDS += [
    "candidate",
    "percent",
    "price",
    "free",
    "weighted",
    "gpt-4o",
    "all",
    "chat",
    "api_key",
    "${X}",
    "file:x",
    "kind",
]
SIGNS = [
    ": ",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "<<: ",
    '"',
    "0",
    "-1",
    "no",
    "#",
    "\t",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=100), st.lists(st.sampled_from(WORDS + SIGNS), max_size=40).map("".join)))
def test_any_text_is_a_config_or_a_config_error(folder: Folder, text: str) -> None:
    """Whatever a file holds: a Snapshot, or ConfigError with a line for each problem."""
    for problem in folder.problems(text.encode("utf-8", "replace")):
        assert problem.startswith("turnout.yaml:")
        assert "\n" not in problem


JSON = st.recursive(
    st.sampled_from(["gpt-4o", "chat", "free", "all", "openai", "x", "1", "-5", "", "${X}", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


def flow(value: object) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return f"'{value}'"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=4))
def test_any_tree_is_a_config_or_a_config_error(folder: Folder, tree: dict[str, object]) -> None:
    """Texts that parse reach every check behind the parser; none of them raises anything else."""
    for problem in folder.problems(flow(tree)):
        assert problem.startswith("turnout.yaml:")
