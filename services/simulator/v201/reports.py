"""Chargers that speak OCPP 2.0.1: what they report."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Any

from services.simulator.domain.outbox import Entry
from services.simulator.domain.power import VOLTAGE_V
from services.simulator.link import Message
from services.simulator.operations import Operated
from services.simulator.session import Evse, Session

# Why a transaction ends, in the words of 1.6: (triggerReason, stoppedReason).
ENDED: dict[str, tuple[str, str]] = {
    "Local": ("StopAuthorized", "Local"),
    "EVDisconnected": ("EVDeparted", "EVDisconnected"),
    "Remote": ("RemoteStop", "Remote"),
    "DeAuthorized": ("Deauthorized", "DeAuthorized"),
    "UnlockCommand": ("UnlockCommand", "Other"),
    "Reset": ("ResetCommand", "ImmediateReset"),
}
OCCUPIED = {"Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing"}


class Charger201(Operated):
    """A 2.0.1 charger: TxStartPoint Authorized, TxStopPoint EVConnected or Authorized."""

    subprotocol = "ocpp2.0.1"

    def time(self, instant_us: int) -> str:
        """An instant on the wire."""
        return datetime.fromtimestamp(instant_us / 1e6, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

    def boot_message(self) -> Message:
        """BootNotification with the firmware that runs now."""
        station = {
            "vendorName": self.make.vendor,
            "model": self.make.model,
            "serialNumber": self.station.id,
            "firmwareVersion": self.firmware,
        }
        return Message("BootNotification", {"chargingStation": station, "reason": self.boot_reason})

    def authorize_message(self, id_token: str) -> Message:
        """Authorize."""
        return Message("Authorize", {"idToken": _id_token(id_token)})

    def authorize_status(self, answer: dict[str, Any]) -> str:
        """The idTokenInfo's status."""
        return str(answer.get("idTokenInfo", {}).get("status", "Invalid"))

    def status_message(self, evse_id: int, connector_id: int, status: str) -> Message:
        """StatusNotification; 2.0.1 knows no more than Occupied of a connector in use."""
        return Message(
            "StatusNotification",
            {
                "timestamp": self.time(self.clock.now_us()),
                "connectorStatus": "Occupied" if status in OCCUPIED else status,
                "evseId": evse_id,
                "connectorId": connector_id,
            },
        )

    def firmware_message(self, status: str, request_id: int | None) -> Message:
        """FirmwareStatusNotification with the request's id (unless Idle)."""
        payload: dict[str, Any] = {"status": status}
        if request_id is not None and status != "Idle":
            payload["requestId"] = request_id
        return Message("FirmwareStatusNotification", payload)

    def queue_started(self, session: Session) -> None:
        """TransactionEvent Started."""
        session.transaction_id = session.transaction_id or str(uuid.uuid4())
        trigger = "Authorized" if session.remote_start_id is None else "RemoteStart"
        extra: dict[str, Any] = {"idToken": _id_token(session.id_token)}
        if session.reservation_id is not None:
            extra["reservationId"] = session.reservation_id
        self._event(
            session,
            "Started",
            trigger=trigger,
            context="Transaction.Begin",
            at_us=session.started_us,
            extra=extra,
        )

    def queue_sample(self, session: Session, trigger: str) -> None:
        """TransactionEvent Updated with a reading."""
        context = "Trigger" if trigger == "Trigger" else "Sample.Periodic"
        self._event(session, "Updated", trigger=trigger, context=context, at_us=self.clock.now_us())

    def queue_state(self, session: Session) -> None:
        """TransactionEvent Updated with the new charging state."""
        self._event(
            session, "Updated", trigger="ChargingStateChanged", context="Other", at_us=self.clock.now_us()
        )

    def queue_ended(self, session: Session) -> None:
        """TransactionEvent Ended."""
        assert session.ended_us is not None
        trigger, stopped = ENDED[session.reason]
        extra = {"idToken": _id_token(session.id_token)} if trigger == "StopAuthorized" else {}
        self._event(
            session,
            "Ended",
            trigger=trigger,
            context="Transaction.End",
            at_us=session.ended_us,
            extra=extra,
            stopped=stopped,
        )

    def meter_values(self, evse: Evse) -> Message:
        """MeterValues of an EVSE outside the queue of transaction messages (J01, triggered)."""
        register = {"value": evse.meter.register_wh, "context": "Trigger"}
        values = {"timestamp": self.time(self.clock.now_us()), "sampledValue": [register]}
        return Message("MeterValues", {"evseId": evse.id, "meterValue": [values]})

    def _event(
        self,
        session: Session,
        event: str,
        *,
        trigger: str,
        context: str,
        at_us: int,
        extra: dict[str, Any] | None = None,
        stopped: str | None = None,
    ) -> None:
        info: dict[str, Any] = {"transactionId": session.transaction_id}
        if stopped is None:
            info["chargingState"] = session.state
        else:
            info |= {"chargingState": "EVConnected", "stoppedReason": stopped}
        if event == "Started" and session.remote_start_id is not None:
            info["remoteStartId"] = session.remote_start_id
        time = self.time(at_us)
        payload: dict[str, Any] = {
            "eventType": event,
            "timestamp": time,
            "triggerReason": trigger,
            "seqNo": session.seq_no,
            "transactionInfo": info,
            "evse": {"id": session.evse.id, "connectorId": session.connector_id},
            "meterValue": [{"timestamp": time, "sampledValue": self._samples(session, context)}],
            **(extra or {}),
        }
        if not self.online:
            payload["offline"] = True
        session.seq_no += 1
        self.queue(
            Entry("TransactionEvent", payload, session.number, answered=partial(self._answered, session))
        )

    def _answered(self, session: Session, answer: dict[str, Any]) -> None:
        session.total_cost = answer.get("totalCost", session.total_cost)
        if "idTokenInfo" not in answer:
            return
        status = self.cache[session.id_token] = self.authorize_status(answer)
        if status != "Accepted" and session.ended_us is None:
            self.stop(session, "DeAuthorized")

    def _samples(self, session: Session, context: str) -> list[dict[str, Any]]:
        evse, outlet = session.evse, self.make.outlet
        register = {
            "value": evse.meter.register_wh,
            "context": context,
            "measurand": "Energy.Active.Import.Register",
            "unitOfMeasure": {"unit": "Wh"},
        }
        power_w = 0 if session.ended_us is not None else evse.power_w
        samples = [
            register,
            {
                "value": power_w,
                "context": context,
                "measurand": "Power.Active.Import",
                "unitOfMeasure": {"unit": "W"},
            },
        ]
        if outlet.current == "DC":
            soc = min(100.0, 20 + 80 * self.delivered_wh(session) / session.car.wants_wh)
            samples.append({"value": round(soc, 1), "context": context, "measurand": "SoC", "location": "EV"})
            return samples
        phases = outlet.phases_with(session.car)
        deci_a = power_w * 10 // (VOLTAGE_V * phases)
        samples += [
            {
                "value": deci_a / 10,
                "context": context,
                "measurand": "Current.Import",
                "phase": f"L{phase}",
                "unitOfMeasure": {"unit": "A"},
            }
            for phase in range(1, phases + 1)
        ]
        return samples


def _id_token(value: str) -> dict[str, str]:
    return {"idToken": value, "type": "ISO14443"}
