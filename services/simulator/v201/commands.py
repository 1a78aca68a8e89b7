"""Chargers that speak OCPP 2.0.1: how they answer commands."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from ocpp.v201 import call_result

from services.simulator.domain.profiles import Profile, instant_us, parse_profile, purpose_of
from services.simulator.link import Message
from services.simulator.rpc import handles
from services.simulator.session import Evse
from services.simulator.v201.variables import MAX_STACK_LEVEL, Variables201


class Commands201(Variables201):
    """Handlers of the central system's calls; each answers at once and acts afterwards."""

    def _evses(self, evse: dict[str, Any] | None) -> list[Evse]:
        """The EVSEs that an optional EVSEType names; none when there is no such EVSE."""
        if evse is None or evse["id"] == 0:
            return list(self.charger.evses.values())
        named = self.charger.evses.get(evse["id"])
        return [] if named is None else [named]

    # Remote control.

    @handles("RequestStartTransaction")
    def _on_request_start(
        self,
        id_token: dict[str, Any],
        remote_start_id: int,
        evse_id: int | None = None,
        charging_profile: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        token = id_token["id_token"]
        evse = self.charger.free_evse(evse_id, token)
        if evse is None:
            return call_result.RequestStartTransaction(status="Rejected")
        if charging_profile is not None and not self.charger.accept_start_profile(evse, charging_profile):
            return call_result.RequestStartTransaction(status="Rejected")
        transaction_id = str(uuid.uuid4())
        self.after.append(
            lambda: self.charger.remote_start(
                evse, token, remote_start_id=remote_start_id, transaction_id=transaction_id
            )
        )
        return call_result.RequestStartTransaction(status="Accepted", transaction_id=transaction_id)

    @handles("RequestStopTransaction")
    def _on_request_stop(self, transaction_id: str, **_: Any) -> Any:
        session = self.charger.find_session(transaction_id)
        if session is None:
            return call_result.RequestStopTransaction(status="Rejected")
        self.after.append(lambda: self.charger.stop(session, "Remote"))
        return call_result.RequestStopTransaction(status="Accepted")

    @handles("GetTransactionStatus")
    def _on_get_transaction_status(self, transaction_id: str | None = None, **_: Any) -> Any:
        charger = self.charger
        if transaction_id is None:
            return call_result.GetTransactionStatus(messages_in_queue=len(charger.outbox) > 0)
        session = next((s for s in charger.sessions if s.transaction_id == transaction_id), None)
        if session is None:
            return call_result.GetTransactionStatus(messages_in_queue=False, ongoing_indicator=False)
        return call_result.GetTransactionStatus(
            messages_in_queue=charger.outbox.holds(session.number),
            ongoing_indicator=session.ended_us is None,
        )

    @handles("UnlockConnector")
    def _on_unlock_connector(self, evse_id: int, connector_id: int, **_: Any) -> Any:
        evse = self.charger.evses.get(evse_id)
        if evse is None or connector_id not in evse.connectors:
            return call_result.UnlockConnector(status="UnknownConnector")
        if evse.session is not None:
            return call_result.UnlockConnector(status="OngoingAuthorizedTransaction")
        return call_result.UnlockConnector(status="Unlocked")

    @handles("ChangeAvailability")
    def _on_change_availability(
        self, operational_status: str, evse: dict[str, Any] | None = None, **_: Any
    ) -> Any:
        evses = self._evses(evse)
        if not evses:
            return call_result.ChangeAvailability(status="Rejected")
        busy = any(one.lock.locked() for one in evses)
        self.after.append(lambda: self.charger.set_availability(evses, operational_status == "Operative"))
        return call_result.ChangeAvailability(status="Scheduled" if busy else "Accepted")

    @handles("Reset")
    def _on_reset(self, type: str, evse_id: int | None = None, **_: Any) -> Any:
        if evse_id is not None:
            # B11: a station that cannot reset one EVSE alone says so.
            return call_result.Reset(status="Rejected")
        charger = self.charger
        running = any(evse.session is not None for evse in charger.evses.values())
        if type == "OnIdle":
            self.after.append(lambda: charger.spawn(charger.reset_when_idle()))
            return call_result.Reset(status="Scheduled" if running else "Accepted")
        self.after.append(lambda: charger.spawn(charger.reset("Reset", "RemoteReset")))
        return call_result.Reset(status="Accepted")

    @handles("TriggerMessage")
    def _on_trigger_message(
        self, requested_message: str, evse: dict[str, Any] | None = None, **_: Any
    ) -> Any:
        charger, evses = self.charger, self._evses(evse)
        if not evses:
            return call_result.TriggerMessage(status="Rejected")
        where = None if evse is None else evse["id"]
        sends: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "BootNotification": lambda: charger.send_boot(triggered=True),
            "Heartbeat": lambda: charger.request(Message("Heartbeat", {})),
            "StatusNotification": lambda: charger.send_statuses(where),
            "MeterValues": lambda: self._meter_values(evses),
            "TransactionEvent": lambda: self._sample(evses),
            "FirmwareStatusNotification": lambda: charger.request(
                charger.firmware_message(charger.firmware_status, charger.firmware_request)
            ),
            "LogStatusNotification": lambda: charger.request(
                Message("LogStatusNotification", {"status": "Idle"})
            ),
        }
        if requested_message not in sends:
            return call_result.TriggerMessage(status="NotImplemented")
        send = sends[requested_message]
        self.after.append(lambda: charger.spawn(send()))
        return call_result.TriggerMessage(status="Accepted")

    async def _sample(self, evses: list[Evse]) -> None:
        for evse in evses:
            if evse.session is not None:
                self.charger.queue_sample(evse.session, "Trigger")

    async def _meter_values(self, evses: list[Evse]) -> None:
        for evse in evses:
            await self.charger.request(self.charger.meter_values(evse))

    # Local knowledge and reservation.

    @handles("GetLocalListVersion")
    def _on_get_local_list_version(self, **_: Any) -> Any:
        return call_result.GetLocalListVersion(version_number=self.charger.list_version)

    @handles("SendLocalList")
    def _on_send_local_list(
        self,
        version_number: int,
        update_type: str,
        local_authorization_list: list[dict[str, Any]] | None = None,
        **_: Any,
    ) -> Any:
        entries = {
            entry["id_token"]["id_token"]: (
                entry["id_token_info"]["status"] if "id_token_info" in entry else None
            )
            for entry in local_authorization_list or []
        }
        accepted = self.charger.update_local_list(version_number, update_type, entries)
        return call_result.SendLocalList(status="Accepted" if accepted else "VersionMismatch")

    @handles("ReserveNow")
    def _on_reserve_now(
        self,
        id: int,
        expiry_date_time: str,
        id_token: dict[str, Any],
        evse_id: int | None = None,
        **_: Any,
    ) -> Any:
        token = id_token["id_token"]
        evse = self.charger.free_evse(None, token) if evse_id is None else self.charger.evses.get(evse_id)
        status = (
            "Rejected"
            if evse is None
            else self.charger.reserve(evse, id, token, instant_us(expiry_date_time))
        )
        return call_result.ReserveNow(status=status)

    # Smart charging.

    @handles("SetChargingProfile")
    def _on_set_charging_profile(self, evse_id: int, charging_profile: dict[str, Any], **_: Any) -> Any:
        charger = self.charger
        try:
            profile = parse_profile(charging_profile, charger.clock.now_us())
        except (ValueError, KeyError):
            return call_result.SetChargingProfile(status="Rejected")
        if not self._fits(profile, evse_id):
            return call_result.SetChargingProfile(status="Rejected")
        self.after.append(lambda: charger.set_profiles(charger.profiles.install(evse_id, profile)))
        return call_result.SetChargingProfile(status="Accepted")

    def _fits(self, profile: Profile, evse_id: int) -> bool:
        """K01: where each purpose may be set; a TxProfile only for the running transaction that it names."""
        if profile.stack_level > MAX_STACK_LEVEL or (evse_id and evse_id not in self.charger.evses):
            return False
        if profile.purpose == "StationMax":
            return evse_id == 0
        if profile.purpose == "TxDefault":
            return True
        session = self.charger.evses[evse_id].session if evse_id else None
        return session is not None and profile.transaction_id == session.transaction_id

    @handles("ClearChargingProfile")
    def _on_clear_charging_profile(
        self,
        charging_profile_id: int | None = None,
        charging_profile_criteria: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        criteria = charging_profile_criteria or {}
        name = criteria.get("charging_profile_purpose")
        cleared = self.charger.clear_profiles(
            charging_profile_id,
            criteria.get("evse_id"),
            None if name is None else purpose_of(name),
            criteria.get("stack_level"),
        )
        return call_result.ClearChargingProfile(status="Accepted" if cleared else "Unknown")

    @handles("GetCompositeSchedule")
    def _on_get_composite_schedule(
        self, duration: int, evse_id: int, charging_rate_unit: str | None = None, **_: Any
    ) -> Any:
        evse = self.charger.evses.get(evse_id)
        if evse_id and evse is None:
            return call_result.GetCompositeSchedule(status="Rejected")
        unit, periods, now_us = self.charger.composite(evse, duration, charging_rate_unit)
        return call_result.GetCompositeSchedule(
            status="Accepted",
            schedule={
                "evse_id": evse_id,
                "duration": duration,
                "schedule_start": self.charger.time(now_us),
                "charging_rate_unit": unit,
                "charging_schedule_period": [
                    {"start_period": period.start_s, "limit": period.limit_milli / 1000} for period in periods
                ],
            },
        )

    # Firmware, logs, the rest.

    @handles("UpdateFirmware")
    def _on_update_firmware(self, request_id: int, firmware: dict[str, Any], **_: Any) -> Any:
        at_us = instant_us(firmware["retrieve_date_time"])
        self.after.append(lambda: self.charger.update_firmware(firmware["location"], at_us, request_id))
        return call_result.UpdateFirmware(status="Accepted")

    @handles("GetLog")
    def _on_get_log(self, request_id: int, log_type: str, **_: Any) -> Any:
        self.after.append(lambda: self.charger.spawn(self._upload(request_id)))
        return call_result.GetLog(status="Accepted", filename=f"{self.charger.station.id}-{log_type}.txt")

    async def _upload(self, request_id: int) -> None:
        for status in ("Uploading", "Uploaded"):
            payload = {"status": status, "requestId": request_id}
            await self.charger.tell(Message("LogStatusNotification", payload))

    @handles("CostUpdated")
    def _on_cost_updated(self, transaction_id: str, total_cost: float, **_: Any) -> Any:
        session = self.charger.find_session(transaction_id)
        if session is not None:
            session.shown_cost = total_cost
            session.costs_shown += 1
        return call_result.CostUpdated()
