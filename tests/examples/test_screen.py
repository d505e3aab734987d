"""What a person sees: one line a job, live rows, tables that fit, and nothing from outside that a terminal would obey."""

from __future__ import annotations

import io

from rich.console import Console

from examples.lead_desk.client import AskError
from examples.lead_desk.filing import Answer
from examples.lead_desk.jobs import jobs_for
from examples.lead_desk.leads import Lead
from examples.lead_desk.report import report_of
from examples.lead_desk.screen import LineScreen, LiveScreen, line_of, plain, tables
from examples.lead_desk.workers import Outcome

EVIL = "\x1b[2J[bold]x\u202e\r\n"


def answer(**changes: object) -> Answer:
    """An answer to show."""
    fields = {"origin": "simulated", "seconds": 1.234, "first_seconds": 0.2, **changes}
    return Answer("7", "draft", "email-draft", "Hej", "deepseek-chat-v3.1-free", "openrouter-simulated", **fields)  # type: ignore[arg-type]


def test_nothing_from_outside_moves_the_cursor() -> None:
    """Escapes, line breaks and direction marks become blanks; letters of any language stay."""
    assert plain("Kjær \x1b[31m\u202eÅ\n日") == "Kjær  [31m Å 日"


def test_a_line_tells_who_what_by_whom_and_how_fast(lead: Lead) -> None:
    """And after how many tries; it fits 80 columns."""
    line = line_of(3, 54, jobs_for(lead)[1], answer(attempts=2))
    assert line == " 3/54 Jens-Ole Kjær      draft     1.23s try 2 simulated deepseek-chat-v3.1-free"
    assert len(line) == 80
    cached = line_of(3, 54, jobs_for(lead)[1], answer(attempts=0, cache="hit"))
    assert cached == line.replace("try 2", "cache")


def test_a_failed_line_says_why(lead: Lead) -> None:
    """On one line."""
    assert "FAILED no candidate: a b" in line_of(1, 2, jobs_for(lead)[0], AskError("no candidate: a\nb"))


def test_the_line_screen_counts(lead: Lead) -> None:
    """A line for an answer, a line for a failure, none for what is only under way."""
    out, job = io.StringIO(), jobs_for(lead)[0]
    with LineScreen(out, 2) as screen:
        screen.started(0, job)
        screen.heard(0, "Kære")
        screen.finished(0, job, answer())
        screen.failed(0, job, AskError("no"))
    assert ["1/2", "2/2"] == [line.split()[0] for line in out.getvalue().splitlines()]


def test_the_live_screen_shows_the_words_as_they_come_and_leaves_the_lines(lead: Lead) -> None:
    """While it runs: task and words, of several workers. At the end: the finished jobs."""
    out, jobs = io.StringIO(), jobs_for(lead._replace(name=EVIL))
    console = Console(file=out, force_terminal=True, width=100, height=30, color_system=None)
    with LiveScreen(console, 2, 2) as screen:
        screen.started(0, jobs[1])
        for piece in ("Kære ", EVIL, "kunde"):
            screen.heard(0, piece)
        with console.capture() as shown:
            console.print(screen._now())
        screen.finished(0, jobs[1], answer())
        screen.failed(1, jobs[0], AskError("[red]no"))
    assert "email-draft" in shown.get()
    assert "[bold]x" in shown.get()
    assert "kunde" in shown.get()
    assert "2  waiting" in shown.get()
    assert "1/2" in out.getvalue()
    assert "FAILED [red]no" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
    assert "\u202e" not in out.getvalue()


def test_the_tables_fit_80_columns(lead: Lead) -> None:
    """With the longest names that we ship, nothing is cut."""
    answers = [answer(), answer(origin="local"), answer(attempts=2, input_tokens=98_765)]
    failed = [(job, AskError("no")) for job in jobs_for(lead._replace(status="qualified"))]
    out = io.StringIO()
    console = Console(file=out, width=80)
    for table in tables(report_of([], Outcome(answers, failed), 0)):
        console.print(table)
    assert "…" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80
    for part in ("deepseek-chat-v3.1-free simulated", "98,765", "$0.00", "task-planning", "all", "50%", "0%", "-"):
        assert part in out.getvalue()


def test_a_run_without_answers_still_has_its_tables() -> None:
    """Nothing is divided by nothing."""
    out = io.StringIO()
    for table in tables(report_of([], Outcome(), 5)):
        Console(file=out, width=80).print(table)
    assert "all" in out.getvalue()
