"""core/leasing.py: how much of a limit one of several processes holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turnout.core.leasing import SHARE, WANT_S, Held, Lease, Need, halfway, kept, take, unheard
from turnout.core.rules import Rates

NOW = 1000.0
NONE = Rates()
ONE = Need(1, 0, 0)

amounts = st.builds(Rates, st.integers(0, 200), st.integers(0, 5000), st.integers(0, 20))
limits = st.builds(Rates, st.integers(0, 100), st.integers(0, 3000), st.integers(0, 10))


def test_where_much_is_left_more_is_taken_than_is_needed():
    """So that a caller comes to most of his limit in few steps; where little is, one by one."""
    held = take(Rates(100), NONE, NONE, ONE, NONE, 0).rates
    assert Rates(1 + 99 // SHARE) == held
    assert Rates(91) == take(Rates(100), Rates(90), Rates(90), ONE, NONE, 0).rates


def test_nobody_takes_what_others_hold():
    """And what cannot be had is wanted."""
    assert Held(Rates(4), Rates(96), 0, wants=True, is_sure=True) == take(
        Rates(100), Rates(3), Rates(3), Need(2, 0, 0), Rates(96), 0
    )
    assert Held(Rates(3), Rates(97), 0, wants=True, is_sure=False) == take(
        Rates(100), Rates(3), Rates(3), ONE, Rates(97), 0
    )


def test_what_would_not_be_enough_is_left():
    """Forty tokens are of no use to a request for ninety, and none of its other numbers is taken either."""
    limit = Rates(100, 100, 5)
    assert Held(NONE, Rates(5, 60, 0), 0, wants=True, is_sure=False) == take(
        limit, NONE, NONE, Need(1, 90, 90), Rates(5, 60, 0), 0
    )
    assert Rates(8, 40, 1) == take(limit, NONE, NONE, Need(3, 90, 30), Rates(5, 60, 4), 0).rates


def test_what_has_no_limit_is_not_held():
    """Whatever was used of it."""
    assert Rates(0, 81, 0) == take(Rates(0, 100), Rates(70, 30, 9), NONE, Need(1, 50, 50), NONE, 0).rates
    assert Rates(0, 30, 0) == kept(Rates(0, 100), Rates(70, 30, 9), NONE, gives_back=False)
    assert Rates(0, 65, 0) == halfway(Rates(0, 100), Rates(70, 30, 9))


def test_nobody_goes_beyond_a_fair_part_where_others_want_some():
    """Rounded up to whole requests of the smallest size: a part of one is of no use."""
    assert Rates(50) == take(Rates(100), Rates(20), Rates(20), Need(60, 0, 0), NONE, 1).rates
    assert 60 == take(Rates(0, 100), NONE, NONE, Need(4, 120, 30), NONE, 1).rates.tokens_minute
    lease = Lease(Rates(80, 500, 8))
    assert Rates(80, 500, 8) == lease.usable(Rates(100, 600, 9))
    lease.rivals = 2
    assert Rates(34, 200, 3) == lease.usable(Rates(100, 600, 9))


def test_what_is_not_in_use_goes_back_where_others_want_some():
    """And only there: it would have to be fetched again."""
    limit, used, held = Rates(100, 1000, 10), Rates(20, 300, 2), Rates(50, 400, 5)
    assert held == kept(limit, used, held, gives_back=False)
    assert used == kept(limit, used, held, gives_back=True)
    assert Rates(50, 900, 5) == kept(limit, Rates(20, 900, 2), held, gives_back=False)


def test_what_is_held_beyond_what_was_taken_lets_nobody_in():
    """A vendor wrote more than it should: others must know, and it goes as it leaves the window."""
    limit = Rates(100, 1000)
    lease = Lease(Rates(10, 300))
    lease.keep(limit, Rates(4, 200))
    assert (True, Rates(10, 300), Rates(10, 300)) == (lease.is_sure, lease.held, lease.usable(limit))
    lease.keep(limit, Rates(4, 500))
    assert (False, Rates(4, 500), Rates()) == (lease.is_sure, lease.held, lease.usable(limit))
    lease.keep(limit, Rates(2, 250))
    assert (False, Rates(2, 250)) == (lease.is_sure, lease.held)
    refused = take(limit, Rates(2, 250), Rates(2, 250), ONE, Rates(98, 700), 0)
    lease.took(refused)
    assert not lease.is_sure
    lease.took(take(limit, Rates(2, 250), Rates(2, 250), ONE, Rates(50, 700), 0))
    assert lease.is_sure
    assert Rates() != lease.usable(limit)


def test_what_is_not_sure_is_settled_once_nothing_is_held():
    """Nothing is within every limit."""
    lease = Lease(Rates(5), is_sure=False)
    lease.keep(Rates(100), Rates(3))
    assert not lease.is_sure
    lease.keep(Rates(100), NONE)
    assert lease.is_sure


def test_who_got_all_that_he_asked_for_may_wait_again():
    """There may be more."""
    lease = Lease(NONE)
    lease.dry_until = NOW
    lease.took(Held(NONE, NONE, 0, wants=True, is_sure=False))
    assert NOW == lease.dry_until
    lease.took(Held(NONE, NONE, 0, wants=False, is_sure=True))
    assert 0.0 == lease.dry_until


def test_who_was_alone_leaves_half_of_the_rest():
    """To whoever comes; what was used stays held, however much it was."""
    assert Rates(60, 1500, 5) == halfway(Rates(100, 1000, 10), Rates(20, 1500, 1))


def test_without_word_everybody_has_what_he_holds_or_an_equal_part():
    """Of at least one: nobody is refused for good because the books cannot be reached."""
    assert Rates(33, 800, 1) == unheard(Rates(100, 1000, 2), Rates(10, 800, 0), 2)
    assert Rates(100, 0, 0) == unheard(Rates(100), NONE, 0)


# ── what is remembered ──


def test_what_waits_is_asked_for_together():
    """Once; and the smallest of it must fit."""
    lease = Lease(NONE)
    assert not lease.is_wanting(NOW)
    lease.lack(80, NOW, waits=True)
    lease.lack(30, NOW, waits=True)
    lease.lack(50, NOW, waits=True)
    assert lease.is_wanting(NOW + 10)
    assert Need(3, 160, 30) == lease.need()
    assert Need(1, 30, 30) == lease.need()


def test_what_was_refused_is_asked_for_a_while():
    """For whoever comes again; then no more."""
    lease = Lease(NONE)
    lease.lack(50, NOW, waits=False)
    lease.took(Held(NONE, NONE, 0, wants=True, is_sure=False))
    assert lease.is_wanting(NOW + WANT_S - 0.001)
    assert Need(1, 50, 50) == lease.need()
    assert not lease.is_wanting(NOW + WANT_S)
    assert not lease.is_wanting(NOW)


def test_who_got_what_he_needs_wants_no_more():
    """And what the books say is remembered, to write only what differs."""
    lease = Lease(NONE)
    assert not lease.is_in_books
    lease.lack(50, NOW, waits=True)
    lease.need()
    lease.took(Held(Rates(1, 50, 1), Rates(5), 2, wants=False, is_sure=True))
    assert not lease.is_wanting(NOW)
    assert lease.is_in_books
    assert (Rates(1, 50, 1), False) == lease.written
    assert (Rates(5), 2) == (lease.others, lease.rivals)


def test_what_is_inherited_is_held_and_written():
    """The books have added it to our row already."""
    lease = Lease(Rates(1, 50, 1))
    lease.inherit(Rates(4, 100, 0))
    assert Rates(5, 150, 1) == lease.held
    assert (Rates(4, 100, 0), False) == lease.written


# ── always ──


@given(limits, amounts, amounts, amounts, st.integers(1, 30), st.integers(0, 400), st.integers(0, 3))
def test_all_together_never_hold_more_than_the_limit(limit, used, held, others, requests, each, rivals):
    """Unless more was used, which is the truth and has to be told; and what is taken is never less than what is used."""
    got = take(limit, used, held, Need(requests, requests * each, each), others, rivals).rates
    for name in Rates.__struct_fields__:
        most, mine = getattr(limit, name), getattr(got, name)
        if not most:
            assert mine == 0
            continue
        assert mine >= max(getattr(used, name), getattr(held, name))
        more = mine - max(getattr(used, name), getattr(held, name))
        assert not more or mine + getattr(others, name) <= most


@given(st.integers(2, 200), st.lists(st.integers(0, 3), min_size=1, max_size=300))
def test_whoever_asks_for_one_gets_one_while_there_is_one(limit, askers):
    """Processes that give back what they do not use get all of a limit, to the last, and not more."""
    held = dict.fromkeys(range(4), 0)
    used = dict.fromkeys(range(4), 0)
    for asker in askers:
        if used[asker] >= held[asker]:
            others = sum(held.values()) - held[asker]
            got = take(Rates(limit), Rates(used[asker]), Rates(held[asker]), ONE, Rates(others), 0)
            if got.wants:
                held = {one: used[one] if one != asker else held[one] for one in held}  # as their next look does
                others = sum(held.values()) - held[asker]
                got = take(Rates(limit), Rates(used[asker]), Rates(held[asker]), ONE, Rates(others), 0)
            held[asker] = got.rates.requests_minute
        assert sum(held.values()) <= limit
        if used[asker] < held[asker]:
            used[asker] += 1
        else:
            assert sum(used.values()) == limit
    assert sum(used.values()) == min(limit, len(askers))
