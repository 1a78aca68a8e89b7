"""What sites hear of stations: that they start, come and go, and failed a command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandConcluded, CommandDialect, Fate
from libs.events.load import StationNews, StationObserved
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import Assignment, StationRegistered
from libs.events.sessions import SessionStarted
from services.load.domain.stations.processor import LoadObserver
from services.load.domain.stations.station import Station
from tests.unit.load.records import STATION, at, envelope


def boot(
    seconds: float, firmware: str | None = "1.0", status: str = "Accepted", version: str = "ocpp1.6"
) -> OcppCallReceived:
    told = {} if firmware is None else {"firmwareVersion": firmware}
    payload: dict[str, Any]
    if version == "ocpp1.6":
        payload = {"chargePointVendor": "V", "chargePointModel": "M", **told}
    else:
        payload = {"chargingStation": {"vendorName": "V", "model": "M", **told}, "reason": "PowerUp"}
    return OcppCallReceived(
        **envelope(f"boot-{seconds}", seconds),
        connection_epoch=1,
        edge_id="edge-0",
        version=version,
        message_id="m",
        action="BootNotification",
        payload=json.dumps(payload),
        answer=json.dumps({"status": status, "interval": 300, "currentTime": "2026-01-01T00:00:00Z"}),
    )


def started(seconds: float) -> SessionStarted:
    return SessionStarted(
        **envelope(f"start-{seconds}", seconds),
        session_id=f"s-{seconds}",
        evse_id=1,
        transaction_id=f"t-{seconds}",
        version="ocpp1.6",
        started_at=at(seconds),
    )


def concluded(fate: Fate, action: str = "SetDefaultLimit", by: str = "load") -> CommandConcluded:
    return CommandConcluded(
        **envelope(f"fate-{fate}", 50),
        command_id="c1",
        action=action,
        dialect=CommandDialect.VOLTBUS,
        fate=fate,
        reason="",
        requested_at=at(40),
        requested_by=by,
        attempts=1,
    )


def registered(seconds: float, *sites: tuple[str, float]) -> StationRegistered:
    assignments = tuple(Assignment(id=site, valid_from=at(since)) for site, since in sites)
    return StationRegistered(**envelope(f"registered-{seconds}", seconds), sites=assignments)


class Told:
    """An observer and what it told as (site, news, the other site)."""

    def __init__(self, *sites: tuple[str, float]) -> None:
        self.runtime: MemoryRuntime[Station] = MemoryRuntime(LoadObserver())
        self.seen: list[StationObserved] = []
        self.register(0, *sites)

    def feed(self, record: Record) -> list[tuple[str, StationNews, str | None]]:
        topics = {
            OcppCallReceived: "ocpp.lifecycle",
            CommandConcluded: "commands.outcomes",
            SessionStarted: "sessions.events",
            StationRegistered: "registry.stations",
        }
        return self.told(self.runtime.feed(topics[type(record)], STATION, record))

    def register(
        self, seconds: float, *sites: tuple[str, float]
    ) -> list[tuple[str, StationNews, str | None]]:
        record = registered(seconds, *sites)
        self.runtime.tables["registry.stations"][STATION] = record
        return self.feed(record)

    def remove(self, seconds: float) -> list[tuple[str, StationNews, str | None]]:
        self.runtime.tables["registry.stations"].clear()
        return self.told(self.runtime.handle(Message("registry.stations", 0, 9, STATION, None, at(seconds))))

    def told(self, out: list[Emit]) -> list[tuple[str, StationNews, str | None]]:
        assert self.runtime.dead == []
        found = [emit.record for emit in out if isinstance(emit.record, StationObserved)]
        assert [emit.key for emit in out if emit.topic == "load.stations"] == [seen.site_id for seen in found]
        self.seen += found
        return [(seen.site_id, seen.news, seen.other_site_id) for seen in found]


BOOTED, JOINED, LEFT = StationNews.BOOTED, StationNews.JOINED, StationNews.LEFT


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1"])
def test_a_start_is_told_to_the_site_with_the_firmware(version: str) -> None:
    station = Told(("depot", 0))
    assert station.feed(boot(10, "2.1", version=version)) == [("depot", BOOTED, None)]
    (seen,) = station.seen
    assert (seen.firmware_version, seen.recorded_at, seen.cause_id) == ("2.1", at(10), "boot-10")
    assert station.feed(boot(20, None, version=version)) == [("depot", BOOTED, None)]
    assert station.seen[-1].firmware_version is None


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_one_that_is_not_let_in_is_not_told_of(status: str) -> None:
    assert Told(("depot", 0)).feed(boot(10, status=status)) == []


def test_under_certification_a_station_has_no_site_to_tell() -> None:
    """No site hears of it, so none sends it the limits that nobody asked for; not while it charges, either."""
    station = Told()
    certified = replace(registered(0, ("depot", 0)), certification=True)
    station.runtime.tables["registry.stations"][STATION] = certified
    assert station.feed(certified) == []
    assert station.feed(boot(10)) == []
    out = station.runtime.feed("sessions.events", STATION, replace(started(20), site_id="depot"))
    assert out == []
    # Afterwards it is a station like any other.
    assert station.register(60, ("depot", 0)) == [("depot", JOINED, None)]


def test_without_a_site_nobody_is_told_until_it_gets_one() -> None:
    station = Told()
    assert station.feed(boot(10)) == []
    assert station.feed(concluded(Fate.REJECTED)) == []
    assert station.register(60, ("depot", 0)) == [("depot", JOINED, None)]


def test_a_station_never_seen_is_not_told_of() -> None:
    station = Told(("depot", 0))
    assert station.register(10, ("harbour", 10)) == []
    assert station.remove(20) == []
    assert station.runtime.state_of(STATION) is None


def test_one_that_charges_without_having_booted_is_there_too() -> None:
    station = Told(("depot", 0))
    assert station.feed(started(10)) == [("depot", JOINED, None)]
    assert station.feed(started(20)) == []


def test_a_move_is_told_to_both_sites() -> None:
    station = Told(("depot", 0))
    station.feed(boot(10))
    moved = station.register(20, ("depot", 0), ("harbour", 15))
    assert moved == [("depot", LEFT, "harbour"), ("harbour", JOINED, "depot")]
    assert station.feed(boot(30)) == [("harbour", BOOTED, None)]


def test_a_move_to_come_is_told_when_it_comes() -> None:
    station = Told(("depot", 0))
    station.feed(boot(10))
    assert station.register(20, ("depot", 0), ("harbour", 25)) == []
    assert station.told(station.runtime.tick(at(24))) == []
    moved = station.told(station.runtime.tick(at(26)))
    assert moved == [("depot", LEFT, "harbour"), ("harbour", JOINED, "depot")]
    assert station.seen[-1].recorded_at == at(25)
    assert station.told(station.runtime.tick(at(1000))) == []


def test_a_start_at_another_site_says_so() -> None:
    station = Told(("depot", 0))
    station.feed(boot(10))
    # The table is ahead of what was read of its topic.
    station.runtime.tables["registry.stations"][STATION] = registered(20, ("harbour", 15))
    assert station.feed(boot(30)) == [("depot", LEFT, "harbour"), ("harbour", BOOTED, "depot")]


def test_one_that_is_removed_leaves() -> None:
    station = Told(("depot", 0))
    station.feed(boot(10))
    assert station.remove(20) == [("depot", LEFT, None)]


@pytest.mark.parametrize(
    ("fate", "action", "by", "news"),
    [
        (Fate.REJECTED, "SetDefaultLimit", "load", StationNews.REFUSED),
        (Fate.FAILED, "SetDefaultLimit", "load", StationNews.REFUSED),
        (Fate.EXPIRED, "SetDefaultLimit", "load", StationNews.UNREACHED),
        (Fate.UNKNOWN, "ClearLimit", "load", StationNews.UNREACHED),
        (Fate.ACCEPTED, "SetDefaultLimit", "load", None),
        (Fate.ACCEPTED, "ClearLimit", "load", None),
        (Fate.REJECTED, "ClearLimit", "load", None),
        (Fate.REJECTED, "SetLimit", "load", None),
        (Fate.REJECTED, "SetDefaultLimit", "operator", None),
    ],
)
def test_failed_commands_about_default_limits_are_told(
    fate: Fate, action: str, by: str, news: StationNews | None
) -> None:
    station = Told(("depot", 0))
    station.feed(boot(10))
    expected = [] if news is None else [("depot", news, None)]
    assert station.feed(concluded(fate, action, by)) == expected
    if news is not None:
        assert station.seen[-1].command_id == "c1"


def test_a_start_that_is_told_late_does_not_move_the_station_back() -> None:
    station = Told(("depot", 0), ("harbour", 100))
    station.feed(boot(10))
    moved = station.told(station.runtime.tick(at(102)))
    assert moved == [("depot", LEFT, "harbour"), ("harbour", JOINED, "depot")]
    assert station.feed(started(99)) == []
    assert station.feed(boot(98)) == [("harbour", BOOTED, None)]
    assert station.feed(started(110)) == []


def test_a_move_to_come_is_not_missed_for_a_record_that_is_told_late() -> None:
    station = Told(("depot", 0), ("harbour", 100), ("mall", 200))
    station.feed(boot(10))
    station.told(station.runtime.tick(at(102)))
    station.feed(started(99))
    moved = station.told(station.runtime.tick(at(201)))
    assert moved == [("harbour", LEFT, "mall"), ("mall", JOINED, "harbour")]


@pytest.fixture
def homeless() -> Told:
    """A station that was at the depot and is at no site any more."""
    station = Told(("depot", 0))
    station.feed(boot(10))
    station.remove(20)
    return station


@pytest.mark.parametrize("sign", [boot(60), started(60)])
def test_the_site_that_was_left_hears_of_signs_of_life_while_there_is_no_other(
    homeless: Told, sign: Record
) -> None:
    assert homeless.feed(concluded(Fate.EXPIRED, "ClearLimit")) == [("depot", StationNews.UNREACHED, None)]
    assert homeless.feed(sign) == [("depot", LEFT, None)]
    assert homeless.seen[-1].command_id is None


@pytest.mark.parametrize("fate", [Fate.ACCEPTED, Fate.REJECTED, Fate.FAILED])
def test_the_site_that_was_left_hears_that_its_command_is_through(homeless: Told, fate: Fate) -> None:
    assert homeless.feed(concluded(fate, "ClearLimit")) == [("depot", LEFT, None)]
    assert homeless.seen[-1].command_id == "c1"


def test_the_next_site_takes_over_from_the_one_that_was_left(homeless: Told) -> None:
    moved = homeless.register(60, ("harbour", 0))
    assert moved == [("depot", LEFT, "harbour"), ("harbour", JOINED, "depot")]
    assert homeless.feed(boot(70)) == [("harbour", BOOTED, None)]
    assert homeless.feed(concluded(Fate.EXPIRED, "ClearLimit")) == [("harbour", StationNews.UNREACHED, None)]


def test_one_that_comes_back_did_not_come_from_elsewhere(homeless: Told) -> None:
    assert homeless.register(60, ("depot", 0)) == [("depot", JOINED, None)]
