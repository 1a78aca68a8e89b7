"""What is learned of stations: from boots, configuration, reports and refusals; told only when it is news."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.ids import derive_id
from libs.events.ocpp_log import CallError, CallOutcome, OcppCallReceived, OcppCallSent
from libs.events.stations import CapabilitiesLearned
from services.provisioning.domain.capabilities.processor import (
    MOST_LACKING,
    MOST_VARIABLES,
    CapabilitiesProcessor,
    Station,
)

STATION = "cp-1"
T0 = 1_767_225_600_000_000
SECOND = 1_000_000
V16, V201 = "ocpp1.6", "ocpp2.0.1"


class Learning:
    """The processor, and the time, which goes on by a second with each record."""

    def __init__(self, version: str = V16) -> None:
        self.version = version
        self.runtime: MemoryRuntime[Station] = MemoryRuntime(CapabilitiesProcessor())
        self.now = T0

    def hears(self, action: str, payload: dict[str, Any]) -> CapabilitiesLearned | None:
        """A CALL of the station."""
        self.now += SECOND
        event_id = f"e-{self.now}"
        record = OcppCallReceived(
            event_id=event_id,
            occurred_at=self.now,
            recorded_at=self.now,
            cause_id=event_id,
            station_id=STATION,
            connection_epoch=1,
            edge_id="edge-0",
            version=self.version,
            message_id="m",
            action=action,
            payload=json.dumps(payload),
            answer="{}",
        )
        return self._feed("ocpp.lifecycle", record)

    def is_answered(
        self, action: str, payload: dict[str, Any], result: dict[str, Any] | None = None, error: str = ""
    ) -> CapabilitiesLearned | None:
        """The answer to a CALL of ours."""
        self.now += SECOND
        event_id = f"e-{self.now}"
        outcome = (
            CallOutcome.ERROR if error else CallOutcome.RESULT if result is not None else CallOutcome.TIMEOUT
        )
        record = OcppCallSent(
            event_id=event_id,
            occurred_at=self.now,
            recorded_at=self.now,
            cause_id=event_id,
            station_id=STATION,
            connection_epoch=1,
            edge_id="edge-0",
            command_id="c",
            version=self.version,
            message_id="m",
            action=action,
            payload=json.dumps(payload),
            outcome=outcome,
            result=None if result is None else json.dumps(result),
            error=CallError(code=error, details="{}") if error else None,
            sent_at=self.now,
            round_trip_us=1,
        )
        return self._feed("ocpp.commands", record)

    def boots(self, firmware: str | None = "1.0", model: str = "Two") -> CapabilitiesLearned | None:
        if self.version == V16:
            payload = {"chargePointVendor": "Volt", "chargePointModel": model, "chargePointSerialNumber": "s"}
            return self.hears(
                "BootNotification", payload | ({"firmwareVersion": firmware} if firmware else {})
            )
        station = {"vendorName": "Volt", "model": model, "serialNumber": "s", "firmwareVersion": firmware}
        return self.hears("BootNotification", {"reason": "PowerUp", "chargingStation": station})

    def configuration(self, **keys: str) -> CapabilitiesLearned | None:
        listed = [{"key": key, "readonly": True, "value": value} for key, value in keys.items()]
        return self.is_answered("GetConfiguration", {}, {"configurationKey": listed})

    def _feed(self, topic: str, record: OcppCallReceived | OcppCallSent) -> CapabilitiesLearned | None:
        out = self.runtime.feed(topic, STATION, record)
        assert self.runtime.dead == []
        if not out:
            return None
        (emit,) = out
        assert (emit.topic, emit.key) == ("stations.capabilities", STATION)
        assert isinstance(emit.record, CapabilitiesLearned)
        assert emit.record.event_id == derive_id(record.event_id, "capabilities")
        return emit.record


def variables(learned: CapabilitiesLearned | None) -> dict[str, str]:
    assert learned is not None
    return {known.name: known.value for known in learned.variables}


def test_a_boot_says_what_it_is_and_the_next_one_nothing_new() -> None:
    learning = Learning()
    learned = learning.boots()
    assert learned is not None
    assert (learned.version, learned.vendor, learned.model, learned.firmware, learned.serial_number) == (
        V16,
        "Volt",
        "Two",
        "1.0",
        "s",
    )
    assert learning.boots() is None
    assert learning.boots("1.1") is not None


def test_configuration_that_limits_is_kept_and_nothing_else() -> None:
    learning = Learning()
    learning.boots()
    learned = learning.configuration(
        SupportedFeatureProfiles="Core, SmartCharging,,Core",
        GetConfigurationMaxKeys="40",
        HeartbeatInterval="300",
        AuthorizationKey="secret",
        NumberOfConnectors="x" * 501,
    )
    assert learned is not None
    assert learned.features == ("Core", "SmartCharging")
    assert variables(learned) == {
        "GetConfigurationMaxKeys": "40",
        "SupportedFeatureProfiles": "Core, SmartCharging,,Core",
    }
    assert learning.configuration(GetConfigurationMaxKeys="40") is None
    assert learning.configuration(HeartbeatInterval="60") is None
    assert variables(learning.configuration(GetConfigurationMaxKeys="20"))["GetConfigurationMaxKeys"] == "20"


def test_an_accepted_change_is_known_one_that_takes_a_reboot_is_not_yet() -> None:
    learning = Learning()
    change = {"key": "LocalAuthListEnabled", "value": "true"}
    for status in ("RebootRequired", "Rejected", "NotSupported"):
        assert learning.is_answered("ChangeConfiguration", change, {"status": status}) is None
    learned = learning.is_answered("ChangeConfiguration", change, {"status": "Accepted"})
    assert variables(learned) == {"LocalAuthListEnabled": "true"}


def test_the_device_model_in_several_parts() -> None:
    learning = Learning(V201)
    learning.boots()

    def report(seq_no: int, *data: tuple[dict[str, Any], dict[str, Any], str]) -> CapabilitiesLearned | None:
        return learning.hears(
            "NotifyReport",
            {
                "requestId": 1,
                "generatedAt": "2026-01-01T00:00:00Z",
                "seqNo": seq_no,
                "tbc": seq_no == 0,
                "reportData": [
                    {"component": c, "variable": v, "variableAttribute": [{"value": value}]}
                    for c, v, value in data
                ],
            },
        )

    items = {"name": "ItemsPerMessage", "instance": "GetVariables"}
    first = report(
        0,
        ({"name": "SmartChargingCtrlr"}, {"name": "Available"}, "true"),
        ({"name": "LocalAuthListCtrlr"}, {"name": "Available"}, "false"),
        ({"name": "EVSE", "evse": {"id": 1}}, {"name": "Available"}, "true"),
    )
    assert first is not None
    assert first.features == ("SmartChargingCtrlr",)
    assert variables(first) == {
        "LocalAuthListCtrlr.Available": "false",
        "SmartChargingCtrlr.Available": "true",
    }
    second = report(
        1,
        ({"name": "DeviceDataCtrlr"}, items, "4"),
        ({"name": "OCPPCommCtrlr"}, {"name": "HeartbeatInterval"}, "60"),
    )
    assert variables(second)["DeviceDataCtrlr.ItemsPerMessage[GetVariables]"] == "4"
    assert len(variables(second)) == 3


def test_variables_asked_for_and_set() -> None:
    learning = Learning(V201)
    place = {"component": {"name": "SmartChargingCtrlr"}, "variable": {"name": "RateUnit"}}
    got = {"getVariableResult": [{**place, "attributeStatus": "Accepted", "attributeValue": "W"}]}
    unknown = {"getVariableResult": [{**place, "attributeStatus": "UnknownVariable"}]}
    data = {"getVariableData": [place]}
    assert learning.is_answered("GetVariables", data, unknown) is None
    assert variables(learning.is_answered("GetVariables", data, got)) == {"SmartChargingCtrlr.RateUnit": "W"}

    enabled = {"component": {"name": "SmartChargingCtrlr"}, "variable": {"name": "Enabled"}}
    wanted = {"setVariableData": [{**enabled, "attributeValue": "false"}, {**place, "attributeValue": "A"}]}
    done = {
        "setVariableResult": [
            {**enabled, "attributeStatus": "Accepted"},
            {**place, "attributeStatus": "Rejected"},
        ]
    }
    assert variables(learning.is_answered("SetVariables", wanted, done)) == {
        "SmartChargingCtrlr.Enabled": "false",
        "SmartChargingCtrlr.RateUnit": "W",
    }


LOG = {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "x"}}


def test_what_it_does_not_implement_is_lacking_until_it_does() -> None:
    learning = Learning()
    learned = learning.is_answered("GetLog", LOG, error="NotImplemented")
    assert learned is not None
    assert learned.lacking == ("GetLog",)
    assert learning.is_answered("GetLog", LOG, error="NotImplemented") is None
    assert learning.is_answered("GetLog", LOG, error="InternalError") is None
    assert learning.is_answered("GetLog", LOG) is None  # silence
    has = learning.is_answered("GetLog", LOG, {"status": "Rejected"})
    assert has is not None
    assert has.lacking == ()


def profile(purpose: str) -> dict[str, Any]:
    return {"connectorId": 1, "csChargingProfiles": {"chargingProfilePurpose": purpose}}


def test_one_argument_may_be_lacking_and_the_others_not() -> None:
    learning = Learning()
    tx, default = profile("TxProfile"), profile("TxDefaultProfile")
    first = learning.is_answered("SetChargingProfile", tx, {"status": "NotSupported"})
    assert first is not None
    assert first.lacking == ("SetChargingProfile:TxProfile",)
    assert learning.is_answered("SetChargingProfile", default, {"status": "Accepted"}) is None
    trigger = {"requestedMessage": "MeterValues"}
    second = learning.is_answered("TriggerMessage", trigger, {"status": "NotImplemented"})
    assert second is not None
    assert second.lacking == ("SetChargingProfile:TxProfile", "TriggerMessage:MeterValues")
    third = learning.is_answered("SetChargingProfile", tx, {"status": "Rejected"})
    assert third is not None
    assert third.lacking == ("TriggerMessage:MeterValues",)
    fourth = learning.is_answered(
        "SendLocalList", {"listVersion": 1, "updateType": "Full"}, {"status": "NotSupported"}
    )
    assert fourth is not None
    assert "SendLocalList" in fourth.lacking


@pytest.mark.parametrize("change", [{"firmware": "2.0"}, {"model": "Three"}, {"firmware": None}])
def test_new_firmware_forgets_what_the_old_one_could(change: dict[str, Any]) -> None:
    learning = Learning()
    learning.boots()
    learning.configuration(SupportedFeatureProfiles="Core")
    learning.is_answered("GetLog", LOG, error="NotSupported")
    learned = learning.boots(**change)
    assert learned is not None
    assert (learned.features, learned.lacking, learned.variables) == ((), (), ())


def test_the_same_firmware_remembers_all_but_refusals() -> None:
    learning = Learning()
    learning.boots()
    learning.configuration(SupportedFeatureProfiles="Core")
    learning.is_answered("GetLog", LOG, error="NotSupported")
    learned = learning.boots()
    assert learned is not None
    assert (learned.features, learned.lacking) == (("Core",), ())
    assert learning.boots() is None


@pytest.mark.parametrize(
    ("reported", "lacking"),
    [
        ({"LocalAuthListEnabled": "true"}, ()),
        ({"LocalAuthListEnabled": "false"}, ("SendLocalList",)),  # as before
        ({"GetConfigurationMaxKeys": "7"}, ("SendLocalList",)),
    ],
)
def test_a_refusal_counts_until_something_is_switched(
    reported: dict[str, str], lacking: tuple[str, ...]
) -> None:
    learning = Learning()
    learning.configuration(LocalAuthListEnabled="false")
    learning.is_answered(
        "SendLocalList", {"listVersion": 1, "updateType": "Full"}, {"status": "NotSupported"}
    )
    learning.configuration(**reported)
    state = learning.runtime.state_of(STATION)
    assert state is not None
    assert state.lacking == lacking


def test_a_component_of_2_x_that_is_switched_on_may_do_what_it_refused() -> None:
    learning = Learning(V201)
    place = {"component": {"name": "TariffCostCtrlr"}, "variable": {"name": "Enabled", "instance": "Tariff"}}
    learning.is_answered("GetTariffs", {"evseId": 0}, error="NotSupported")
    learned = learning.is_answered(
        "SetVariables",
        {"setVariableData": [{**place, "attributeValue": "true"}]},
        {"setVariableResult": [{**place, "attributeStatus": "Accepted"}]},
    )
    assert learned is not None
    assert learned.lacking == ()


def test_another_version_begins_anew_and_old_answers_do_not_count_for_it() -> None:
    learning = Learning()
    learning.boots()
    learning.is_answered("GetLog", LOG, error="NotSupported")
    learning.version = V201
    assert learning.is_answered("ClearCache", {}, error="NotSupported") is None
    learned = learning.boots()
    assert learned is not None
    assert (learned.version, learned.lacking) == (V201, ())


def test_an_answer_that_breaks_its_schema_teaches_nothing() -> None:
    learning = Learning()
    assert learning.is_answered("GetConfiguration", {}, {"configurationKey": [{"key": 1}], "x": 1}) is None


def test_memory_is_bounded() -> None:
    learning = Learning()
    for number in range(MOST_LACKING + 10):
        learning.is_answered(f"Vendor{number:03}", {}, error="NotImplemented")
    state = learning.runtime.state_of(STATION)
    assert state is not None
    assert len(state.lacking) == MOST_LACKING


def test_what_cannot_matter_is_passed_over_by_its_headers() -> None:
    processor = CapabilitiesProcessor()
    for topic, kind, subject in (
        ("ocpp.lifecycle", "OcppCallReceived", "Heartbeat"),
        ("ocpp.lifecycle", "OcppCallReceived", "StatusNotification"),
        ("ocpp.lifecycle", "ConnectionOpened", None),
        ("ocpp.commands", "DispatchRefused", None),
    ):
        assert not processor.wants(topic, kind, subject)
    assert processor.wants("ocpp.lifecycle", "OcppCallReceived", "NotifyReport")
    assert processor.wants("ocpp.commands", "OcppCallSent", "Reset")


def test_a_repeated_record_changes_nothing() -> None:
    learning = Learning()
    learning.boots()
    learning.configuration(SupportedFeatureProfiles="Core")
    before = learning.runtime.state_of(STATION)
    learning.configuration(SupportedFeatureProfiles="Core")
    learning.boots()
    assert learning.runtime.state_of(STATION) == before


def test_ever_new_components_are_kept_up_to_a_bound_and_those_beyond_are_counted() -> None:
    learning = Learning(V201)
    learning.boots()
    for number in range(MOST_VARIABLES):
        names = [f"é{number}-{each}" + "x" * 180 for each in range(10)]
        learning.hears("NotifyReport", _availability(number, names))
    state = learning.runtime.state_of(STATION)
    assert state is not None
    assert len(state.variables) == MOST_VARIABLES
    assert len(msgspec.msgpack.encode(state)) <= CapabilitiesProcessor.max_state_bytes
    assert learning.runtime.bounded["abilities"] == MOST_VARIABLES - MOST_VARIABLES // 10


def _availability(request_id: int, components: list[str]) -> dict[str, Any]:
    return {
        "requestId": request_id,
        "generatedAt": "2026-01-01T00:00:00Z",
        "seqNo": 0,
        "reportData": [
            {
                "component": {"name": name},
                "variable": {"name": "Available"},
                "variableAttribute": [{"value": "true"}],
            }
            for name in components
        ],
    }
