"""Keeps answers as files: a folder per lead, each answer as JSON (for machines) and Markdown (for people).

A file is written beside its place and then renamed, so that what bears the final name is whole, whenever the work is
broken off. The JSON is renamed last: it is what says that a job is finished, and a second run believes it only if it
answers the same question. Names of files are made of letters, digits and hyphens, whatever a lead is called.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import unicodedata
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .jobs import Job
from .leads import Lead
from .mail import Mail
from .sources import source_named


@dataclass(frozen=True)
class Answer:
    """One finished job and where its words came from.

    origin: real, simulated or local. seconds: until the whole answer was there, as the desk saw it; first_seconds:
    until its first words. attempts: upstream tries. cost_usd: as the gateway told. cache: what its cache did.
    is_new: made by this run.
    """

    lead_id: str
    name: str
    task: str
    text: str
    model: str
    provider: str
    origin: str
    seconds: float
    first_seconds: float
    request_id: str = ""
    attempts: int = 1
    cost_usd: float = 0.0
    cache: str = ""
    queue_ms: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str = ""
    digest: str = ""
    made_at: str = ""
    words: int = 0
    is_new: bool = field(default=True, compare=False)

    @property
    def is_cached(self) -> bool:
        """Whether the gateway gave it without asking a model for it."""
        return self.cache.startswith("hit") or self.cache == "coalesced"


class Cabinet:
    """The folder of answers. Raises OSError where the disk does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished(self, job: Job) -> Answer | None:
        """Return the answer on disk to exactly this question, None if there is none that is whole."""
        try:
            fields = json.loads((self.of_lead(job.lead) / f"{job.name}.json").read_text(encoding="utf-8"))
            answer = Answer(**fields, is_new=False)
        except (OSError, ValueError, TypeError):
            return None
        return answer if answer.digest == job.digest else None

    def keep(self, job: Job, answer: Answer) -> Path:
        """Write one answer; return the file that a person reads."""
        folder = self.of_lead(job.lead)
        fields = asdict(answer)
        del fields["is_new"]
        page = folder / f"{job.name}.md"
        write_whole(page, page_of(job, answer))
        write_whole(folder / f"{job.name}.json", json_text(fields))
        return page

    def keep_lead(self, lead: Lead, mail: Mail | None) -> None:
        """Write what is known of a lead, and a customer record if its e-mail is sure enough of its source."""
        folder, source = self.of_lead(lead), source_named(lead.source)
        known: dict[str, Any] = {
            **lead._asdict(),
            "priority": source.priority,
            "answer_within_h": source.answer_within_h,
        }
        if mail is not None:
            points = mail.detection
            known["mail"] = {
                "file": mail.file,
                "source": points.source.name if points.source else "",
                "confidence": points.confidence,
                "points": {
                    "domain": points.domain_points,
                    "subject": points.subject_points,
                    "body": points.body_points,
                },
            }
            if points.may_make_record:
                record = {"name": lead.name, "email": lead.email, "phone": lead.phone, "source": lead.source}
                write_whole(folder / "customer.json", json_text({**record, "confidence": points.confidence}))
        write_whole(folder / "lead.json", json_text(known))

    def keep_report(self, report: dict[str, Any]) -> Path:
        """Write the figures of a run."""
        path = self.folder / "report.json"
        write_whole(path, json_text(report))
        return path

    def of_lead(self, lead: Lead) -> Path:
        """The lead's own folder: its id and its name, as a file name may be."""
        number = f"{int(lead.id):02}" if lead.id.isascii() and lead.id.isdigit() else slug(lead.id) or "lead"
        return self.folder / "-".join(filter(None, (number[:40], slug(lead.name)[:40].strip("-"))))


def page_of(job: Job, answer: Answer) -> str:
    """The Markdown page of one answer: the words, then where they came from."""
    titles = {"analysis": "Analyse", "draft": "Udkast til e-mail (ikke sendt)", "plan": "Opgaveplan"}
    over = f" (asked for at most {job.words})" if answer.words > job.words else ""
    cut = ", cut at its token limit" if answer.finish_reason == "length" else ""
    tries = "from the cache" if answer.is_cached else f"{answer.attempts} {'try' if answer.attempts == 1 else 'tries'}"
    return (
        f"# {titles[job.name]}: {' '.join(job.lead.name.split())}\n\n{answer.text.strip()}\n\n---\n"
        f"*{answer.origin}: {answer.model} by {answer.provider}, {tries}, {answer.seconds:.2f} s, {answer.words} words{over}{cut}, "
        f"${answer.cost_usd:.6f}. Task {answer.task}, request {answer.request_id or 'unknown'}, {answer.made_at}.*\n"
    )


def json_text(value: object) -> str:
    """JSON for files: readable, in UTF-8, with a last line break."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def slug(text: str) -> str:
    """Return `text` as lower-case letters, digits and hyphens: `Jens-Ole Kjær` is `jens-ole-kjaer`."""
    for letter, spelled in (("æ", "ae"), ("ø", "oe"), ("å", "aa"), ("\u0131", "i"), ("ß", "ss")):
        text = text.replace(letter, spelled).replace(letter.upper(), spelled)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that its name never stands for half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(beside).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise
