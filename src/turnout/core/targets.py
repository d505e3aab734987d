"""Resolves what a request names, to what the config says about it: everything that can be known before a request comes.

An Index is built once per Snapshot and never changed. It holds one Target for every model, route and task: who may
serve, in order, for each arm, with those that can never serve already set aside and the reason noted. Planning a request
is then a look-up and a few comparisons.

Rules. A bare name means a model, else a route, else an alias, else a task (a task has its own spelling, `task:NAME`).
A task that is said apart (header, body) decides the candidates, unless a model is named too: then the model is forced,
and the task still labels the request and gives its price ceiling, regions, needs and time.
A model that was named and may not serve is an error, never silently another model; its fallbacks are for its failures.
Fallbacks that nobody listed for it ("anything else") must be free: an automatic fallback never costs.
Sources: FACTS §1, §2 (`openrouter/vendor/model:free` is accepted as it is), §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from turnout.core.catalog import FREE, Candidate, Model, Price, Rollout, Route, Snapshot, Task
from turnout.core.eligible import CHECKED, Ask, Choice, Filtered, Terms, refusal
from turnout.core.names import nearest
from turnout.core.quota import counted
from turnout.core.rollout import Arm, is_active
from turnout.errors import GatewayError, InvalidRequest, ModelNotFound

UNBOUNDED = 2**62


class Line(msgspec.Struct, frozen=True):
    """The candidates of one target on one arm that the config allows, in order.

    weights: one per choice, or empty. by_key: the choices by candidate key. filtered: who may never serve here, and why.
    modes, can, streams, smallest_tokens: what every one of them takes, so that most requests need no look at each.
    steady_tokens: up to how much input none of them costs more a token.
    """

    choices: tuple[Choice, ...]
    candidates: tuple[Candidate, ...]
    weights: tuple[float, ...]
    by_key: Mapping[str, Choice]
    filtered: tuple[Filtered, ...]
    mode: str
    can: frozenset[str]
    streams: bool
    smallest_tokens: int
    steady_tokens: int

    def takes(self, ask: Ask) -> bool:
        """Return True if every choice is sure to take `ask`; False says only that each must be looked at. O(needs)."""
        return (
            ask.kind == self.mode
            and 2 * ask.input_tokens <= self.smallest_tokens
            and ask.input_tokens <= self.steady_tokens
            and (self.streams or not ask.stream)
            and ask.needs <= self.can
        )


class Target(msgspec.Struct, frozen=True):
    """What a name stands for. label: for people, "task email-draft". model: the model's name if one is named, else "".

    rollout: the one that concerns it, None if none does. moved: the candidate arm's line, None without a rollout.
    """

    label: str
    task: str
    model: str
    policy: str
    because: str
    terms: Terms
    max_retries: int
    total_s: float
    control: Line
    rollout: Rollout | None = None
    moved: Line | None = None


class Index(msgspec.Struct, frozen=True):
    """A Snapshot, prepared for planning. names: models, routes and tasks. finals: where each alias leads.

    leading: by model, every name that leads to it: its own, ACCOUNT/ID, aliases, and routes that it is of.
    """

    snapshot: Snapshot
    names: Mapping[str, Target]
    tasks: Mapping[str, Target]
    finals: Mapping[str, str]
    by_id: Mapping[tuple[str, str], str]
    leading: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Index:
        """Prepare a Snapshot. O(names * candidates), about 12 µs a name: once per configuration."""
        tasks = {task.name: _task_target(snapshot, task) for task in snapshot.tasks.values()}
        names = dict(tasks)
        names |= {route.name: _route_target(snapshot, route) for route in snapshot.routes.values()}
        names |= {model.name: _model_target(snapshot, model, None) for model in snapshot.models.values()}
        shadowed = snapshot.models.keys() | snapshot.routes.keys()
        finals = {name: _follow(name, snapshot.aliases, shadowed) for name in snapshot.aliases if name not in shadowed}
        by_id = {(model.provider, model.id): model.name for model in reversed(list(snapshot.models.values()))}
        leading = {model.name: _leading(snapshot, model, finals) for model in snapshot.models.values()}
        return cls(snapshot, MappingProxyType(names), MappingProxyType(tasks), finals, by_id, leading)


def find(index: Index, ask: Ask) -> Target | GatewayError:
    """Return what `ask` names, or ModelNotFound or InvalidRequest as a value.

    O(1) for names of the config; about 15 µs when a model and a task are both named, or for ACCOUNT/ID.
    """
    name, task_name = index.finals.get(ask.name, ask.name), ask.task.removeprefix("task:")
    if name.startswith("task:"):
        name, task_name = "", task_name or name[5:]
    elif name == "auto" and name not in index.names:
        name = ""
    task: Target | None = None
    if task_name:
        task = index.tasks.get(task_name) or index.tasks.get(index.finals.get(task_name, "").removeprefix("task:"))
        if task is None:
            return _no_task(index, task_name)
        if not name:
            return task
    elif not name:
        wanted = "name a model, a route or a task in `model`, or a task in the header x-turnout-task"
        return InvalidRequest(f"neither a model nor a task is named: {wanted}", param="model")
    target = index.names.get(name)
    if target is None:
        return _ad_hoc(index, name, ask, task) or _no_model(index, name, has_task=task is not None)
    if task is None:
        return target
    if not target.model:
        return task
    return _model_target(index.snapshot, index.snapshot.models[target.model], index.snapshot.tasks[task.task])


def stand_ins(snapshot: Snapshot, choice: Choice, terms: Terms) -> list[Choice | Filtered]:
    """Return `choice`'s model's context_fallbacks: those that may serve as Choices, the others as why not.

    They stay on the arm, and on its account where that offers them. O(context_fallbacks).
    """
    out: list[Choice | Filtered] = []
    for name in choice.candidate.model.context_fallbacks:
        model = snapshot.models.get(name)
        account = choice.candidate.account.name if choice.arm == "candidate" else ""
        has_own_path = (name, account) in snapshot.candidates
        found = _candidate(snapshot, name, model, account if has_own_path else "", terms)
        out.append(Choice(found, choice.arm) if isinstance(found, Candidate) else found)
    return out


# ── targets ──


def _task_target(snapshot: Snapshot, task: Task) -> Target:
    terms = _task_terms(task, snapshot.cache.ttl_s)
    names = [(name, snapshot.models.get(name)) for name in task.models]
    rollout = _rollout(snapshot, task.name, is_named=False)
    return Target(
        label=f"task {task.name}",
        task=task.name,
        model="",
        policy=task.policy,
        because=task.because,
        terms=terms,
        max_retries=snapshot.retry.max_retries if task.max_retries is None else task.max_retries,
        total_s=snapshot.timeouts.total_s if task.total_s is None else task.total_s,
        control=_line(snapshot, names, terms, "control", weights=task.weights),
        rollout=rollout,
        moved=_moved(snapshot, names, terms, rollout, weights=task.weights),
    )


def _route_target(snapshot: Snapshot, route: Route) -> Target:
    terms = Terms(f"routes.{route.name}", route.price_ceiling, route.regions, cache_s=snapshot.cache.ttl_s)
    names = [(name, snapshot.models.get(name)) for name in route.models]
    rollout = _rollout(snapshot, "", is_named=False)
    return Target(
        label=f"route {route.name}",
        task="",
        model="",
        policy=route.policy,
        because="",
        terms=terms,
        max_retries=snapshot.retry.max_retries if route.max_retries is None else route.max_retries,
        total_s=snapshot.timeouts.total_s,
        control=_line(snapshot, names, terms, "control", weights=route.weights),
        rollout=rollout,
        moved=_moved(snapshot, names, terms, rollout, weights=route.weights),
    )


def _model_target(snapshot: Snapshot, model: Model, task: Task | None) -> Target:
    """`model` is named; its fallbacks follow. With a task: under the task's terms, labelled with it."""
    terms = Terms(cache_s=snapshot.cache.ttl_s) if task is None else _task_terms(task, snapshot.cache.ttl_s)
    names: list[tuple[str, Model | None]] = [(model.name, model)]
    if model.fallbacks:
        names += [(name, snapshot.models.get(name)) for name in model.fallbacks]
    elif model.mode == "chat":  # vectors of another model are no substitute
        names += [(name, snapshot.models[name]) for name in _free(snapshot) if name != model.name]
    rollout = _rollout(snapshot, "" if task is None else task.name, is_named=True)
    retries, total_s = (None, None) if task is None else (task.max_retries, task.total_s)
    return Target(
        label=f"model {model.name}",
        task="" if task is None else task.name,
        model=model.name,
        policy="priority",
        because="the request names it",
        terms=terms,
        max_retries=snapshot.retry.max_retries if retries is None else retries,
        total_s=snapshot.timeouts.total_s if total_s is None else total_s,
        control=_line(snapshot, names, terms, "control", is_named=True),
        rollout=rollout,
        moved=_moved(snapshot, names, terms, rollout, is_named=True),
    )


