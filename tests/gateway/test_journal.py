"""What a journal has taken is read again whatever happened; what it did not take whole is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.entries import entry, intent
from tests.gateway.disks import FailingDisk
from turnout.core.books.entry import Charge
from turnout.errors import StoreError
from turnout.gateway.journal import TRIAL_BYTES, Journal, lock_path, read, read_all, segments_of, writers_in


@pytest.fixture
def disk():
    return FailingDisk()


@pytest.fixture
def journal(tmp_path, disk):
    """One that is open, with small segments."""
    made = Journal(tmp_path, "w1", disk=disk, segment_bytes=800)
    made.open()
    yield made
    made.close()


def told(folder, writer="w1"):
    return [record for page in read_all(folder, writer) for record in page.records]


def test_records_are_read_as_they_were_written(journal, tmp_path):
    """Over as many segments as they need."""
    charges = (Charge("user:anna", 5),)
    wrote = []
    for n in range(20):
        wrote += [intent(f"a-{n}", charges=charges, session="æøå"), entry(f"a-{n}", charges=charges)]
    for record in wrote:
        journal.write(record)
    assert wrote == told(tmp_path)
    assert 1 < len(journal.segments) == len(segments_of(tmp_path, "w1"))
    assert journal.size_bytes == sum(path.stat().st_size for _, path in segments_of(tmp_path, "w1"))


def test_text_that_is_none_is_made_text(journal, tmp_path):
    """Half a surrogate pair in a client's words does not keep its cost from being written."""
    journal.write(entry(session="a\ud800b"))
    assert ["a\ufffdb"] == [record.session for record in told(tmp_path)]


def test_a_name_is_used_once(journal, tmp_path):
    """By a process that lives, or that left something."""
    with pytest.raises(StoreError, match="needs a name of its own"):
        Journal(tmp_path, "w1").open()
    journal.close()
    with pytest.raises(StoreError, match="needs a name of its own"):
        Journal(tmp_path, "w1").open()


def test_a_journal_that_cannot_be_begun_leaves_nothing_open(tmp_path, disk):
    """Its name is free again."""
    disk.taken = 0
    with pytest.raises(OSError, match="No space"):
        Journal(tmp_path, "w1", disk=disk).open()
    assert [] == segments_of(tmp_path, "w1")
    again = Journal(tmp_path, "w1")
    again.open()
    again.close(is_done=True)
    assert [] == writers_in(tmp_path)


# ── a disk that takes a part ──


@pytest.mark.parametrize("taken", [0, 1, 7, 8, 9, 80])
def test_a_record_that_was_taken_in_part_is_taken_off(journal, tmp_path, disk, taken):
    """And the next one stands where it would have stood."""
    journal.write(intent("a-1"))
    disk.taken = taken
    with pytest.raises(OSError, match=r"No space|a part of a record"):
        journal.write(entry("a-1"))
    disk.taken = None
    journal.write(entry("b-1"))
    assert ["a-1", "b-1"] == [record.attempt_id for record in told(tmp_path)]


def test_a_part_that_cannot_be_taken_off_spoils_its_segment_alone(journal, tmp_path, disk):
    """The next record begins another; what comes before and after is believed."""
    journal.write(intent("a-1"))
    disk.taken, disk.fails = 9, {"cut"}
    with pytest.raises(OSError, match="a part of a record"):
        journal.write(entry("a-1"))
    disk.taken = None
    journal.write(entry("b-1"))
    assert ["a-1", "b-1"] == [record.attempt_id for record in told(tmp_path)]
    assert 2 == len(segments_of(tmp_path, "w1"))


def test_a_segment_that_cannot_be_begun_is_begun_later(journal, tmp_path, disk):
    """Nothing of it stays."""
    while journal.current.length < 650:
        journal.write(intent(f"a-{journal.current.length}"))
    disk.taken = 5
    with pytest.raises(OSError, match="a part of a record"):
        journal.write(intent("b-1"))
    assert 1 == len(segments_of(tmp_path, "w1"))
    disk.taken = None
    assert 2 == journal.write(intent("c-1")).number
    assert "c-1" == told(tmp_path)[-1].attempt_id


def test_a_trial_of_room_leaves_nothing(journal, tmp_path, disk):
    """It fails while there is no room for some more than one record."""
    journal.write(intent("a-1"))
    size = journal.size_bytes
    disk.taken = TRIAL_BYTES // 2
    with pytest.raises(OSError, match="a part of a record"):
        journal.try_room()
    disk.taken = None
    journal.try_room()
    journal.write(entry("a-1"))
    assert size < journal.size_bytes < size + 1_000
    assert 2 == len(told(tmp_path))


def test_a_trial_after_a_spoilt_segment_begins_another(journal, tmp_path, disk):
    """So that what it leaves can be taken off."""
    disk.taken, disk.fails = 9, {"cut"}
    with pytest.raises(OSError, match="a part of a record"):
        journal.write(entry("a-1"))
    disk.taken, disk.fails = None, set()
    journal.try_room()
    journal.write(entry("b-1"))
    assert ["b-1"] == [record.attempt_id for record in told(tmp_path)]


# ── syncing ──


def test_what_is_synced_is_said(journal, disk):
    """Each segment that was written to, and its name, before `synced` says so."""
    journal.sync()
    assert journal.position == journal.synced
    for n in range(10):
        journal.write(intent(f"a-{n}"))
    assert journal.synced < journal.position
    disk.calls.clear()
    journal.sync()
    assert journal.position == journal.synced
    assert {"sync_folder", "sync"} == set(disk.calls)
    assert len(journal.segments) == disk.calls.count("sync")


