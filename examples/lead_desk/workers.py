"""Works the jobs off in a few threads, each with its own connection to the gateway.

What is finished is on disk before it is told. An interruption (Ctrl-C) ends what is under way at once and loses only
that. Errors of one job are that job's: the others go on, but for a disk that cannot be written, which ends the run.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from .client import AskError, Client, Reply, Stopped
from .filing import Answer, Cabinet
from .jobs import Job


class Screen(Protocol):
    """Who is told. Called from several threads."""

    def started(self, worker: int, job: Job) -> None:
        """A job is being asked."""
        ...

    def heard(self, worker: int, text: str) -> None:
        """A piece of a streamed answer came."""
        ...

    def finished(self, worker: int, job: Job, answer: Answer) -> None:
        """A job's answer is on disk."""
        ...

    def failed(self, worker: int, job: Job, error: AskError) -> None:
        """A job got no answer."""
        ...


@dataclass
class Outcome:
    """What a run came to. failures: the jobs without an answer, and why. seconds: of the whole run."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[tuple[Job, AskError]] = field(default_factory=list)
    is_interrupted: bool = False
    seconds: float = 0.0


class Crew:
    """threads: how many jobs at once. make_client: one for each thread."""

    def __init__(self, make_client: Callable[[], Client], cabinet: Cabinet, screen: Screen, threads: int) -> None:
        self._clients = [make_client() for _ in range(threads)]
        self._cabinet = cabinet
        self._screen = screen
        self._left: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._outcome = Outcome()
        self._broken: list[OSError] = []

    def work(self, jobs: Iterable[Job]) -> Outcome:
        """Do all of them; return early on KeyboardInterrupt. Raises OSError if an answer cannot be written."""
        for job in jobs:
            self._left.put(job)
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._run, args=(number, client), name=f"desk-{number}", daemon=True)
            for number, client in enumerate(self._clients)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
        except KeyboardInterrupt:
            self._outcome.is_interrupted = True
        finally:
            for client in self._clients:
                client.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(5.0)
            for client in self._clients:
                client.close()
        self._outcome.seconds = time.perf_counter() - began
        if self._broken:
            raise self._broken[0]
        return self._outcome

    def _run(self, worker: int, client: Client) -> None:
        while not self._broken:
            try:
                job = self._left.get_nowait()
                self._screen.started(worker, job)
                reply = client.ask(job, lambda text: self._screen.heard(worker, text))
            except (queue.Empty, Stopped):
                return
            except AskError as error:
                self._outcome.failures.append((job, error))
                self._screen.failed(worker, job, error)
                continue
            answer = answer_of(job, reply)
            try:
                self._cabinet.keep(job, answer)
            except OSError as error:
                self._broken.append(error)
                return
            self._outcome.answers.append(answer)
            self._screen.finished(worker, job, answer)


def answer_of(job: Job, reply: Reply) -> Answer:
    """Put a reply and what the gateway's headers say of it together."""
    told = reply.headers
    provider = told.get("x-turnout-provider", "")
    return Answer(
        lead_id=job.lead.id,
        name=job.name,
        task=job.task,
        text=reply.text,
        model=told.get("x-turnout-model", "unknown"),
        provider=provider or "unknown",
        origin=origin_of(provider),
        seconds=round(reply.total_s, 4),
        first_seconds=round(reply.first_s, 4),
        request_id=told.get("x-request-id", ""),
        attempts=int(_number(told, "x-turnout-attempts", 1)),
        cost_usd=_number(told, "x-turnout-cost", 0.0),
        cache=told.get("x-turnout-cache", ""),
        queue_ms=_number(told, "x-turnout-queue-ms", 0.0),
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        finish_reason=reply.finish_reason,
        digest=job.digest,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        words=len(reply.text.split()),
    )


def origin_of(provider: str) -> str:
    """Return whether that provider's words are real, simulated, or of a model on this machine; unknown if none is named."""
    if not provider:
        return "unknown"
    return "simulated" if "simulated" in provider else "local" if provider == "local" else "real"


def _number(headers: dict[str, str], name: str, default: float) -> float:
    try:
        return float(headers.get(name, default))
    except ValueError:
        return default
