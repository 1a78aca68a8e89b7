"""What stations of OCPP 2.0.1 and 2.1 report beside status, transactions and meter values, as events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any, Final, Literal

import orjson

from libs.ocpp.semantics import reports as r
from libs.ocpp.semantics.model import ConnectorStatusReported, SemanticEvent
from libs.ocpp.semantics.numbers import thousandths, thousandths_of, whole
from libs.ocpp.semantics.v16 import CallReader, Payload, security_event
from libs.ocpp.semantics.variables import format_name
from libs.ocpp.times import parse_timestamp

_NOTHING: Final[Mapping[str, Any]] = {}
# Variables that say that something is wrong (2.0.1 part 2, appendix 3: standardised variables).
_FAULTS: Final = frozenset({"Problem", "Tripped", "Overload", "Fault", "UnknownConnector"})
_USES: Final[Mapping[str, Literal["station", "v2g", "v2g20"]]] = {
    "V2GCertificate": "v2g",
    "V2G20Certificate": "v2g20",
}


def _notify_event(payload: Payload, _answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    """Availability, faults and monitored variables, all told through the device model (2.x G01, N07, N08)."""
    return [_datum(datum, received_at, zone) for datum in payload["eventData"]]


def _datum(datum: Mapping[str, Any], received_at: int, zone: tzinfo) -> SemanticEvent:
    at, odd = parse_timestamp(datum.get("timestamp"), received_at, zone)
    component, variable = datum["component"], datum["variable"]
    evse = component.get("evse", _NOTHING)
    value, name = datum["actualValue"], variable["name"]
    if name == "AvailabilityState":
        return ConnectorStatusReported(
            evse_id=evse.get("id", 0),
            connector_id=evse.get("connectorId", 0),
            status=value,
            error_code=None,
            at=at,
            quirks=odd,
        )
    if name in _FAULTS:
        return r.FaultReported(
            evse_id=evse.get("id", 0),
            connector_id=evse.get("connectorId", 0),
            code=format_name(component, variable),
            cleared=datum.get("cleared", False) or value.casefold() in ("false", "0"),
            at=at,
            vendor_code=datum.get("techCode"),
            info=datum.get("techInfo"),
            severity=datum.get("severity"),
            quirks=odd,
        )
    return r.VariableObserved(
        variable=_seen(component, variable, value),
        trigger=datum["trigger"],
        cleared=datum.get("cleared", False),
        monitor_id=datum.get("variableMonitoringId"),
        severity=datum.get("severity"),
        at=at,
        quirks=odd,
    )


def _notify_report(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    variables = [
        _seen(datum["component"], datum["variable"], attribute["value"])
        for datum in payload.get("reportData", ())
        for attribute in datum["variableAttribute"]
        if attribute.get("type", "Actual") == "Actual" and "value" in attribute
    ]
    return [r.VariablesReported(tuple(variables), payload["requestId"], _last(payload), received_at)]


def _seen(component: Mapping[str, Any], variable: Mapping[str, Any], value: str) -> r.VariableSeen:
    evse = component.get("evse", _NOTHING)
    return r.VariableSeen(format_name(component, variable), value, evse.get("id"), evse.get("connectorId"))


def _notify_monitoring_report(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    monitors = tuple(
        [
            r.Monitor(
                monitor_id=rule["id"],
                name=format_name(datum["component"], datum["variable"]),
                kind=rule["type"],
                value_milli=thousandths(rule["value"]),
                severity=rule["severity"],
                evse_id=datum["component"].get("evse", _NOTHING).get("id"),
                connector_id=datum["component"].get("evse", _NOTHING).get("connectorId"),
            )
            for datum in payload.get("monitor", ())
            for rule in datum["variableMonitoring"]
        ]
    )
    return [r.MonitorsReported(monitors, payload["requestId"], _last(payload), received_at)]


def _sign_certificate(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    use = _USES.get(payload.get("certificateType", ""), "station")
    return [r.CertificateSigningAsked(payload["csr"], use, payload.get("requestId"), received_at)]


def _certificate_status(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    data = payload["ocspRequestData"]
    return [r.CertificateStatusAsked(certificate_hash(data), "OCSP", (data["responderURL"],), received_at)]


def certificate_hash(data: Mapping[str, Any]) -> r.CertificateHash:
    """CertificateHashData of all versions."""
    return r.CertificateHash(
        data["hashAlgorithm"], data["issuerNameHash"], data["issuerKeyHash"], data["serialNumber"]
    )


def _contract_certificate(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    return [
        r.ContractCertificateAsked(
            payload["action"], payload["iso15118SchemaVersion"], payload["exiRequest"], received_at
        )
    ]


def _log_status(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [r.LogStatusReported(payload["status"], payload.get("requestId"), received_at)]


def _publish_status(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    return [
        r.FirmwarePublishReported(
            payload["status"], tuple(payload.get("location", ())), payload.get("requestId"), received_at
        )
    ]


def _charging_needs(
    payload: Payload, _answer: Payload, received_at: int, zone: tzinfo
) -> list[SemanticEvent]:
    needs = payload["chargingNeeds"]
    ac, dc = needs.get("acChargingParameters", _NOTHING), needs.get("dcChargingParameters", _NOTHING)
    v2x = needs.get("v2xChargingParameters", _NOTHING)
    departure, odd = _moment(needs.get("departureTime"), received_at, zone)
    energy = _first(ac.get("energyAmount"), dc.get("energyAmount"), v2x.get("evTargetEnergyRequest"))
    return [
        r.ChargingNeedsReported(
            evse_id=payload["evseId"],
            transfer=needs["requestedEnergyTransfer"],
            departure_at=departure,
            at=received_at,
            energy_wh=whole(energy),
            min_current_ma=thousandths_of(_first(ac.get("evMinCurrent"), v2x.get("minChargeCurrent"))),
            max_current_ma=thousandths_of(
                _first(ac.get("evMaxCurrent"), dc.get("evMaxCurrent"), v2x.get("maxChargeCurrent"))
            ),
            max_voltage_mv=thousandths_of(
                _first(ac.get("evMaxVoltage"), dc.get("evMaxVoltage"), v2x.get("maxVoltage"))
            ),
            max_power_mw=thousandths_of(_first(dc.get("evMaxPower"), _power(v2x))),
            soc_percent=whole(dc.get("stateOfCharge")),
            capacity_wh=whole(dc.get("evEnergyCapacity")),
            max_tuples=payload.get("maxScheduleTuples"),
            quirks=odd,
        )
    ]


def _power(v2x: Mapping[str, Any]) -> float | None:
    """The most that a vehicle can take, over all phases: L2 and L3 are given where phases differ."""
    first = v2x.get("maxChargePower")
    if first is None:
        return None
    return float(first + v2x.get("maxChargePower_L2", 0) + v2x.get("maxChargePower_L3", 0))


def _vehicle_schedule(
    payload: Payload, _answer: Payload, received_at: int, zone: tzinfo
) -> list[SemanticEvent]:
    schedule = _schedule(payload["chargingSchedule"], received_at, zone)
    if schedule.starts_at is None:
        base, _ = parse_timestamp(payload["timeBase"], received_at, zone)
        schedule = r.Schedule(schedule.unit, schedule.periods, base, schedule.duration_s)
    return [r.VehicleScheduleReported(payload["evseId"], schedule, received_at)]


def _charging_limit(
    payload: Payload, _answer: Payload, received_at: int, zone: tzinfo
) -> list[SemanticEvent]:
    limit = payload["chargingLimit"]
    schedules = [_schedule(each, received_at, zone) for each in payload.get("chargingSchedule", ())]
    return [
        r.ExternalLimitReported(
            payload.get("evseId", 0),
            limit["chargingLimitSource"],
            limit.get("isGridCritical", False),
            tuple(schedules),
            received_at,
        )
    ]


def _cleared_limit(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    return [r.ExternalLimitCleared(payload.get("evseId", 0), payload["chargingLimitSource"], received_at)]


def _charging_profiles(
    payload: Payload, _answer: Payload, received_at: int, zone: tzinfo
) -> list[SemanticEvent]:
    profiles = [
        r.Profile(
            profile_id=profile["id"],
            purpose=profile["chargingProfilePurpose"],
            stack_level=profile["stackLevel"],
            kind=profile["chargingProfileKind"],
            transaction_id=profile.get("transactionId"),
            schedules=tuple([_schedule(each, received_at, zone) for each in profile["chargingSchedule"]]),
        )
        for profile in payload["chargingProfile"]
    ]
    return [
        r.ProfilesReported(
            payload["evseId"],
            payload["chargingLimitSource"],
            tuple(profiles),
            payload["requestId"],
            _last(payload),
            received_at,
        )
    ]


def _schedule(schedule: Mapping[str, Any], received_at: int, zone: tzinfo) -> r.Schedule:
    starts_at, _ = _moment(schedule.get("startSchedule"), received_at, zone)
    periods = [
        r.SchedulePeriod(
            period["startPeriod"], thousandths_of(period.get("limit")), period.get("numberPhases")
        )
        for period in schedule["chargingSchedulePeriod"]
    ]
    return r.Schedule(schedule["chargingRateUnit"], tuple(periods), starts_at, schedule.get("duration"))


def _reservation(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [r.ReservationEnded(payload["reservationId"], payload["reservationUpdateStatus"], received_at)]


def _display_messages(
    payload: Payload, _answer: Payload, received_at: int, zone: tzinfo
) -> list[SemanticEvent]:
    messages = tuple(
        [
            r.DisplayMessage(
                message_id=info["id"],
                priority=info["priority"],
                text=info["message"]["content"],
                format=info["message"]["format"],
                state=info.get("state"),
                transaction_id=info.get("transactionId"),
                starts_at=_moment(info.get("startDateTime"), received_at, zone)[0],
                ends_at=_moment(info.get("endDateTime"), received_at, zone)[0],
            )
            for info in payload.get("messageInfo", ())
        ]
    )
    return [r.DisplayMessagesReported(messages, payload["requestId"], _last(payload), received_at)]


def _customer(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [
        r.CustomerInformationReported(
            payload["requestId"], payload["seqNo"], payload["data"], _last(payload), received_at
        )
    ]


def _data_transfer(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    data = payload.get("data")
    text = data if data is None or isinstance(data, str) else orjson.dumps(data).decode()
    return [r.VendorDataReceived(payload["vendorId"], payload.get("messageId"), text, received_at)]


def _moment(value: object, received_at: int, zone: tzinfo) -> tuple[int | None, tuple[str, ...]]:
    """A time that may be absent."""
    return (None, ()) if value is None else parse_timestamp(value, received_at, zone)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _last(payload: Payload) -> bool:
    return not payload.get("tbc", False)


def variables_of(items: Iterable[Mapping[str, Any]], value: str) -> tuple[r.VariableSeen, ...]:
    """Variables among the accepted items of a GetVariables or SetVariables; ``value`` names where their value is."""
    return tuple(
        [
            _seen(item["component"], item["variable"], item[value])
            for item in items
            if value in item and item.get("attributeType", "Actual") == "Actual"
        ]
    )


READERS: Final[Mapping[str, CallReader]] = {
    "NotifyEvent": _notify_event,
    "NotifyReport": _notify_report,
    "NotifyMonitoringReport": _notify_monitoring_report,
    "SecurityEventNotification": security_event,
    "SignCertificate": _sign_certificate,
    "GetCertificateStatus": _certificate_status,
    "Get15118EVCertificate": _contract_certificate,
    "LogStatusNotification": _log_status,
    "PublishFirmwareStatusNotification": _publish_status,
    "NotifyEVChargingNeeds": _charging_needs,
    "NotifyEVChargingSchedule": _vehicle_schedule,
    "NotifyChargingLimit": _charging_limit,
    "ClearedChargingLimit": _cleared_limit,
    "ReportChargingProfiles": _charging_profiles,
    "ReservationStatusUpdate": _reservation,
    "NotifyDisplayMessages": _display_messages,
    "NotifyCustomerInformation": _customer,
    "DataTransfer": _data_transfer,
}
