"""Messages that OCPP 2.1 adds, as events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Final

from libs.ocpp.semantics import reports as r
from libs.ocpp.semantics import reports_v21 as r21
from libs.ocpp.semantics.model import SemanticEvent
from libs.ocpp.semantics.numbers import thousandths, thousandths_of
from libs.ocpp.semantics.v2 import transaction_event
from libs.ocpp.semantics.v2_reports import certificate_hash
from libs.ocpp.semantics.v16 import CallReader, Payload
from libs.ocpp.times import parse_timestamp

_SECOND: Final = 1_000  # thousandths of a second to microseconds
_CONTROLS: Final = (
    "curve",
    "enterService",
    "fixedPFAbsorb",
    "fixedPFInject",
    "fixedVar",
    "freqDroop",
    "gradient",
    "limitMaxDischarge",
)


def _transaction_event(
    payload: Payload, answer: Payload, received_at: int, zone: tzinfo
) -> list[SemanticEvent]:
    events = transaction_event(payload, answer, received_at, zone)
    details = payload.get("costDetails")
    if details is not None:
        # How much energy is left to the meter values: its unit here is not written down.
        cost, usage = details["totalCost"], details["totalUsage"]
        events.append(
            r21.CostReported(
                transaction_id=payload["transactionInfo"]["transactionId"],
                currency=cost["currency"],
                with_tax_milli=thousandths_of(cost["total"].get("inclTax")),
                without_tax_milli=thousandths_of(cost["total"].get("exclTax")),
                charging_s=usage["chargingTime"],
                idle_s=usage["idleTime"],
                failed=details.get("failureToCalculate", False),
                at=received_at,
            )
        )
    return events


def _chain_status(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [
        r.CertificateStatusAsked(
            certificate_hash(each["certificateHashData"]), each["source"], tuple(each["urls"]), received_at
        )
        for each in payload["certificateStatusRequests"]
    ]


def _settlement(payload: Payload, _answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    at, _ = parse_timestamp(payload["settlementTime"], received_at, zone)
    return [
        r21.SettlementReported(
            transaction_id=payload.get("transactionId"),
            reference=payload["pspRef"],
            status=payload["status"],
            amount_milli=thousandths(payload["settlementAmount"]),
            settled_at=at,
            receipt_id=payload.get("receiptId"),
            at=received_at,
        )
    ]


def _priority(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [r21.PriorityChargingReported(payload["transactionId"], payload["activated"], received_at)]


def _schedule_update(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    return [r21.ScheduleUpdateAsked(payload["chargingProfileId"], received_at)]


def _vat_number(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [r21.VatNumberAsked(payload["vatNumber"], payload.get("evseId", 0), received_at)]


def _grid_alarm(payload: Payload, _answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    at, odd = parse_timestamp(payload["timestamp"], received_at, zone)
    return [
        r21.GridAlarmReported(
            payload["controlType"],
            payload.get("gridEventFault"),
            payload.get("alarmEnded", False),
            payload.get("extraInfo"),
            at,
            odd,
        )
    ]


def _grid_start_stop(
    payload: Payload, _answer: Payload, received_at: int, zone: tzinfo
) -> list[SemanticEvent]:
    at, odd = parse_timestamp(payload["timestamp"], received_at, zone)
    superseded = tuple(payload.get("supersededIds", ()))
    return [r21.GridControlChanged(payload["controlId"], payload["started"], superseded, at, odd)]


def _grid_controls(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    controls = [
        r21.GridControl(
            each["id"],
            each.get("curveType", kind),
            each.get("isDefault", False),
            each.get("isSuperseded", False),
        )
        for kind in _CONTROLS
        for each in payload.get(kind, ())
    ]
    last = not payload.get("tbc", False)
    return [r21.GridControlsReported(tuple(controls), payload["requestId"], last, received_at)]


def _battery_swap(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    batteries = [
        r21.Battery(each["evseId"], each["serialNumber"], thousandths(each["soC"]), thousandths(each["soH"]))
        for each in payload["batteryData"]
    ]
    return [
        r21.BatterySwapReported(
            payload["eventType"],
            payload["requestId"],
            payload["idToken"]["idToken"],
            tuple(batteries),
            received_at,
        )
    ]


def _stream_opened(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    stream = payload["constantStreamData"]
    params: Mapping[str, Any] = stream["params"]
    return [
        r21.StreamOpened(
            stream["id"],
            stream["variableMonitoringId"],
            params.get("interval"),
            params.get("values"),
            received_at,
        )
    ]


def _stream_closed(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    return [r21.StreamClosed(payload["id"], received_at)]


def _stream_values(payload: Payload, _answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    base, odd = parse_timestamp(payload["basetime"], received_at, zone)
    # Each `t` is in seconds after `basetime` (2.1 part 2, StreamDataElementType).
    values = [r21.StreamValue(base + thousandths(each["t"]) * _SECOND, each["v"]) for each in payload["data"]]
    return [r21.StreamValuesReported(payload["id"], tuple(values), payload["pending"], received_at, odd)]


READERS: Final[Mapping[str, CallReader]] = {
    "TransactionEvent": _transaction_event,
    "GetCertificateChainStatus": _chain_status,
    "NotifySettlement": _settlement,
    "NotifyPriorityCharging": _priority,
    "PullDynamicScheduleUpdate": _schedule_update,
    "VatNumberValidation": _vat_number,
    "NotifyDERAlarm": _grid_alarm,
    "NotifyDERStartStop": _grid_start_stop,
    "ReportDERControl": _grid_controls,
    "BatterySwap": _battery_swap,
    "OpenPeriodicEventStream": _stream_opened,
    "ClosePeriodicEventStream": _stream_closed,
    "NotifyPeriodicEventStream": _stream_values,
}
