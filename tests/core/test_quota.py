"""core/quota.py: what vendors allow us."""

from __future__ import annotations

from math import inf
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import Quota
from turnout.core.quota import Need, Quotas, counted
from turnout.core.quota_window import SPAN_S, WINDOW_S

NOON = 1_800_014_400.0
NOW = 5000.0
BOTH = ("account", "account/model")
ANY = Need()
HIGH = Need(is_high=True)


def made(*quotas: Quota) -> Quotas:
    """Books that begin at noon, UTC."""
    return Quotas({quota.name: quota for quota in quotas}, NOW, NOON)


def used(books: Quotas, what: str = "requests_minute") -> dict[str, int]:
    """What each quota counts, where it has that limit."""
    return {view.name: gauge.used for view in books.views(NOW, NOON) for gauge in view.gauges if gauge.what == what}


def test_which_quotas_count_a_call():
    """Those of its account whose pattern fits the vendor's id."""
    quotas = {
        "a": Quota("a", "one"),
        "b": Quota("b", "one", "*:free"),
        "c": Quota("c", "one", "vendor/Model"),
        "d": Quota("d", "two"),
    }
    assert ("a", "b") == counted(quotas, "one", "vendor/x:free")
    assert ("a", "c") == counted(quotas, "one", "vendor/model")
    assert () == counted(quotas, "three", "vendor/model")


def test_what_config_does_not_know_allows_everything():
    """A request may still hold the names of a config that is gone."""
    books = made()
    taken = books.take(BOTH, ANY, NOW)
    assert taken is not None
    assert 0.0 == books.wait_s(BOTH, ANY, NOW)
    books.wanted(BOTH, NOW)
    books.told(BOTH, {}, 200, NOW)
    books.refused(BOTH, 5.0, NOW)
    books.sent(taken, NOW)
    books.settle(taken, 5, NOW)
    books.end(taken, NOW)
    assert [] == books.views(NOW, NOON)


def test_all_or_nothing():
    """T24: what one quota refuses changes no other."""
    books = made(
        Quota("account", "a", requests_minute=10, tokens_minute=100, requests_day=10, tokens_day=100, at_once=10),
        Quota("account/model", "a", requests_minute=1),
    )
    assert books.take(BOTH, Need(tokens=7), NOW) is not None
    before = books.views(NOW, NOON)
    assert books.take(BOTH, Need(tokens=7), NOW) is None
    assert 0.25 + SPAN_S == books.wait_s(BOTH, Need(tokens=7), NOW)
    assert before == books.views(NOW, NOON)
    assert books.take(BOTH[:1], Need(tokens=7), NOW) is not None
    assert {"account": 2, "account/model": 1} == used(books)


def test_taking_easily_is_all_or_nothing_too():
    """Only where both have plenty; a name that is not known stands in nobody's way."""
    books = made(Quota("account", "a", requests_minute=9), Quota("account/model", "a", requests_minute=3))
    assert books.take_easily(BOTH, 1, NOW) is None
    books.look_ahead((*BOTH, "gone"), 1, NOW, calls=3)
    for _ in range(3):
        assert books.take_easily((*BOTH, "gone"), 1, NOW) is not None
    assert books.take_easily(BOTH, 1, NOW) is None
    assert {"account": 3, "account/model": 3} == used(books)
    assert books.is_curious(("gone", *BOTH), NOW)
    books.told(BOTH, {}, 200, NOW)
    assert not books.is_curious(("gone", *BOTH), NOW)


def test_a_call_that_is_too_large_for_one_of_them_never_goes():
    """Whatever the others say."""
    books = made(Quota("account", "a", requests_minute=1), Quota("account/model", "a", tokens_day=100))
    assert inf == books.wait_s(BOTH, Need(tokens=101), NOW)
    assert books.take(BOTH, Need(tokens=101), NOW) is None


def test_room_for_a_conversation():
    """There must be room for its further calls too; they are not counted."""
    books = made(Quota("account", "a", requests_minute=4))
    assert books.take(BOTH, Need(held=3), NOW) is not None
    assert {"account": 1} == used(books)
    assert books.take(BOTH, Need(held=3), NOW) is None
    assert books.take(BOTH, Need(held=2), NOW) is not None


def test_claims_on_the_day():
    """High uses the reserve, the usual does not, and what can wait leaves more."""
    books = made(Quota("account", "a", requests_day=10, reserve=0.5))
    for _ in range(10):
        books.wanted(BOTH, NOW)
    went = {"spare": 0, "usual": 0, "high": 0}
    for claim, need in (("spare", Need(is_spare=True)), ("usual", ANY), ("high", HIGH)):
        while books.take(BOTH, need, NOW) is not None:
            went[claim] += 1
    assert sum(went.values()) == 10
    assert went["high"] >= 5


