"""Exchanges as the edge records them, for given-when-then tests of the sessions and telemetry processors."""

from __future__ import annotations

from typing import Any

import orjson

from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.times import format_timestamp

STATION = "CP-1"
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOON = 1_795_348_800 * SECOND  # 2026-11-22T12:00:00Z


def exchange(
    action: str,
    payload: dict[str, Any],
    *,
    at: int,
    version: str = "ocpp1.6",
    answer: dict[str, Any] | None = None,
    event: str = "",
    recorded_at: int | None = None,
    quirks: tuple[str, ...] = (),
    epoch: int = 1,
) -> OcppCallReceived:
    text = orjson.dumps(payload).decode()
    recorded = at + SECOND if recorded_at is None else recorded_at
    event_id = derive_id(f"{action}{text}{recorded}", event)
    return OcppCallReceived(
        event_id=event_id,
        occurred_at=at,
        recorded_at=recorded,
        cause_id=event_id,
        station_id=STATION,
        connection_epoch=epoch,
        edge_id="edge-0",
        version=version,
        message_id=event_id,
        action=action,
        payload=text,
        answer=orjson.dumps(answer or {}).decode(),
        quirks=quirks,
    )


def start16(
    tx: int, at: int, meter: int, *, connector: int = 1, tag: str = "TAG-A", **more: Any
) -> OcppCallReceived:
    payload = {
        "connectorId": connector,
        "idTag": tag,
        "meterStart": meter,
        "timestamp": more.pop("timestamp", format_timestamp(at)),
    }
    answer = {"transactionId": tx, "idTagInfo": {"status": more.pop("status", "Accepted")}}
    return exchange("StartTransaction", payload, at=at, answer=answer, **more)


def stop16(tx: int | None, at: int, meter: int, *, tag: str | None = None, **more: Any) -> OcppCallReceived:
    payload: dict[str, Any] = {
        "meterStop": meter,
        "timestamp": format_timestamp(at),
        "reason": "EVDisconnected",
    }
    if tx is not None:
        payload["transactionId"] = tx
    else:
        more["quirks"] = ("transaction_id_missing",)
    if tag is not None:
        payload["idTag"] = tag
    status = more.pop("status", None)
    answer = {} if status is None else {"idTagInfo": {"status": status}}
    return exchange("StopTransaction", payload, at=at, answer=answer, **more)


def meter16(tx: int | None, at: int, wh: int, *, connector: int = 1, **more: Any) -> OcppCallReceived:
    payload: dict[str, Any] = {
        "connectorId": connector,
        "meterValue": [
            {
                "timestamp": format_timestamp(at),
                "sampledValue": [
                    {"value": str(wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                    {"value": "11.04", "measurand": "Power.Active.Import", "unit": "kW"},
                ],
            }
        ],
    }
    if tx is not None:
        payload["transactionId"] = tx
    return exchange("MeterValues", payload, at=at, **more)


_CONTEXTS = {"Started": "Transaction.Begin", "Updated": "Sample.Periodic", "Ended": "Transaction.End"}


def event2(
    kind: str,
    tx: str,
    seq: int,
    at: int,
    wh: int | None = None,
    *,
    evse: int | None = 1,
    tag: str | None = None,
    state: str | None = None,
    reason: str | None = None,
    trigger: str = "MeterValuePeriodic",
    version: str = "ocpp2.0.1",
    **more: Any,
) -> OcppCallReceived:
    info: dict[str, Any] = {"transactionId": tx}
    if state is not None:
        info["chargingState"] = state
    if reason is not None:
        info["stoppedReason"] = reason
    payload: dict[str, Any] = {
        "eventType": kind,
        "timestamp": format_timestamp(at),
        "triggerReason": trigger,
        "seqNo": seq,
        "transactionInfo": info,
    }
    if evse is not None:
        payload["evse"] = {"id": evse, "connectorId": 1}
    if tag is not None:
        payload["idToken"] = {"idToken": tag, "type": "ISO14443"}
    if wh is not None:
        payload["meterValue"] = [
            {
                "timestamp": format_timestamp(at),
                "sampledValue": [{"value": wh, "context": _CONTEXTS[kind]}],
            }
        ]
    status = more.pop("status", None)
    answer = {} if status is None else {"idTokenInfo": {"status": status}}
    return exchange("TransactionEvent", payload, at=at, version=version, answer=answer, **more)