def _task_terms(task: Task, usual_cache_s: float) -> Terms:
    return Terms(
        f"tasks.{task.name}",
        task.price_ceiling,
        task.regions,
        task.needs,
        task.is_hedged,
        task.is_continued,
        task.priority,
        usual_cache_s if task.cache_s is None else task.cache_s,
        task.semantic,
        task.masks,
    )


def _free(snapshot: Snapshot) -> Iterable[str]:
    """The fallbacks for "anything else", without what costs, is not known to be free, or is no chat model."""
    for name in snapshot.default_fallbacks:
        model = snapshot.models.get(name)
        if model is not None and model.price is not None and model.price.is_free and model.mode == "chat":
            yield name


def _rollout(snapshot: Snapshot, task: str, *, is_named: bool) -> Rollout | None:
    """The first by name that concerns this task and is not off; if all are off, the first. One that brings its own
    models does not concern a request that names a model.
    """
    concerned = [
        rollout
        for _, rollout in sorted(snapshot.rollouts.items())
        if (not rollout.tasks or task in rollout.tasks) and not (is_named and rollout.models)
    ]
    return next((rollout for rollout in concerned if is_active(rollout)), concerned[0] if concerned else None)


# ── lines ──


def _moved(
    snapshot: Snapshot,
    names: Sequence[tuple[str, Model | None]],
    terms: Terms,
    rollout: Rollout | None,
    *,
    weights: tuple[float, ...] = (),
    is_named: bool = False,
) -> Line | None:
    if rollout is None:
        return None
    if rollout.models:
        names, weights = [(name, snapshot.models.get(name)) for name in rollout.models], ()
    return _line(snapshot, names, terms, "candidate", account=rollout.provider, weights=weights, is_named=is_named)


