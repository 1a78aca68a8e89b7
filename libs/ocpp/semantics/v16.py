"""OCPP 1.6 messages to semantic events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo
from operator import attrgetter
from typing import Any, Final

from libs.ocpp import quirks
from libs.ocpp.semantics.measurements import NO_METER, MeterRead, read_meter_values
from libs.ocpp.semantics.model import (
    Booted,
    ConnectorStatusReported,
    FirmwareStatusReported,
    MeasurementsReported,
    SemanticEvent,
    TokenPresented,
    TransactionStep,
)
from libs.ocpp.semantics.numbers import evse_number, register_wh
from libs.ocpp.semantics.reports import (
    CertificateSigningAsked,
    FaultReported,
    LogStatusReported,
    SecurityEventReported,
    VendorDataReceived,
)
from libs.ocpp.times import parse_timestamp

Payload = Mapping[str, Any]
CallReader = Callable[[Payload, Payload, int, tzinfo], list[SemanticEvent]]
StepReader = Callable[[Payload, Payload, int, tzinfo, MeterRead], TransactionStep | None]
"""Of a payload whose meter values are read."""

_MOST_ISSUED: Final = 2**31 - 1
"""Transaction ids are the central system's: positive integers of 32 bits."""


def _boot(payload: Payload, answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [
        Booted(
            vendor=payload["chargePointVendor"],
            model=payload["chargePointModel"],
            serial=payload.get("chargePointSerialNumber") or payload.get("chargeBoxSerialNumber"),
            firmware_version=payload.get("firmwareVersion"),
            reason=None,
            at=received_at,
            boot_status=answer.get("status"),
        )
    ]


def _status(payload: Payload, _answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    at, odd = parse_timestamp(payload.get("timestamp"), received_at, zone)
    connector, error = payload["connectorId"], payload["errorCode"]
    events: list[SemanticEvent] = [
        ConnectorStatusReported(
            evse_id=connector,
            connector_id=connector,
            status=payload["status"],
            error_code=None if error == "NoError" else error,
            at=at,
            quirks=odd,
        )
    ]
    if error != "NoError":
        events.append(
            FaultReported(
                evse_id=connector,
                connector_id=connector,
                code=error,
                cleared=False,
                at=at,
                vendor_code=payload.get("vendorErrorCode"),
                info=payload.get("info"),
                quirks=odd,
            )
        )
    return events


def _authorize(payload: Payload, answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [TokenPresented(payload["idTag"], _token_status(answer), received_at)]


def _start(payload: Payload, answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    step = _started(payload, answer, received_at, zone, NO_METER)
    return [] if step is None else [step]


def _started(
    payload: Payload, answer: Payload, received_at: int, zone: tzinfo, _meter: MeterRead
) -> TransactionStep | None:
    transaction_id = answer.get("transactionId")
    if transaction_id is None:  # not answered: the charger will send it again
        return None
    at, odd = parse_timestamp(payload.get("timestamp"), received_at, zone)
    connector, meter_wh = evse_number(payload["connectorId"]), register_wh(payload["meterStart"])
    if meter_wh is None:
        odd += (quirks.SAMPLE_DROPPED,)
    return TransactionStep(
        kind="started",
        transaction_id=str(transaction_id),
        at=at,
        evse_id=connector,
        connector_id=connector,
        id_token=payload["idTag"],
        token_status=_token_status(answer),
        meter_wh=meter_wh,
        reservation_id=payload.get("reservationId"),
        quirks=odd,
    )


def _stop(payload: Payload, answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    meter = read_meter_values(payload.get("transactionData", ()), received_at, zone)
    step = _stopped(payload, answer, received_at, zone, meter)
    return [step, *_measured(None, step.transaction_id, meter)]


def _stopped(
    payload: Payload, answer: Payload, received_at: int, zone: tzinfo, meter: MeterRead
) -> TransactionStep:
    at, odd = parse_timestamp(payload.get("timestamp"), received_at, zone)
    number = payload.get("transactionId")
    transaction_id = "" if number is None else str(number)
    if number is not None and not 0 < number <= _MOST_ISSUED:
        odd += (quirks.TRANSACTION_ID_ODD,)
    meter_wh = register_wh(payload["meterStop"]) if "meterStop" in payload else None
    if meter_wh is None:
        odd += (quirks.SAMPLE_DROPPED,)
    return TransactionStep(
        kind="ended",
        transaction_id=transaction_id,
        at=at,
        id_token=payload.get("idTag"),
        token_status=_token_status(answer),
        reason=payload.get("reason", "Local"),  # §6.49: may be omitted only when Local
        meter_wh=meter_wh,
        readings=meter.readings,
        quirks=tuple(dict.fromkeys(odd + meter.quirks)),
        exported=meter.exported,
        signed=meter.signed,
        place=meter.place,
    )


def _meter_values(payload: Payload, answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    meter = read_meter_values(payload["meterValue"], received_at, zone)
    events = _measured(evse_number(payload["connectorId"]), _transaction_of(payload), meter)
    step = _metered(payload, answer, received_at, zone, meter)
    return events if step is None else [*events, step]


def _metered(
    payload: Payload, _answer: Payload, _received_at: int, _zone: tzinfo, meter: MeterRead
) -> TransactionStep | None:
    number, readings = payload.get("transactionId"), meter.readings
    connector = evse_number(payload["connectorId"])
    odd: tuple[str, ...] = ()
    if number is None or not readings:
        return None
    if not 0 < number <= _MOST_ISSUED:
        odd = (quirks.TRANSACTION_ID_ODD,)
        if number <= 0 and not connector:  # the main meter, beside all transactions
            return None
    # Some list the newest first.
    last = readings[0] if len(readings) == 1 else sorted(readings, key=attrgetter("at"))[-1]
    return TransactionStep(
        kind="updated",
        transaction_id=str(number),
        at=last.at,
        evse_id=connector,
        connector_id=connector,
        meter_wh=last.wh,
        readings=readings,
        quirks=odd + meter.quirks,
        exported=meter.exported,
        signed=meter.signed,
        place=meter.place,
    )


def _transaction_of(payload: Payload) -> str | None:
    """Real chargers send 0 or -1 outside transactions, and within; our own ids are positive."""
    number = payload.get("transactionId", 0)
    return str(number) if number > 0 else None


def _firmware(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    return [FirmwareStatusReported(payload["status"], payload.get("requestId"), received_at)]


def security_event(payload: Payload, _answer: Payload, received_at: int, zone: tzinfo) -> list[SemanticEvent]:
    """SecurityEventNotification of all versions."""
    at, odd = parse_timestamp(payload.get("timestamp"), received_at, zone)
    return [SecurityEventReported(payload["type"], payload.get("techInfo"), at, odd)]


def _sign_certificate(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    return [CertificateSigningAsked(payload["csr"], "station", None, received_at)]


def _log_status(payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo) -> list[SemanticEvent]:
    status = payload["status"]
    # DiagnosticsStatusNotification has one word of its own.
    words = "UploadFailure" if status == "UploadFailed" else status
    return [LogStatusReported(words, payload.get("requestId"), received_at)]


def _data_transfer(
    payload: Payload, _answer: Payload, received_at: int, _zone: tzinfo
) -> list[SemanticEvent]:
    return [
        VendorDataReceived(payload["vendorId"], payload.get("messageId"), payload.get("data"), received_at)
    ]


def _measured(connector: int | None, transaction_id: str | None, meter: MeterRead) -> list[SemanticEvent]:
    if not meter.samples and not meter.quirks:
        return []
    return [MeasurementsReported(connector, connector, transaction_id, meter.samples, meter.quirks)]


def _token_status(answer: Payload) -> str | None:
    info = answer.get("idTagInfo")
    return info.get("status") if isinstance(info, dict) else None


READERS: Final[Mapping[str, CallReader]] = {
    "BootNotification": _boot,
    "StatusNotification": _status,
    "Authorize": _authorize,
    "StartTransaction": _start,
    "StopTransaction": _stop,
    "MeterValues": _meter_values,
    "FirmwareStatusNotification": _firmware,
    "SignedFirmwareStatusNotification": _firmware,
    "DiagnosticsStatusNotification": _log_status,
    "LogStatusNotification": _log_status,
    "SecurityEventNotification": security_event,
    "SignCertificate": _sign_certificate,
    "DataTransfer": _data_transfer,
}
STEPS: Final[Mapping[str, StepReader]] = {
    "StartTransaction": _started,
    "StopTransaction": _stopped,
    "MeterValues": _metered,
}
