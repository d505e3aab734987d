"""Shows the work: live on a terminal, a line per job elsewhere, and the tables at the end.

Names, notes and answers come from outside, so nothing of them is taken as markup or as a control sequence.
"""

from __future__ import annotations

import threading
import time
import unicodedata
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

from .client import AskError
from .filing import Answer
from .jobs import Job

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

COLOURS: Final = (("real", "green"), ("simulated", "yellow"), ("local", "cyan"))
_NAME_WIDTH = 22
_LINE_NAME_WIDTH = 18
"""So that a line with the longest of our models fits 80 columns."""


def plain(text: str) -> str:
    """Return `text` without anything that a terminal would obey."""
    return "".join(" " if unicodedata.category(letter) in {"Cc", "Cf", "Zl", "Zp"} else letter for letter in text)


def line_of(done: int, total: int, job: Job, answer: Answer | AskError) -> str:
    """One job in one line: who, what, by which model of what kind, how fast."""
    name = plain(job.lead.name)[:_LINE_NAME_WIDTH]
    head = f"{done:>{len(str(total))}}/{total} {name:<{_LINE_NAME_WIDTH}} {job.name:<8}"
    if isinstance(answer, AskError):
        return f"{head} FAILED {plain(answer.message)[:160]}"
    tries = "cache" if answer.is_cached else f"try {answer.attempts}" if answer.attempts > 1 else ""
    return f"{head} {answer.seconds:5.2f}s {tries:<5} {answer.origin:<9} {answer.model}"


class LineScreen:
    """A line per job, for logs and pipes. Safe to call from several threads."""

    def __init__(self, out: IO[str], total: int) -> None:
        self._out = out
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.flush()

    def started(self, worker: int, job: Job) -> None:
        """Not worth a line."""

    def heard(self, worker: int, text: str) -> None:
        """Not worth a line."""

    def finished(self, worker: int, job: Job, answer: Answer) -> None:
        """Tell of one answer."""
        del worker
        self._tell(job, answer)

    def failed(self, worker: int, job: Job, error: AskError) -> None:
        """Tell of one failure."""
        del worker
        self._tell(job, error)

    def _tell(self, job: Job, answer: Answer | AskError) -> None:
        with self._lock:
            self._done += 1
            print(line_of(self._done, self._total, job, answer), file=self._out, flush=True)


class LiveScreen:
    """The same lines, and below them what each worker is doing now, with the words of a draft as they come."""

    def __init__(self, console: Console, total: int, workers: int) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self._at: list[tuple[Job | None, str, float]] = [(None, "", 0.0)] * workers
        self._counts: dict[str, int] = {}
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._bar = self._progress.add_task("jobs", total=total)
        # Drafts of customers' mails stay when the work ends; the moving part goes.
        self._live = Live(get_renderable=self._now, console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def started(self, worker: int, job: Job) -> None:
        """Show that a job is being asked."""
        with self._lock:
            self._at[worker] = (job, "", time.perf_counter())

    def heard(self, worker: int, text: str) -> None:
        """Show the last words of a streamed answer."""
        with self._lock:
            job, so_far, since = self._at[worker]
            self._at[worker] = (job, (so_far + plain(text))[-400:], since)

    def finished(self, worker: int, job: Job, answer: Answer) -> None:
        """Tell of one answer."""
        self._tell(worker, job, answer, answer.origin)

    def failed(self, worker: int, job: Job, error: AskError) -> None:
        """Tell of one failure."""
        self._tell(worker, job, error, "failed")

    def _tell(self, worker: int, job: Job, answer: Answer | AskError, kind: str) -> None:
        from rich.text import Text

        with self._lock:
            self._done += 1
            self._at[worker] = (None, "", 0.0)
            self._counts[kind] = self._counts.get(kind, 0) + 1
            line = Text(line_of(self._done, self._total, job, answer), no_wrap=True, overflow="ellipsis")
            for word, colour in (*COLOURS, ("FAILED", "bold red")):
                line.highlight_words([f" {word} "], colour)
        self._progress.update(self._bar, completed=self._done)
        self._console.print(line)

    def _now(self) -> RenderableType:
        """What is drawn ten times a second."""
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            rows = [self._row(number, *at) for number, at in enumerate(self._at, 1)]
            counts = "   ".join(f"{count} {kind}" for kind, count in sorted(self._counts.items()))
        return Group(Text(), *rows, self._progress, Text(f"  {counts}", style="dim"))

    def _row(self, number: int, job: Job | None, words: str, since: float) -> Text:
        from rich.text import Text

        if job is None:
            return Text(f"  {number}  waiting", style="dim")
        head = f"  {number}  {plain(job.lead.name)[:_NAME_WIDTH]:<{_NAME_WIDTH}}  {job.task:<14} {time.perf_counter() - since:3.0f}s "
        room = max(10, self._console.width - len(head) - 2)
        return Text.assemble((head, "bold"), (words[-room:], "italic dim"), no_wrap=True, overflow="ellipsis")


# ── at the end ──


def tables(report: dict[str, Any]) -> list[Table]:
    """The figures, per task and per model. Both fit 80 columns."""
    from rich import box
    from rich.table import Table

    made = []
    tasks = [((name,), row) for name, row in report["tasks"].items()]
    models = [((name.partition("@")[0], row["origin"]), row) for name, row in report["models"].items()]
    for names, rows in ((("task",), [*tasks, (("all",), report["total"])]), (("model", "origin"), models)):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)
        for name in names:
            table.add_column(name, no_wrap=True)
        share = ("done",) if "task" in names else ()  # a job that failed has no model
        for name in ("jobs", *share, "p50 s", "p95 s", "tokens", "cost", "fallbacks", "cache"):
            table.add_column(name, justify="right", no_wrap=True)
        for labels, row in rows:
            table.add_row(*_cells(labels, row, has_share=bool(share)), style="bold" if labels == ("all",) else "")
        made.append(table)
    return made


def _cells(labels: tuple[str, ...], row: dict[str, Any], *, has_share: bool) -> list[Text]:
    from rich.text import Text

    share = "-" if row["success"] is None else f"{100 * row['success']:.0f}%"
    cells = [
        *map(plain, labels),
        str(row["answers"] + row["failed"]),
        *([share] if has_share else []),
        f"{row['p50_s']:.2f}",
        f"{row['p95_s']:.2f}",
        f"{row['input_tokens'] + row['output_tokens']:,}",
        f"${row['cost_usd']:.2f}",
        str(row["fallbacks"]),
        str(row["cache_hits"]),
    ]
    return [Text(cell) for cell in cells]
