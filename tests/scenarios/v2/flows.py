"""What a 2.x charging station says in the course of a charging session."""

from __future__ import annotations

from typing import Any

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.v16.flows import ENERGY, ago

FAR = "2036-01-01T00:00:00Z"
ACCEPTED: Json = {"status": "Accepted"}
REJECTED: Json = {"status": "Rejected"}


def token(text: str = "TAG-OK", kind: str = "ISO14443") -> Json:
    return {"idToken": text, "type": kind}


def energy(wh: float, context: str = "Sample.Periodic", at: float = 60, **fields: Any) -> Json:
    """A MeterValue with the register of imported energy."""
    value = {"value": wh, "measurand": ENERGY, "context": context, "unitOfMeasure": {"unit": "Wh"}}
    return {"timestamp": ago(at), "sampledValue": [value | fields]}


async def report(cs: ScriptedCharger, evse: int, status: str, connector: int = 1) -> None:
    payload = {"evseId": evse, "connectorId": connector, "connectorStatus": status, "timestamp": ago(0)}
    assert await cs.call("StatusNotification", payload) == {}


async def authorize(cs: ScriptedCharger, text: str = "TAG-OK", kind: str = "ISO14443") -> Json:
    """The idTokenInfo."""
    answer = await cs.call("Authorize", {"idToken": token(text, kind)})
    info: Json = answer["idTokenInfo"]
    return info


class Transaction:
    """A transaction of a station, event by event; `seq_no` is the next event's."""

    def __init__(self, cs: ScriptedCharger, name: str = "1") -> None:
        self.cs = cs
        self.transaction_id = f"{cs.station_id[:28]}/{name}"
        self.seq_no = 0
        self._last: Json = {}

    async def event(self, kind: str, trigger: str, state: str | None = None, **fields: Any) -> Json:
        """Send a TransactionEvent; the answer. `info` joins transactionInfo, `meter` is a register in Wh."""
        info = {"transactionId": self.transaction_id, **fields.pop("info", {})}
        if state is not None:
            info["chargingState"] = state
        at = ago({"Started": 600, "Updated": 300, "Ended": 1}[kind])
        if (meter := fields.pop("meter", None)) is not None:
            context = {"Started": "Transaction.Begin", "Ended": "Transaction.End"}.get(
                kind, "Sample.Periodic"
            )
            # Sampled when it happened, which may be long before it is told.
            fields["meterValue"] = [energy(meter, context) | {"timestamp": at}]
        payload = {
            "eventType": kind,
            "timestamp": at,
            "triggerReason": trigger,
            "seqNo": self.seq_no,
            "transactionInfo": info,
        }
        self.seq_no += 1
        self._last = payload | fields
        return await self.repeated()

    async def repeated(self) -> Json:
        """Send the last event as it was, with a new message id."""
        return await self.cs.call("TransactionEvent", self._last)

    async def started(self, trigger: str = "Authorized", state: str = "EVConnected", **fields: Any) -> Json:
        fields = {"evse": {"id": 1, "connectorId": 1}, "idToken": token(), "meter": 1000, **fields}
        return await self.event(
            "Started", trigger, state, **{k: v for k, v in fields.items() if v is not None}
        )

    async def updated(self, trigger: str, state: str | None = None, **fields: Any) -> Json:
        return await self.event("Updated", trigger, state, **fields)

    async def ended(self, trigger: str, reason: str = "Local", meter: int = 5000, **fields: Any) -> Json:
        fields["info"] = {"stoppedReason": reason, **fields.get("info", {})}
        return await self.event("Ended", trigger, None, meter=meter, **fields)
