"""Decides who may answer a request, and in which order: task or name → arm → who may → order → cut.

    find (targets)      the name or the task → a Target, its candidates judged by the config already
    arm (rollout)       control or candidate, before anybody is looked at
    misfit (eligible)   who cannot take this very request
    order (a policy)    the rest, best first
    rest (health)       who rests goes behind who is well; who cools down until a known instant is left out
    cut                 at most 1 + max_retries of each arm

Rules. A failure is a value: ModelNotFound, InvalidRequest, or NoCandidate that names everybody and why.
The candidate arm's choices come first and the control arm's after them: when every candidate of the new arm fails, the
old arm answers. An arm where nobody is well is not begun while the other has somebody.
A grant narrows who may serve the asker: everybody else is filtered, and if nobody is left then, that is PermissionDenied, which
no SDK repeats; as is a model that was named and is not granted.
Nobody is ejected for good: when all rest, those whose rest ends first are tried; when all cool down, the one that is done
first, alone, since each refusal counts against a quota.
Nothing here reads a clock, draws or remembers: the same arguments give the same Plan.
Cost: for a task with three candidates 2.5 µs, with a rollout 4 µs on its control and 7 µs on its candidate arm, measured.
Sources: DESIGN §1, FACTS §1 and §4, RELIABILITY A2, A3, F9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter

import msgspec

from turnout.core.advice import denied, nobody
from turnout.core.contracts import Policy
from turnout.core.eligible import Ask, Choice, Code, Filtered, Terms, listed, misfit, too_dear, ungranted
from turnout.core.health import HealthView
from turnout.core.principal import EVERYTHING
from turnout.core.rollout import Arm
from turnout.core.rollout import arm as choose_arm
from turnout.core.targets import Index, Line, Target, find, make_line, stand_ins
from turnout.errors import GatewayError

__all__ = ["Ask", "Choice", "Filtered", "HealthView", "Index", "Plan", "larger", "plan"]


class Plan(msgspec.Struct):
    """Who is to answer, in order, and everything that decided it.

    target: "task email-draft", "route production-chat", "model gpt-4o". task: its name, "" if none.
    rollout, arm, arm_reason: which arm the choices begin with, and why; rollout is "" if none concerns the request.
    choices: at most 1 + max_retries per arm. total_s: for the whole request, from its arrival.
    terms: what the config asks of candidates; `larger` needs them. draw: the chance that was used, for a replay.
    """

    target: str
    task: str
    policy: str
    because: str
    rollout: str
    arm: Arm
    arm_reason: str
    choices: tuple[Choice, ...]
    filtered: tuple[Filtered, ...]
    max_retries: int
    total_s: float
    terms: Terms
    draw: float


class _Arranged:
    """One arm's candidates: well, resting (by the end of the rest), cooling until a known instant (by that)."""

    __slots__ = ("cooling", "filtered", "resting", "well")

    def __init__(self) -> None:
        self.well: list[Choice] = []
        self.resting: list[tuple[float, Choice]] = []
        self.cooling: list[tuple[float, Choice]] = []
        self.filtered: Sequence[Filtered] = ()


def plan(
    ask: Ask, index: Index, policies: Mapping[str, Policy], health: HealthView, draw: float, now: float
) -> Plan | GatewayError:
    """Return who is to answer `ask`, or why nobody can.

    policies: by name, every one that the Snapshot names. draw: in [0, 1), for the rollout and the policy.
    now: monotonic seconds, of the same clock as `health`. O(candidates), 3 to 7 µs for three. Never raises.
    """
    target = find(index, ask)
    if isinstance(target, GatewayError):
        return target
    tasks = ask.grant.tasks
    if tasks and target.task not in tasks:
        what = f"this key may not ask for {target.label}" if target.task else "this key asks for tasks only"
        return denied(f"{what}: its tasks are {listed(tasks)}.", "task", target)
    policy = policies[target.policy]
    arm: Arm = "control"
    name = reason = ""
    control = _arrange(target.control, target, ask, index, policy, health, (draw, now))
    moved: _Arranged | None = None
    rollout = target.rollout
    if rollout is not None and target.moved is not None:
        name = rollout.name
        arm, reason = choose_arm(rollout, ask.user, ask.session, ask.key_id, draw)
        if arm == "candidate":
            moved = _arrange(target.moved, target, ask, index, policy, health, (draw, now))
    choices, left_out = _compose(control, moved, target.max_retries + 1, now)
    filtered = (*control.filtered, *(moved.filtered if moved is not None else ()), *left_out)
    if not choices:
        return nobody(target, filtered, ask)
    if arm != choices[0].arm:
        arm = choices[0].arm
        reason += ", but no candidate of that arm may serve this request now"
    return Plan(
        target.label,
        target.task,
        target.policy,
        target.because,
        name,
        arm,
        reason,
        choices,
        filtered,
        target.max_retries,
        target.total_s,
        target.terms,
        draw,
    )


