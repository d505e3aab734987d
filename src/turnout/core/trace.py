"""Keeps why a request went where it went, and tells it to a person.

A Trace is filled while the request runs, with values that exist anyway: no text is made and nothing is formatted before
somebody asks. It holds no prompt, no answer, no secret and no vendor's words (a vendor may quote the prompt): names,
times, outcomes, counts and money. A Trace is written as JSON off the request path and read again by `turnout explain`.
`render` tells what happened, `render_plan` what would happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from turnout.core.eligible import Ask, Filtered, describe_price
from turnout.core.plan import Plan
from turnout.core.pricing import format_usd
from turnout.core.redact import impersonal, printable
from turnout.core.usage import Usage

LONGEST_MESSAGE = 300
"""Characters of an error's message that are shown: one that lists many candidates is a page."""


class AttemptTrace(msgspec.Struct, omit_defaults=True, gc=False):
    """One try at one candidate. Times are seconds since the request came; None for what did not happen.

    outcome: "ok", or the error's code. status: the vendor's HTTP status. decision: what followed, in words.
    cost_nano_usd: None if unpriced or unknown. usage_suspect: the answer came whole, but what its vendor counted for it
    is missing or cannot be believed, so the usage is ours (RELIABILITY §4.3, last row).
    """

    model: str
    provider: str
    arm: str
    started_s: float
    first_content_s: float | None = None
    ended_s: float | None = None
    outcome: str = ""
    status: int | None = None
    message: str = ""
    decision: str = ""
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    usage_suspect: bool = False


class Trace(msgspec.Struct, omit_defaults=True, gc=False):
    """One exchange. at: Unix seconds when it came. revision: of the config. asked_name, asked_task, user: as asked.

    target … filtered: from the Plan; empty if there was none. outcome: "ok", or an error's code. status: HTTP.
    total_s: to the last byte. message: the final error's, "" if well.
    cache: hit, miss, coalesced or bypass, "" where none is kept. given: the candidate whose answer was given again;
    similarity: how like the question was that it had been given to, 0.0 where it was the same.
    priority, waited_s: whose turn it was, and how long it waited for it; "" and 0.0 where no quota is known.
    """

    request_id: str
    at: float
    revision: str
    asked_name: str = ""
    asked_task: str = ""
    user: str = ""
    target: str = ""
    task: str = ""
    policy: str = ""
    because: str = ""
    rollout: str = ""
    arm: str = ""
    arm_reason: str = ""
    choices: tuple[str, ...] = ()
    filtered: tuple[Filtered, ...] = ()
    draw: float = 0.0
    attempts: list[AttemptTrace] = []
    outcome: str = ""
    status: int = 0
    message: str = ""
    total_s: float = 0.0
    cost_nano_usd: int | None = None
    cache: str = ""
    given: str = ""
    similarity: float = 0.0
    priority: str = ""
    waited_s: float = 0.0


def begin(request_id: str, at: float, revision: str, ask: Ask, plan: Plan | None) -> Trace:
    """Return the trace of a request that was just planned; plan: None if that failed. O(choices), about 2 µs."""
    if plan is None:
        return Trace(request_id, at, revision, ask.name, ask.task, ask.user)
    return Trace(
        request_id,
        at,
        revision,
        ask.name,
        ask.task,
        ask.user,
        plan.target,
        plan.task,
        plan.policy,
        plan.because,
        plan.rollout,
        plan.arm,
        plan.arm_reason,
        tuple([choice.candidate.key for choice in plan.choices]),
        plan.filtered,
        plan.draw,
    )


def make_impersonal(trace: Trace) -> None:
    """Take out of a trace what is personal in the client's words, as others read it. Not on the loop: 2 µs for words that
    were not seen lately.
    """
    if _is_personal(f"{trace.user} {trace.asked_name} {trace.asked_task} {trace.message}"):
        trace.user, trace.message = impersonal(trace.user), impersonal(trace.message)
        trace.asked_name, trace.asked_task = impersonal(trace.asked_name), impersonal(trace.asked_task)


@lru_cache(maxsize=1024)
def _is_personal(words: str) -> bool:
    """The same few words come with nearly every request."""
    return impersonal(words) is not words


