from services.simulator.clock import Clock


def test_a_real_clock_runs_slower_than_its_cars_and_a_simulated_one_with_them() -> None:
    assert Clock(60, "real").simulated_s(1_000_000) == 60
    assert Clock(60, "simulated").simulated_s(1_000_000) == 1


def test_a_simulated_clock_starts_where_it_is_told_and_shows_whole_milliseconds() -> None:
    start = 1_800_000_000_123_456
    clock = Clock(1, "simulated", start)
    assert start - 1_000 < clock.now_us() < start + 60_000_000
    assert clock.now_us() % 1_000 == 0
