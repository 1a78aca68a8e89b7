from typing import Any

import pytest

from libs.runtime.clock import SECOND
from services.simulator.domain.profiles import (
    DAY_US,
    ProfileStore,
    composite,
    instant_us,
    parse_profile,
)

NOON = instant_us("2026-11-22T12:00:00Z")


def profile(
    number: int = 1, purpose: str = "TxDefaultProfile", limit: Any = 16, level: int = 0, **more: Any
) -> dict[str, Any]:
    schedule: dict[str, Any] = {
        "charging_rate_unit": more.pop("unit", "A"),
        "charging_schedule_period": more.pop("periods", [{"start_period": 0, "limit": limit}]),
        **{key: more.pop(key) for key in ("duration", "start_schedule") if key in more},
    }
    return {
        "charging_profile_id": number,
        "stack_level": level,
        "charging_profile_purpose": purpose,
        "charging_profile_kind": more.pop("kind", "Absolute"),
        "charging_schedule": schedule,
        **more,
    }


def store(*entries: tuple[int, dict[str, Any]]) -> ProfileStore:
    result = ProfileStore()
    for evse_id, payload in entries:
        result = result.install(evse_id, parse_profile(payload, NOON))
    return result


def allowed(
    profiles: ProfileStore, at_us: int = NOON, evse_id: int = 1, tx_us: int | None = NOON
) -> int | None:
    return profiles.charge_limit(evse_id, at_us, tx_us, 3)[0]


def test_no_profile_no_limit() -> None:
    assert allowed(ProfileStore()) is None


def test_amperes_count_per_phase_and_watts_in_total() -> None:
    assert allowed(store((1, profile(limit=16)))) == 11_040
    assert allowed(store((1, profile(limit=9_000.5, unit="W")))) == 9_000
    assert allowed(store((1, profile(limit=8.1)))) == 5_589


def test_a_period_can_name_fewer_phases() -> None:
    assert (
        allowed(store((1, profile(periods=[{"start_period": 0, "limit": 10, "number_phases": 1}])))) == 2_300
    )


def test_a_transaction_profile_goes_before_the_default_and_only_in_a_transaction() -> None:
    both = store((1, profile(1, limit=10)), (1, profile(2, "TxProfile", limit=20)))
    assert allowed(both) == 13_800
    assert allowed(both, tx_us=None) == 6_900
    assert allowed(both.end_transaction(1)) == 6_900


def test_the_highest_stack_level_that_says_something_wins() -> None:
    stacked = store((0, profile(1, limit=10)), (0, profile(2, limit=20, level=3, duration=60)))
    assert allowed(stacked) == 13_800
    assert stacked.charge_limit(1, NOON, NOON, 3)[1] == NOON + 60 * SECOND
    assert allowed(stacked, NOON + 60 * SECOND) == 6_900


def test_a_default_of_the_evse_goes_before_one_of_the_station() -> None:
    assert allowed(store((0, profile(1, limit=10)), (1, profile(2, limit=20)))) == 13_800


def test_the_same_id_or_the_same_place_replaces() -> None:
    assert len(store((1, profile(1)), (2, profile(1))).entries) == 1
    assert len(store((1, profile(1)), (1, profile(2))).entries) == 1
    assert len(store((1, profile(1)), (2, profile(2))).entries) == 2


def test_clearing_by_id_or_by_criteria() -> None:
    three = store((0, profile(1)), (1, profile(2)), (1, profile(3, "TxProfile")))
    assert three.clear(profile_id=2)[1] == 1
    assert three.clear(evse_id=1)[1] == 2
    assert three.clear(purpose="TxDefault")[1] == 2
    assert three.clear(evse_id=1, purpose="Tx", stack_level=0)[1] == 1
    assert three.clear()[0] == ProfileStore()


def test_relative_schedules_count_from_the_start_of_the_transaction() -> None:
    periods = [{"start_period": 0, "limit": 32}, {"start_period": 600, "limit": 10}]
    relative = store((1, profile(1, "TxProfile", kind="Relative", periods=periods)))
    assert relative.charge_limit(1, NOON, NOON, 3) == (22_080, NOON + 600 * SECOND)
    assert allowed(relative, NOON + 600 * SECOND) == 6_900


def test_a_daily_schedule_recurs() -> None:
    daily = store(
        (
            0,
            profile(
                kind="Recurring",
                recurrency_kind="Daily",
                start_schedule="2026-11-01T08:00:00Z",
                duration=3_600,
                limit=6,
            ),
        )
    )
    eight = instant_us("2026-11-22T08:30:00Z")
    assert allowed(daily, eight) == 4_140
    assert allowed(daily, eight + DAY_US) == 4_140
    assert daily.charge_limit(1, NOON, NOON, 3) == (None, instant_us("2026-11-23T08:00:00Z"))


def test_validity_bounds_a_profile() -> None:
    bounded = store((0, profile(valid_from="2026-11-22T13:00:00Z", valid_to="2026-11-22T14:00:00Z", limit=6)))
    one, two = instant_us("2026-11-22T13:00:00Z"), instant_us("2026-11-22T14:00:00Z")
    assert bounded.charge_limit(1, NOON, NOON, 3) == (None, one)
    assert bounded.charge_limit(1, one, NOON, 3) == (4_140, two)
    assert bounded.charge_limit(1, two, NOON, 3) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        profile(purpose="ChargingStationExternalConstraints"),
        profile(periods=[]),
        profile(periods=[{"start_period": 5, "limit": 1}]),
        profile(valid_to="tomorrow"),
    ],
)
def test_what_is_no_profile_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_profile(wrong, NOON)


def test_a_version_2_profile_has_a_list_of_schedules() -> None:
    payload = profile(7, "ChargingStationMaxProfile")
    payload["id"] = payload.pop("charging_profile_id")
    payload["charging_schedule"] = [payload["charging_schedule"] | {"id": 1}]
    parsed = parse_profile(payload, NOON)
    assert (parsed.id, parsed.purpose) == (7, "StationMax")


def test_the_composite_schedule_is_the_least_limit_over_time() -> None:
    periods = [{"start_period": 0, "limit": 32}, {"start_period": 600, "limit": 10}]
    profiles = store(
        (0, profile(1, "ChargePointMaxProfile", limit=20, duration=300)),
        (1, profile(2, "TxProfile", kind="Relative", periods=periods)),
    )
    steps = composite(
        profiles,
        1,
        now_us=NOON,
        duration_s=3_600,
        tx_start_us=NOON,
        phases=3,
        max_power_w=22_080,
        unit="A",
    )
    assert [(step.start_s, step.limit_milli) for step in steps] == [(0, 20_000), (300, 32_000), (600, 10_000)]
