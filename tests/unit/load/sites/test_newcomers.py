"""Stations of a limited site hold a low default limit, so that who plugs in starts low."""

from __future__ import annotations

import json
from typing import Any

import pytest

from libs.bus.message import Emit, Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import RequestCommand
from libs.events.load import EvseObserved, StationNews, StationObserved
from libs.events.record import Record
from libs.events.registry import SiteRegistered, StationRegistered
from libs.ocpp.semantics.abilities import Abilities
from libs.ocpp.semantics.degradation import plan_command
from libs.ocpp.semantics.dialect import from_request
from libs.ocpp.versions import Version
from services.load.domain.sites.processor import LoadProcessor
from services.load.domain.sites.site import Site
from tests.unit.load.records import SECOND, at

SITE = "depot"
DAY = 24 * 3600 * SECOND
HOLD = "SetDefaultLimit"
DROP = "ClearLimit"


class Depot:
    """A site, and what was asked about default limits."""

    def __init__(self, *registered: StationRegistered) -> None:
        stations: dict[str, Record] = {station.station_id: station for station in registered}
        self.runtime: MemoryRuntime[Site] = MemoryRuntime(LoadProcessor(), {"registry.stations": stations})
        self.commands: dict[str, RequestCommand] = {}

    def limit(self, limit_ma: int | None, seconds: float) -> list[tuple[str, str]]:
        event_id = f"limit-{seconds}"
        record = SiteRegistered(
            event_id=event_id,
            occurred_at=at(seconds),
            recorded_at=at(seconds),
            cause_id=event_id,
            site_id=SITE,
            limit_ma=limit_ma,
        )
        return self.asked(self.runtime.feed("registry.sites", SITE, record))

    def told(
        self, station: str, news: StationNews, seconds: float, **more: str | None
    ) -> list[tuple[str, str]]:
        event_id = f"{news}-{station}-{seconds}"
        record = StationObserved(
            event_id=event_id,
            occurred_at=at(seconds),
            recorded_at=at(seconds),
            cause_id=event_id,
            site_id=SITE,
            station_id=station,
            news=news,
            **more,
        )
        return self.asked(self.runtime.feed("load.stations", SITE, record))

    def boot(self, station: str, seconds: float, firmware: str = "1.0") -> list[tuple[str, str]]:
        return self.told(station, StationNews.BOOTED, seconds, firmware_version=firmware)

    def failed(self, station: str, news: StationNews, seconds: float) -> list[tuple[str, str]]:
        """The last command to a station failed."""
        return self.told(station, news, seconds, command_id=self.commands[station].event_id)

    def charge(self, station: str, seconds: float, *, charging: bool = True) -> list[Emit]:
        event_id = f"{station}-{seconds}-{charging}"
        record = EvseObserved(
            event_id=event_id,
            occurred_at=at(seconds),
            recorded_at=at(seconds),
            cause_id=event_id,
            site_id=SITE,
            station_id=station,
            evse_id=1,
            transaction_id=f"t-{station}",
            charging=charging,
            max_current_ma=32000,
            phases=3,
        )
        return self.runtime.feed("load.observations", SITE, record)

    def asked(self, out: list[Emit]) -> list[tuple[str, str]]:
        assert self.runtime.dead == []
        found = []
        for emit in out:
            if isinstance(emit.record, RequestCommand) and emit.record.replaces == "default-limit":
                assert emit.key == emit.record.station_id
                self.commands[emit.key] = emit.record
                found.append((emit.key, emit.record.action))
        return found


def limited(*stations: str) -> Depot:
    depot = Depot()
    depot.limit(100_000, 0)
    for station in stations:
        depot.boot(station, 1)
    return depot


def actions(out: list[Emit]) -> list[str]:
    return [emit.record.action for emit in out if isinstance(emit.record, RequestCommand)]


def test_a_station_that_starts_at_a_limited_site_is_to_hold_six_ampere() -> None:
    depot = limited()
    assert depot.boot("a", 1) == [("a", HOLD)]
    command = depot.commands["a"]
    assert json.loads(command.payload) == {
        "evse_id": 0,
        "limit_milliamp": 6000,
        "profile_id": 1000,
        "stack_level": 0,
        "phases": 3,
        "starts_at": None,
    }
    assert (command.cause_id, command.recorded_at, command.requested_by) == ("BOOTED-a-1", at(1), "load")
    assert command.expires_at == at(1) + DAY


