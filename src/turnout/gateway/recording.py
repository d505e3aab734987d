"""Makes the books of one exchange that has ended: its counters, and its Trace.

`count` runs on the event loop (about 3 µs); `to_trace` only collects values that exist (about 3 µs): the text and the
JSON are made by the recorder's thread.
"""

from __future__ import annotations

from turnout.core.catalog import Model, Snapshot
from turnout.core.plan import Plan
from turnout.core.retry import Again, GiveUp, Next
from turnout.core.trace import AttemptTrace, Trace, begin
from turnout.errors import GatewayError, NoCandidate, UpstreamError
from turnout.gateway.exchange import Attempt, Exchange
from turnout.gateway.telemetry import Telemetry

NOBODY = "none"
"""The model label of an exchange that no model answered."""


def count(telemetry: Telemetry, exchange: Exchange) -> None:
    """Add one ended exchange to the counters. O(attempts)."""
    planned = exchange.decided
    task = planned.task if isinstance(planned, Plan) else ""
    outcome = exchange.outcome
    answered: Attempt | None = None
    for attempt in exchange.attempts:
        candidate = attempt.choice.candidate
        model, provider = label(candidate.model, exchange.snapshot), candidate.account.name
        told = attempt.ending(outcome)
        if attempt.error is None and attempt.first_content and not attempt.is_superseded:
            answered = attempt
        if attempt.is_hedge:
            telemetry.hedges["won" if attempt is answered else "lost"] += 1
        if attempt.first_content and isinstance(attempt.step, Again | Next):
            telemetry.continuations += 1
        telemetry.attempts[model, provider, told] += 1
        if (usage := attempt.usage) is not None:
            telemetry.tokens[model, "input", usage.basis] += usage.input_tokens
            telemetry.tokens[model, "output", usage.basis] += usage.output_tokens
            if spent := attempt.cost_nano_usd:
                telemetry.cost_nano_usd[model, provider] += spent
                if usage.basis != "exact":
                    telemetry.inexact_nano_usd[model, provider] += spent
    choice = exchange.answered if answered is None else answered.choice
    model = label(choice.candidate.model, exchange.snapshot) if choice is not None else NOBODY
    telemetry.requests[model, task, 200 if outcome is None else outcome.status] += 1
    if exchange.priority and exchange.attempts:
        telemetry.waits[(exchange.priority,)].observe(exchange.waited_s)
    if answered is not None:
        telemetry.durations[model, task].observe(exchange.ended - exchange.started)
        telemetry.first_chunks[model, task].observe(answered.first_content - exchange.started)
        if answered.number > 1:
            telemetry.fallbacks[task] += 1
    if isinstance(planned, Plan) and planned.rollout and exchange.answered is None:  # else the arm was not tried
        told = "ok" if outcome is None else outcome.code
        if answered is not None and answered.choice.arm != planned.arm:
            # The other arm saved the answer, not this arm's record.
            told = next(one.error.code for one in reversed(exchange.attempts) if one.error is not None)
        telemetry.arms[planned.rollout, planned.arm, told] += 1


def label(model: Model, snapshot: Snapshot) -> str:
    """A model's name in the metrics. One that only a request named (ACCOUNT/ID) shares its account's label: the number of
    series must not be a client's to choose.
    """
    return model.name if model.name in snapshot.models else f"{model.provider}/*"


def to_trace(exchange: Exchange) -> Trace:
    """Return the trace of an ended exchange. O(attempts)."""
    planned = exchange.decided
    outcome = exchange.outcome
    trace = begin(
        exchange.request_id,
        exchange.at,
        exchange.snapshot.revision,
        exchange.ask,
        planned if isinstance(planned, Plan) else None,
    )
    started = exchange.started
    total = 0
    is_priced = True
    attempts = []
    for attempt in exchange.attempts:
        attempts.append(_attempt(attempt, started, outcome))
        spent = attempt.cost_nano_usd
        is_priced = is_priced and spent is not None
        total += spent or 0
    trace.attempts = attempts
    trace.outcome = "ok" if outcome is None else outcome.code
    trace.status = 200 if outcome is None else outcome.status
    trace.message = "" if outcome is None else _plainly(outcome, len(attempts))
    trace.total_s = exchange.ended - started
    trace.cost_nano_usd = total if is_priced else None
    trace.priority, trace.waited_s = exchange.priority, exchange.waited_s
    trace.cache, trace.similarity = exchange.cache, exchange.similarity
    trace.given = "" if exchange.answered is None else exchange.answered.candidate.key
    return trace


def _attempt(attempt: Attempt, started: float, outcome: GatewayError | None) -> AttemptTrace:
    candidate = attempt.choice.candidate
    error = attempt.error
    usage = attempt.usage
    is_whole = error is None and outcome is None and attempt.first_content > 0.0 and not attempt.is_superseded
    return AttemptTrace(
        candidate.model.name,
        candidate.account.name,
        attempt.choice.arm,
        attempt.started - started,
        attempt.first_content - started if attempt.first_content else None,
        attempt.ended - started,
        attempt.ending(outcome),
        None if error is None else error.vendor_status,
        "" if error is None else error.plain,
        _told(attempt),
        usage,
        attempt.cost_nano_usd,
        is_whole and usage is not None and usage.basis != "exact",
    )


def _plainly(outcome: GatewayError, tries: int) -> str:
    """The final error without the words of vendors, which may quote the prompt: a trace is read by others than who asked."""
    if isinstance(outcome, UpstreamError):
        return f"{outcome.model} at {outcome.provider}: {outcome.plain}"
    if isinstance(outcome, NoCandidate) and tries:
        return f"Every candidate failed ({tries} tries)."
    return outcome.plain


def _told(attempt: Attempt) -> str:
    """What followed a failed attempt, in words."""
    if attempt.is_superseded:
        return "given up, as the other of the two was quicker"
    goes_on = ", which goes on with the text" if attempt.first_content else ""
    match attempt.step:
        case Again(delay_s):
            return f"the same once more, after {delay_s:.2f} s{goes_on}"
        case Next(0):
            return f"the next candidate{goes_on}"
        case Next(skip):
            return f"a later candidate, past {skip} that are failing too{goes_on}"
        case GiveUp(reason):
            return reason
        case _:
            return ""
