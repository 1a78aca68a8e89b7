"""One station's updates: asked for, followed, proved at boot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandConcluded, CommandDialect, Fate, RequestCommand
from libs.events.firmware import StationUpdateProgressed, StationUpdateStatus, UpdateStationFirmware
from libs.events.ids import derive_id
from libs.events.ocpp_log import CallError, OcppCallReceived
from libs.events.record import Record
from services.firmware.domain.stations.processor import (
    MOST_FAILED,
    REMEMBERED_FACTS,
    StationFirmware,
    StationFirmwareProcessor,
)

STATION = "cp1"
SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND

REQUESTED, DOWNLOADING, INSTALLING, INSTALLED, FAILED, _ = StationUpdateStatus


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


def envelope(event_id: str, seconds: float) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "occurred_at": at(seconds),
        "recorded_at": at(seconds),
        "cause_id": event_id,
        "station_id": STATION,
    }


def task(
    campaign: str = "camp", seconds: float = 0, deadline: float = 3600, target: str = "2.0"
) -> UpdateStationFirmware:
    return UpdateStationFirmware(
        **envelope(f"task-{campaign}", seconds),
        campaign_id=campaign,
        target_version=target,
        location="http://files/fw.bin",
        deadline=at(deadline),
    )


def call(action: str, payload: dict[str, Any], seconds: float, version: str) -> OcppCallReceived:
    text = json.dumps(payload)
    return OcppCallReceived(
        **envelope(derive_id(f"{action}{seconds}", text), seconds),
        connection_epoch=1,
        edge_id="edge-0",
        version=version,
        message_id="m",
        action=action,
        payload=text,
        answer="{}",
    )


def boot(firmware: str | None, seconds: float, version: str = "ocpp1.6") -> OcppCallReceived:
    if version == "ocpp1.6":
        payload: dict[str, Any] = {"chargePointVendor": "V", "chargePointModel": "M"}
        station = payload
    else:
        payload = {"reason": "PowerUp", "chargingStation": {"vendorName": "V", "model": "M"}}
        station = payload["chargingStation"]
    if firmware is not None:
        station["firmwareVersion"] = firmware
    return call("BootNotification", payload, seconds, version)


def status(word: str, seconds: float, version: str = "ocpp1.6") -> OcppCallReceived:
    return call("FirmwareStatusNotification", {"status": word}, seconds, version)


def fate(
    value: Fate, seconds: float, campaign: str = "camp", requested_by: str = "firmware"
) -> CommandConcluded:
    command_id = derive_id(f"task-{campaign}", "update")
    return CommandConcluded(
        **envelope(derive_id(command_id, "concluded"), seconds),
        command_id=command_id,
        action="UpdateFirmware",
        dialect=CommandDialect.VOLTBUS,
        fate=value,
        reason="why",
        requested_at=at(0),
        requested_by=requested_by,
        attempts=1,
    )


TOPICS = {
    UpdateStationFirmware: "firmware.tasks",
    OcppCallReceived: "ocpp.lifecycle",
    CommandConcluded: "commands.outcomes",
}


class Station:
    def __init__(self, *given_records: Record) -> None:
        self.runtime: MemoryRuntime[StationFirmware] = MemoryRuntime(StationFirmwareProcessor())
        for record in given_records:
            self.feed(record)

    def feed(self, record: Record) -> list[Emit]:
        out = self.runtime.feed(TOPICS[type(record)], STATION, record)
        assert self.runtime.dead == []
        return out

    def tick(self, seconds: float) -> list[Emit]:
        return self.runtime.tick(at(seconds))


def steps(out: list[Emit]) -> list[tuple[str, StationUpdateStatus]]:
    return [
        (e.record.campaign_id, e.record.status) for e in out if isinstance(e.record, StationUpdateProgressed)
    ]


def words(out: list[Emit]) -> list[StationUpdateStatus]:
    return [word for _, word in steps(out)]


def asked(out: list[Emit]) -> list[RequestCommand]:
    return [e.record for e in out if isinstance(e.record, RequestCommand)]


def test_a_task_asks_the_station() -> None:
    out = Station().feed(task())
    (command,) = asked(out)
    assert [(e.topic, e.key) for e in out] == [("commands.requested", STATION), ("firmware.progress", "camp")]
    assert (command.action, command.dialect) == ("UpdateFirmware", CommandDialect.VOLTBUS)
    assert (command.event_id, command.expires_at) == (derive_id("task-camp", "update"), at(3600))
    payload = json.loads(command.payload)
    assert (payload["location"], payload["retrieve_at"]) == ("http://files/fw.bin", at(0))
    assert 0 <= payload["request_id"] < 2**31
    assert words(out) == [REQUESTED]


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1"])
def test_only_the_version_at_boot_proves_it(version: str) -> None:
    station = Station(task())
    assert station.feed(fate(Fate.ACCEPTED, 1)) == []
    assert words(station.feed(status("Downloading", 2, version))) == [DOWNLOADING]
    assert station.feed(status("Downloaded", 3, version)) == []
    assert words(station.feed(status("Installing", 4, version))) == [INSTALLING]
    assert station.feed(status("Installed", 5, version)) == []
    assert station.feed(boot("1.9", 6, version)) == []
    assert station.feed(boot(None, 7, version)) == []

    (emit,) = station.feed(boot("2.0", 8, version))

    assert isinstance(emit.record, StationUpdateProgressed)
    assert (emit.record.status, emit.record.firmware_version) == (INSTALLED, "2.0")
    assert station.feed(boot("2.0", 9, version)) == []
    assert station.feed(task()) == []
    assert station.tick(10_000) == []


@pytest.mark.parametrize("value", [Fate.REJECTED, Fate.FAILED, Fate.EXPIRED])
def test_a_command_that_failed_fails_the_update(value: Fate) -> None:
    out = Station(task()).feed(fate(value, 1))
    assert words(out) == [FAILED]
    assert isinstance(out[0].record, StationUpdateProgressed)
    assert out[0].record.detail == f"command {value.lower()}: why"


def test_a_command_of_unknown_fate_may_have_arrived() -> None:
    station = Station(task())
    assert station.feed(fate(Fate.UNKNOWN, 1)) == []
    assert words(station.feed(boot("2.0", 5))) == [INSTALLED]


@pytest.mark.parametrize("word", ["DownloadFailed", "InstallationFailed"])
def test_a_failure_that_the_station_reports(word: str) -> None:
    station = Station(task())
    assert words(station.feed(status(word, 1))) == [FAILED]
    assert station.feed(boot("1.9", 2)) == []


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
def test_a_boot_with_the_version_proves_an_update_that_had_failed(version: str) -> None:
    """The charger tries again by itself, as it may (UpdateFirmware, retries)."""
    station = Station(task(), fate(Fate.ACCEPTED, 1))
    assert words(station.feed(status("DownloadFailed", 2, version))) == [FAILED]
    for seconds, word in enumerate(("Downloading", "Downloaded", "Installing", "Installed"), 60):
        assert station.feed(status(word, seconds, version)) == []
    (emit,) = station.feed(boot("2.0", 70, version))
    assert isinstance(emit.record, StationUpdateProgressed)
    assert (emit.record.status, emit.record.campaign_id) == (INSTALLED, "camp")
    assert station.feed(boot("2.0", 80, version)) == []


@pytest.mark.parametrize("value", [Fate.REJECTED, Fate.FAILED])
def test_a_boot_with_the_version_proves_it_whatever_came_of_the_command(value: Fate) -> None:
    station = Station(task(), fate(value, 1))
    assert words(station.feed(boot("2.0", 60))) == [INSTALLED]


def test_a_boot_within_the_time_that_is_told_after_it_still_proves_it() -> None:
    station = Station(task(deadline=100))
    assert words(station.tick(101)) == [FAILED]
    assert words(station.feed(boot("2.0", 99))) == [INSTALLED]


def test_a_failed_update_is_proved_while_the_next_one_is_under_way() -> None:
    station = Station(task("one", target="2.0"), task("two", 1, target="3.0"))
    assert steps(station.feed(status("DownloadFailed", 2))) == [("one", FAILED), ("two", REQUESTED)]
    assert steps(station.feed(boot("2.0", 60))) == [("one", INSTALLED)]
    assert steps(station.feed(boot("3.0", 70))) == [("two", INSTALLED)]


def test_of_many_failed_updates_the_latest_can_still_be_proved() -> None:
    station = Station()
    for number in range(20):
        station.feed(task(f"c{number}", number, target=f"{number}.0"))
        station.feed(fate(Fate.REJECTED, number + 0.5, f"c{number}"))
    state = station.runtime.state_of(STATION)
    assert state is not None
    assert len(state.failed) == MOST_FAILED
    assert station.feed(boot("0.0", 60)) == []
    assert steps(station.feed(boot("19.0", 61))) == [("c19", INSTALLED)]


@pytest.mark.parametrize(
    ("action", "version"),
    [
        ("SignedFirmwareStatusNotification", "ocpp1.6"),
        ("FirmwareStatusNotification", "ocpp2.0.1"),
        ("FirmwareStatusNotification", "ocpp2.1"),
    ],
)
def test_a_status_of_another_request_changes_nothing(action: str, version: str) -> None:
    station = Station()
    (command,) = asked(station.feed(task()))
    ours = json.loads(command.payload)["request_id"]
    for word in ("DownloadFailed", "Installing", "InvalidSignature", "Installed"):
        other = call(action, {"status": word, "requestId": ours + 1}, 2, version)
        assert station.feed(other) == []
    own = call(action, {"status": "DownloadFailed", "requestId": ours}, 3, version)
    assert words(station.feed(own)) == [FAILED]


@pytest.mark.parametrize("word", ["InvalidSignature", "InstallVerificationFailed"])
def test_failures_of_the_newer_versions(word: str) -> None:
    assert words(Station(task()).feed(status(word, 1, "ocpp2.0.1"))) == [FAILED]


def test_signed_updates_report_alike() -> None:
    station = Station()
    (command,) = asked(station.feed(task()))
    payload = {"status": "InvalidSignature", "requestId": json.loads(command.payload)["request_id"]}
    signed = call("SignedFirmwareStatusNotification", payload, 1, "ocpp1.6")
    assert words(station.feed(signed)) == [FAILED]


def test_idle_says_nothing() -> None:
    assert Station(task()).feed(status("Idle", 1)) == []


def test_out_of_time() -> None:
    station = Station(task(deadline=100), fate(Fate.ACCEPTED, 1))
    assert station.tick(99) == []
    out = station.tick(101)
    assert words(out) == [FAILED]
    assert isinstance(out[0].record, StationUpdateProgressed)
    assert (out[0].record.detail, out[0].record.recorded_at) == ("out of time", at(100))
    assert station.feed(boot("2.0", 200)) == []


def test_a_station_that_has_the_version_already_proves_it_at_its_next_boot() -> None:
    station = Station(boot("2.0", -50))
    assert words(station.feed(task())) == [REQUESTED]
    assert words(station.feed(boot("2.0", 5))) == [INSTALLED]


def test_facts_before_the_task_do_not_count() -> None:
    assert words(Station(status("DownloadFailed", -1)).feed(task())) == [REQUESTED]


def test_tasks_wait_for_each_other() -> None:
    station = Station(task("one", target="2.0"))
    assert station.feed(task("two", 1, target="3.0")) == []
    out = station.feed(boot("2.0", 10))
    assert steps(out) == [("one", INSTALLED), ("two", REQUESTED)]
    assert [command.recorded_at for command in asked(out)] == [at(10)]
    assert steps(station.feed(boot("3.0", 20))) == [("two", INSTALLED)]


def test_a_waiting_task_can_run_out_of_time() -> None:
    station = Station(task("one", deadline=500), task("two", 1, deadline=100))
    assert steps(station.tick(101)) == [("two", FAILED)]
    assert steps(station.feed(boot("2.0", 200))) == [("one", INSTALLED)]


def test_other_reports_and_commands_are_passed_over() -> None:
    station = Station(task())
    heartbeat = call("Heartbeat", {}, 1, "ocpp1.6")
    assert station.feed(heartbeat) == []
    assert station.feed(fate(Fate.REJECTED, 1, requested_by="operator")) == []
    assert station.feed(fate(Fate.REJECTED, 1, campaign="other")) == []
    before = station.runtime.state_of(STATION)
    station.feed(call("StatusNotification", {"connectorId": 1}, 2, "ocpp1.6"))
    assert station.runtime.state_of(STATION) == before


def test_what_changes_nothing_is_not_stored_again() -> None:
    station = Station(task())
    state = station.runtime.state_of(STATION)
    again = Message("firmware.tasks", 0, 1, STATION, task(), at(0))
    assert station.runtime.processor.step(state, again, {}).state is state
    # Nor is what is older than all that is remembered.
    station = Station(*[boot("1.0", 10 + number) for number in range(REMEMBERED_FACTS)])
    state = station.runtime.state_of(STATION)
    older = Message("ocpp.lifecycle", 0, 1_000, STATION, boot("1.0", 1), at(1))
    assert station.runtime.processor.step(state, older, {}).state is state


def test_an_unreadable_report_is_passed_over() -> None:
    bent = call("BootNotification", {"chargePointVendor": []}, 1, "ocpp1.6")
    assert Station(task()).feed(replace(bent, quirks=("number_for_string",))) == []
    refused = CallError(code="FormationViolation", details="{}")
    assert Station(task()).feed(replace(bent, answer=None, error=refused)) == []


@settings(deadline=None)
@given(st.data())
def test_any_interleaving_of_the_topics_ends_alike(data: st.DataObject) -> None:
    tasks = [task("one", 0, target="2.0"), task("two", 100, target="3.0"), task("three", 200, target="4.0")]
    lifecycle = [
        boot("1.0", -10),
        status("Downloading", 5),
        status("Installing", 10),
        boot("2.0", 15),
        status("DownloadFailed", 110),
        boot("4.0", 220),
    ]
    outcomes = [fate(Fate.ACCEPTED, 2, "one"), fate(Fate.ACCEPTED, 102, "two")]
    topics: list[list[Record]] = [list(tasks), list(lifecycle), list(outcomes)]
    straight = Station(*sorted([*tasks, *lifecycle, *outcomes], key=lambda record: record.recorded_at))
    mixed = Station()
    while any(topics):
        topic = data.draw(st.sampled_from([topic for topic in topics if topic]))
        record = topic.pop(0)
        mixed.feed(record)
        if data.draw(st.booleans()):
            assert mixed.feed(record) == []
    for emitted in (straight.runtime.emitted, mixed.runtime.emitted):
        finals = [step for step in steps(emitted) if step[1] in (INSTALLED, FAILED)]
        assert finals == [("one", INSTALLED), ("two", FAILED), ("three", INSTALLED)]
    assert {e.record.event_id for e in straight.runtime.emitted if e.record} == {
        e.record.event_id for e in mixed.runtime.emitted if e.record
    }
