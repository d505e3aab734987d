"""Time, chance and identity come from here."""

from turnout.gateway.clock import SystemClock


def test_request_ids_never_repeat_and_sort_by_time():
    """Ten thousand are ten thousand; the first 12 digits are milliseconds."""
    clock = SystemClock()
    ids = [clock.request_id() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert {len(one) for one in ids} == {len("req_") + 32}
    times = [one[4:16] for one in ids]
    assert times == sorted(times)
    assert abs(int(times[-1], 16) / 1000 - clock.wall()) < 10


def test_two_clocks_draw_differently():
    """Seeded by the system's entropy, so that two workers do not walk in step."""
    assert [SystemClock().draw() for _ in range(3)] != [SystemClock().draw() for _ in range(3)]


def test_draws_lie_in_the_half_open_unit_interval_and_now_never_goes_back():
    """What the pure decisions rely on."""
    clock = SystemClock()
    assert all(0 <= clock.draw() < 1 for _ in range(1000))
    instants = [clock.now() for _ in range(100)]
    assert instants == sorted(instants)


def test_tokens_hold_256_bits():
    """43 URL-safe characters."""
    assert len(SystemClock().token()) == 43