def render(trace: Trace) -> list[str]:
    """Return plain lines that tell the story of one request, in order. For people; the format may change.

    Names are the client's words: nothing of them gets out of its line, or moves a terminal's cursor.
    """
    at = datetime.fromtimestamp(trace.at, UTC)
    lines = [f"request {trace.request_id}, {at:%Y-%m-%d %H:%M:%S} UTC, config {trace.revision}"]
    asked = [f"{what} {value}" for what, value in _asked(trace.asked_name, trace.asked_task, trace.user)]
    lines.append(f"asked for: {', '.join(asked) or 'nothing by name'}")
    if trace.target:
        lines += _chosen(trace.target, trace.task, trace.because, (trace.rollout, trace.arm, trace.arm_reason))
        lines.append(f"order ({trace.policy}): {', '.join(trace.choices)}")
        lines += _passed_over(trace.filtered)
    if trace.waited_s >= 0.05:
        lines.append(f"waited {trace.waited_s:.1f} s in all for its turn, with {trace.priority} priority")
    if trace.cache:
        like = f", given to a like question ({trace.similarity:.3f})" if trace.similarity else ""
        lines.append(f"cache: {trace.cache}{', an answer of ' if trace.given else ''}{trace.given}{like}")
    for number, attempt in enumerate(trace.attempts, start=1):
        lines += _attempt(number, attempt)
    ended = "answered" if trace.outcome == "ok" else f"failed: {trace.outcome}"
    cost = "unknown" if trace.cost_nano_usd is None else format_usd(trace.cost_nano_usd)
    lines.append(f"{ended}, status {trace.status}, after {trace.total_s:.3f} s; cost {cost}")
    if trace.message:
        lines.append(f"  {_short(trace.message)}")
    return [printable(line) for line in lines]


def render_plan(plan: Plan) -> list[str]:
    """Return plain lines that tell what would happen, without a call. For people; the format may change."""
    lines = _chosen(plan.target, plan.task, plan.because, (plan.rollout, plan.arm, plan.arm_reason))
    lines.append(f"order ({plan.policy}), retries an arm: at most {plan.max_retries}, {plan.total_s:g} s in all:")
    for number, choice in enumerate(plan.choices, start=1):
        candidate = choice.candidate
        price = "price unknown" if candidate.price is None else describe_price(candidate.price)
        arm = f", {choice.arm} arm" if plan.rollout else ""
        lines.append(f"  {number}. {candidate.model.name} by {candidate.account.name} as {candidate.id} ({price}){arm}")
    return [printable(line) for line in lines + _passed_over(plan.filtered)]


def plan_told(plan: Plan) -> dict[str, object]:
    """Return a plan as plain values, for `--json` and the admin API. No secret: accounts are named, not shown."""
    return {
        "target": plan.target,
        "task": plan.task,
        "policy": plan.policy,
        "because": plan.because,
        "rollout": plan.rollout,
        "arm": plan.arm,
        "arm_reason": plan.arm_reason,
        "choices": [
            {
                "model": choice.candidate.model.name,
                "provider": choice.candidate.account.name,
                "id": choice.candidate.id,
                "arm": choice.arm,
                "price": None if choice.candidate.price is None else describe_price(choice.candidate.price),
            }
            for choice in plan.choices
        ],
        "passed_over": [msgspec.to_builtins(one) for one in plan.filtered],
        "max_retries": plan.max_retries,
        "total_s": plan.total_s,
    }


def _asked(name: str, task: str, user: str) -> Iterator[tuple[str, str]]:
    if task:
        yield "task", task
    if name:
        yield "model", name
    if user:
        yield "user", user


def _chosen(target: str, task: str, because: str, rollout: tuple[str, str, str]) -> list[str]:
    label = f" for task {task}" if task and target != f"task {task}" else ""
    lines = [f"{target}{label}{': ' if because else ''}{because}"]
    name, arm, reason = rollout
    if name:
        lines.append(f"rollout {name}: {arm} arm, because {reason}")
    return lines


def _passed_over(filtered: tuple[Filtered, ...]) -> list[str]:
    return [f"passed over: {one.model} ({one.account}) {one.detail}" for one in filtered]


def _attempt(number: int, attempt: AttemptTrace) -> Iterator[str]:
    who = f"attempt {number}: {attempt.model} by {attempt.provider}, at {attempt.started_s:.3f} s"
    said = f" (status {attempt.status})" if attempt.status is not None and attempt.outcome != "ok" else ""
    took = "" if attempt.ended_s is None else f" after {attempt.ended_s - attempt.started_s:.3f} s"
    yield f"{who}: {attempt.outcome or 'not ended'}{said}{took}"
    if attempt.first_content_s is not None:
        yield f"  first content after {attempt.first_content_s - attempt.started_s:.3f} s"
    if attempt.usage is not None:
        usage = attempt.usage
        cost = "cost unknown" if attempt.cost_nano_usd is None else format_usd(attempt.cost_nano_usd)
        basis = f"{usage.basis}: what the vendor counted is missing or absurd" if attempt.usage_suspect else usage.basis
        yield f"  {usage.input_tokens} tokens in, {usage.output_tokens} out ({basis}), {cost}"
    if attempt.message:
        yield f"  {_short(attempt.message)}"
    if attempt.decision:
        yield f"  then: {attempt.decision}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…"
