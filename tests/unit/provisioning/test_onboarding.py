"""What stations are asked when they boot, and which are not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandDialect, RequestCommand
from libs.events.ids import derive_id
from libs.events.ocpp_log import CallError, OcppCallReceived
from libs.events.registry import BootStatus, StationRegistered
from libs.ocpp.semantics.abilities import NOTHING_KNOWN
from libs.ocpp.semantics.degradation import plan_command
from libs.ocpp.semantics.dialect import from_request
from libs.ocpp.versions import Version
from services.provisioning.domain.onboarding.processor import WAITS, OnboardingProcessor, OnBoot
from services.provisioning.settings import ProvisioningSettings

STATION = "cp-1"
AT = 1_767_225_600_000_000
ALL = tuple(OnBoot)


def boot(version: str = "ocpp1.6", status: str | None = "Accepted", **changes: Any) -> OcppCallReceived:
    if version == "ocpp1.6":
        payload: dict[str, Any] = {"chargePointVendor": "Volt", "chargePointModel": "Two"}
    else:
        payload = {"reason": "PowerUp", "chargingStation": {"vendorName": "Volt", "model": "Two"}}
    answer = {"status": status, "currentTime": "2026-01-01T00:00:00Z", "interval": 60}
    fields: dict[str, Any] = {
        "event_id": "boot-1",
        "occurred_at": AT,
        "recorded_at": AT,
        "cause_id": "boot-1",
        "station_id": STATION,
        "connection_epoch": 1,
        "edge_id": "edge-0",
        "version": version,
        "message_id": "m",
        "action": "BootNotification",
        "payload": json.dumps(payload),
        "answer": None if status is None else json.dumps(answer),
    }
    return OcppCallReceived(**fields | changes)


def registered(**fields: Any) -> StationRegistered:
    return StationRegistered(
        event_id="r", occurred_at=0, recorded_at=0, cause_id="r", station_id=STATION, **fields
    )


def asked(
    record: OcppCallReceived, *actions: OnBoot, station: StationRegistered | None = None
) -> list[RequestCommand]:
    tables: dict[str, dict[str, Any]] = {"registry.stations": {STATION: station} if station else {}}
    runtime = MemoryRuntime(OnboardingProcessor(actions), tables)
    out = runtime.feed("ocpp.lifecycle", STATION, record)
    assert runtime.dead == []
    assert all((emit.topic, emit.key) == ("commands.requested", STATION) for emit in out)
    return [emit.record for emit in out if isinstance(emit.record, RequestCommand)]


def test_nothing_unless_configured() -> None:
    assert asked(boot()) == []


def test_a_boot_of_1_6() -> None:
    configuration, limits, status = asked(boot(), *ALL)
    assert configuration == RequestCommand(
        event_id=derive_id("boot-1", "on-boot:configuration"),
        occurred_at=AT,
        recorded_at=AT,
        cause_id="boot-1",
        station_id=STATION,
        action="GetBaseReport",
        payload=configuration.payload,
        dialect=CommandDialect.VOLTBUS,
        requested_by="onboarding",
        expires_at=AT + WAITS,
        replaces="on-boot:configuration",
    )
    assert (limits.action, status.action) == ("GetVariables", "TriggerMessage")
    assert json.loads(status.payload) == {"message": "status", "evse_id": None, "connector_id": None}


def test_a_boot_of_2_x_asks_each_evse_for_its_status() -> None:
    requests = asked(boot("ocpp2.0.1"), OnBoot.STATUS, station=registered(evses=2))
    assert [json.loads(each.payload)["evse_id"] for each in requests] == [1, 2]
    assert len({each.event_id for each in requests}) == 2
    assert len(asked(boot("ocpp2.1"), OnBoot.STATUS)) == 1


@pytest.mark.parametrize("version", Version)
def test_whatever_is_asked_can_be_said(version: Version) -> None:
    for each in asked(boot(version), *ALL):
        assert plan_command(version, from_request(each.action, each.payload), NOTHING_KNOWN).degraded is None


def test_a_pending_station_is_configured_first() -> None:
    """2.x B02, B30, B31."""
    requests = asked(boot("ocpp2.0.1", "Pending"), *ALL)
    assert [each.action for each in requests] == ["GetBaseReport", "GetVariables"]


def test_a_rejected_station_is_asked_nothing() -> None:
    """2.x B03."""
    assert (
        asked(boot("ocpp2.0.1", "Rejected"), *ALL, station=registered(boot_status=BootStatus.REJECTED)) == []
    )


def test_nor_one_that_was_not_answered() -> None:
    assert asked(boot(status=None), *ALL) == []
    refused = boot(status=None, error=CallError(code="InternalError", details="{}"))
    assert asked(refused, *ALL) == []


def test_under_certification_nothing_is_asked_that_nobody_asked_for() -> None:
    assert asked(boot(), *ALL, station=registered(certification=True)) == []


def test_only_boots_matter() -> None:
    processor = OnboardingProcessor(ALL)
    assert processor.wants("ocpp.lifecycle", "OcppCallReceived", "BootNotification")
    assert not processor.wants("ocpp.lifecycle", "OcppCallReceived", "Heartbeat")
    assert not processor.wants("ocpp.lifecycle", "OcppCallAnswered", "BootNotification")
    assert asked(boot(action="Heartbeat", payload="{}"), *ALL) == []


def test_the_setting_is_a_list_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProvisioningSettings().on_boot == ()
    monkeypatch.setenv("VOLTBUS_ON_BOOT", "configuration, status")
    assert ProvisioningSettings().on_boot == (OnBoot.CONFIGURATION, OnBoot.STATUS)
    monkeypatch.setenv("VOLTBUS_ON_BOOT", "dance")
    with pytest.raises(ValidationError):
        ProvisioningSettings()
