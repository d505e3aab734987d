"""Leads from JSON lines: what is read, what is refused, and that every problem is told at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.lead_desk.desk import SHIPPED
from examples.lead_desk.leads import FIELD_CHARACTERS, Lead, LeadError, lead_of, leads_of, read_leads


def line(**fields: object) -> str:
    """A good line with some fields changed."""
    return json.dumps({"id": 1, "name": "Mette", "status": "new", **fields})


def test_our_24_leads_are_read() -> None:
    """What ships is whole, in order, each status known."""
    leads = read_leads(SHIPPED / "leads.jsonl")
    assert [str(number) for number in range(1, 25)] == [lead.id for lead in leads]
    assert sum(lead.status == "qualified" for lead in leads) == 6


def test_a_lead_is_text_whatever_its_id() -> None:
    """A number as id is the same as its digits; missing fields are empty; unknown ones are passed over."""
    assert Lead("1", "Mette", "", "", "", "", "new", "") == lead_of(line(extra=[1]))


def test_a_long_field_is_cut() -> None:
    """A note cannot crowd out the instructions."""
    assert len(lead_of(line(notes="x" * 10_000)).notes) == FIELD_CHARACTERS


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("[1]", "not a JSON object"),
        ("{", "Expecting"),
        (line(id=""), "no `id`"),
        (line(name=["x"]), "`name` is not text"),
        (line(notes=True), "`notes` is not text"),
        (line(status="sold"), "unknown status 'sold': one of new, contacted"),
    ],
)
def test_what_is_no_lead_is_refused_with_its_reason(bad: str, why: str) -> None:
    """One line, one reason."""
    with pytest.raises(ValueError, match=why):
        lead_of(bad)


def test_every_bad_line_is_told_at_once_with_its_number() -> None:
    """A person mends a file in one go."""
    with pytest.raises(LeadError) as caught:
        leads_of(["{", "", line(), line(), line(id=2, status="?")], "f.jsonl")
    said = str(caught.value).splitlines()
    assert ["f.jsonl:1", "f.jsonl:4", "f.jsonl:5"] == [":".join(one.split(":")[:2]) for one in said]
    assert "id 1 stands twice" in said[1]


def test_a_line_separator_inside_a_note_does_not_end_the_line(tmp_path: Path) -> None:
    """U+2028 is a character of a note."""
    path = tmp_path / "leads.jsonl"
    path.write_text('{"id": 1, "status": "new", "notes": "a\u2028b"}\n', encoding="utf-8")
    assert read_leads(path)[0].notes == "a\u2028b"


def test_a_byte_order_mark_is_no_part_of_the_first_lead(tmp_path: Path) -> None:
    """Spreadsheets write one."""
    path = tmp_path / "leads.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line().encode())
    assert len(read_leads(path)) == 1


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe"])
def test_a_file_without_leads_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, or not text."""
    path = tmp_path / "leads.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LeadError, match=r"leads\.jsonl"):
        read_leads(path)
