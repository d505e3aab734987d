"""The crew: every job once, files before words, failures kept apart, and an interruption that loses only what was under way."""

from __future__ import annotations

import _thread
import threading
from pathlib import Path

import pytest

from examples.lead_desk.client import AskError, Client
from examples.lead_desk.filing import Answer, Cabinet
from examples.lead_desk.jobs import Job, all_jobs
from examples.lead_desk.leads import Lead
from examples.lead_desk.workers import Crew, origin_of
from tests.examples.stub_gateway import Asked, Gateway, Told, refused, usual


class Notes:
    """A screen that remembers, and knows whether an answer was on disk when it was told of."""

    def __init__(self, cabinet: Cabinet) -> None:
        self.cabinet = cabinet
        self.lines: list[str] = []
        self.on_disk: list[bool] = []

    def started(self, worker: int, job: Job) -> None:
        """Remember."""

    def heard(self, worker: int, text: str) -> None:
        """Remember the words."""
        self.lines.append(text)

    def finished(self, worker: int, job: Job, answer: Answer) -> None:
        """Remember, and look at the disk."""
        self.on_disk.append(self.cabinet.finished(job) is not None)

    def failed(self, worker: int, job: Job, error: AskError) -> None:
        """Remember."""
        self.lines.append(error.message)


def crew_of(gateway: Gateway, folder: Path, threads: int = 3) -> tuple[Crew, Notes]:
    """A crew for the stub."""
    cabinet = Cabinet(folder)
    notes = Notes(cabinet)
    return Crew(lambda: Client(gateway.base_url, "k"), cabinet, notes, threads), notes


def many(lead: Lead, count: int) -> list[Job]:
    """Jobs of several leads, two each."""
    return all_jobs([lead._replace(id=str(number)) for number in range(1, count + 1)])


def test_every_job_is_done_once_and_on_disk_before_it_is_told(gateway: Gateway, lead: Lead, tmp_path: Path) -> None:
    """In any order, by any worker."""
    jobs = many(lead, 10)
    crew, notes = crew_of(gateway, tmp_path)
    outcome = crew.work(jobs)
    assert sorted((job.lead.id, job.name) for job in jobs) == sorted((one.lead_id, one.name) for one in outcome.answers)
    assert ([True] * 20, 20, False) == (notes.on_disk, len(gateway.asked), outcome.is_interrupted)
    assert "Kære " in notes.lines


def test_an_answer_says_where_its_words_came_from(gateway: Gateway, lead: Lead, tmp_path: Path) -> None:
    """What the gateway's headers tell, and what the desk saw itself."""
    crew, _ = crew_of(gateway, tmp_path, 1)
    answer = crew.work(many(lead, 1)[:1]).answers[0]
    expected = ("glm-4.5-air-free", "openrouter-simulated", "simulated", 2, 0.0, "miss", 1.5, "req_1", 40, 7, 2)
    assert expected == (
        answer.model,
        answer.provider,
        answer.origin,
        answer.attempts,
        answer.cost_usd,
        answer.cache,
        answer.queue_ms,
        answer.request_id,
        answer.input_tokens,
        answer.output_tokens,
        answer.words,
    )


def test_a_gateway_that_tells_nothing_is_believed_nothing(gateway: Gateway, lead: Lead, tmp_path: Path) -> None:
    """Missing and unreadable headers."""
    gateway.play = lambda asked: usual(asked)._replace(headers=(("x-turnout-cost", "much"),))
    crew, _ = crew_of(gateway, tmp_path, 1)
    answer = crew.work(many(lead, 1)[:1]).answers[0]
    assert ("unknown", "unknown", "unknown", 1, 0.0) == (
        answer.model,
        answer.provider,
        answer.origin,
        answer.attempts,
        answer.cost_usd,
    )


def test_a_failed_job_does_not_stop_the_others(gateway: Gateway, lead: Lead, tmp_path: Path) -> None:
    """It is told, kept apart, and has no file."""
    gateway.play = lambda asked: refused(403, "no") if asked.body.get("stream") else usual(asked)
    crew, notes = crew_of(gateway, tmp_path)
    outcome = crew.work(many(lead, 4))
    assert (4, 4) == (len(outcome.answers), len(outcome.failures))
    assert notes.lines.count("no") == 4
    assert not list(tmp_path.rglob("draft.*"))


def test_an_interruption_keeps_what_is_finished(gateway: Gateway, lead: Lead, tmp_path: Path) -> None:
    """Ctrl-C while a request hangs: the crew comes back at once, with what is on disk."""
    go = threading.Event()

    def play(asked: Asked) -> Told:
        with gateway.lock:
            count = len(gateway.asked)
        if count == 6:
            _thread.interrupt_main()
        if count >= 6:
            go.wait(20)
        return usual(asked)

    gateway.play = play
    crew, notes = crew_of(gateway, tmp_path, 2)
    outcome = crew.work(many(lead, 10))
    go.set()
    assert outcome.is_interrupted
    assert len(outcome.answers) == len(notes.on_disk) < 20
    assert len(outcome.answers) == len(list(tmp_path.rglob("analysis.json")) + list(tmp_path.rglob("draft.json")))


def test_a_disk_that_cannot_be_written_ends_the_run(gateway: Gateway, lead: Lead, tmp_path: Path) -> None:
    """Asking on would spend requests for nothing."""
    (tmp_path / "out").write_text("a file, not a folder", encoding="utf-8")
    crew, _ = crew_of(gateway, tmp_path / "out", 1)
    with pytest.raises(OSError, match="out"):
        crew.work(many(lead, 5))
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    ("provider", "origin"),
    [
        ("openrouter", "real"),
        ("openrouter-simulated", "simulated"),
        ("simulated", "simulated"),
        ("local", "local"),
        ("", "unknown"),
    ],
)
def test_the_origin_follows_from_the_account(provider: str, origin: str) -> None:
    """Never called real without a name."""
    assert origin == origin_of(provider)
