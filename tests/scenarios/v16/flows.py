"""What a 1.6 charge point says in the course of a charging session."""

from __future__ import annotations

from typing import Any

from libs.runtime.clock import SECOND, now_us
from tests.integration.edge_process import stamp
from tests.scenarios.charger import Json, ScriptedCharger

ENERGY = "Energy.Active.Import.Register"


def ago(seconds: float) -> str:
    """The moment so long ago, as a charger writes it."""
    return stamp(now_us() - int(seconds * SECOND))


async def report(cp: ScriptedCharger, connector: int, status: str, error: str = "NoError") -> None:
    payload = {"connectorId": connector, "status": status, "errorCode": error, "timestamp": ago(0)}
    assert await cp.call("StatusNotification", payload) == {}


async def authorize(cp: ScriptedCharger, tag: str) -> Json:
    """The idTagInfo."""
    answer = await cp.call("Authorize", {"idTag": tag})
    info: Json = answer["idTagInfo"]
    return info


async def start(cp: ScriptedCharger, tag: str = "TAG-OK", *, meter: int = 1000, **fields: Any) -> Json:
    """The answer to a StartTransaction, whose transaction id is a positive number of 31 bits."""
    payload = {"connectorId": 1, "idTag": tag, "meterStart": meter, "timestamp": ago(600), **fields}
    answer = await cp.call("StartTransaction", payload)
    assert 0 < answer["transactionId"] < 2**31
    return answer


async def started(cp: ScriptedCharger, tag: str = "TAG-OK", *, meter: int = 1000, **fields: Any) -> int:
    """The id of a transaction that the central system agrees to."""
    answer = await start(cp, tag, meter=meter, **fields)
    assert answer["idTagInfo"]["status"] == "Accepted"
    number: int = answer["transactionId"]
    return number


async def measure(cp: ScriptedCharger, transaction_id: int, wh: int, connector: int = 1) -> None:
    value = {"value": str(wh), "measurand": ENERGY, "unit": "Wh", "context": "Sample.Periodic"}
    payload = {
        "connectorId": connector,
        "transactionId": transaction_id,
        "meterValue": [{"timestamp": ago(300), "sampledValue": [value]}],
    }
    assert await cp.call("MeterValues", payload) == {}


async def stop(cp: ScriptedCharger, transaction_id: int, meter: int = 5000, **fields: Any) -> Json:
    """The answer to a StopTransaction."""
    payload = {"transactionId": transaction_id, "meterStop": meter, "timestamp": ago(1), **fields}
    return await cp.call("StopTransaction", payload)