def _line(
    snapshot: Snapshot,
    names: Sequence[tuple[str, Model | None]],
    terms: Terms,
    arm: Arm,
    *,
    account: str = "",
    weights: tuple[float, ...] = (),
    is_named: bool = False,
) -> Line:
    """Who of `names` may serve. account: instead of each model's own. is_named: nobody may, unless the first may."""
    choices: list[Choice] = []
    kept_weights: list[float] = []
    filtered: list[Filtered] = []
    for at, (name, model) in enumerate(names):
        found = _candidate(snapshot, name, model, account, terms)
        if isinstance(found, Candidate):
            choices.append(Choice(found, arm))
            if weights:
                kept_weights.append(weights[at])
            continue
        filtered.append(found)
        if is_named and at == 0:
            break
    return make_line(choices, kept_weights, filtered)


def make_line(choices: Sequence[Choice], weights: Sequence[float], filtered: Sequence[Filtered]) -> Line:
    """Sum up what every choice takes. O(choices)."""
    models = [choice.candidate.model for choice in choices]
    prices = [choice.candidate.price for choice in choices]
    modes = {model.mode for model in models}
    mode = modes.pop() if len(modes) == 1 else ""
    can = {need for need in CHECKED if all(model.can is None or need in model.can for model in models)}
    return Line(
        choices=tuple(choices),
        candidates=tuple(choice.candidate for choice in choices),
        weights=tuple(weights),
        by_key={choice.candidate.key: choice for choice in choices},
        filtered=tuple(filtered),
        mode=mode,
        can=frozenset(can | ({"embeddings"} if mode == "embedding" else {"stream"})),
        streams=all(model.streams for model in models),
        smallest_tokens=min((m.context_tokens for m in models if m.context_tokens is not None), default=UNBOUNDED),
        steady_tokens=min(
            (price.longer[0][0] for price in prices if price is not None and price.longer), default=UNBOUNDED
        ),
    )


