"""The desk's day, from top to bottom: read the leads, see what is done already, ask for the rest, show the figures.

Exit codes: 0 every job has its answer, 1 some have none, 2 the leads cannot be read, 130 interrupted. Whatever happens,
what was finished is on disk, and the next run goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, Final

from .client import Client
from .filing import Answer, Cabinet
from .jobs import Job, all_jobs
from .leads import Lead, LeadError, read_leads
from .mail import Mail, match, read_mails
from .report import report_of
from .screen import LineScreen, LiveScreen, plain, tables
from .stage import PASSED_ON, PASSED_ON_TO_REAL, Stage, StageError, has_local_model, staged
from .workers import Crew, Outcome

if TYPE_CHECKING:
    from rich.console import Console

SHIPPED: Final = Path(__file__).parent
OUT: Final = Path("lead_desk_out")
CONCURRENCY: Final = 2
"""FACTS §3: two at once leaves room in the free tier for other work."""
VARIABLES: Final = (*PASSED_ON, *PASSED_ON_TO_REAL)
"""What of the environment a run looks at, and passes on to the gateway that it starts."""


@dataclass(frozen=True)
class Options:
    """What a person may choose. leads: a file or a folder, None for ours. gateway: one that runs, None to start one."""

    leads: Path | None = None
    out: Path = OUT
    as_json: bool = False
    limit: int | None = None
    concurrency: int = CONCURRENCY
    is_fresh: bool = False
    gateway: Stage | None = None
    again: str = "turnout demo"


def run(options: Options, environment: Mapping[str, str], out: IO[str] | None = None) -> int:
    """Do the day's work; return the exit code. environment: where provider keys may stand. out: for tests."""
    from rich.console import Console

    console = Console(file=sys.stderr if options.as_json else out, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no edge at which lines must break
    try:
        leads, mails = intake(options.leads, options.limit)
    except LeadError as error:
        print(error, file=sys.stderr)
        return 2
    cabinet = Cabinet(options.out)
    jobs = all_jobs(leads)
    earlier = {} if options.is_fresh else {job: answer for job in jobs if (answer := cabinet.finished(job))}
    to_do = [job for job in jobs if job not in earlier]
    _tell_start(console, leads, mails, jobs, list(earlier.values()))
    outcome, trouble = Outcome(), ""
    notes: tuple[str, ...] = ()
    try:
        with interruptible():
            for lead in leads:
                cabinet.keep_lead(lead, mails.get(lead.id))
            if to_do:
                with _gateway(
                    options, environment, lambda text: console.print(f"… {plain(text)}", markup=False)
                ) as stage:
                    notes = stage.notes
                    for note in notes:
                        console.print(f"  {note}", markup=False)
                    console.print()
                    outcome = _work(console, stage, cabinet, to_do, options)
    except KeyboardInterrupt:
        outcome.is_interrupted = True
    except StageError as error:
        trouble = f"No gateway: {error}"
    except OSError as error:
        trouble = f"Cannot write to {options.out}: {error}"
    left = len(to_do) - len(outcome.answers) - len(outcome.failures)
    report = report_of(list(earlier.values()), outcome, left)
    _tell_end(console, report, options, trouble)
    with contextlib.suppress(OSError):  # a full disk has been told of already
        cabinet.keep_report(report)
    if options.as_json:
        print(
            json.dumps({"out": str(options.out), "notes": notes, "error": trouble, **report}, ensure_ascii=False),
            file=out,
        )
    return 130 if outcome.is_interrupted else 1 if trouble or outcome.failures else 0


def intake(path: Path | None, limit: int | None) -> tuple[list[Lead], dict[str, Mail]]:
    """Read leads and raw e-mails: from a file of either kind, or from all in a folder. Raises LeadError."""
    if path is None:
        tables_of_leads, letters = [SHIPPED / "leads.jsonl"], list((SHIPPED / "emails").glob("*.eml"))
    elif path.is_dir():
        tables_of_leads, letters = sorted(path.glob("*.jsonl")), list(path.glob("*.eml"))
    elif path.suffix.lower() == ".eml":
        tables_of_leads, letters = [], [path]
    else:
        tables_of_leads, letters = [path], []
    leads = [lead for table in tables_of_leads for lead in read_leads(table)]
    if len({lead.id for lead in leads}) < len(leads):
        raise LeadError(f"{path}: an id stands in two files")
    everyone, mails = match(read_mails(letters), leads)
    if not everyone:
        raise LeadError(f"{path}: no leads in it: *.jsonl and *.eml are read")
    return everyone[:limit], mails


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Take a polite signal to end (SIGTERM, SIGHUP) as what Ctrl-C is. Only a main thread may."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@contextlib.contextmanager
def _gateway(options: Options, environment: Mapping[str, str], say: Callable[[str], None]) -> Iterator[Stage]:
    """The gateway that was named, or one of our own."""
    if options.gateway is not None:
        yield options.gateway
    else:
        with staged(environment, say, has_local=has_local_model()) as stage:
            yield stage


def _work(console: Console, stage: Stage, cabinet: Cabinet, jobs: list[Job], options: Options) -> Outcome:
    threads = max(1, min(options.concurrency, len(jobs)))
    is_live = console.is_terminal and not options.as_json
    screen = LiveScreen(console, len(jobs), threads) if is_live else LineScreen(console.file, len(jobs))
    with screen:
        return Crew(lambda: Client(stage.base_url, stage.key), cabinet, screen, threads).work(jobs)


# ── what a person reads ──


def _tell_start(
    console: Console,
    leads: list[Lead],
    mails: dict[str, Mail],
    jobs: list[Job],
    earlier: list[Answer],
) -> None:
    say: Callable[[str], None] = lambda text: console.print(text, markup=False)  # noqa: E731 one option, many lines
    console.print("Lead desk", style="bold", end="")
    say(f": {len(leads)} leads, {len(jobs)} jobs. Nothing is ever sent.")
    for mail in (mails[lead.id] for lead in leads if lead.id in mails):
        found = mail.detection
        record = "customer record made" if found.may_make_record else "no customer record"
        source = found.source.title if found.source else "no known source"
        say(f"  {plain(mail.file):<24} {source:<16} {found.confidence:>3} points, {record}")
    if earlier:
        say(f"Going on: {len(earlier)} of {len(jobs)} jobs were finished by an earlier run (--fresh does them again).")


def _tell_end(console: Console, report: dict[str, Any], options: Options, trouble: str) -> None:
    say: Callable[[str], None] = lambda text: console.print(text, markup=False)  # noqa: E731 one option, many lines
    total = report["total"]
    if total["answers"] or total["failed"]:
        for table in tables(report):
            console.print()
            console.print(table)
        console.print()
        kinds = ", ".join(f"{count} {kind}" for kind, count in report["origins"].items()) or "none"
        earlier = f", {total['earlier']} of them by an earlier run" if total["earlier"] else ""
        say(
            f"{total['answers']} answers ({kinds}){earlier} in {total['seconds']:.0f} s. Total cost ${total['cost_usd']:.2f}."
        )
        if total["cache_hits"]:
            say(f"{total['cache_hits']} of them came from the gateway's cache: no model was asked for those again.")
        say(f"Read them in {options.out}/: a folder per lead. Nothing was sent.")
    for failure in report["failures"][:5]:
        say(f"No answer for lead {failure['lead']}, {failure['job']}: {plain(failure['message'])[:300]}")
    if trouble:
        console.print(plain(trouble), markup=False, style="bold red")
    if total["interrupted"]:
        console.print("Interrupted.", style="bold yellow", end=" ")
        say(f"{total['answers']} jobs are finished and on disk, {total['left']} are left.")
    if total["interrupted"] or total["left"] or total["failed"]:
        say(f"To go on where this ended: {options.again}")
