"""`turnout drill`: plays what is hard to wait for, in seconds, against the simulated vendor. No key, no network, no files.

`free-tier` plays a working day against free models as they are configured from the start, in virtual time: by Turnout, and
beside it as two usual ways would have served the same day. The judge is core/simulation/verdict.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.catalog import Quota, Snapshot
from turnout.core.simulation.verdict import Verdict, judge
from turnout.core.simulation.working_day import HOUR_S, Errand, errands
from turnout.gateway.drill import WAYS, Way, play, safe_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

LEAST_SHARE = 0.98
"""Of the safe quota, while there is demand."""

LEARNING_HOURS = 24
"""What comes before, so that the gateway has seen what a day asks for."""

_TITLES: Final = {"turnout": "Turnout", "first come": "first come,\nfirst served", "fall back": "try and\nfall back"}


@click.group()
def drill() -> None:
    """Play what is hard to wait for, against simulated vendors: a day in seconds."""


@drill.command("free-tier")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed is another day.")
@click.option("--hours", type=click.IntRange(1, 168), default=24, show_default=True, help="From midnight UTC.")
@click.option("--first-day", is_flag=True, help="The gateway has seen no day before, so it cannot foresee demand.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def free_tier(*, seed: int, hours: int, first_day: bool, as_json: bool) -> int:
    """Play a working day against a free tier: who is served when 1,000 calls a day are not enough.

    The same day three times: by Turnout, first come first served, and by asking and falling back. Takes a few seconds.
    Exit code 1 if Turnout misses a target.
    """
    snapshot, quota = _configured()
    before = 0 if first_day else LEARNING_HOURS
    drilled = Drilled(errands(seed, before + hours), quota, seed, hours, before)
    verdicts = _play(drilled, snapshot)
    missed = misses(verdicts["turnout"], is_whole_day=drilled.is_whole_day)
    if as_json:
        click.echo(json.dumps(_told(drilled, verdicts, missed)))
    else:
        _print(drilled, verdicts, missed)
    return 1 if missed else 0


class Drilled(msgspec.Struct, frozen=True):
    """What is played: everybody's errands, of which those of the hours `before` only make it learn."""

    wanted: Sequence[Errand]
    quota: Quota
    seed: int
    hours: int
    before: int

    @property
    def is_whole_day(self) -> bool:
        """Only then can a day's quota have been used up."""
        return self.hours % 24 == 0

    @property
    def day(self) -> list[Errand]:
        """The errands that count."""
        return [errand for errand in self.wanted if errand.at_s >= self.before * HOUR_S]


def _configured() -> tuple[Snapshot, Quota]:
    """What is shipped, with a made-up key, and the quota of the free models."""
    environment = Environment({"OPENROUTER_API_KEY": "sk-simulated", "TURNOUT_HOME": "."})
    snapshot = load(Path(__file__).with_name("free_tier.yaml"), environment).snapshot
    (quota,) = snapshot.quotas.values()
    return snapshot, quota


def _play(drilled: Drilled, snapshot: Snapshot) -> dict[Way, Verdict]:
    """Play and judge each way, with a bar on the terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:12}"), BarColumn(30), TaskProgressColumn(), TimeElapsedColumn())
    verdicts: dict[Way, Verdict] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for way in WAYS:
            bar = progress.add_task(way, total=drilled.before + drilled.hours)
            played = play(
                drilled.wanted,
                way,
                snapshot,
                drilled.quota,
                hours=drilled.hours,
                learning_hours=drilled.before,
                seed=drilled.seed,
                on_hour=partial(_advance, progress, bar),
            )
            verdicts[way] = judge(played.asked, played.sent, safe_of(drilled.quota), drilled.hours * HOUR_S)
    return verdicts


def _advance(progress: Progress, bar: TaskID, hour: int) -> None:
    progress.update(bar, completed=hour)


def misses(verdict: Verdict, *, is_whole_day: bool) -> list[str]:
    """Return the targets that a day missed, a line each. is_whole_day: only then must the day's quota be used up."""
    missed = []
    if is_whole_day and verdict.share < LEAST_SHARE:
        missed.append(f"{verdict.share:.1%} of the safe quota was used, not {LEAST_SHARE:.0%}")
    if verdict.throttled:
        missed.append(f"the vendor refused {verdict.throttled} calls (429)")
    if verdict.starved:
        missed.append(f"{verdict.starved} requests starved")
    if verdict.refused_wrongly:
        missed.append(f"{verdict.refused_wrongly} requests were refused that could have been served")
    return missed


