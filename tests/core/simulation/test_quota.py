"""The free allowance: per account, per minute and per day, failures included."""

from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.quota import DAY_S, FreeQuota, Refused


def test_the_seventeenth_attempt_of_a_minute_is_refused_until_the_minute_ends() -> None:
    """16 pass; the refusal says how long the window still runs; the next minute is free again."""
    quota = FreeQuota(16, 0)
    assert [None] * 16 == [quota.charge("a", 15.0) for _ in range(16)]
    assert Refused("min", 16, 45.0) == quota.charge("a", 15.0)
    assert quota.charge("a", 60.0) is None


def test_refused_attempts_count_against_the_day() -> None:
    """Failed attempts count too: two refused by the minute leave nothing of a day of four."""
    quota = FreeQuota(2, 4)
    assert [True, True, False, False] == [quota.charge("a", 0.0) is None for _ in range(4)]
    assert Refused("day", 4, DAY_S - 60) == quota.charge("a", 60.0)
    assert quota.charge("a", DAY_S) is None


def test_accounts_do_not_share() -> None:
    """One account's spending leaves another's allowance alone."""
    quota = FreeQuota(1, 0)
    assert quota.charge("a", 0.0) is None
    assert quota.charge("b", 0.0) is None
    assert quota.charge("a", 0.0) is not None


def test_zero_is_no_limit() -> None:
    """Neither window refuses anything."""
    quota = FreeQuota(0, 0)
    assert not any(quota.charge("a", 0.0) for _ in range(100))


def test_the_oldest_account_is_forgotten_when_there_are_too_many() -> None:
    """Memory is bounded: after 10,000 others an account begins anew."""
    quota = FreeQuota(1, 0)
    quota.charge("first", 0.0)
    for number in range(10_000):
        quota.charge(str(number), 0.0)
    assert quota.charge("first", 0.0) is None
    assert quota.charge("9999", 0.0) is not None


@given(st.lists(st.floats(min_value=0, max_value=400), max_size=60), st.integers(min_value=1, max_value=5))
def test_never_more_than_the_allowance_passes_in_a_minute(gaps: list[float], limit: int) -> None:
    """Whatever the arrival times, each minute lets at most `limit` through."""
    quota = FreeQuota(limit, 0)
    passed: dict[int, int] = {}
    for at_s in sorted(gaps):
        if quota.charge("a", at_s) is None:
            passed[int(at_s // 60)] = passed.get(int(at_s // 60), 0) + 1
    assert all(count <= limit for count in passed.values())
