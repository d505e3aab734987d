"""The SQLite stores on real files."""

import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from turnout.errors import StoreError
from turnout.stores import Found, RolloutChange
from turnout.stores.sqlite import (
    FORGOTTEN_AT_ONCE,
    KEPT_S,
    LEASE_S,
    RECOUNT_BATCHES,
    SqliteAnswerStore,
    SqliteStateStore,
    SqliteTraceStore,
)


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


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path):
    """Several workers start together: SQLite tells all but one of them at once that the file is locked."""
    with ThreadPoolExecutor(8) as several:
        for number in range(40):
            path = tmp_path / f"{number}.sqlite3"
            opened = list(several.map(SqliteStateStore, [path] * 8))
            for store in opened:
                store.close()


def test_a_new_file_that_stays_locked_is_an_error(tmp_path):
    """It is waited for, but not for ever."""
    path = tmp_path / "state.sqlite3"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked"):
        SqliteStateStore(path, opens_s=0.1)
    other.execute("COMMIT")
    other.close()
    SqliteStateStore(path).close()


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


def test_a_fact_that_need_not_outlast_a_power_cut_is_there_all_the_same(state, tmp_path):
    """Another process sees it at once, and what is written next is synchronised again."""
    state.put_fact("quotas", b"1")
    state.put_fact("quotas", b"2", is_lasting=False)
    again = SqliteStateStore(tmp_path / "state.sqlite3")
    assert again.get_fact("quotas") == b"2"
    again.close()
    assert state._database.execute("PRAGMA synchronous").fetchone() == (2,)


# ── answers ──

DAY_S = 24 * 3600.0


@pytest.fixture
def answers(tmp_path):
    store = SqliteAnswerStore(tmp_path / "answers.sqlite3")
    yield store
    store.close()


def kept(store, slot, request=b"r", *pieces, now=0.0, wall=0.0):
    """Fill a slot with an answer; return its id."""
    found = store.claim(slot, request, now, wall)
    assert found.state == "mine"
    store.finish(found.id, 0, pieces, b"head", wall)
    return found.id


def test_an_answer_is_there_once_it_is_finished(answers):
    """In pieces, in order, from the first to the last."""
    mine = answers.claim(b"s", b"r", 0.0, 0.0)
    answers.add(mine.id, 0, [b"a", memoryview(b"xbx")[1:2]])
    assert answers.claim(b"s", b"r", 1.0, 0.0) == Found("busy")
    answers.finish(mine.id, 2, [b"c"], b"head", 5.0)
    found = answers.claim(b"s", b"r", 2.0, 5.0)
    assert found == Found("kept", mine.id, b"head", 3)
    assert [answers.piece(found.id, number) for number in range(4)] == [b"a", b"b", b"c", None]


def test_an_empty_answer_is_one(answers):
    """Kept without a piece."""
    id_ = kept(answers, b"s")
    assert answers.claim(b"s", b"r", 0.0, 0.0) == Found("kept", id_, b"head", 0)


def test_a_slot_belongs_to_one_request(answers):
    """While it is answered, and after."""
    mine = answers.claim(b"s", b"r", 0.0, 0.0)
    assert answers.claim(b"s", b"other", 1.0, 0.0) == Found("other")
    answers.finish(mine.id, 0, [], b"head", 0.0)
    assert answers.claim(b"s", b"other", 1.0, 0.0) == Found("other")
    assert answers.claim(b"another slot", b"other", 1.0, 0.0).state == "mine"


def test_a_claim_that_is_not_renewed_falls_to_the_next_who_asks(answers):
    """Also if it was for another request; and what its owner writes then goes nowhere."""
    mine = answers.claim(b"s", b"r", 100.0, 0.0)
    answers.renew([mine.id], 105.0)
    assert answers.claim(b"s", b"r", 105.0 + LEASE_S, 0.0) == Found("busy")
    theirs = answers.claim(b"s", b"other", 105.1 + LEASE_S, 0.0)
    assert theirs.state == "mine"
    assert theirs.id > mine.id
    with pytest.raises(StoreError, match="claim"):
        answers.add(mine.id, 0, [b"late"])
    with pytest.raises(StoreError, match="claim"):
        answers.finish(mine.id, 0, [], b"late", 0.0)
    answers.release(mine.id)
    answers.finish(theirs.id, 0, [b"theirs"], b"head", 0.0)
    assert answers.piece(theirs.id, 0) == b"theirs"


