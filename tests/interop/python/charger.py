"""A charger on the `ocpp` package: charger.py ENDPOINT STATION SUBPROTOCOL.

Prints one JSON object per line for each thing that happened.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import sys
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import ocpp.v16
import ocpp.v21
import ocpp.v201
from ocpp.exceptions import OCPPError
from ocpp.routing import after, on
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

LIBRARY: Any = {"ocpp1.6": ocpp.v16, "ocpp2.0.1": ocpp.v201, "ocpp2.1": ocpp.v21}
STATUS_16 = {"Available": "Available", "Occupied": "Charging", "Unavailable": "Unavailable"}
ENERGY = "Energy.Active.Import.Register"

ENDPOINT, STATION, SUBPROTOCOL = sys.argv[1:4]
PASSWORD, CA, CERTIFICATE, KEY = (
    os.environ.get(f"CHARGER_{name}") for name in ("PASSWORD", "CA", "CERTIFICATE", "KEY")
)
V16 = SUBPROTOCOL == "ocpp1.6"
CALL, RESULT = LIBRARY[SUBPROTOCOL].call, LIBRARY[SUBPROTOCOL].call_result

Job = Callable[[], Awaitable[None]]


def tell(did: str, **facts: Any) -> None:
    print(json.dumps({"did": did, **facts}), flush=True)


def now() -> str:
    return datetime.now(UTC).isoformat()


class Station(LIBRARY[SUBPROTOCOL].ChargePoint):  # type: ignore[misc]
    """What the charger says and answers on one connection. What a command asked for is done later, in `jobs`."""

    def __init__(self, socket: Any, jobs: asyncio.Queue[Job], meter: int) -> None:
        super().__init__(STATION, socket)
        self.jobs = jobs
        self.meter = meter
        self.transaction: Any = None
        self.token = ""
        self.seq_no = 0
        self.restarting = False

    async def send_call(self, payload: Any) -> Any:
        return await self.call(payload, suppress=False)

    async def boot(self) -> None:
        equipment = {"model": "ocpp", "vendor_name": "PyPI", "firmware_version": "2.1.0"}
        answer = await self.send_call(
            CALL.BootNotification(
                charge_point_model="ocpp", charge_point_vendor="PyPI", firmware_version="2.1.0"
            )
            if V16
            else CALL.BootNotification(charging_station=equipment, reason="PowerUp")
        )
        tell("booted", status=answer.status)

    async def say_status(self, status: str) -> None:
        await self.send_call(
            CALL.StatusNotification(connector_id=1, error_code="NoError", status=STATUS_16[status])
            if V16
            else CALL.StatusNotification(timestamp=now(), connector_status=status, evse_id=1, connector_id=1)
        )

    async def authorise(self, token: str) -> None:
        answer = await self.send_call(
            CALL.Authorize(id_tag=token)
            if V16
            else CALL.Authorize(id_token={"id_token": token, "type": "ISO14443"})
        )
        info = answer.id_tag_info if V16 else answer.id_token_info
        tell("authorised", status=info["status"])

    def sampled(self, context: str) -> list[dict[str, Any]]:
        sample: dict[str, Any] = {"context": context, "measurand": ENERGY}
        if V16:
            sample |= {"value": str(self.meter), "unit": "Wh"}
        else:
            sample |= {"value": self.meter, "unit_of_measure": {"unit": "Wh"}}
        return [{"timestamp": now(), "sampled_value": [sample]}]

    async def event(self, kind: str, reason: str, context: str, info: dict[str, Any], **more: Any) -> None:
        seq_no, self.seq_no = self.seq_no, self.seq_no + 1
        await self.send_call(
            CALL.TransactionEvent(
                event_type=kind,
                timestamp=now(),
                trigger_reason=reason,
                seq_no=seq_no,
                transaction_info={"transaction_id": self.transaction} | info,
                evse={"id": 1, "connector_id": 1},
                meter_value=self.sampled(context),
                **more,
            )
        )

    async def start_transaction(self, token: str, remote_start_id: int | None = None) -> None:
        self.token = token
        await self.say_status("Occupied")
        if V16:
            answer = await self.send_call(
                CALL.StartTransaction(connector_id=1, id_tag=token, meter_start=self.meter, timestamp=now())
            )
            self.transaction = answer.transaction_id
        else:
            self.transaction, self.seq_no = str(uuid.uuid4()), 0
            info: dict[str, Any] = {"charging_state": "Charging"}
            if remote_start_id is not None:
                info["remote_start_id"] = remote_start_id
            reason = "Authorized" if remote_start_id is None else "RemoteStart"
            id_token = {"id_token": token, "type": "ISO14443"}
            await self.event("Started", reason, "Transaction.Begin", info, id_token=id_token)
        tell("started", transaction=str(self.transaction), wh=self.meter)
        for _ in range(3):
            self.meter += 500
            if V16:
                await self.send_call(
                    CALL.MeterValues(
                        connector_id=1,
                        transaction_id=self.transaction,
                        meter_value=self.sampled("Sample.Periodic"),
                    )
                )
            else:
                charging = {"charging_state": "Charging"}
                await self.event("Updated", "MeterValuePeriodic", "Sample.Periodic", charging)
        tell("metered", wh=self.meter)

    async def stop_transaction(self) -> None:
        self.meter += 500
        if V16:
            await self.send_call(
                CALL.StopTransaction(
                    meter_stop=self.meter,
                    timestamp=now(),
                    transaction_id=self.transaction,
                    reason="Remote",
                    id_tag=self.token,
                )
            )
        else:
            await self.event("Ended", "RemoteStop", "Transaction.End", {"stopped_reason": "Remote"})
        ended, self.transaction = self.transaction, None
        await self.say_status("Available")
        tell("stopped", transaction=str(ended), wh=self.meter)

    def later(self, job: Job) -> None:
        self.jobs.put_nowait(job)

    # --- what the central system may ask

    def remote_start(self, answer: type, token: str, remote_start_id: int | None = None) -> Any:
        if self.transaction is not None:
            return answer(status="Rejected")
        self.later(lambda: self.start_transaction(token, remote_start_id))
        return answer(status="Accepted")

    def remote_stop(self, answer: type, transaction_id: Any) -> Any:
        if self.transaction is None or self.transaction != transaction_id:
            return answer(status="Rejected")
        self.later(self.stop_transaction)
        return answer(status="Accepted")

    @on("TriggerMessage")  # type: ignore[untyped-decorator]
    def on_trigger(self, requested_message: str, **_: Any) -> Any:
        tell("asked", action="TriggerMessage")
        messages: dict[str, Job] = {
            "StatusNotification": lambda: self.say_status("Available"),
            "Heartbeat": lambda: self.send_call(CALL.Heartbeat()),
        }
        if requested_message not in messages:
            return RESULT.TriggerMessage(status="NotImplemented")

        async def send() -> None:
            await messages[requested_message]()
            tell("triggered", action=requested_message)

        self.later(send)
        return RESULT.TriggerMessage(status="Accepted")

    @on("ChangeAvailability")  # type: ignore[untyped-decorator]
    def on_availability(self, **asked: Any) -> Any:
        tell("asked", action="ChangeAvailability")
        operative = "Operative" in (asked.get("type"), asked.get("operational_status"))
        self.later(lambda: self.say_status("Available" if operative else "Unavailable"))
        return RESULT.ChangeAvailability(status="Accepted")

    @on("Reset")  # type: ignore[untyped-decorator]
    def on_reset(self, **_: Any) -> Any:
        tell("asked", action="Reset")
        return RESULT.Reset(status="Accepted")

    @after("Reset")  # type: ignore[untyped-decorator]
    async def after_reset(self, **_: Any) -> None:
        self.restarting = True
        await self._connection.close()


class Station16(Station):
    @on("RemoteStartTransaction")  # type: ignore[untyped-decorator]
    def on_remote_start(self, id_tag: str, **_: Any) -> Any:
        tell("asked", action="RemoteStartTransaction")
        return self.remote_start(RESULT.RemoteStartTransaction, id_tag)

    @on("RemoteStopTransaction")  # type: ignore[untyped-decorator]
    def on_remote_stop(self, transaction_id: int) -> Any:
        tell("asked", action="RemoteStopTransaction")
        return self.remote_stop(RESULT.RemoteStopTransaction, transaction_id)

    @on("GetConfiguration")  # type: ignore[untyped-decorator]
    def on_configuration(self, key: list[str]) -> Any:
        tell("asked", action="GetConfiguration")
        known = [
            {"key": name, "readonly": False, "value": "300"} for name in key if name == "HeartbeatInterval"
        ]
        unknown = [name for name in key if name != "HeartbeatInterval"]
        return RESULT.GetConfiguration(configuration_key=known, unknown_key=unknown)


class Station2(Station):
    @on("RequestStartTransaction")  # type: ignore[untyped-decorator]
    def on_remote_start(self, id_token: dict[str, Any], remote_start_id: int, **_: Any) -> Any:
        tell("asked", action="RequestStartTransaction")
        return self.remote_start(RESULT.RequestStartTransaction, id_token["id_token"], remote_start_id)

    @on("RequestStopTransaction")  # type: ignore[untyped-decorator]
    def on_remote_stop(self, transaction_id: str, **_: Any) -> Any:
        tell("asked", action="RequestStopTransaction")
        return self.remote_stop(RESULT.RequestStopTransaction, transaction_id)

    @on("GetVariables")  # type: ignore[untyped-decorator]
    def on_variables(self, get_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        tell("asked", action="GetVariables")
        results = []
        for asked in get_variable_data:
            named = {"component": asked["component"], "variable": asked["variable"]}
            known = asked["variable"]["name"] == "HeartbeatInterval"
            results.append(
                {"attribute_status": "Accepted", "attribute_value": "300"} | named
                if known
                else {"attribute_status": "UnknownVariable"} | named
            )
        return RESULT.GetVariables(get_variable_result=results)


def tls() -> ssl.SSLContext | None:
    if CA is None:
        return None
    context = ssl.create_default_context(cafile=CA)
    if CERTIFICATE is not None:
        context.load_cert_chain(CERTIFICATE, KEY)
    return context


async def serve(restarted: bool, meter: int) -> Station:
    """One connection, until it ends."""
    headers = {}
    if PASSWORD is not None:
        credentials = base64.b64encode(f"{STATION}:{PASSWORD}".encode()).decode()
        headers["Authorization"] = f"Basic {credentials}"
    async with connect(
        f"{ENDPOINT}/{STATION}",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        additional_headers=headers,
        ssl=tls(),
        proxy=None,
    ) as socket:
        tell("connected", subprotocol=socket.subprotocol)
        jobs: asyncio.Queue[Job] = asyncio.Queue()
        station = (Station16 if V16 else Station2)(socket, jobs, meter)
        reading = asyncio.create_task(station.start())
        await station.boot()
        await station.say_status("Available")
        if restarted:
            tell("restarted")
        else:
            await station.authorise("CARD")
            await station.start_transaction("CARD")
        working = asyncio.create_task(work(jobs))
        await asyncio.wait([reading, working], return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, working):
            task.cancel()
        for found in await asyncio.gather(reading, working, return_exceptions=True):
            if not isinstance(found, ConnectionClosed | asyncio.CancelledError):
                raise found or AssertionError("a task has ended")
        return station


async def work(jobs: asyncio.Queue[Job]) -> None:
    while True:
        await (await jobs.get())()


async def main() -> None:
    restarted, meter = False, 1000
    while True:
        station = await serve(restarted, meter)
        assert station.restarting, "the central system closed the connection"
        restarted, meter = True, station.meter


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OCPPError, InvalidHandshake, OSError, AssertionError) as error:
        tell("failed", error=repr(error))
        sys.exit(1)
