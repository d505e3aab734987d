"""core/contact.py: one failure ends contact, steady answers begin it, and who fails again soon must prove more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turnout.core.contact import MOST_PROBES, SOON_S, Contact


def test_it_begins_without_and_the_first_answer_begins_it():
    """A store that is there at the start is used from its first answer on."""
    contact = Contact(5.0)
    assert (False, 5.0) == (contact.is_up, contact.since)
    assert contact.answered(6.0)
    assert (True, 6.0) == (contact.is_up, contact.since)


def test_one_failure_ends_it_and_only_changes_are_told():
    """Whoever logs by what is returned logs once, however many requests fail or answer together."""
    contact = Contact(0.0)
    assert not contact.failed(0.5)
    assert [True, False, False] == [contact.answered(at) for at in (1.0, 2.0, 3.0)]
    assert [True, False, False] == [contact.failed(at) for at in (99.0, 99.1, 99.2)]
    assert (False, 99.0) == (contact.is_up, contact.since)


def test_a_store_that_fails_soon_after_it_came_back_needs_more_answers_in_a_row():
    """1, 2, 4, then 5 at most, which a second apart is still within ten."""
    contact, now, needed = Contact(0.0), 0.0, []
    for _ in range(5):
        count = 0
        while not contact.is_up:
            now += 1
            count += 1
            contact.answered(now)
        needed.append(count)
        contact.failed(now + 1)
    assert [1, 2, 4, 5, 5] == needed
    assert MOST_PROBES == 5


def test_a_failure_between_begins_the_count_anew():
    """In a row means in a row."""
    contact = Contact(0.0)
    contact.answered(1.0)
    contact.failed(2.0)
    assert not contact.answered(3.0)
    contact.failed(4.0)
    assert not contact.answered(5.0)
    assert contact.answered(6.0)


def test_a_long_time_of_peace_is_trusted_again():
    """What failed long after its return comes back with one answer."""
    contact = Contact(0.0)
    contact.answered(1.0)
    contact.failed(2.0)
    contact.answered(3.0)
    contact.answered(4.0)
    contact.failed(4.0 + SOON_S)
    assert contact.answered(50.0)


@given(st.lists(st.booleans(), max_size=60))
def test_it_is_never_up_after_a_failure_and_always_after_five_answers(answers):
    """Whatever comes: the latest failure counts, and no store is kept out for longer than five probes."""
    contact, good = Contact(0.0), 0
    for now, is_answer in enumerate(answers, 1):
        if is_answer:
            contact.answered(float(now))
            good += 1
        else:
            contact.failed(float(now))
            good = 0
        assert contact.is_up or good < MOST_PROBES
        assert not contact.is_up or good > 0