def test_the_end_frees_a_place_and_giving_back_frees_all():
    """Once, however often it is said."""
    books = made(Quota("account", "a", requests_minute=10, at_once=1))
    first = books.take(BOTH, ANY, NOW)
    assert first is not None
    assert books.take(BOTH, ANY, NOW) is None
    books.end(first, NOW + 1)
    books.end(first, NOW + 1)
    books.give_back(first, NOW + 1)
    second = books.take(BOTH, ANY, NOW + 1)
    assert second is not None
    assert books.take(BOTH, ANY, NOW + 1) is None
    assert {"account": 2} == used(books)
    books.give_back(second, NOW + 1)
    books.give_back(second, NOW + 1)
    books.end(second, NOW + 1)
    assert {"account": 1} == used(books)
    assert {"account": 0} == used(books, "at_once")


def test_a_late_start_counts_late():
    """Connecting took three seconds: the vendor's minute began then."""
    books = made(Quota("account", "a", requests_minute=1))
    taken = books.take(BOTH, ANY, NOW)
    assert taken is not None
    books.sent(taken, NOW + 3)
    assert 3.25 + SPAN_S - 3 == books.wait_s(BOTH, ANY, NOW + 3)


def test_what_was_used_is_learned_at_the_end():
    """In every quota that the call counts against."""
    books = made(Quota("account", "a", tokens_minute=100), Quota("account/model", "a", tokens_minute=50))
    taken = books.take(BOTH, Need(tokens=40), NOW)
    assert taken is not None
    books.settle(taken, 90, NOW + 1)
    assert {"account": 90, "account/model": 90} == used(books, "tokens_minute")


def test_what_the_vendor_tells():
    """By its own clock, where that is known: the reset lies 30 s ahead of its date."""
    books = made(Quota("account", "a"))
    headers = {
        "date": "Fri, 15 Jan 2027 11:00:00 GMT",
        "x-ratelimit-limit": "16",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int(NOON - 3600 + 30) * 1000),
    }
    books.told(BOTH, headers, 429, NOW)
    assert 29.5 == books.wait_s(BOTH, ANY, NOW)
    (view,) = books.views(NOW, NOON)
    assert (16, True) == (view.gauges[0].vendor, view.gauges[0].is_learned)


def test_a_vendors_clock_is_looked_at_now_and_then():
    """Two looks that agree: the machine slept through the reset, the new day has begun."""
    books = made(Quota("account", "a", requests_day=1))
    taken = books.take(BOTH, HIGH, NOW)
    assert taken is not None
    for after_s in (0, 5, 10):
        assert books.take(BOTH, HIGH, NOW + after_s) is None
        books.told(BOTH, {"date": f"Sat, 16 Jan 2027 08:00:{after_s:02} GMT"}, 200, NOW + after_s)
    assert books.take(BOTH, HIGH, NOW + 10) is not None


def test_refusals():
    """The first may concern one model; an answer in between begins anew."""
    books = made(Quota("account", "a"))
    books.refused(BOTH, 9.0, NOW)
    books.told(BOTH, {}, 200, NOW)
    books.refused(BOTH, 9.0, NOW)
    assert 0.0 == books.wait_s(BOTH, ANY, NOW)
    books.told(BOTH, {}, 429, NOW)
    books.refused(BOTH, 9.0, NOW)
    assert 9.0 == books.wait_s(BOTH, ANY, NOW)


def test_what_other_gateways_used_counts():
    """Of the day, where it is more than we know of."""
    books = made(Quota("account", "a", requests_day=10, tokens_day=100))
    books.used_by_all("account", 7, 50, NOW)
    books.used_by_all("account", 5, 60, NOW)
    books.used_by_all("gone", 5, 60, NOW)
    assert {"account": 7} == used(books, "requests_day")
    assert {"account": 60} == used(books, "tokens_day")


def test_a_reload_keeps_what_was_used():
    """Also of a quota that is gone for a while; one that counts nothing any more is forgotten."""
    quota = Quota("account", "a", requests_minute=2)
    books = made(quota)
    taken = books.take(BOTH, ANY, NOW)
    assert taken is not None
    books.install({}, NOW)
    books.end(taken, NOW)
    books.install({"other": Quota("other", "a")}, NOW)
    books.install({"account": Quota("account", "a", requests_minute=1)}, NOW)
    assert books.take(BOTH, ANY, NOW) is None
    books.install({}, NOW)
    books.install({}, NOW + 2 * 86_400)
    books.install({"account": quota}, NOW)
    assert {"account": 0} == used(books)


def test_a_restart_keeps_what_was_used():
    """And what a quota that is gone for a while had used."""
    quota = Quota("account", "a", requests_minute=2, requests_day=100)
    books = made(quota, Quota("account/model", "a", requests_minute=5))
    books.take(BOTH, ANY, NOW)
    books.install({"account": quota}, NOW)
    again = Quotas({"account": quota, "account/model": Quota("account/model", "a", requests_minute=1)}, 3.0, NOON + 5)
    again.load(books.dump(NOW + 5, NOON + 5), 3.0, NOON + 5)
    assert again.take(BOTH[:1], ANY, 3.0) is not None
    assert again.take(BOTH[:1], ANY, 3.0) is None
    assert again.take(BOTH[1:], ANY, 3.0) is None
    with pytest.raises(ValueError):
        again.load(b"garbage", 3.0, NOON)