@pytest.mark.parametrize("call", ["sync", "sync_folder"])
def test_after_a_sync_that_failed_nothing_is_believed_until_renewed(journal, tmp_path, disk, call):
    """The system says only once that it could not write: a second sync that goes well says nothing."""
    journal.write(intent("a-1"))
    disk.fails = {call}
    with pytest.raises(OSError, match="Input/output"):
        journal.sync()
    disk.fails = set()
    with pytest.raises(OSError, match="an earlier sync failed"):
        journal.sync()
    assert 0 == journal.synced
    journal.renew()
    journal.write(intent("a-1"))
    journal.sync()
    assert journal.position == journal.synced
    segments_of(tmp_path, "w1")[0][1].write_bytes(b"")  # what the system may have thrown away
    assert ["a-1"] == [record.attempt_id for record in told(tmp_path)]


def test_a_segment_follows_another_only_once_that_one_has_its_name(tmp_path, disk):
    """Else a power cut between the two could forget the first and keep the second."""
    journal = Journal(tmp_path, "w1", disk=disk, segment_bytes=190)
    journal.open()
    journal.write(intent("a-1"))
    disk.calls.clear()
    journal.write(intent("b-1"))
    assert ["sync_folder", "create"] == disk.calls[:2]
    journal.close()


# ── dropping and closing ──


def test_a_segment_that_is_dropped_is_not_missed(journal, tmp_path):
    """Those after it are believed."""
    for n in range(12):
        journal.write(intent(f"a-{n}"))
    first = journal.segments[1]
    count = len(told(tmp_path))
    gone = len(read(first.path).records)
    journal.drop(first)
    assert count - gone == len(told(tmp_path)) > 0
    assert journal.size_bytes == sum(path.stat().st_size for _, path in segments_of(tmp_path, "w1"))


def test_a_journal_that_is_done_leaves_nothing(journal, tmp_path):
    """Not even its lock."""
    for n in range(12):
        journal.write(intent(f"a-{n}"))
    journal.close(is_done=True)
    assert [] == list(tmp_path.iterdir())
    journal.close(is_done=True)


# ── reading ──


def body_of(tmp_path):
    journal = Journal(tmp_path, "w1")
    journal.open()
    for n in range(3):
        journal.write(intent(f"a-{n}"))
    journal.close()
    path = segments_of(tmp_path, "w1")[0][1]
    return path, path.read_bytes()


def test_a_cut_anywhere_leaves_the_records_before_it(tmp_path):
    """At each byte of the file: no more, no fewer."""
    path, body = body_of(tmp_path)
    ends = [0]
    while ends[-1] < len(body):
        ends.append(ends[-1] + 8 + int.from_bytes(body[ends[-1] : ends[-1] + 4], "little"))
    for length in range(len(body) + 1):
        path.write_bytes(body[:length])
        whole = sum(1 for end in ends[2:] if end <= length)
        page = read(path)
        assert (whole, length) == (len(page.records), page.size)
        assert max(end for end in ends if end <= length) == page.end


@given(st.data())
def test_a_bit_that_fell_over_ends_what_is_believed(tmp_path_factory, data):
    """Wherever it is; records before it are as they were, and nothing else comes out."""
    path, body = body_of(tmp_path_factory.mktemp("journal"))
    at = data.draw(st.integers(0, len(body) - 1))
    path.write_bytes(body[:at] + bytes([body[at] ^ (1 << data.draw(st.integers(0, 7)))]) + body[at + 1 :])
    found = [record.attempt_id for record in read(path).records]
    assert found == ["a-0", "a-1", "a-2"][: len(found)]
    assert len(found) < 3


def test_zeros_are_no_records(tmp_path):
    """A file system may leave them where a power cut took what was written."""
    path, body = body_of(tmp_path)
    path.write_bytes(body + bytes(4096))
    page = read(path)
    assert (3, len(body)) == (len(page.records), page.end)


def test_a_segment_is_not_believed_if_the_one_before_is_shorter_than_it_says(journal, tmp_path):
    """T27: a later record must never be there without the earlier one."""
    for n in range(12):
        journal.write(intent(f"a-{n}"))
    first = journal.segments[1].path
    first.write_bytes(first.read_bytes()[:-1])
    assert len(read(first).records) == len(told(tmp_path)) > 0


def test_another_versions_journal_is_left_to_it(tmp_path):
    """It says so, and nothing is thrown away."""
    path, body = body_of(tmp_path)
    for kind, packed in ((b"h", b"\x94\x02\xa1w\x01\x00"), (b"x", b""), (b"e", b"\x91\x01")):
        from zlib import crc32

        frame = kind + packed
        path.write_bytes(body + len(frame).to_bytes(4, "little") + crc32(frame).to_bytes(4, "little") + frame)
        with pytest.raises(ValueError, match="another version of Turnout"):
            read(path)


def test_reading_goes_on_from_where_it_ended(journal):
    """For those who read while another writes."""
    journal.write(intent("a-1"))
    page = read(journal.current.path)
    journal.write(entry("a-1"))
    rest = read(journal.current.path, page.end)
    assert [entry("a-1")] == list(rest.records)
    assert journal.current.length == rest.end


def test_who_has_a_journal_is_found(journal, tmp_path):
    """By lock or by segment, whatever else is in the folder."""
    (tmp_path / "w-2-7.log").touch()
    (tmp_path / "w3.lock").touch()
    (tmp_path / "w1-x.log").touch()
    (tmp_path / "w1-1.log.torn").touch()
    assert ["w-2", "w1", "w3"] == writers_in(tmp_path)
    assert [1] == [number for number, _ in segments_of(tmp_path, "w1")]
    assert [7] == [number for number, _ in segments_of(tmp_path, "w-2")]
    assert lock_path(tmp_path, "w1").exists()
