from dataclasses import replace

import pytest

from services.simulator.domain.makes import MAKES
from services.simulator.domain.plan import plan
from services.simulator.domain.scenario import Demand, Group
from services.simulator.operations import firmware_version
from services.simulator.scenario import load, parse


def test_a_plan_follows_from_scenario_and_seed() -> None:
    day = load("day")
    assert plan(day, 1) == plan(day, 1)
    assert plan(day, 1) != plan(day, 2)


def test_one_more_charger_leaves_the_others_plans_alone() -> None:
    day = load("day")
    more = replace(day, fleet=(*day.fleet, Group("Norvolt", 1, "mall", first=500)))
    old = set(plan(day, 1).arrivals)
    assert {arrival for arrival in plan(more, 1).arrivals if arrival.station_id != "NRV-0500"} == old


@pytest.mark.parametrize("name", ["day", "smoke", "load"])
def test_shipped_scenarios_are_sound(name: str) -> None:
    scenario = load(name)
    stations = {station.id: station for station in scenario.stations}
    for arrival in plan(scenario, scenario.seed).arrivals:
        assert arrival.evse_id <= stations[arrival.station_id].make.evses
        assert 0 <= arrival.at_s < scenario.duration_s
    assert {outage.station_id for outage in plan(scenario, 1).outages} <= set(stations)


def test_the_day_has_forty_chargers_on_four_sites_and_asks_too_much_of_one() -> None:
    day = load("day")
    assert len(day.stations) == 40
    assert len({station.site for station in day.stations}) == 4
    depot = {station.id for station in day.stations if station.site == "depot"}
    # Amperes per phase if every car charged at its own pace from its arrival.
    present = [
        (
            arrival.at_s,
            arrival.at_s + arrival.energy_wh / arrival.max_power_w * 3600,
            arrival.max_power_w / 690,
        )
        for arrival in plan(day, day.seed).arrivals
        if arrival.station_id in depot
    ]
    peak = max(sum(amps for begin, end, amps in present if begin <= at < end) for at, _, _ in present)
    assert peak > 200


def test_every_make_has_its_own_ids_and_smoke_shows_four() -> None:
    assert len({make.prefix for make in MAKES.values()}) == len(MAKES)
    assert len({station.make.name for station in load("smoke").stations}) == 4


def test_documents_with_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="Group has no cuont"):
        parse({"fleet": [{"make": "Norvolt", "cuont": 1, "site": "a"}]})
    with pytest.raises(ValueError, match="unknown make: Nobody"):
        parse({"fleet": [{"make": "Nobody", "count": 1, "site": "a"}]})
    with pytest.raises(ValueError, match="share an id"):
        parse({"fleet": [{"make": "Norvolt", "count": 1, "site": name} for name in "ab"]})


def test_documents_become_scenarios() -> None:
    scenario = parse(
        {
            "fleet": [
                {"make": "Relais", "count": 2, "site": "a", "first": 8, "demand": {"energy_wh": [1, 2]}}
            ],
            "outages": [{"station_id": "REL-0008", "at_s": 5, "duration_s": 6}],
            "firmware_faults": {"REL-0009": "install"},
        }
    )
    assert [station.id for station in scenario.stations] == ["REL-0008", "REL-0009"]
    assert scenario.fleet[0].demand == Demand(energy_wh=(1, 2))
    assert scenario.outages[0].duration_s == 6


@pytest.mark.parametrize(
    ("location", "version"),
    [
        ("https://files.example/fw-1.2.3.bin", "1.2.3"),
        ("ftp://10.0.0.1/norvolt_v2.5.bin", "2.5"),
        ("https://files.example/1.2.3/latest.bin", None),
    ],
)
def test_the_firmware_version_is_read_from_the_file_name(location: str, version: str | None) -> None:
    assert firmware_version(location) == version
