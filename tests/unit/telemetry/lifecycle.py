"""A station's life as the edge records it."""

from __future__ import annotations

from typing import Any

from libs.events.ocpp_log import ConnectionClosed, ConnectionOpened, FrameRejected, OcppCallReceived
from libs.ocpp.times import format_timestamp
from tests.unit.sessions.exchanges import NOON, STATION, exchange


def envelope(name: str, at: int) -> dict[str, Any]:
    return {"event_id": name, "occurred_at": at, "recorded_at": at, "cause_id": name, "station_id": STATION}


def opened(epoch: int, at: int, version: str = "ocpp1.6") -> ConnectionOpened:
    return ConnectionOpened(
        **envelope(f"opened-{epoch}", at),
        connection_epoch=epoch,
        edge_id="edge-0",
        slot=0,
        version=version,
        remote_address="127.0.0.1",
        registered=True,
    )


def closed(epoch: int, at: int) -> ConnectionClosed:
    return ConnectionClosed(
        **envelope(f"closed-{epoch}", at),
        connection_epoch=epoch,
        edge_id="edge-0",
        code=1006,
        reason="",
        opened_at=NOON,
    )


def rejected(n: int, at: int) -> FrameRejected:
    return FrameRejected(
        **envelope(f"rejected-{n}", at),
        connection_epoch=1,
        edge_id="edge-0",
        version="ocpp1.6",
        code="FormationViolation",
        reason="",
        frame="[",
        frame_bytes=1,
        answered=True,
    )


def boot(at: int, firmware: str = "1.0", epoch: int = 1) -> OcppCallReceived:
    payload = {
        "chargePointVendor": "Acme",
        "chargePointModel": "One",
        "chargePointSerialNumber": "S-1",
        "firmwareVersion": firmware,
    }
    return exchange("BootNotification", payload, at=at, recorded_at=at, epoch=epoch)


def status(
    connector: int,
    word: str,
    at: int,
    error: str = "NoError",
    epoch: int = 1,
    recorded_at: int | None = None,
    **more: Any,
) -> OcppCallReceived:
    payload: dict[str, Any] = {"connectorId": connector, "status": word, "errorCode": error}
    if recorded_at is None:
        recorded_at = at
    else:
        payload["timestamp"] = format_timestamp(at)
    return exchange("StatusNotification", payload, at=at, recorded_at=recorded_at, epoch=epoch, **more)


def heartbeat(at: int, **more: Any) -> OcppCallReceived:
    return exchange("Heartbeat", {}, at=at, recorded_at=at, **more)