# ── properties ──


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 60)), max_size=40),
    st.integers(1, 6),
    st.integers(60, 100),
    st.integers(0, 60),
    st.integers(0, 20),
)
def test_the_moment_that_is_named_is_the_moment(calls, requests, tokens, wanted, ahead):
    """Then it goes, and a slot earlier it would not have; who is behind others never goes before them."""
    books = made(Quota("account", "a", requests_minute=requests, tokens_minute=tokens))
    now = NOW
    for after_s, size in calls:
        now += after_s
        books.take(BOTH, Need(tokens=size), now)
    need = Need(tokens=wanted)
    wait = books.wait_s(BOTH, need, now)
    assert wait <= books.wait_s(BOTH, need, now, ahead=ahead)
    if wait > 0:
        assert books.take(BOTH, need, now + wait - 0.01) is None
    assert books.take(BOTH, need, now + wait + 1e-6) is not None


@given(st.integers(1, 5), st.integers(1, 30))
def test_who_is_told_to_come_after_others_can_come_then(limit, count):
    """Everybody asks at once and is told a moment; at these moments all of them go, in order."""
    books = made(Quota("account", "a", requests_minute=limit))
    for number in range(limit // 2):
        books.take(BOTH, ANY, NOW + number)
    now = NOW + limit // 2
    moments = [now + books.wait_s(BOTH, ANY, now, ahead=ahead) for ahead in range(count)]
    assert moments == sorted(moments)
    late_s = 0.0
    for moment in moments:  # each takes up to a slot longer than it was told, as the one before it did
        late_s = max(late_s, books.wait_s(BOTH, ANY, moment))
        assert books.take(BOTH, ANY, moment + books.wait_s(BOTH, ANY, moment) + 1e-6) is not None
    assert late_s <= 0.25 * (count // limit + 1)


@given(
    st.floats(0, 100),
    st.sampled_from([0.0, 3600.0, -3600.0, 86_400.0, -86_400.0, 3e8]),
    st.booleans(),
    st.integers(1, 9),
)
def test_a_restart_with_a_wrong_clock_never_forgets_a_minute(away_s, off, is_reboot, limit):
    """What was used counts for its minute, and if there is doubt for one more."""
    books, quota = made(Quota("account", "a", requests_minute=limit)), Quota("account", "a", requests_minute=limit)
    for _ in range(limit):
        assert books.take(BOTH, ANY, NOW) is not None
    mono, wall = (away_s if is_reboot else NOW + away_s), NOON + away_s + off
    again = Quotas({"account": quota}, mono, wall)
    again.load(books.dump(NOW, NOON), mono, wall)
    wait = again.wait_s(BOTH, ANY, mono)
    assert away_s + wait >= WINDOW_S
    assert wait <= SPAN_S + 0.251


# ── cost ──


def spent(count: int, per_minute: int) -> float:
    """Seconds per call, of `count` calls at a rate of `per_minute`, with every limit in use."""
    limits = {"requests_minute": per_minute * 2, "tokens_minute": 10**9, "requests_day": 10**9, "at_once": 10}
    books, step, need = made(Quota("account", "a", **limits, reserve=0.1)), 60 / per_minute, Need(tokens=100)
    begun = perf_counter()
    for number in range(count):
        now = NOW + number * step
        books.wanted(BOTH, now)
        taken = books.take(BOTH, need, now)
        assert taken is not None
        books.told(BOTH, {}, 200, now)
        books.settle(taken, 120, now)
        books.end(taken, now)
    return (perf_counter() - begun) / count


def test_a_call_costs_the_same_in_a_busy_minute():
    """O(1) amortised: at 100,000 a minute about as much as at 100."""
    spent(500, 100)
    assert min(spent(4000, 100_000) for _ in range(3)) < 4 * min(spent(500, 100) for _ in range(5))


def test_a_wait_costs_at_most_a_walk_over_the_slots():
    """However many calls they hold, and however many go first."""

    def cost(limit: int) -> float:
        books = made(Quota("account", "a", requests_minute=limit))
        for number in range(limit):
            books.take(BOTH, ANY, NOW + number * 59 / limit)
        now, begun = NOW + 59.9, perf_counter()
        for number in range(100):
            assert books.wait_s(BOTH, ANY, now, ahead=number * 997) > 0
        return (perf_counter() - begun) / 100

    cost(240)
    assert min(cost(24_000) for _ in range(2)) < 5 * min(cost(240) for _ in range(5))


@pytest.mark.parametrize("after_s", [0.5, 3600.0])
def test_a_reload_on_a_new_day_does_not_take_yesterday_for_today(after_s):
    """However early on that day it comes, and although nothing was asked for in between."""
    quota = Quota("free", "free", requests_day=2)
    midnight = 86_400.0 * 20_000
    books = Quotas({"free": quota}, 0.0, midnight - 7200)
    for _ in range(2):
        taken = books.take(("free",), Need(), 10.0)
        books.end(taken, 11.0)
    assert books.wait_s(("free",), Need(), 20.0) > 7000
    books.install({"free": quota}, 7200 + after_s)
    assert books.wait_s(("free",), Need(), 7201 + after_s) == 0.0
