"""A virtual charger of OCPP 1.6, 2.0.1 or 2.1 that tells truthfully what its meters measured."""

from __future__ import annotations

from random import Random
from typing import Any

from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.times import format_timestamp
from tests.unit.sessions.exchanges import exchange
from tests.unit.sessions.meter import US, Visit
from tests.unit.sessions.surplus import with_surplus

REGISTER = "Energy.Active.Import.Register"
STATUSES = {"EVConnected": "Finishing"}
Script = list[OcppCallReceived]


def told_by(random: Random, visit: Visit, version: str) -> Script:
    """All messages of a visit, in the order of what they tell. Some send more than their version lists."""
    charger = Charger16(random, visit) if version == "ocpp1.6" else Charger2(random, visit, version)
    script = charger.script()
    return [with_surplus(random, told) for told in script] if random.random() < 0.2 else script


def transaction_id(visit: Visit, version: str) -> str:
    return str(visit.number) if version == "ocpp1.6" else f"tx-{visit.number}"


class Charger16:
    """StartTransaction, MeterValues, StopTransaction, and statuses of the connector if the visit's states are told."""

    def __init__(self, random: Random, visit: Visit) -> None:
        self.visit = visit
        # Some send their samples with the stop only.
        self.at_the_stop = random.random() < 0.2
        self.kwh = random.random() < 0.2

    def script(self) -> Script:
        visit, (first, *inner, last) = self.visit, self.visit.readings()
        start = {"connectorId": visit.evse, "idTag": visit.tag, "meterStart": first[1]}
        answer = {"transactionId": visit.number, "idTagInfo": {"status": visit.token_status}}
        script = [
            self.call(
                "StartTransaction", {**start, "timestamp": format_timestamp(first[0])}, first[0], answer
            )
        ]
        if not self.at_the_stop:
            script += [self.samples(at, wh) for n, (at, wh) in enumerate(inner, 1) if n not in visit.unread]
        stop: dict[str, Any] = {
            "transactionId": visit.number,
            "meterStop": last[1],
            "reason": "EVDisconnected",
        }
        if self.at_the_stop:
            stop["transactionData"] = [self.value(at, wh) for at, wh in inner]
        script.append(
            self.call("StopTransaction", {**stop, "timestamp": format_timestamp(last[0])}, last[0], {})
        )
        return script + (self.statuses() if visit.told else [])

    def samples(self, at: int, wh: int) -> OcppCallReceived:
        payload = {"connectorId": self.visit.evse, "transactionId": self.visit.number}
        return self.call("MeterValues", {**payload, "meterValue": [self.value(at, wh)]}, at, {})

    def value(self, at: int, wh: int) -> dict[str, Any]:
        amount, unit = (f"{wh // 1000}.{wh % 1000:03}", "kWh") if self.kwh else (str(wh), "Wh")
        sample = {"value": amount, "measurand": REGISTER, "unit": unit}
        return {"timestamp": format_timestamp(at), "sampledValue": [sample]}

    def statuses(self) -> Script:
        found, charged, before = [], False, ""
        for (at, _), each in zip(self.visit.readings(), self.visit.stretches, strict=False):
            charged = charged or each.state == "Charging"
            status = (
                STATUSES.get(each.state, each.state)
                if charged or each.state != "EVConnected"
                else "Preparing"
            )
            if status != before:
                found.append(self.status(at, status))
            before = status
        return [*found, self.status(self.visit.end, "Available")]

    def status(self, at: int, status: str) -> OcppCallReceived:
        payload = {"connectorId": self.visit.evse, "status": status, "errorCode": "NoError"}
        return self.call("StatusNotification", {**payload, "timestamp": format_timestamp(at)}, at, {})

    def call(self, action: str, payload: dict[str, Any], at: int, answer: dict[str, Any]) -> OcppCallReceived:
        return exchange(action, payload, at=at, answer=answer, recorded_at=at + US)


class Charger2:
    """TransactionEvents."""

    def __init__(self, random: Random, visit: Visit, version: str) -> None:
        self.visit, self.version = visit, version
        last = len(visit.stretches)
        # Some send all registers with the end only, some the token after the start, some no EVSE after the start.
        self.at_the_end = random.random() < 0.2
        self.token_at = random.choice([0, 0, min(1, last), last])
        self.evse_always = random.random() < 0.5
        self.kwh = random.random() < 0.2

    def script(self) -> Script:
        return [self.event(index) for index in range(len(self.visit.stretches) + 1)]

    def event(self, index: int) -> OcppCallReceived:
        visit, readings = self.visit, self.visit.readings()
        last = len(readings) - 1
        at, wh = readings[index]
        kind = "Started" if index == 0 else "Ended" if index == last else "Updated"
        answer: dict[str, Any] = {}
        info: dict[str, Any] = {"transactionId": transaction_id(visit, self.version)}
        if index < last:
            info["chargingState"] = visit.stretches[index].state
        else:
            info["stoppedReason"] = "EVDisconnected"
        payload: dict[str, Any] = {
            "eventType": kind,
            "timestamp": format_timestamp(at),
            "triggerReason": "ChargingStateChanged",
            "seqNo": index,
            "transactionInfo": info,
        }
        if index == 0 or self.evse_always:
            payload["evse"] = {"id": visit.evse, "connectorId": 1}
        if index == self.token_at:
            payload["idToken"] = {"idToken": visit.tag, "type": "ISO14443"}
            answer = {"idTokenInfo": {"status": visit.token_status}}
        if not self.at_the_end and index not in visit.unread:
            payload["meterValue"] = [self.value(at, wh, index, last)]
        elif self.at_the_end and index == last:
            payload["meterValue"] = [self.value(*each, n, last) for n, each in enumerate(readings)]
        return exchange(
            "TransactionEvent", payload, at=at, version=self.version, answer=answer, recorded_at=at + US
        )

    def value(self, at: int, wh: int, index: int, last: int) -> dict[str, Any]:
        context = {0: "Transaction.Begin", last: "Transaction.End"}.get(index, "Sample.Periodic")
        amount = {"value": wh / 1000, "unitOfMeasure": {"unit": "kWh"}} if self.kwh else {"value": wh}
        return {"timestamp": format_timestamp(at), "sampledValue": [{**amount, "context": context}]}
