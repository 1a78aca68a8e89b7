"""What chargers tell beside their transactions, and one way to tell a transaction in every version."""

from __future__ import annotations

from typing import Any

from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.times import format_timestamp
from tests.unit.sessions.exchanges import event2, exchange, meter16, start16, stop16

VERSIONS = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")


def status16(status: str, at: int, *, connector: int = 1, **more: Any) -> OcppCallReceived:
    payload = {
        "connectorId": connector,
        "status": status,
        "errorCode": "NoError",
        "timestamp": more.pop("timestamp", format_timestamp(at)),
    }
    return exchange("StatusNotification", payload, at=at, **more)


def status2(status: str, at: int, **more: Any) -> OcppCallReceived:
    payload = {"evseId": 1, "connectorId": 1, "connectorStatus": status, "timestamp": format_timestamp(at)}
    return exchange("StatusNotification", payload, at=at, version="ocpp2.0.1", **more)


def boot(at: int, version: str = "ocpp1.6", reason: str = "PowerUp", **more: Any) -> OcppCallReceived:
    payload: dict[str, Any] = {"chargePointVendor": "V", "chargePointModel": "M"}
    if version != "ocpp1.6":
        payload = {"reason": reason, "chargingStation": {"vendorName": "V", "model": "M"}}
    return exchange(
        "BootNotification", payload, at=at, version=version, answer={"status": "Accepted"}, **more
    )


class Charger:
    """Tells transactions of EVSE 1 in one version; `more` is as in `exchange`."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._seq: dict[int, int] = {}

    def start(self, tx: int, at: int, wh: int, **more: Any) -> OcppCallReceived:
        self._seq[tx] = 0
        if self.version == "ocpp1.6":
            return start16(tx, at, wh, **more)
        return event2("Started", str(tx), 0, at, wh, tag="TAG-A", version=self.version, **more)

    def update(self, tx: int, at: int, wh: int, **more: Any) -> OcppCallReceived:
        if self.version == "ocpp1.6":
            return meter16(tx, at, wh, **more)
        return event2("Updated", str(tx), self._next(tx), at, wh, version=self.version, **more)

    def end(self, tx: int, at: int, wh: int, **more: Any) -> OcppCallReceived:
        if self.version == "ocpp1.6":
            return stop16(tx, at, wh, **more)
        return event2(
            "Ended", str(tx), self._next(tx), at, wh, reason="EVDisconnected", version=self.version, **more
        )

    def boot(self, at: int, **more: Any) -> OcppCallReceived:
        return boot(at, self.version, **more)

    def _next(self, tx: int) -> int:
        self._seq[tx] = self._seq.get(tx, 0) + 1
        return self._seq[tx]
