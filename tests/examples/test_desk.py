"""The desk's day against a stub gateway: intake, exit codes, going on, interruption, and JSON for machines."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from examples.lead_desk.desk import SHIPPED, Options, intake, interruptible, run
from examples.lead_desk.leads import LeadError
from examples.lead_desk.stage import Stage
from tests.examples.stub_gateway import Asked, Gateway, Told, refused, usual
from tests.rig import CONFIG, Rig

TASKS = "".join(
    f"  {name}: {{{{models: [first]}}}}\n" for name in ("lead-analysis", "email-draft", "complex-reasoning")
)


def worked(gateway: Gateway, folder: Path, **changes: Any) -> tuple[int, str]:
    """Run the desk on three leads; return its exit code and what it printed."""
    out = io.StringIO()
    chosen = {"out": folder, "limit": 3, "gateway": Stage(gateway.base_url, "k", ("a note",)), **changes}
    return run(Options(**chosen), {}, out), out.getvalue()


def test_leads_become_files_and_figures(gateway: Gateway, tmp_path: Path) -> None:
    """Three leads, one of them qualified: seven jobs, each with two files; the figures are kept too."""
    code, said = worked(gateway, tmp_path / "out")
    pages = sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("*.md"))
    assert (0, 7) == (code, len(pages))
    assert "03-anne-og-thomas-soerensen/plan.md" in pages
    assert json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))["total"]["answers"] == 7
    for part in (
        "3 leads, 7 jobs",
        "Nothing is ever sent",
        "a note",
        "7 answers (7 simulated)",
        "Total cost $0.00",
        "rengøring.nu     100 points, customer record made",
    ):
        assert part in said


def test_a_second_run_asks_nothing_again(gateway: Gateway, tmp_path: Path) -> None:
    """It says so, shows the figures, and with --fresh does it all again."""
    worked(gateway, tmp_path)
    gateway.asked.clear()
    code, said = worked(gateway, tmp_path)
    assert (0, 0) == (code, len(gateway.asked))
    assert "7 of 7 jobs were finished by an earlier run" in said
    assert "7 of them by an earlier run" in said
    worked(gateway, tmp_path, is_fresh=True)
    assert len(gateway.asked) == 7


async def test_the_same_day_again_asks_no_model_twice(tmp_path: Path) -> None:
    """Through a real gateway whose tasks keep their answers: every answer of the second day comes from the first, and the
    desk says so.
    """
    (tmp_path / "gateway").mkdir()
    config = CONFIG.replace("\ntasks:\n", f"\ncache: {{{{ttl: 5m}}}}\ntasks:\n{TASKS}")
    async with Rig(tmp_path / "gateway", config=config) as rig:
        stage = Stage(f"{rig.url}/v1", rig.key, ())
        days = []
        for number in (1, 2):
            said = io.StringIO()
            options = Options(out=tmp_path / f"day{number}", gateway=stage)
            code = await asyncio.to_thread(run, options, {}, said)
            report = json.loads((tmp_path / f"day{number}/report.json").read_text(encoding="utf-8"))
            days.append((code, report["total"]["cache_hits"], rig.world.witness.count, said.getvalue()))
        answers = report["total"]["answers"]
    (first_code, first_hits, first_calls, _), (code, hits, calls, told) = days
    assert (0, 0, answers) == (first_code, first_hits, first_calls)
    assert (0, answers, first_calls) == (code, hits, calls)
    assert f"{answers} of them came from the gateway's cache: no model was asked for those again." in told


def test_only_what_is_missing_is_asked(gateway: Gateway, tmp_path: Path) -> None:
    """One answer lost, one question."""
    worked(gateway, tmp_path)
    gateway.asked.clear()
    next(tmp_path.rglob("plan.json")).unlink()
    worked(gateway, tmp_path)
    assert ["task-planning"] == [asked.headers["x-turnout-task"] for asked in gateway.asked]


def test_a_job_without_an_answer_is_told_and_done_next_time(gateway: Gateway, tmp_path: Path) -> None:
    """Exit code 1, the reason, and how to go on."""
    gateway.play = lambda asked: refused(403, "nobody [may]") if asked.body.get("stream") else usual(asked)
    code, said = worked(gateway, tmp_path, again="once more")
    assert code == 1
    assert "No answer for lead 1, draft: nobody [may]" in said
    assert "To go on where this ended: once more" in said
    gateway.play = usual
    assert worked(gateway, tmp_path)[0] == 0


def test_json_is_one_object_on_stdout(gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress goes to stderr."""
    code, said = worked(gateway, tmp_path, as_json=True)
    told = json.loads(said)
    assert (0, 7, ["a note"], "", str(tmp_path)) == (
        code,
        told["total"]["answers"],
        told["notes"],
        told["error"],
        told["out"],
    )
    assert "7 answers" in capsys.readouterr().err


def test_an_interruption_leaves_finished_work_and_says_how_to_go_on(gateway: Gateway, tmp_path: Path) -> None:
    """The polite signal counts as Ctrl-C; the next run does the rest."""
    go = threading.Event()

    def play(asked: Asked) -> Told:
        with gateway.lock:
            count = len(gateway.asked)
        if count == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        if count >= 4:
            go.wait(20)
        return usual(asked)

    gateway.play = play
    code, said = worked(gateway, tmp_path, concurrency=1)
    go.set()
    assert code == 130
    assert "Interrupted. 3 jobs are finished and on disk, 4 are left." in said
    gateway.play = usual
    gateway.asked.clear()
    assert (0, 4) == (worked(gateway, tmp_path)[0], len(gateway.asked))


def test_handlers_are_put_back() -> None:
    """Whoever had the signals before has them again."""
    before = signal.getsignal(signal.SIGTERM)
    with interruptible():
        assert before != signal.getsignal(signal.SIGTERM)
    assert before == signal.getsignal(signal.SIGTERM)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    """Only a main thread may take them."""
    seen = []

    def enter() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert [signal.getsignal(signal.SIGTERM)] == seen


def test_a_folder_that_cannot_be_made_is_told(gateway: Gateway, tmp_path: Path) -> None:
    """No traceback, no request."""
    (tmp_path / "out").write_text("", encoding="utf-8")
    code, said = worked(gateway, tmp_path / "out")
    assert (1, 0) == (code, len(gateway.asked))
    assert "Cannot write to" in said


def test_leads_that_cannot_be_read_end_the_day_early(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, every problem on stderr."""
    path = tmp_path / "leads.jsonl"
    path.write_text("{\n[]\n", encoding="utf-8")
    assert run(Options(leads=path, out=tmp_path), {}, io.StringIO()) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_leads_come_from_a_file_a_mail_or_a_folder(tmp_path: Path) -> None:
    """Ours by default; a folder gives all of both kinds."""
    assert [24, 24, 1, 24, 7] == [
        len(intake(path, limit)[0])
        for path, limit in (
            (None, None),
            (SHIPPED / "leads.jsonl", None),
            (SHIPPED / "emails/24-svensk.eml", None),
            (SHIPPED, None),
            (SHIPPED / "emails", None),
        )
    ]
    assert len(intake(None, 2)[0]) == 2


def test_a_folder_without_leads_and_one_with_an_id_twice_are_refused(tmp_path: Path) -> None:
    """Said, not guessed."""
    with pytest.raises(LeadError, match="no leads in it"):
        intake(tmp_path, None)
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"id": 1, "status": "new"}\n', encoding="utf-8")
    with pytest.raises(LeadError, match="two files"):
        intake(tmp_path, None)
