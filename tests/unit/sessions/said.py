"""One message of a history in words to what a charger sends: action, payload and answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from libs.ocpp.times import format_timestamp

Call = tuple[str, dict[str, Any], dict[str, Any]]
CONTEXTS = {"Started": "Transaction.Begin", "Updated": "Sample.Periodic", "Ended": "Transaction.End"}
STATES = ("Charging", "SuspendedEV", "SuspendedEVSE", "EVConnected", "Idle")
EXPORT = "Energy.Active.Export.Register"
IMPORT = "Energy.Active.Import.Register"


class Said:
    """One message while its clauses are read."""

    def __init__(self, version: str, moment: Callable[[str], int], at: int, kind: str) -> None:
        self.version, self.moment, self.at, self.kind = version, moment, at, kind
        self.tx, self.seq = "", 0
        self.timestamp: Any = format_timestamp(at)
        self.arrives: int | None = None
        self.connector, self.tag = 1, ""
        self.register: str | None = None
        self.state = self.reason = ""
        self.context: str | None = CONTEXTS.get(kind)
        self.more: list[dict[str, Any]] = []
        self.earlier: list[tuple[str, str, str]] = []
        self.quirks: list[str] = []
        self.reservation: int | None = None
        self.offline = self.signed = self.phases = False
        self.location = ""
        self.answered = "Accepted"

    def read(self, clause: str) -> None:
        name, _, value = clause.partition(" ")
        match name:
            case "register":
                self.register = value
            case "connector" | "EVSE":
                self.connector = int(value)
            case "tag":
                self.tag = value
            case "reason":
                self.reason = value
            case "arrives":
                self.arrives = self.moment(value)
            case "clock":
                self.timestamp = int(value) if value.isdigit() else value
                self.quirks += ["number_for_string"] if value.isdigit() else []
            case "exported":
                self.more.append({"measurand": EXPORT, "value": value})
            case "unit":
                self.more.append({"measurand": IMPORT, "value": "7", "unit": value})
            case "context":
                self.context = None if value == "none" else value
            case "earlier":
                moment, wh, context = value.split(" ")
                self.earlier.append((moment, wh, context))
            case "flagged":
                self.quirks.append(value)
            case "answered":
                self.answered = value
            case "reservation":
                self.reservation = int(value)
            case "at":
                self.location = value
            case "offline" | "signed" | "phases":
                setattr(self, name, True)
            case _:
                assert clause in STATES, clause
                self.state = clause

    # --- registers

    def sampled(self, register: str, context: str | None) -> dict[str, Any]:
        value, _, unit = register.partition(" ")
        sample: dict[str, Any] = {"measurand": IMPORT}
        if self.version == "1.6":
            sample |= {"value": value, "unit": unit or "Wh"}
        else:
            sample |= {"value": float(value), "unitOfMeasure": {"unit": unit or "Wh"}}
        sample |= {"location": self.location} if self.location else {}
        return sample if context is None else sample | {"context": context}

    def values(self) -> list[dict[str, Any]]:
        found = [
            {
                "timestamp": format_timestamp(self.moment(moment)),
                "sampledValue": [self.sampled(wh, None if context == "none" else context)],
            }
            for moment, wh, context in self.earlier
        ]
        if self.register is not None:
            own = self.sampled(self.register, self.context)
            more = self.more
            if self.version != "1.6":
                more = [each | {"value": float(each["value"])} for each in more]
                if self.signed:
                    own["signedMeterValue"] = {
                        "signedMeterData": "T0NNRg==",
                        "signingMethod": "",
                        "encodingMethod": "OCMF",
                        "publicKey": "",
                    }
            elif self.signed:
                more = [*more, {"value": "T0NNRg==", "format": "SignedData"}]
            found.append({"timestamp": self.timestamp, "sampledValue": [own, *more]})
        return [each for value in found for each in apart(value)] if self.phases else found

    # --- messages

    def call(self) -> Call:
        match self.kind:
            case "start":
                return self.start()
            case "sample":
                payload: dict[str, Any] = {"connectorId": self.connector, "meterValue": self.values()}
                if self.tx != "-":
                    payload["transactionId"] = int(self.tx)
                if "object_for_list" in self.quirks:
                    (payload["meterValue"],) = payload["meterValue"]
                return "MeterValues", payload, {}
            case "stop":
                return self.stop()
            case "boot":
                return self.boot()
            case "status":
                return self.status()
            case "firmware":
                return "FirmwareStatusNotification", {"status": self.tx}, {}
            case _:
                return self.event()

    def start(self) -> Call:
        payload: dict[str, Any] = {
            "connectorId": self.connector,
            "idTag": self.tag or "TAG-A",
            "meterStart": int(self.register or 0),
            "timestamp": self.timestamp,
        }
        if self.reservation is not None:
            payload["reservationId"] = self.reservation
        return (
            "StartTransaction",
            payload,
            {"transactionId": int(self.tx), "idTagInfo": {"status": self.answered}},
        )

    def stop(self) -> Call:
        payload: dict[str, Any] = {
            "meterStop": int(self.register or 0),
            "timestamp": self.timestamp,
            "reason": self.reason or "EVDisconnected",
        }
        if self.tx == "none":
            self.quirks.append("transaction_id_missing")
        else:
            payload["transactionId"] = int(self.tx)
        if self.tag:
            payload["idTag"] = self.tag
        if self.earlier:
            self.register = None
            payload["transactionData"] = self.values()
        return "StopTransaction", payload, {"idTagInfo": {"status": self.answered}} if self.tag else {}

    def event(self) -> Call:
        info: dict[str, Any] = {"transactionId": self.tx}
        if self.state:
            info["chargingState"] = self.state
        if self.reason:
            info["stoppedReason"] = self.reason
        payload: dict[str, Any] = {
            "eventType": self.kind,
            "timestamp": self.timestamp,
            "triggerReason": "MeterValuePeriodic",
            "seqNo": self.seq,
            "transactionInfo": info,
            "evse": {"id": self.connector, "connectorId": 1},
        }
        if self.kind == "Started" or self.tag:
            payload["idToken"] = {"idToken": self.tag or "TAG-A", "type": "ISO14443"}
        if self.reservation is not None:
            payload["reservationId"] = self.reservation
        if self.offline:
            payload["offline"] = True
        if values := self.values():
            payload["meterValue"] = values
        named = "idToken" in payload
        return "TransactionEvent", payload, {"idTokenInfo": {"status": self.answered}} if named else {}

    def boot(self) -> Call:
        accepted = {"status": "Accepted", "currentTime": format_timestamp(self.at), "interval": 300}
        if self.version == "1.6":
            return "BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "One"}, accepted
        reason = self.reason or "PowerUp"
        station = {"vendorName": "Acme", "model": "One"}
        return "BootNotification", {"chargingStation": station, "reason": reason}, accepted

    def status(self) -> Call:
        common = {"timestamp": self.timestamp, "connectorId": self.connector}
        if self.version == "1.6":
            return "StatusNotification", {**common, "status": self.tx, "errorCode": "NoError"}, {}
        return (
            "StatusNotification",
            {**common, "evseId": self.connector, "connectorId": 1, "connectorStatus": self.tx},
            {},
        )


def apart(value: dict[str, Any]) -> list[dict[str, Any]]:
    """A total as registers of three phases, each an element of its own: a half, a third and the rest."""
    (sample,) = value["sampledValue"]
    wh = int(sample["value"])
    parts = {"L1": wh // 2, "L2": wh // 3, "L3": wh - wh // 2 - wh // 3}
    kind = type(sample["value"])
    return [value | {"sampledValue": [sample | {"value": kind(v), "phase": p}]} for p, v in parts.items()]
