"""The SQLite stores on real files."""

import sqlite3
import stat
import time

import pytest

from turnout.errors import StoreError
from turnout.stores import RolloutChange
from turnout.stores.sqlite import RECOUNT_BATCHES, SqliteStateStore, SqliteTraceStore


@pytest.fixture
def traces(tmp_path):
    store = SqliteTraceStore(tmp_path / "traces.sqlite3", bound=5)
    yield store
    store.close()


@pytest.fixture
def state(tmp_path):
    store = SqliteStateStore(tmp_path / "state.sqlite3")
    yield store
    store.close()


def lines(*ids):
    """Encoded traces as the recorder gives them."""
    return list(ids), b"".join(b'{"request_id":"%b","n":1}\n' % one.encode() for one in ids)


def line(one):
    return b'{"request_id":"%b","n":1}' % one.encode()


def test_a_trace_is_found_by_its_id_in_whichever_batch_it_is(traces):
    """Batches overlap: a long request ends among later ones."""
    traces.add(*lines("req_3", "req_1"))
    traces.add(*lines("req_2", "req_5"))
    assert [traces.get(f"req_{n}") for n in (1, 2, 3, 5)] == [line(f"req_{n}") for n in (1, 2, 3, 5)]
    assert traces.get("req_4") is None
    assert traces.get("req") is None
    assert traces.latest(3) == [line("req_5"), line("req_2"), line("req_1")]


def test_the_oldest_batches_go_when_the_bound_is_met(traces, tmp_path):
    """The file does not grow for ever, and a new process goes on counting."""
    for number in range(12):
        traces.add(*lines(f"req_{number:02d}"))
    assert traces.latest(100) == [line(f"req_{number:02d}") for number in (11, 10, 9, 8, 7)]
    again = SqliteTraceStore(tmp_path / "traces.sqlite3", bound=5)
    again.add(*lines("req_20", "req_21"))
    assert len(again.latest(100)) == 5
    assert again.get("req_08") is None
    again.close()


def test_several_processes_keep_one_bound_together(tmp_path):
    """Each counts what it writes, and looks now and then at what the others wrote."""
    workers = [SqliteTraceStore(tmp_path / "t.sqlite3", bound=40) for _ in range(3)]
    for number in range(3 * 10 * RECOUNT_BATCHES):
        workers[number % 3].add(*lines(f"req_{number:05d}"))
    assert len(workers[0].latest(10_000)) <= 40 + 3 * RECOUNT_BATCHES
    workers[0].bound = 10  # as a new configuration may say
    for number in range(RECOUNT_BATCHES):
        workers[0].add(*lines(f"req_{90000 + number}"))
    assert len(workers[0].latest(10_000)) == 10
    for worker in workers:
        worker.close()


def test_a_locked_file_is_waited_for_as_long_as_was_said(tmp_path):
    """Then it is an error, and the next batch is written once the lock is gone."""
    store = SqliteTraceStore(tmp_path / "t.sqlite3", locked_s=0.05)
    with sqlite3.connect(tmp_path / "t.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.perf_counter()
        with pytest.raises(StoreError, match="locked"):
            store.add(*lines("req_1"))
        took = time.perf_counter() - began
        other.execute("ROLLBACK")
    other.close()
    assert 0.05 <= took < 1.0
    store.add(*lines("req_2"))
    assert store.latest(10) == [line("req_2")]
    store.close()


def test_one_batch_larger_than_the_bound_stays_until_the_next(traces):
    """Nothing is written only to be deleted."""
    traces.add(*lines(*(f"req_{number}" for number in range(9))))
    assert len(traces.latest(100)) == 9
    traces.add(*lines("req_x"))
    assert traces.latest(100) == [line("req_x")]


def test_a_batch_that_cannot_be_written_is_an_error_and_the_store_goes_on(traces):
    """What SQLite refuses leaves nothing behind."""
    with pytest.raises(StoreError, match=r"traces\.sqlite3"):
        traces.add(["req_1"], "text, not bytes")  # type: ignore[arg-type]
    assert traces.latest(10) == []
    traces.add(*lines("req_2"))
    assert traces.latest(10) == [line("req_2")]


def test_what_one_process_wrote_another_reads(tmp_path):
    """The command line reads the file that a gateway is writing."""
    writer, reader = SqliteTraceStore(tmp_path / "t.sqlite3"), SqliteTraceStore(tmp_path / "t.sqlite3")
    writer.add(*lines("req_1"))
    assert reader.get("req_1") == line("req_1")
    writer.close()
    reader.close()


def test_only_the_owner_may_read_the_files(tmp_path):
    """Traces name users; state holds the key's hash."""
    SqliteTraceStore(tmp_path / "home" / "t.sqlite3").close()
    mode = stat.S_IMODE((tmp_path / "home" / "t.sqlite3").stat().st_mode)
    assert mode == 0o600


def test_a_path_that_cannot_be_written_is_an_error_with_the_path_in_it(tmp_path):
    """A file where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        SqliteStateStore(tmp_path / "file" / "state.sqlite3")


def test_facts_are_written_replaced_and_survive(tmp_path):
    """They are there for the next process."""
    store = SqliteStateStore(tmp_path / "s.sqlite3")
    assert store.get_fact("a") is None
    store.put_fact("a", b"1")
    store.put_fact("a", b"2")
    store.close()
    again = SqliteStateStore(tmp_path / "s.sqlite3")
    assert again.get_fact("a") == b"2"
    again.close()


def test_the_newest_change_of_each_rollout_counts_and_the_history_stays(state, tmp_path):
    """Changes are appended, never overwritten."""
    state.add_rollout_change(RolloutChange("litellm", 10, ("0 from f",), 1.0, "x"))
    state.add_rollout_change(RolloutChange("litellm", 25, ("0 from f",), 2.0, "y"))
    state.add_rollout_change(RolloutChange("other", 5, ("1 from f",), 3.0, "z"))
    assert state.rollout_changes() == {
        "litellm": RolloutChange("litellm", 25, ("0 from f",), 2.0, "y"),
        "other": RolloutChange("other", 5, ("1 from f",), 3.0, "z"),
    }
    rows = sqlite3.connect(tmp_path / "state.sqlite3").execute("SELECT count(*) FROM rollout_change").fetchone()
    assert rows == (3,)


def test_a_percentage_out_of_range_is_refused_by_the_table_itself(state):
    """The last guard stands in the schema."""
    with pytest.raises(StoreError):
        state.add_rollout_change(RolloutChange("litellm", 101, ("0 from f",), 1.0, "x"))


def test_the_version_differs_after_a_change_by_us_or_by_another(state, tmp_path):
    """That is how a running gateway notices `turnout rollout set`."""
    first = state.version()
    assert state.version() == first
    other = SqliteStateStore(tmp_path / "state.sqlite3")
    other.add_rollout_change(RolloutChange("litellm", 25, ("0 from f",), 2.0, "y"))
    second = state.version()
    assert second != first
    state.put_fact("a", b"b")
    assert state.version() != second
    other.close()