def _told(drilled: Drilled, verdicts: Mapping[Way, Verdict], missed: list[str]) -> dict[str, object]:
    """The figures as plain values."""
    quota, safe = drilled.quota, safe_of(drilled.quota)
    return {
        "seed": drilled.seed,
        "hours": drilled.hours,
        "learning_hours": drilled.before,
        "calls_wanted": sum(errand.calls for errand in drilled.day),
        "quota": {"per_minute": quota.requests_minute, "per_day": quota.requests_day, "at_once": quota.at_once},
        "safe": {"per_minute": safe.per_minute, "per_day": safe.per_day, "at_once": safe.at_once},
        "ways": {
            way: {"share": round(verdict.share, 4), **msgspec.to_builtins(verdict)} for way, verdict in verdicts.items()
        },
        "missed": missed,
    }


# ── for a person ──


def _print(drilled: Drilled, verdicts: Mapping[Way, Verdict], missed: list[str]) -> None:
    from rich.console import Console

    quota, safe, day = drilled.quota, safe_of(drilled.quota), drilled.day
    calls = sum(errand.calls for errand in day)
    night = sum(errand.calls for errand in day if errand.by_s is not None)
    talks = sum(1 for errand in day if errand.tools)
    what = "A working day" if drilled.hours == 24 else f"{drilled.hours} hours"
    click.echo(f"{what} against free models: {quota.requests_minute} calls a minute and {quota.requests_day:,} a day,")
    click.echo(f"failed ones too; safe are {safe.per_minute} a minute, {safe.per_day:,} a day, {safe.at_once} at once.")
    click.echo(f"Wanted: {calls:,} calls, {night} of them by 09:00; {talks} conversations with tools.\n")
    Console(width=80).print(table(verdicts, is_whole_day=drilled.is_whole_day))
    click.echo()
    for miss in missed:
        click.echo(f"Missed: {miss}.")
    if not missed:
        click.echo("Turnout met every target. What each line means: docs/how-to/free-tier.md")


def table(verdicts: Mapping[Way, Verdict], *, is_whole_day: bool) -> Table:
    """The figures of every way side by side. Fits 80 columns."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    made.add_column("", no_wrap=True)
    for way in verdicts:
        made.add_column(_TITLES[way], justify="right", no_wrap=True, min_width=12)
    all_of = list(verdicts.values())
    share = f"safe quota used (≥ {LEAST_SHARE:.0%})" if is_whole_day else "safe quota used"
    made.add_row(share, *(f"{one.share:.1%}" for one in all_of), style="bold")
    for label, name in (
        ("429s from the vendor (0)", "throttled"),
        ("starved: waited for nothing (0)", "starved"),
        ("refused, though it fitted (0)", "refused_wrongly"),
    ):
        made.add_row(label, *(f"{getattr(one, name):,}" for one in all_of), style="bold")
    made.add_row("refused in all", *(f"{one.refused:,}" for one in all_of))
    made.add_row("still waiting at the end", *(f"{one.waiting:,}" for one in all_of))
    made.add_row("failed or late", *(f"{one.failed + one.late:,}" for one in all_of), end_section=True)
    for name in all_of[0].waits:
        made.add_row(f"answered of wanted, {name}", *(_answered(one, name) for one in all_of))
    made.add_section()
    for name in all_of[0].waits:
        made.add_row(f"wait p50 / p95, {name}", *(_wait(one, name) for one in all_of))
    made.add_section()
    made.add_row("most calls in any minute", *(f"{one.most_a_minute:,}" for one in all_of))
    made.add_row("most calls in a day", *(f"{one.most_a_day:,}" for one in all_of))
    return made


def _answered(verdict: Verdict, priority: str) -> str:
    of = verdict.waits[priority]
    return f"{of.answered:,} / {of.wanted:,}"


def _wait(verdict: Verdict, priority: str) -> str:
    of = verdict.waits[priority]
    return f"{_time(of.p50_s)} / {_time(of.p95_s)}"


def _time(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.0f} h"
