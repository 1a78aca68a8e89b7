"""Chargers that speak OCPP 1.6: what they report."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from services.simulator.domain.outbox import Entry
from services.simulator.domain.power import VOLTAGE_V
from services.simulator.link import Message
from services.simulator.operations import Operated
from services.simulator.session import Session


class Charger16(Operated):
    """A 1.6 charger, well-behaved or with the odd habits of its make."""

    subprotocol = "ocpp1.6"

    def time(self, instant_us: int) -> str:
        """An instant as this make writes it."""
        text = datetime.fromtimestamp(instant_us / 1e6, UTC).isoformat(timespec="milliseconds")
        return text.removesuffix("+00:00") + ("" if self.make.naive_times else "Z")

    def boot_message(self) -> Message:
        """BootNotification with the firmware that runs now."""
        return Message(
            "BootNotification",
            {
                "chargePointVendor": self.make.vendor,
                "chargePointModel": self.make.model,
                "chargePointSerialNumber": self.station.id,
                "firmwareVersion": self.firmware,
                "meterType": "simulated",
            },
        )

    def authorize_message(self, id_token: str) -> Message:
        """Authorize."""
        return Message("Authorize", {"idTag": id_token})

    def authorize_status(self, answer: dict[str, Any]) -> str:
        """The idTagInfo's status."""
        return str(answer.get("idTagInfo", {}).get("status", "Invalid"))

    def status_message(self, evse_id: int, connector_id: int, status: str) -> Message:
        """StatusNotification of a connector as numbered through the station."""
        return Message(
            "StatusNotification",
            {
                "connectorId": connector_id,
                "errorCode": "NoError",
                "status": status,
                "timestamp": self.time(self.clock.now_us()),
            },
        )

    def firmware_message(self, status: str, request_id: int | None) -> Message:
        """FirmwareStatusNotification; 1.6 has no request ids."""
        return Message("FirmwareStatusNotification", {"status": status})

    def queue_started(self, session: Session) -> None:
        """StartTransaction; the answer brings the transaction id that later messages carry."""
        payload = {
            "connectorId": session.connector_id,
            "idTag": session.id_token,
            "meterStart": session.meter_start_wh,
            "timestamp": self.time(session.started_us),
        }
        if session.reservation_id is not None:
            payload["reservationId"] = session.reservation_id
        self.queue(
            Entry("StartTransaction", payload, session.number, answered=partial(self._started, session))
        )
        if self.random.random() < self.make.second_start:
            self.queue(
                Entry("StartTransaction", payload, session.number, answered=partial(self._confirmed, session))
            )

    def _started(self, session: Session, answer: dict[str, Any]) -> None:
        # Errata 3.18: a charger that never learnt the id reports -1.
        session.transaction_id = str(answer.get("transactionId", -1))
        if answer and self.authorize_status(answer) != "Accepted":
            self.cache[session.id_token] = self.authorize_status(answer)
            if session.ended_us is None:
                self.stop(session, "DeAuthorized")

    def _confirmed(self, session: Session, answer: dict[str, Any]) -> None:
        if str(answer.get("transactionId", -1)) != session.transaction_id:
            self.journal.mismatched.append(f"{self.station.id}: {session.transaction_id}, then {answer}")

    def queue_sample(self, session: Session, trigger: str) -> None:
        """MeterValues of a running transaction."""
        context = "Trigger" if trigger == "Trigger" else "Sample.Periodic"
        payload = {
            "connectorId": session.connector_id,
            "transactionId": None,
            "meterValue": [
                {
                    "timestamp": self.time(self.clock.now_us()),
                    "sampledValue": self._samples(session, context),
                }
            ],
        }
        self.queue(Entry("MeterValues", payload, session.number, finish=partial(_fill_id, session)))

    def queue_state(self, session: Session) -> None:
        """Nothing: in 1.6 the StatusNotification alone tells."""

    def queue_ended(self, session: Session) -> None:
        """StopTransaction, with a contradicting second one from some makes."""
        assert session.ended_us is not None
        payload = {
            "transactionId": None,
            "idTag": session.id_token,
            "meterStop": session.meter_stop_wh,
            "timestamp": self.time(session.ended_us),
            "reason": session.reason,
        }
        if session.reason != "Local":
            del payload["idTag"]
        self.queue(Entry("StopTransaction", payload, session.number, finish=partial(_fill_id, session)))
        if self.random.random() < self.make.second_stop:
            again = payload | {"meterStop": session.meter_stop_wh + self.random.randint(1, 50)}
            self.queue(Entry("StopTransaction", again, session.number, finish=partial(_fill_id, session)))

    def _samples(self, session: Session, context: str) -> list[dict[str, Any]]:
        evse, outlet = session.evse, self.make.outlet
        register_wh, power_w = evse.meter.register_wh, evse.power_w
        phases = outlet.phases_with(session.car)
        deci_a = power_w * 10 // (VOLTAGE_V * phases)
        if self.make.loose_samples:
            kw = f"{power_w / 1000:.3f}".replace(".", ",")
            return [
                {
                    "value": f"{register_wh // 1000}.{register_wh % 1000:03d}",
                    "context": "Sample.Clocked",
                    "measurand": "Energy.Active.Import.Register",
                    "unit": "kWh",
                },
                {"value": kw, "context": "Sample.Clocked", "measurand": "Power.Active.Import", "unit": "kW"},
                {"value": f"{deci_a / 10}", "measurand": "Current.Import", "unit": "Amp"},
                {"value": "", "measurand": "Temperature", "unit": "Celsius"},
            ]
        periodic = {"context": context}
        energy = {"measurand": "Energy.Active.Import.Register", "unit": "Wh"}
        power = {"measurand": "Power.Active.Import", "unit": "W"}
        return [
            {"value": str(register_wh), **periodic, **energy},
            {"value": str(power_w), **periodic, **power},
            *(
                {
                    "value": f"{deci_a // 10}.{deci_a % 10}",
                    **periodic,
                    "measurand": "Current.Import",
                    "phase": f"L{phase}",
                    "unit": "A",
                }
                for phase in range(1, phases + 1)
            ),
        ]


def _fill_id(session: Session, payload: dict[str, Any]) -> None:
    """Put in the transaction id that is known by now, as the queue is in order."""
    payload["transactionId"] = int(session.transaction_id or -1)