def _candidate(snapshot: Snapshot, name: str, model: Model | None, account: str, terms: Terms) -> Candidate | Filtered:
    provider = account or ("" if model is None else model.provider)
    if model is None:
        return Filtered(name, provider, "not_configured", f"is not among the models: add models.{name}")
    candidate = snapshot.candidates.get((name, provider))
    if candidate is None:
        missing = "does not offer it" if provider in snapshot.accounts else "is not configured"
        detail = f"provider {provider} {missing}"
        return Filtered(name, provider, "not_configured", detail)
    return refusal(candidate, terms) or candidate


# ── names ──


def _follow(name: str, aliases: Mapping[str, str], known: frozenset[str] | set[str]) -> str:
    """The end of a chain of aliases; in a circle (which config refuses), wherever it closes."""
    seen = {name}
    while (name := aliases[name]) in aliases and name not in known and name not in seen:
        seen.add(name)
    return name


def _leading(snapshot: Snapshot, model: Model, finals: Mapping[str, str]) -> frozenset[str]:
    """Every name by which a request may come to `model`, but for tasks' (a task is granted by its own name)."""
    names = {model.name, f"{model.provider}/{model.id}"}
    names |= {route.name for route in snapshot.routes.values() if model.name in route.models}
    return frozenset(names | {alias for alias, final in finals.items() if final in names})


def _ad_hoc(index: Index, name: str, ask: Ask, task: Target | None) -> Target | None:
    """ACCOUNT/ID: a known model by its id, else one made for this request. None if there is no such account."""
    snapshot = index.snapshot
    provider, _, model_id = name.partition("/")
    account = snapshot.accounts.get(provider)
    if account is None or not model_id:
        return None
    known = index.by_id.get((provider, model_id))
    if known is not None and task is None:
        return index.names[known]
    if known is not None:
        model = snapshot.models[known]
    else:
        price = FREE if model_id.endswith(":free") else _list_price(snapshot, provider, model_id, ask.kind)
        model = Model(name=name, provider=provider, id=model_id, price=price, mode=ask.kind)
        quotas = counted(snapshot.quotas, provider, model_id)
        made = Candidate(f"{name}@{provider}", model, account, model_id, price, quotas)
        snapshot = msgspec.structs.replace(snapshot, candidates={**snapshot.candidates, (name, provider): made})
    return _model_target(snapshot, model, None if task is None else snapshot.tasks[task.task])


def _list_price(snapshot: Snapshot, provider: str, model_id: str, kind: str) -> Price | None:
    """What is listed; for a chat, input alone is half a price, which is none."""
    price = snapshot.list_prices.get(provider, {}).get(model_id.lower())
    return None if price is None or (kind == "chat" and not price.output) else price


def _no_task(index: Index, name: str) -> ModelNotFound:
    known = ", ".join(sorted(index.tasks)) or "none"
    near = nearest(name, index.tasks)
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    return ModelNotFound(f"there is no task {name[:100]!r}.{guess} The tasks are: {known}.", param="task")


def _no_model(index: Index, name: str, *, has_task: bool) -> ModelNotFound:
    near = nearest(name, [*index.names, *index.finals])
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    hint = ' Send "auto" as `model` to let the task choose.' if has_task else " GET /v1/models lists what there is."
    return ModelNotFound(f"there is no model, route, alias or task {name[:100]!r}.{guess}{hint}", param="model")
