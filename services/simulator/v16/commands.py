"""Chargers that speak OCPP 1.6: how they answer commands."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ocpp.v16 import call_result

from services.simulator.commands import CommonCommands
from services.simulator.domain.profiles import Profile, instant_us, parse_profile, purpose_of
from services.simulator.link import Message
from services.simulator.rpc import Rpc16, handles
from services.simulator.session import Evse
from services.simulator.v16.reports import Charger16

PROFILES = "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"
MAX_STACK_LEVEL = 10
MAX_SCHEDULE_PERIODS = 24
MAX_KEYS = 50


class Commands16(CommonCommands[Charger16], Rpc16):
    """Handlers of the central system's calls; each answers at once and acts afterwards."""

    results = call_result

    def _evse(self, connector_id: int | None) -> Evse | None:
        return next((evse for evse in self.charger.evses.values() if connector_id in evse.connectors), None)

    def _evses(self, connector_id: int) -> list[Evse]:
        if connector_id == 0:
            return list(self.charger.evses.values())
        evse = self._evse(connector_id)
        return [] if evse is None else [evse]

    # Remote control.

    @handles("RemoteStartTransaction")
    def _on_remote_start(
        self,
        id_tag: str,
        connector_id: int | None = None,
        charging_profile: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        wanted = None if connector_id is None else self._evse(connector_id)
        evse = None
        if connector_id is None or wanted is not None:
            evse = self.charger.free_evse(None if wanted is None else wanted.id, id_tag)
        if evse is None:
            return call_result.RemoteStartTransaction(status="Rejected")
        if charging_profile is not None and not self.charger.accept_start_profile(evse, charging_profile):
            return call_result.RemoteStartTransaction(status="Rejected")
        self.after.append(lambda: self.charger.remote_start(evse, id_tag, connector_id=connector_id or None))
        return call_result.RemoteStartTransaction(status="Accepted")

    @handles("RemoteStopTransaction")
    def _on_remote_stop(self, transaction_id: int, **_: Any) -> Any:
        session = self.charger.find_session(str(transaction_id))
        if session is None:
            return call_result.RemoteStopTransaction(status="Rejected")
        self.after.append(lambda: self.charger.stop(session, "Remote"))
        return call_result.RemoteStopTransaction(status="Accepted")

    @handles("UnlockConnector")
    def _on_unlock_connector(self, connector_id: int, **_: Any) -> Any:
        evse = self._evse(connector_id)
        if evse is None:
            return call_result.UnlockConnector(status="NotSupported")
        if (session := evse.session) is not None:
            self.after.append(lambda: self.charger.stop(session, "UnlockCommand"))
        return call_result.UnlockConnector(status="Unlocked")

    @handles("ChangeAvailability")
    def _on_change_availability(self, connector_id: int, type: str, **_: Any) -> Any:
        evses = self._evses(connector_id)
        if not evses:
            return call_result.ChangeAvailability(status="Rejected")
        busy = any(evse.lock.locked() for evse in evses)
        self.after.append(lambda: self.charger.set_availability(evses, type == "Operative"))
        return call_result.ChangeAvailability(status="Scheduled" if busy else "Accepted")

    @handles("Reset")
    def _on_reset(self, type: str, **_: Any) -> Any:
        self.after.append(lambda: self.charger.spawn(self.charger.reset(f"{type}Reset", "RemoteReset")))
        return call_result.Reset(status="Accepted")

    @handles("TriggerMessage")
    def _on_trigger_message(self, requested_message: str, connector_id: int | None = None, **_: Any) -> Any:
        charger = self.charger
        if connector_id not in (None, 0) and self._evse(connector_id) is None:
            return call_result.TriggerMessage(status="Rejected")
        evse = self._evse(connector_id)
        sends: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "BootNotification": lambda: charger.send_boot(triggered=True),
            "Heartbeat": lambda: charger.request(Message("Heartbeat", {})),
            "StatusNotification": lambda: charger.send_statuses(None if evse is None else evse.id),
            "MeterValues": lambda: self._sample(evse),
            "FirmwareStatusNotification": lambda: charger.request(
                charger.firmware_message(charger.firmware_status, None)
            ),
            "DiagnosticsStatusNotification": lambda: charger.request(
                Message("DiagnosticsStatusNotification", {"status": "Idle"})
            ),
        }
        if requested_message not in sends:
            return call_result.TriggerMessage(status="NotImplemented")
        send = sends[requested_message]
        self.after.append(lambda: charger.spawn(send()))
        return call_result.TriggerMessage(status="Accepted")

    async def _sample(self, wanted: Evse | None) -> None:
        for evse in [wanted] if wanted is not None else self.charger.evses.values():
            if evse.session is not None:
                self.charger.queue_sample(evse.session, "Trigger")

    # Configuration and local knowledge.

    def _configuration(self) -> dict[str, tuple[str, bool]]:
        """Every key: its value, and whether it is read-only."""
        charger = self.charger
        return {
            "AuthorizeRemoteTxRequests": (str(charger.authorize_remote).lower(), False),
            "ChargeProfileMaxStackLevel": (str(MAX_STACK_LEVEL), True),
            "ChargingScheduleAllowedChargingRateUnit": ("Current,Power", True),
            "ChargingScheduleMaxPeriods": (str(MAX_SCHEDULE_PERIODS), True),
            "GetConfigurationMaxKeys": (str(MAX_KEYS), True),
            "HeartbeatInterval": (str(charger.heartbeat_s), False),
            "LocalAuthListEnabled": ("true", True),
            "MaxChargingProfilesInstalled": ("50", True),
            "MeterValueSampleInterval": (str(charger.sample_interval_s), False),
            "MeterValuesSampledData": (
                "Energy.Active.Import.Register,Power.Active.Import,Current.Import",
                True,
            ),
            "NumberOfConnectors": (str(sum(len(evse.connectors) for evse in charger.evses.values())), True),
            "StopTransactionOnInvalidId": ("true", True),
            "SupportedFeatureProfiles": (PROFILES, True),
        }

    @handles("GetConfiguration")
    def _on_get_configuration(self, key: list[str] | None = None, **_: Any) -> Any:
        known = self._configuration()
        asked = key or list(known)
        found = [
            {"key": name, "readonly": known[name][1], "value": known[name][0]}
            for name in asked
            if name in known
        ]
        unknown = [name for name in asked if name not in known]
        return call_result.GetConfiguration(configuration_key=found, unknown_key=unknown or None)

    @handles("ChangeConfiguration")
    def _on_change_configuration(self, key: str, value: str, **_: Any) -> Any:
        known = self._configuration()
        if key not in known:
            return call_result.ChangeConfiguration(status="NotSupported")
        valid = value in ("true", "false") if key == "AuthorizeRemoteTxRequests" else value.isdigit()
        if known[key][1] or not valid:
            return call_result.ChangeConfiguration(status="Rejected")
        if key == "AuthorizeRemoteTxRequests":
            self.charger.authorize_remote = value == "true"
        elif key == "HeartbeatInterval":
            self.charger.heartbeat_s = max(1, int(value))
        else:
            self.charger.sample_interval_s = max(1, int(value))
        return call_result.ChangeConfiguration(status="Accepted")

    @handles("GetLocalListVersion")
    def _on_get_local_list_version(self, **_: Any) -> Any:
        return call_result.GetLocalListVersion(list_version=self.charger.list_version)

    @handles("SendLocalList")
    def _on_send_local_list(
        self,
        list_version: int,
        update_type: str,
        local_authorization_list: list[dict[str, Any]] | None = None,
        **_: Any,
    ) -> Any:
        entries = {
            entry["id_tag"]: entry["id_tag_info"]["status"] if "id_tag_info" in entry else None
            for entry in local_authorization_list or []
        }
        accepted = self.charger.update_local_list(list_version, update_type, entries)
        return call_result.SendLocalList(status="Accepted" if accepted else "VersionMismatch")

    # Reservation.

    @handles("ReserveNow")
    def _on_reserve_now(
        self, connector_id: int, expiry_date: str, id_tag: str, reservation_id: int, **_: Any
    ) -> Any:
        evse = self._evse(connector_id) or (
            self.charger.free_evse(None, id_tag) if connector_id == 0 else None
        )
        status = (
            "Rejected"
            if evse is None
            else self.charger.reserve(evse, reservation_id, id_tag, instant_us(expiry_date))
        )
        return call_result.ReserveNow(status=status)

    # Smart charging.

    @handles("SetChargingProfile")
    def _on_set_charging_profile(
        self, connector_id: int, cs_charging_profiles: dict[str, Any], **_: Any
    ) -> Any:
        charger, evse = self.charger, self._evse(connector_id)
        try:
            profile = parse_profile(cs_charging_profiles, charger.clock.now_us())
        except (ValueError, KeyError):
            return call_result.SetChargingProfile(status="Rejected")
        if not self._fits(profile, connector_id, evse):
            return call_result.SetChargingProfile(status="Rejected")
        where = 0 if evse is None else evse.id
        self.after.append(lambda: charger.set_profiles(charger.profiles.install(where, profile)))
        return call_result.SetChargingProfile(status="Accepted")

    def _fits(self, profile: Profile, connector_id: int, evse: Evse | None) -> bool:
        if profile.stack_level > MAX_STACK_LEVEL or len(profile.periods) > MAX_SCHEDULE_PERIODS:
            return False
        if profile.purpose == "StationMax":
            return connector_id == 0
        if profile.purpose == "TxDefault":
            return connector_id == 0 or evse is not None
        # Section 3.13.1: a TxProfile is for a running transaction; for any other it is refused.
        session = None if evse is None else evse.session
        return session is not None and profile.transaction_id in (None, session.transaction_id)

    @handles("ClearChargingProfile")
    def _on_clear_charging_profile(
        self,
        id: int | None = None,
        connector_id: int | None = None,
        charging_profile_purpose: str | None = None,
        stack_level: int | None = None,
        **_: Any,
    ) -> Any:
        evse = self._evse(connector_id)
        if connector_id and evse is None:
            return call_result.ClearChargingProfile(status="Unknown")
        where = connector_id if evse is None else evse.id
        purpose = None if charging_profile_purpose is None else purpose_of(charging_profile_purpose)
        cleared = self.charger.clear_profiles(id, where, purpose, stack_level)
        return call_result.ClearChargingProfile(status="Accepted" if cleared else "Unknown")

    @handles("GetCompositeSchedule")
    def _on_get_composite_schedule(
        self, connector_id: int, duration: int, charging_rate_unit: str | None = None, **_: Any
    ) -> Any:
        charger, evse = self.charger, self._evse(connector_id)
        if connector_id and evse is None:
            return call_result.GetCompositeSchedule(status="Rejected")
        unit, periods, now_us = charger.composite(evse, duration, charging_rate_unit)
        return call_result.GetCompositeSchedule(
            status="Accepted",
            connector_id=connector_id,
            schedule_start=charger.time(now_us),
            charging_schedule={
                "duration": duration,
                "start_schedule": charger.time(now_us),
                "charging_rate_unit": unit,
                # Section 7.13: at most one digit after the point.
                "charging_schedule_period": [
                    {"start_period": period.start_s, "limit": period.limit_milli // 100 / 10}
                    for period in periods
                ],
            },
        )

    # Firmware, diagnostics, the rest.

    @handles("UpdateFirmware")
    def _on_update_firmware(self, location: str, retrieve_date: str, **_: Any) -> Any:
        at_us = instant_us(retrieve_date)
        self.after.append(lambda: self.charger.update_firmware(location, at_us, None))
        return call_result.UpdateFirmware()

    @handles("GetDiagnostics")
    def _on_get_diagnostics(self, **_: Any) -> Any:
        self.after.append(lambda: self.charger.spawn(self._upload()))
        return call_result.GetDiagnostics(file_name=f"{self.charger.station.id}-diagnostics.txt")

    async def _upload(self) -> None:
        for status in ("Uploading", "Uploaded"):
            await self.charger.tell(Message("DiagnosticsStatusNotification", {"status": status}))