@pytest.mark.parametrize(("phases", "watts"), [(1, 1380), (3, 4140)])
def test_six_ampere_are_as_many_watts_as_the_station_has_phases_for(phases: int, watts: int) -> None:
    depot = Depot(
        StationRegistered(
            event_id="r", occurred_at=0, recorded_at=0, cause_id="r", station_id="a", phases=phases
        )
    )
    depot.limit(100_000, 0)
    depot.boot("a", 1)
    command = from_request(depot.commands["a"].action, depot.commands["a"].payload)
    only_watts = Abilities(Version.V16, variables={"ChargingScheduleAllowedChargingRateUnit": "Power"})
    planned = plan_command(Version.V16, command, only_watts)
    (period,) = planned.payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"]
    assert period == {"startPeriod": 0, "limit": watts, "numberPhases": phases}


def test_a_site_without_a_limit_asks_nothing_of_anybody() -> None:
    depot = Depot()
    depot.limit(None, 0)
    assert depot.boot("a", 1) == []
    assert depot.told("b", StationNews.JOINED, 2) == []
    assert actions(depot.charge("a", 3)) == []
    assert depot.boot("a", 4) == []
    assert depot.told("a", StationNews.LEFT, 5) == []


def test_every_start_asks_again_but_the_same_start_only_once() -> None:
    depot = limited("a")
    first = depot.commands["a"]
    assert depot.boot("a", 1) == []
    assert depot.boot("a", 0.5) == []
    assert depot.boot("a", 60) == [("a", HOLD)]
    assert depot.commands["a"].event_id != first.event_id


def test_a_limit_that_comes_asks_all_stations_known_and_one_that_goes_frees_them() -> None:
    depot = Depot()
    depot.boot("a", 1)
    depot.told("b", StationNews.JOINED, 2)
    assert depot.limit(50_000, 10) == [("a", HOLD), ("b", HOLD)]
    assert depot.limit(60_000, 20) == []
    assert depot.limit(None, 30) == [("a", DROP), ("b", DROP)]
    assert json.loads(depot.commands["a"].payload) == {"evse_id": None, "profile_id": 1000}
    assert depot.boot("a", 40) == []
    assert depot.limit(50_000, 50) == [("a", HOLD), ("b", HOLD)]


def test_a_removed_site_frees_its_stations() -> None:
    depot = limited("a")
    out = depot.runtime.handle(Message("registry.sites", 0, 1, SITE, None, at(20)))
    assert depot.asked(out) == [("a", DROP)]


def test_the_default_goes_before_the_limits_of_transactions() -> None:
    depot = limited("a")
    depot.charge("a", 2)
    record = SiteRegistered(event_id="x", occurred_at=at(9), recorded_at=at(9), cause_id="x", site_id=SITE)
    out = depot.runtime.feed("registry.sites", SITE, record)
    profiles = [
        json.loads(e.record.payload)["profile_id"] for e in out if isinstance(e.record, RequestCommand)
    ]
    assert profiles == [1000, 1001]


def test_a_transaction_gets_its_own_limit_as_ever() -> None:
    depot = limited("a")
    (command,) = [e.record for e in depot.charge("a", 2) if isinstance(e.record, RequestCommand)]
    payload = json.loads(command.payload)
    assert (command.action, payload["limit_milliamp"], payload["profile_id"]) == ("SetLimit", 32_000, 1001)


def test_a_station_that_refuses_is_left_alone() -> None:
    depot = limited("a", "b")
    assert depot.failed("a", StationNews.REFUSED, 2) == []
    assert depot.boot("a", 60) == []
    assert actions(depot.charge("a", 61)) == ["SetLimit"]
    assert depot.boot("b", 62) == [("b", HOLD)]
    assert depot.limit(None, 70) == [("b", DROP)]


def test_one_that_refused_is_asked_again_with_other_firmware_and_with_a_new_limit() -> None:
    depot = limited("a")
    depot.failed("a", StationNews.REFUSED, 2)
    assert depot.boot("a", 60, firmware="1.1") == [("a", HOLD)]
    depot.failed("a", StationNews.REFUSED, 61)
    depot.limit(None, 70)
    assert depot.limit(50_000, 80) == [("a", HOLD)]


def test_a_fate_of_an_older_command_says_nothing() -> None:
    depot = limited("a")
    older = depot.commands["a"].event_id
    depot.boot("a", 60)
    for news in (StationNews.REFUSED, StationNews.UNREACHED):
        assert depot.told("a", news, 61, command_id=older) == []
    assert actions(depot.charge("a", 62)) == ["SetLimit"]
    assert depot.boot("a", 63) == [("a", HOLD)]


