"""Answers on disk: whole or not there, found again by their question, safe names, and where the words came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.lead_desk.filing import Answer, Cabinet, page_of, slug, write_whole
from examples.lead_desk.jobs import Job, jobs_for
from examples.lead_desk.leads import Lead
from examples.lead_desk.mail import mail_of


def answer_to(job: Job, **changes: object) -> Answer:
    """An answer that fits the job."""
    fields = {"origin": "simulated", "seconds": 0.5, "first_seconds": 0.2, "digest": job.digest, "words": 3, **changes}
    return Answer(job.lead.id, job.name, job.task, "Hej med dig", "glm", "openrouter-simulated", **fields)  # type: ignore[arg-type]


def test_what_is_kept_is_found_again(lead: Lead, tmp_path: Path) -> None:
    """All but `is_new`, which says that this run made it."""
    job, cabinet = jobs_for(lead)[0], Cabinet(tmp_path)
    answer = answer_to(job)
    page = cabinet.keep(job, answer)
    found = cabinet.finished(job)
    assert (answer, False) == (found, found is None or found.is_new)
    assert tmp_path / "07-jens-ole-kjaer" / "analysis.md" == page


def test_an_answer_to_another_question_does_not_count(lead: Lead, tmp_path: Path) -> None:
    """The lead's notes changed: ask again."""
    job, cabinet = jobs_for(lead)[0], Cabinet(tmp_path)
    cabinet.keep(job, answer_to(job))
    assert cabinet.finished(jobs_for(lead._replace(notes="nyt"))[0]) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lead_id": "7"}', '{"unknown": 1}'])
def test_a_file_that_is_no_answer_does_not_count(lead: Lead, tmp_path: Path, text: str) -> None:
    """Damaged or of another version: ask again."""
    job, cabinet = jobs_for(lead)[0], Cabinet(tmp_path)
    folder = cabinet.of_lead(lead)
    folder.mkdir(parents=True)
    (folder / "analysis.json").write_text(text, encoding="utf-8")
    assert cabinet.finished(job) is None


def test_a_page_alone_is_not_a_finished_job(lead: Lead, tmp_path: Path) -> None:
    """Broken off between the two files: the JSON, written last, is what counts."""
    job, cabinet = jobs_for(lead)[0], Cabinet(tmp_path)
    cabinet.keep(job, answer_to(job))
    (cabinet.of_lead(lead) / "analysis.json").unlink()
    assert cabinet.finished(job) is None


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    """Half a file never bears the name."""
    path = tmp_path / "a.md"
    write_whole(path, "før")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "x" * 100_000 + "\ud800")
    assert ("før", [path]) == (path.read_text(encoding="utf-8"), list(tmp_path.iterdir()))


def test_a_page_tells_where_its_words_came_from(lead: Lead) -> None:
    """Origin, model, provider, tries, cost; and what was too long or cut."""
    job = jobs_for(lead)[1]
    page = page_of(job, answer_to(job, attempts=2, words=101, finish_reason="length", request_id="req_9"))
    assert page.startswith("# Udkast til e-mail (ikke sendt): Jens-Ole Kjær\n\nHej med dig\n")
    for part in (
        "simulated: glm by openrouter-simulated, 2 tries",
        "101 words (asked for at most 100), cut",
        "$0.000000",
        "req_9",
    ):
        assert part in page
    assert "1 try," in page_of(job, answer_to(job))
    for cache, is_cached in (("hit", True), ("coalesced", True), ("miss", False), ("bypass", False), ("", False)):
        page = page_of(job, answer_to(job, attempts=0, cache=cache))
        assert is_cached == (", from the cache," in page)


def test_a_customer_record_is_made_only_from_a_sure_mail(lead: Lead, tmp_path: Path) -> None:
    """A mail with all three signals makes customer.json; with two it does not; without a mail neither."""
    cabinet = Cabinet(tmp_path)
    record = cabinet.of_lead(lead) / "customer.json"
    unsure = mail_of(b"From: a@leadpoint.dk\nSubject: Leadpoint\n\nhej", "a.eml")
    sure = mail_of(b"From: a@leadpoint.dk\nSubject: Leadpoint\n\nfra leadpoint", "a.eml")
    made = []
    for mail in (None, unsure, sure):
        cabinet.keep_lead(lead, mail)
        made.append(record.exists())
    assert [False, False, True] == made
    assert json.loads(record.read_text(encoding="utf-8"))["confidence"] == 100
    known = json.loads((cabinet.of_lead(lead) / "lead.json").read_text(encoding="utf-8"))
    assert ("high", 0, {"domain": 60, "subject": 30, "body": 10}) == (
        known["priority"],
        known["answer_within_h"],
        known["mail"]["points"],
    )


def test_a_mail_without_a_known_source_is_kept_too(lead: Lead, tmp_path: Path) -> None:
    """Its confidence is 0."""
    cabinet = Cabinet(tmp_path)
    cabinet.keep_lead(lead, mail_of(b"From: a@example.com\n\nhej", "a.eml"))
    assert json.loads((cabinet.of_lead(lead) / "lead.json").read_text(encoding="utf-8"))["mail"]["source"] == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Jens-Ole Kjær", "jens-ole-kjaer"), ("Fatima Yılmaz", "fatima-yilmaz"), ("Åse Ørsted", "aase-oersted"),
     ("Café Lygten v/ Rasmus", "cafe-lygten-v-rasmus"), ("../../etc", "etc"), ("日本", "")],
)  # fmt: skip
def test_a_slug_is_readable_and_plain(name: str, expected: str) -> None:
    """Danish letters are spelled as Danes spell them in addresses."""
    assert expected == slug(name)


@given(st.text(min_size=1), st.text())
def test_a_folder_stays_inside_the_cabinet(number: str, name: str) -> None:
    """Whatever a lead calls itself."""
    lead = Lead(number, name, "", "", "", "", "new", "")
    folder = Cabinet(Path("/out")).of_lead(lead)
    assert Path("/out") == folder.parent
    assert set(folder.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert 0 < len(folder.name) <= 81


def test_the_report_is_kept(tmp_path: Path) -> None:
    """Beside the folders of leads."""
    assert json.loads(Cabinet(tmp_path).keep_report({"a": 1}).read_text(encoding="utf-8")) == {"a": 1}