def test_a_claim_that_was_made_while_another_waited_for_its_turn_holds(answers):
    """Whoever waits for the file comes with a time from before."""
    answers.claim(b"s", b"r", 101.0, 0.0)
    assert answers.claim(b"s", b"r", 100.0, 0.0) == Found("busy")


def test_a_clock_that_starts_anew_frees_what_it_left(answers):
    """Monotonic seconds begin at zero with the machine: a lease from before looks far ahead."""
    answers.claim(b"s", b"r", 1e6, 0.0)
    assert answers.claim(b"s", b"r", 3.0, 0.0).state == "mine"


def test_a_released_slot_is_free_and_empty(answers):
    """For any request."""
    mine = answers.claim(b"s", b"r", 0.0, 0.0)
    answers.add(mine.id, 0, [b"half"])
    answers.release(mine.id)
    theirs = answers.claim(b"s", b"other", 0.0, 0.0)
    assert theirs.state == "mine"
    assert answers.piece(mine.id, 0) is None


def test_an_answer_is_kept_for_a_day_and_then_forgotten_with_its_pieces(answers, tmp_path):
    """From its end on."""
    id_ = kept(answers, b"s", b"r", b"body", wall=1000.0)
    assert answers.claim(b"s", b"r", 0.0, 1000.0 + DAY_S).state == "kept"
    assert answers.claim(b"s", b"other", 0.0, 1000.0 + KEPT_S + 1).state == "mine"
    assert answers.piece(id_, 0) is None


def test_old_answers_become_fewer_with_every_new_one(answers):
    """More go at once than come."""
    ids = [kept(answers, b"%d" % number, b"r", b"x", wall=float(number)) for number in range(FORGOTTEN_AT_ONCE + 3)]
    answers.claim(b"new", b"r", 0.0, KEPT_S + 1000)
    assert [answers.piece(id_, 0) for id_ in ids] == [None] * FORGOTTEN_AT_ONCE + [b"x"] * 3
    assert answers.claim(b"%d" % (FORGOTTEN_AT_ONCE + 1), b"r", 0.0, KEPT_S + 1000).state == "mine"


def test_a_full_file_takes_no_new_key_keeps_what_it_has_and_empties_with_time(tmp_path):
    """A promise of a day is not broken to make room."""
    store = SqliteAnswerStore(tmp_path / "a.sqlite3", bound=300_000)
    first = kept(store, b"0", b"r", bytes(200_000), wall=0.0)
    kept(store, b"1", b"r", bytes(200_000), wall=10.0)
    with pytest.raises(StoreError, match="full"):
        store.claim(b"2", b"r", 0.0, 20.0)
    assert store.claim(b"0", b"r", 0.0, 20.0).state == "kept"
    assert store.claim(b"3", b"r", 0.0, KEPT_S + 5).state == "mine"
    assert store.piece(first, 0) is None
    store.close()


def test_answers_outlive_their_process_and_are_the_owners_alone(tmp_path):
    """No file before the first key."""
    path = tmp_path / "home" / "answers.sqlite3"
    store = SqliteAnswerStore(path)
    assert not path.exists()
    id_ = kept(store, b"s", b"r", b"body")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.close()
    again = SqliteAnswerStore(path)
    assert again.claim(b"s", b"r", 0.0, 0.0) == Found("kept", id_, b"head", 1)
    again.close()
    with pytest.raises(StoreError):
        again.piece(id_, 0)


def test_one_of_many_threads_and_processes_gets_the_slot(tmp_path):
    """However they meet."""
    stores = [SqliteAnswerStore(tmp_path / "a.sqlite3") for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: stores[number % 2].claim(b"s", b"r", 0.0, 0.0), range(40)))
    assert sorted(one.state for one in found) == ["busy"] * 39 + ["mine"]
    for store in stores:
        store.close()


def test_a_locked_file_of_answers_is_an_error_and_leaves_nothing_half(tmp_path):
    """All or nothing, also where a constraint is broken in the middle."""
    store = SqliteAnswerStore(tmp_path / "a.sqlite3", locked_s=0.05)
    mine = store.claim(b"s", b"r", 0.0, 0.0)
    with pytest.raises(StoreError):
        store.add(mine.id, 0, [b"good", "no bytes"])  # type: ignore[list-item]
    assert store.piece(mine.id, 0) is None
    with sqlite3.connect(tmp_path / "a.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            store.add(mine.id, 0, [b"x"])
        other.execute("ROLLBACK")
    other.close()
    store.finish(mine.id, 0, [b"x"], b"head", 0.0)
    assert store.piece(mine.id, 0) == b"x"
    store.close()