def larger(plan: Plan, failed: Choice, tried: Sequence[Choice], ask: Ask, index: Index) -> tuple[Choice, ...]:
    """Return who may take a prompt that `failed` could not hold: its context_fallbacks, then whoever of the plan is left
    and is known to hold more.

    tried: every choice attempted so far, `failed` among them; none of them comes again, and of each arm no more come
    than 1 + max_retries allow. O(choices), never raises.
    """
    window = failed.candidate.model.context_tokens or ask.input_tokens
    stand = [one for one in stand_ins(index.snapshot, failed, plan.terms) if isinstance(one, Choice)]
    left = [choice for choice in plan.choices if (choice.candidate.model.context_tokens or 0) > window]
    room = {arm: plan.max_retries + 1 - sum(choice.arm == arm for choice in tried) for arm in ("control", "candidate")}
    seen = {choice.candidate.key for choice in tried}
    out: list[Choice] = []
    for choice in (*(one for one in stand if _unfit(one, ask, index, plan.terms) is None), *left):
        if choice.candidate.key not in seen and room[choice.arm] > 0:
            seen.add(choice.candidate.key)
            room[choice.arm] -= 1
            out.append(choice)
    return tuple(out)


def _arrange(
    line: Line,
    target: Target,
    ask: Ask,
    index: Index,
    policy: Policy,
    health: HealthView,
    chance: tuple[float, float],
) -> _Arranged:
    """Judge one arm's candidates for this request, order them, and part them by health. chance: draw and now."""
    draw, now = chance
    if ask.grant is not EVERYTHING or not line.takes(ask):
        line = _fitting(line, target, ask, index)
    out = _Arranged()
    out.filtered = line.filtered
    by_key = line.by_key
    for candidate in policy.order(line.candidates, line.weights, health.loads(), draw):
        key = candidate.key
        until = health.resting_until(key)
        if until <= now:
            out.well.append(by_key[key])
        elif health.is_throttled(key):
            out.cooling.append((until, by_key[key]))
        else:
            out.resting.append((until, by_key[key]))
    if out.resting:
        out.resting.sort(key=itemgetter(0))
    return out


def _fitting(line: Line, target: Target, ask: Ask, index: Index) -> Line:
    """The part of `line` that can take `ask`. A window that is too small is replaced by the model's context_fallbacks,
    in its place and with its weight; they are not replaced in turn.
    """
    choices: list[Choice] = []
    weights: list[float] = []
    filtered = list(line.filtered)
    taken = set(line.by_key)
    for at, choice in enumerate(line.choices):
        why = _unfit(choice, ask, index, target.terms)
        if why is not None:
            filtered.append(why)
            if target.model and at == 0 and why.code != "context":
                return make_line((), (), filtered)
        instead = [choice] if why is None else []
        if why is not None and why.code == "context":
            for one in stand_ins(index.snapshot, choice, target.terms):
                unfit = one if isinstance(one, Filtered) else _unfit(one, ask, index, target.terms)
                if unfit is not None:
                    filtered.append(unfit)
                elif isinstance(one, Choice) and one.candidate.key not in taken:
                    taken.add(one.candidate.key)
                    instead.append(one)
        choices += instead
        weights += [line.weights[at]] * len(instead) if line.weights else []
    return make_line(choices, weights, filtered)


def _unfit(choice: Choice, ask: Ask, index: Index, terms: Terms) -> Filtered | None:
    """Why `choice` cannot take this request, may not for this asker, or costs too much at this length."""
    candidate = choice.candidate
    if ask.grant is not EVERYTHING:
        name = candidate.model.name
        why = ungranted(candidate, ask.grant, index.leading.get(name) or frozenset((name, ask.name)), ask.input_tokens)
        if why is not None:
            return why
    return misfit(candidate, ask) or too_dear(candidate, terms, ask.input_tokens)


def _compose(
    control: _Arranged, moved: _Arranged | None, limit: int, now: float
) -> tuple[tuple[Choice, ...], Sequence[Filtered]]:
    """Put the arms together and cut them. Returns the order, and who was left out of it now."""
    if moved is None and not control.resting and not control.cooling and len(control.well) <= limit:
        return tuple(control.well), ()
    first = [] if moved is None else moved.well
    last = control.well + [choice for _, choice in control.resting]
    resting = [] if moved is None else moved.resting
    if not last:
        first, resting = first + [choice for _, choice in resting], []
    keys = {choice.candidate.key for choice in first}
    last = [choice for choice in last if choice.candidate.key not in keys]
    choices = [*first[:limit], *last[:limit]]
    cooling = control.cooling if moved is None else moved.cooling + control.cooling
    if cooling and not choices:
        cooling = sorted(cooling, key=itemgetter(0))
        choices.append(cooling.pop(0)[1])
    left_out = [_left_out(choice, "cut", f"comes after the {limit} that may be tried") for choice in first[limit:]]
    left_out += [_left_out(choice, "cut", f"comes after the {limit} that may be tried") for choice in last[limit:]]
    left_out += [
        _left_out(choice, "resting", f"rests {until - now:.1f} s more after failures") for until, choice in resting
    ]
    left_out += [
        _left_out(choice, "resting", f"was told to wait {until - now:.1f} s more") for until, choice in cooling
    ]
    return tuple(choices), left_out


def _left_out(choice: Choice, code: Code, detail: str) -> Filtered:
    return Filtered(choice.candidate.model.name, choice.candidate.account.name, code, detail)