def test_one_that_was_not_reached_is_asked_again_when_it_shows_itself() -> None:
    depot = limited("a")
    assert depot.failed("a", StationNews.UNREACHED, 90_000) == []
    assert actions(depot.charge("a", 90_001)) == [HOLD, "SetLimit"]
    assert actions(depot.charge("a", 90_002, charging=False)) == []
    assert depot.runtime.state_of(SITE) is not None


def test_one_that_was_not_freed_is_freed_when_it_starts_again() -> None:
    depot = limited("a")
    assert depot.limit(None, 10) == [("a", DROP)]
    depot.failed("a", StationNews.UNREACHED, 90_000)
    assert depot.boot("a", 90_001) == [("a", DROP)]
    assert depot.boot("a", 90_002) == []


@pytest.mark.parametrize(("next_site", "expected"), [(None, [("a", DROP)]), ("harbour", [])])
def test_one_that_leaves_is_freed_unless_its_next_site_sees_to_it(
    next_site: str | None, expected: list[Any]
) -> None:
    depot = limited("a")
    assert depot.told("a", StationNews.LEFT, 5, other_site_id=next_site) == expected
    assert depot.limit(None, 10) == []
    assert depot.limit(50_000, 11) == []
    assert depot.told("a", StationNews.JOINED, 20, other_site_id="harbour") == [("a", HOLD)]


@pytest.mark.parametrize("news", [StationNews.JOINED, StationNews.BOOTED])
def test_one_that_comes_from_another_site_may_hold_what_that_asked_for(news: StationNews) -> None:
    depot = Depot()
    depot.limit(None, 0)
    assert depot.told("a", news, 5, other_site_id="harbour") == [("a", DROP)]
    assert depot.limit(50_000, 6) == [("a", HOLD)]


def gone(station: str = "a") -> Depot:
    """A station left the limited depot and is nowhere; it is asked to drop the default."""
    depot = limited(station)
    assert depot.told(station, StationNews.LEFT, 5) == [(station, DROP)]
    return depot


def members(depot: Depot) -> list[str]:
    site = depot.runtime.state_of(SITE)
    assert site is not None
    return [member.station_id for member in site.members]


def test_one_that_left_and_was_not_freed_is_freed_when_it_shows_itself() -> None:
    depot = gone()
    assert depot.told("a", StationNews.LEFT, 6) == []
    for seconds in (90_000, 190_000):
        assert depot.failed("a", StationNews.UNREACHED, seconds) == []
        assert depot.told("a", StationNews.LEFT, seconds + 1) == [("a", DROP)]
    assert members(depot) == ["a"]


def test_one_that_left_is_forgotten_once_it_is_freed() -> None:
    depot = gone()
    assert depot.told("a", StationNews.LEFT, 6, command_id="another") == []
    assert members(depot) == ["a"]
    assert depot.failed("a", StationNews.LEFT, 7) == []
    assert members(depot) == []
    assert depot.told("a", StationNews.LEFT, 8) == []
    assert members(depot) == []


def test_one_that_left_is_forgotten_at_once_if_another_site_sees_to_it_or_it_holds_nothing() -> None:
    depot = limited("a", "b", "c", "d")
    depot.failed("b", StationNews.REFUSED, 2)
    depot.told("d", StationNews.LEFT, 3)
    assert depot.told("a", StationNews.LEFT, 5, other_site_id="harbour") == []
    assert depot.told("b", StationNews.LEFT, 5) == []
    assert depot.told("d", StationNews.LEFT, 5, other_site_id="harbour") == []
    assert members(depot) == ["c"]


def test_one_that_leaves_before_it_was_freed_is_asked_again() -> None:
    depot = limited("a")
    assert depot.limit(None, 3) == [("a", DROP)]
    assert depot.told("a", StationNews.LEFT, 5) == [("a", DROP)]


def test_one_that_comes_back_before_it_was_freed_is_to_hold_again() -> None:
    depot = gone()
    dropped = depot.commands["a"].event_id
    assert depot.told("a", StationNews.JOINED, 6) == [("a", HOLD)]
    assert depot.told("a", StationNews.LEFT, 7, command_id=dropped) == []
    assert members(depot) == ["a"]


def test_the_same_log_gives_the_same_commands() -> None:
    def life(depot: Depot) -> list[Emit]:
        depot.limit(40_000, 0)
        depot.boot("a", 1)
        depot.boot("b", 2)
        depot.charge("a", 3)
        depot.failed("b", StationNews.REFUSED, 4)
        depot.limit(None, 5)
        depot.limit(50_000, 6)
        return depot.runtime.emitted

    out = life(Depot())
    assert out == life(Depot())
    ids = [emit.record.event_id for emit in out if emit.record is not None]
    assert len(set(ids)) == len(ids)
