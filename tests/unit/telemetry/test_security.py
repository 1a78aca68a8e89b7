"""What an operator is told about the security of stations, and how often at most."""

from __future__ import annotations

from typing import Any

import pytest

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandDialect, RequestCommand
from libs.events.ocpp_log import ConnectionOpened
from libs.events.record import Record
from libs.events.security import SecurityAlertKind, SecurityAlertRaised
from libs.events.topics import COMMANDS_REQUESTED, OCPP_LIFECYCLE
from libs.ocpp.times import format_timestamp
from services.telemetry.domain.security.processor import (
    DISPLACED,
    MANY_COMMANDS,
    MOST_REPORTED,
    SecurityWatch,
)
from tests.unit.sessions.exchanges import HOUR, NOON, SECOND, STATION, exchange
from tests.unit.telemetry.lifecycle import boot, closed, envelope, heartbeat, opened


class Watch:
    def __init__(self) -> None:
        self.runtime = MemoryRuntime(SecurityWatch())

    def told(self, *records: Record) -> list[SecurityAlertRaised]:
        before = len(self.runtime.emitted)
        for record in records:
            topic = COMMANDS_REQUESTED if isinstance(record, RequestCommand) else OCPP_LIFECYCLE
            self.runtime.feed(topic, STATION, record)
        assert not self.runtime.dead, self.runtime.dead
        alerts = [emit.record for emit in self.runtime.emitted[before:]]
        assert all(isinstance(alert, SecurityAlertRaised) for alert in alerts)
        return alerts  # type: ignore[return-value]


def reported(kind: str, at: int, version: str = "ocpp1.6", **more: Any) -> Record:
    payload = {"type": kind, "timestamp": format_timestamp(at), **more}
    return exchange("SecurityEventNotification", payload, at=at, recorded_at=at, version=version)


def came_from(address: str, epoch: int, at: int) -> ConnectionOpened:
    fields: dict[str, Any] = {
        "connection_epoch": epoch,
        "edge_id": "edge-0",
        "slot": 0,
        "version": "ocpp1.6",
        "registered": True,
    }
    return ConnectionOpened(
        **envelope(f"opened-{epoch}", at), **fields, remote_address=address, security_profile=1
    )


def displaced(epoch: int, at: int) -> Record:
    record = closed(epoch, at)
    return type(record)(
        **{name: getattr(record, name) for name in record.__struct_fields__} | {"reason": "replaced"}
    )


def asked(number: int, at: int, by: str = "anna") -> RequestCommand:
    return RequestCommand(
        **envelope(f"command-{number}", at),
        action="Reset",
        payload="{}",
        dialect=CommandDialect.OCPP,
        requested_by=by,
        expires_at=at + 60 * SECOND,
    )


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
def test_what_a_station_reports_is_told_with_its_type_and_details(version: str) -> None:
    (alert,) = Watch().told(
        reported("TamperDetectionActivated", NOON, version, techInfo="door"), heartbeat(NOON), boot(NOON)
    )
    assert alert.kind is SecurityAlertKind.REPORTED_BY_STATION
    assert (alert.event_type, alert.tech_info, alert.station_id) == (
        "TamperDetectionActivated",
        "door",
        STATION,
    )


def test_a_station_that_reports_without_end_is_told_of_a_bounded_number_of_times() -> None:
    watch = Watch()
    flood = [reported(f"Kind{number}", NOON + number) for number in range(3 * MOST_REPORTED)]
    assert len(watch.told(*flood)) == MOST_REPORTED
    assert len(watch.told(reported("Later", NOON + HOUR))) == 1


def test_an_address_that_is_new_for_a_station_is_told_once_an_hour() -> None:
    watch = Watch()
    assert watch.told(came_from("198.51.100.7", 1, NOON), came_from("198.51.100.7", 2, NOON + 1)) == []
    (alert,) = watch.told(came_from("203.0.113.9", 3, NOON + 2), came_from("192.0.2.1", 4, NOON + 3))
    assert alert.kind is SecurityAlertKind.ADDRESS_CHANGED
    assert (alert.former_address, alert.remote_address) == ("198.51.100.7", "203.0.113.9")
    # Those it came from before are no news, nor are others of the same IPv6 network.
    assert (
        watch.told(came_from("198.51.100.7", 5, NOON + HOUR), came_from("192.0.2.1", 6, NOON + HOUR + 1))
        == []
    )
    assert len(watch.told(came_from("2001:db8::1", 7, NOON + HOUR + 2))) == 1
    assert watch.told(came_from("2001:db8::2", 8, NOON + 2 * HOUR)) == []


def test_repeated_displacement_is_told_once_an_hour() -> None:
    watch = Watch()
    alerts = watch.told(
        opened(1, NOON), *(displaced(number, NOON + number) for number in range(1, 5 * DISPLACED))
    )
    assert [(alert.kind, alert.count) for alert in alerts] == [(SecurityAlertKind.DISPLACED, DISPLACED)]
    assert watch.told(*(closed(number, NOON + HOUR + number) for number in range(100, 110))) == []


def test_many_commands_are_told_once_an_hour_and_those_of_the_platform_do_not_count() -> None:
    watch = Watch()
    own = [asked(number, NOON, "load") for number in range(2 * MANY_COMMANDS)]
    assert watch.told(*own) == []
    alerts = watch.told(*(asked(1000 + number, NOON) for number in range(2 * MANY_COMMANDS)))
    assert [(alert.kind, alert.count) for alert in alerts] == [
        (SecurityAlertKind.MANY_COMMANDS, MANY_COMMANDS)
    ]
    assert "anna" in alerts[0].detail


def test_what_is_told_follows_from_its_cause() -> None:
    one, other = (Watch().told(reported("InvalidFirmwareSignature", NOON)) for _ in range(2))
    assert one == other
    assert one[0].cause_id != one[0].event_id
