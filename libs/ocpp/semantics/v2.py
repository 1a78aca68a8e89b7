"""OCPP 2.0.1 and 2.1 messages to semantic events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from operator import attrgetter
from typing import Any, Final

from libs.ocpp.semantics.measurements import MeterRead, read_meter_values
from libs.ocpp.semantics.model import (
    Booted,
    ConnectorStatusReported,
    FirmwareStatusReported,
    MeasurementsReported,
    Reading,
    SemanticEvent,
    StepKind,
    TokenPresented,
    TransactionStep,
)
from libs.ocpp.semantics.numbers import evse_number
from libs.ocpp.semantics.v16 import CallReader, Payload, StepReader
from libs.ocpp.times import parse_timestamp

_KINDS: Final[Mapping[str, StepKind]] = {"Started": "started", "Updated": "updated", "Ended": "ended"}
_NOTHING: Final[Mapping[str, Any]] = {}


def _boot(payload: Payload, answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    station = payload["chargingStation"]
    return [
        Booted(
            vendor=station["vendorName"],
            model=station["model"],
            serial=station.get("serialNumber"),
            firmware_version=station.get("firmwareVersion"),
            reason=payload["reason"],
            at=received_at,
            boot_status=answer.get("status"),
        )
    ]


def _status(payload: Payload, _answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    at, odd = parse_timestamp(payload.get("timestamp"), received_at, zone)
    return [
        ConnectorStatusReported(
            evse_id=payload["evseId"],
            connector_id=payload["connectorId"],
            status=payload["connectorStatus"],
            error_code=None,
            at=at,
            quirks=odd,
        )
    ]


def _authorize(payload: Payload, answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [TokenPresented(payload["idToken"]["idToken"], _token_status(answer), received_at)]


def transaction_event(
    payload: Payload, answer: Payload, received_at: int, zone: tzinfo
) -> list[SemanticEvent]:
    """A step of a transaction, and what was measured meanwhile."""
    meter = read_meter_values(payload.get("meterValue", ()), received_at, zone)
    step = _transaction_step(payload, answer, received_at, zone, meter)
    return [step, *_measured(step.evse_id, step.connector_id, step.transaction_id, meter)]


def _transaction_step(
    payload: Payload, answer: Payload, received_at: int, zone: tzinfo, meter: MeterRead
) -> TransactionStep:
    at, odd = parse_timestamp(payload.get("timestamp"), received_at, zone)
    info = payload["transactionInfo"]
    evse = payload.get("evse", _NOTHING)
    kind = _KINDS[payload["eventType"]]
    return TransactionStep(
        kind=kind,
        transaction_id=info["transactionId"],
        at=at,
        evse_id=evse_number(evse.get("id")),
        connector_id=evse_number(evse.get("connectorId")),
        id_token=payload.get("idToken", _NOTHING).get("idToken") or None,
        token_status=_token_status(answer),
        seq_no=payload["seqNo"],
        trigger=payload["triggerReason"],
        reason=info.get("stoppedReason"),
        meter_wh=_own_register(kind, meter.readings),
        readings=meter.readings,
        charging_state=info.get("chargingState"),
        offline=payload.get("offline", False),
        reservation_id=payload.get("reservationId"),
        remote_start_id=info.get("remoteStartId"),
        quirks=tuple(dict.fromkeys(odd + meter.quirks)) if odd or meter.quirks else (),
        exported=meter.exported,
        signed=meter.signed,
        place=meter.place,
    )


def _meter_values(payload: Payload, _answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    meter = read_meter_values(payload["meterValue"], received_at, zone)
    return _measured(payload["evseId"], None, None, meter)


def _firmware(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [FirmwareStatusReported(payload["status"], payload.get("requestId"), received_at)]


def _own_register(kind: StepKind, readings: tuple[Reading, ...]) -> int | None:
    """Return the register of the step itself: an Ended event may carry the whole history (2.0.1 J02), in any order."""
    if not readings:
        return None
    if len(readings) > 1:
        readings = tuple(sorted(readings, key=attrgetter("at")))
    if kind == "started":
        return next((r.wh for r in readings if r.context == "Transaction.Begin"), readings[0].wh)
    if kind == "ended":
        return next((r.wh for r in reversed(readings) if r.context == "Transaction.End"), readings[-1].wh)
    return readings[-1].wh


def _measured(
    evse_id: int | None, connector_id: int | None, transaction_id: str | None, meter: MeterRead
) -> list[SemanticEvent]:
    if not meter.samples and not meter.quirks:
        return []
    return [MeasurementsReported(evse_id, connector_id, transaction_id, meter.samples, meter.quirks)]


def _token_status(answer: Payload) -> str | None:
    info = answer.get("idTokenInfo")
    return info.get("status") if isinstance(info, dict) else None


READERS: Final[Mapping[str, CallReader]] = {
    "BootNotification": _boot,
    "StatusNotification": _status,
    "Authorize": _authorize,
    "TransactionEvent": transaction_event,
    "MeterValues": _meter_values,
    "FirmwareStatusNotification": _firmware,
}
STEPS: Final[Mapping[str, StepReader]] = {"TransactionEvent": _transaction_step}
