"""The traffic of a working day: enough of it, at its hours, with what makes a day hard."""

from collections import Counter

from turnout.core.simulation.working_day import DAY_S, HOUR_S, TOOLS, errands

SAFE_A_DAY = 750


def test_the_same_seed_is_the_same_day() -> None:
    """And another seed is another."""
    assert errands(1, 24) == errands(1, 24)
    assert errands(1, 24) != errands(2, 24)


def test_more_is_wanted_than_a_day_may_give_but_not_of_what_matters() -> None:
    """Whatever the seed: all work that people wait for fits into the safe part of 1,000 calls, all work together does not."""
    for seed in range(20):
        wanted = errands(seed, 24)
        calls = sum(one.calls for one in wanted)
        people = sum(one.calls for one in wanted if one.by_s is None)
        assert 0.75 * SAFE_A_DAY < people < SAFE_A_DAY < calls


def test_they_come_in_order_within_the_hours_asked_for() -> None:
    """Fewer hours are the beginning of the same day."""
    day = errands(3, 24)
    times = [one.at_s for one in day]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] < DAY_S
    assert [one for one in day if one.at_s < 10.5 * HOUR_S] == errands(3, 10.5)


def test_names_and_prompts_are_their_own() -> None:
    """So that no two requests are the same, and a cache would be no help."""
    week = errands(1, 168)
    assert len(week) == len({one.name for one in week}) == len({(one.task, one.prompt) for one in week})


def test_people_come_in_office_hours() -> None:
    """Nine tenths between 8 and 22 on the Danish clock, none in the small hours."""
    hours = Counter(int(one.at_s / HOUR_S + 1) for one in errands(1, 24) if one.by_s is None)
    assert sum(hours[hour] for hour in range(8, 22)) > 0.9 * hours.total()
    assert 0 == sum(hours[hour] for hour in range(6))


def test_portals_and_campaigns_bring_bursts() -> None:
    """Around 9:00 and 13:15 on the Danish clock more is wanted within two minutes than two minutes may safely give."""
    times = [one.at_s for one in errands(1, 24) if one.by_s is None]
    for begin_s in (8 * HOUR_S, 12.25 * HOUR_S):
        assert sum(begin_s <= at < begin_s + 120 for at in times) > 24


def test_a_booking_is_a_conversation_of_three_or_four_calls() -> None:
    """With all four tools, and no priority of its own: the rule makes it high. A price is looked up in two calls."""
    talks = [one for one in errands(1, 48) if one.tools]
    bookings = [one for one in talks if one.tools == TOOLS]
    assert {3, 4} == {one.calls for one in bookings}
    assert {2} == {one.calls for one in talks if one.tools != TOOLS}
    assert {""} == {one.priority for one in talks}


def test_every_priority_is_there() -> None:
    """What is urgent waits two minutes at most, a chat half a minute, the inbox an hour."""
    wanted = errands(1, 24)
    assert {"", "high", "medium", "low"} == {one.priority for one in wanted}
    assert {30.0} == {one.patience_s for one in wanted if one.task == "chat"}
    assert {HOUR_S} == {one.patience_s for one in wanted if one.task == "email-analysis"}
    assert {120.0, HOUR_S} == {one.patience_s for one in wanted if one.priority == "high"}


def test_jobs_of_the_night_are_due_at_nine() -> None:
    """Those left from yesterday are there at midnight; each evening brings new ones for the next morning."""
    jobs = [one for one in errands(1, 48) if one.by_s is not None]
    assert {8 * HOUR_S, 32 * HOUR_S, 56 * HOUR_S} == {one.by_s for one in jobs}
    assert {0.0, 17.5 * HOUR_S, 41.5 * HOUR_S} == {one.at_s for one in jobs}
    assert all(one.patience_s == one.by_s - one.at_s for one in jobs)


def test_a_weekend_is_quiet() -> None:
    """About a quarter of a working day, and no bursts."""
    days = Counter(int(one.at_s // DAY_S) for one in errands(1, 168) if one.by_s is None)
    for quiet in (5, 6):
        assert 0.1 * days[0] < days[quiet] < 0.3 * days[0]
