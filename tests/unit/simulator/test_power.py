import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.domain.power import Car, Meter, Outlet, share_out, watts

AC = Outlet("AC", 3, 22_080)
DC = Outlet("DC", 3, 50_000)


def test_a_meter_counts_whole_watt_hours_and_never_backwards() -> None:
    meter = Meter.at(1_000).advance(7_200, 500_000)  # 1 Wh in half a second at 7.2 kW
    assert meter.register_wh == 1_001
    assert Meter.at(5).advance(1, 3_599_999_999).register_wh == 5
    with pytest.raises(ValueError, match="forward"):
        meter.advance(-1, 1)


@given(
    st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 10**9)), max_size=20), st.integers(0, 10**7)
)
def test_splitting_an_interval_does_not_change_the_register(steps: list[tuple[int, int]], start: int) -> None:
    whole = halves = Meter.at(start)
    for power, elapsed in steps:
        whole = whole.advance(power, elapsed)
        halves = halves.advance(power, elapsed // 2).advance(power, elapsed - elapsed // 2)
    assert whole == halves
    assert whole.register_wh >= start


def test_a_car_tapers_and_stops_at_what_it_wants() -> None:
    car = Car(10_000, 11_000)
    assert car.demand_w(0) == car.demand_w(9_000) == 11_000
    assert car.demand_w(9_500) == 5_500
    assert car.demand_w(9_990) == 2_200
    assert car.demand_w(10_000) == 0


def test_the_outlet_and_the_phases_bound_the_power() -> None:
    assert AC.power_w(Car(10_000, 44_000), 0, None) == 22_080
    assert AC.power_w(Car(10_000, 22_080, phases=1), 0, None) == 7_360
    assert DC.power_w(Car(10_000, 150_000), 0, None) == 50_000


def test_a_limit_bounds_the_power_and_below_six_amperes_nothing_flows() -> None:
    car = Car(10_000, 22_080)
    assert AC.power_w(car, 0, watts(16_000, "A", 3)) == 11_040
    assert AC.power_w(car, 0, watts(6_000, "A", 3)) == 4_140
    assert AC.power_w(car, 0, watts(5_900, "A", 3)) == 0
    assert AC.power_w(Car(10_000, 3_680, phases=1), 0, watts(8_100, "A", 1)) == 1_863
    assert DC.power_w(car, 0, 1_000) == 1_000


@given(st.integers(0, 500_000), st.lists(st.integers(0, 50_000), max_size=12))
def test_sharing_gives_nobody_more_than_wanted_and_wastes_nothing(total: int, wanted: list[int]) -> None:
    shares = share_out(total, wanted)
    assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True))
    assert sum(shares) <= total
    assert sum(shares) >= min(total, sum(wanted)) - len(wanted)


def test_what_one_does_not_want_goes_to_the_others() -> None:
    assert share_out(10_000, [2_000, 9_000, 9_000]) == [2_000, 4_000, 4_000]
