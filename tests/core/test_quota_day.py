"""core/quota_day.py: what was used of a vendor's day."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import Quota
from turnout.core.pacing import HOURS
from turnout.core.quota_day import SKEW_S, DayBook, DayUse

MIDNIGHT = 1_800_057_600.0
DAY = 86_400.0
NOON = MIDNIGHT - DAY / 2


def made(wall: float = NOON, **begins) -> DayBook:
    """A book that begins at `wall`."""
    return DayBook(Quota("free", "stub", **begins), wall)


def used(book: DayBook) -> tuple[int, int]:
    """What it counts."""
    return book.requests, book.tokens


def test_a_new_day_opens_a_second_after_the_reset():
    """And nothing of the old one counts."""
    book = made()
    book.add(3, 30, NOON)
    book.turn(MIDNIGHT + SKEW_S - 0.01)
    assert (3, 30) == used(book)
    assert MIDNIGHT + SKEW_S == book.ends
    book.turn(MIDNIGHT + SKEW_S)
    assert (0, 0) == used(book)
    assert MIDNIGHT + DAY + SKEW_S == book.ends


def test_what_is_used_next_to_the_reset_counts_for_both_days():
    """Unless the whole next day has passed since."""
    book = made()
    book.add(1, 1, MIDNIGHT - SKEW_S - 0.01)
    assert not book.is_late(MIDNIGHT - SKEW_S - 0.01)
    book.add(2, 20, MIDNIGHT - SKEW_S)
    book.add(4, 40, MIDNIGHT + SKEW_S / 2)
    assert (7, 61) == used(book)
    book.add(8, 80, MIDNIGHT + 5)
    assert (14, 140) == used(book)
    book.add(1, 1, MIDNIGHT + DAY)
    book.turn(MIDNIGHT + 3 * DAY)
    assert (0, 0) == used(book)


def test_a_start_next_to_the_reset_is_still_in_the_old_day():
    """Whose use an earlier run may have to tell of."""
    assert MIDNIGHT == made(MIDNIGHT + SKEW_S / 2).day.end
    assert MIDNIGHT + DAY == made(MIDNIGHT + SKEW_S).day.end


def test_what_is_taken_back_is_of_its_own_day():
    """Of one that is over there is nothing to take back."""
    book = made()
    number = book.day.number
    book.add(3, 30, NOON)
    book.take_back(number, 1, 10, NOON)
    assert (2, 20) == used(book)
    book.take_back(number, 1, 10, MIDNIGHT + 5)
    assert (0, 0) == used(book)


def test_what_others_know_counts_if_it_is_more():
    """Never less."""
    book = made()
    book.add(3, 30, NOON)
    book.at_least(5, 20, NOON)
    assert (5, 30) == used(book)


def test_another_reset_keeps_what_was_used_today():
    """And only that."""
    book = made()
    book.add(3, 30, NOON)
    book.configure(Quota("free", "stub"), NOON)
    book.configure(Quota("free", "stub", day_zone="Asia/Tokyo"), NOON)
    assert (3, 30) == used(book)
    assert NOON + 3 * 3600 == book.day.end
    book.configure(Quota("free", "stub", day_starts_s=3600), MIDNIGHT)
    assert (0, 0) == used(book)
    assert MIDNIGHT + 3600 == book.day.end


def test_a_clock_that_was_ahead_goes_back():
    """Yesterday, as it seemed, is today: it counts again, with what was used since."""
    book = made()
    book.add(3, 30, NOON)
    book.add(2, 20, NOON + DAY)
    assert (2, 20) == used(book)
    book.set_back(NOON + DAY / 2 - 1)
    assert (5, 50) == used(book)
    assert MIDNIGHT == book.day.end
    book.set_back(NOON)
    assert (5, 50) == used(book)
    book.set_back(NOON - DAY)
    assert (5, 50) == used(book)


@pytest.mark.parametrize(("days", "counted"), [(-2, (0, 0)), (-1, (1, 10)), (0, (5, 50)), (1, (5, 50)), (400, (5, 50))])
def test_what_an_earlier_run_used(days, counted):
    """Today, or in a day to come: all of it. Yesterday: what was used next to the reset."""
    book = made()
    book.restore(DayUse(book.day.number + days, 5, 50, 1, 10))
    assert counted == used(book)
    book.turn(MIDNIGHT + SKEW_S)
    assert ((1, 10) if days >= 0 else (0, 0)) == used(book)


def test_a_restart_with_a_clock_that_was_ahead():
    """It took yesterday's use for over; then the vendor's date says that it is not."""
    before = made()
    before.add(5, 50, NOON)
    book = made(NOON + DAY)
    book.restore(before.used())
    assert (0, 0) == used(book)
    book.set_back(NOON)
    assert (5, 50) == used(book)
    assert before.used() == book.used()


def test_positions():
    """Hours of a day of 24, however long it is."""
    long = made(1_793_556_000.0, day_zone="America/Los_Angeles")  # 1 November 2026, with 25 hours
    assert 25 * 3600 == long.day.end - long.day.start
    assert 12.0 == long.position(long.day.start + 12.5 * 3600)
    assert long.day.start + 12.5 * 3600 == long.wall_of(12.0)
    assert [0.0, HOURS - 1e-6] == [long.position(long.day.start - 5), long.position(long.day.end + 5)]
    assert long.day.number * HOURS + 12.0 == long.hours(long.day.start + 12.5 * 3600)


@given(st.lists(st.floats(0, 2 * DAY), max_size=30), st.floats(-SKEW_S, SKEW_S), st.data())
def test_no_day_of_the_vendors_is_counted_short(instants, off_s, data):
    """Whatever a vendor's clock within a second of ours counts of a day, we count at least; also after a restart."""
    book, seen = made(), []
    for instant in sorted(instants):
        wall = NOON + instant
        if data.draw(st.booleans()):
            kept, book = book.used(), made(wall)
            book.restore(kept)
        book.add(1, 0, wall)
        seen.append((wall + off_s) // DAY)
        assert book.requests >= max(seen.count(day) for day in {(book.day.start + 10) // DAY})
