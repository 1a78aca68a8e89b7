"""What the platform may want of a charger, version-free, and how each version asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from libs.ocpp.times import format_timestamp
from libs.ocpp.versions import Version

Encoded = tuple[str, dict[str, Any]]


class SetLimit(msgspec.Struct, frozen=True, tag=True):
    """Limit an EVSE's current (0: the station's), for one transaction or for all.

    ``limit_milliamp`` is rounded down to the 0.1 A of OCPP. ``starts_at`` (microseconds) is where the limit
    begins, by default at once; ``valid_seconds`` needs it, because the charger must know when it ends.
    """

    evse_id: int
    transaction_id: str | None
    limit_milliamp: int
    profile_id: int
    stack_level: int
    valid_seconds: int | None = None
    phases: int | None = None
    starts_at: int | None = None


class SetDefaultLimit(msgspec.Struct, frozen=True, tag=True):
    """Limit the current of each transaction that has no limit of its own, on one EVSE (0: on every EVSE alike).

    A ``SetLimit`` for the transaction takes its place, be it higher or lower (1.6 §3.13.1, 2.x K01).
    ``limit_milliamp`` is rounded down to the 0.1 A of OCPP. ``ClearLimit`` removes it by ``profile_id``.
    """

    evse_id: int
    limit_milliamp: int
    profile_id: int
    stack_level: int
    phases: int | None = None


class ClearLimit(msgspec.Struct, frozen=True, tag=True):
    """Remove the limit with ``profile_id``, or every limit of an EVSE, or (neither given) all of them."""

    evse_id: int | None = None
    profile_id: int | None = None


class RemoteStart(msgspec.Struct, frozen=True, tag=True):
    """Start a transaction; without ``evse_id`` the charger chooses. 1.6 has no ``remote_start_id``."""

    evse_id: int | None
    id_token: str
    remote_start_id: int
    id_token_type: str = "Central"  # noqa: S105  (a kind of token, not a secret)


class RemoteStop(msgspec.Struct, frozen=True, tag=True):
    """Stop a transaction."""

    transaction_id: str


class UpdateFirmware(msgspec.Struct, frozen=True, tag=True):
    """Fetch firmware from ``location`` (a URL) at ``retrieve_at`` (microseconds) and install it.

    1.6 has no ``request_id``.
    """

    location: str
    retrieve_at: int
    request_id: int


class Reset(msgspec.Struct, frozen=True, tag=True):
    """Restart: ``soft`` lets transactions end first (2.x OnIdle), ``hard`` does not (2.x Immediate)."""

    kind: Literal["soft", "hard"]


Command = SetLimit | SetDefaultLimit | ClearLimit | RemoteStart | RemoteStop | UpdateFirmware | Reset


def encode_command(version: Version, command: Command) -> Encoded:
    """Return action and payload, conforming to the version's schema; absent optionals are left out.

    Raises ``ValueError`` for what the version cannot express: a transaction id that is no number in 1.6, a
    ``valid_seconds`` without ``starts_at``.
    """
    return _ENCODERS[version.is_v2, type(command)](command)


def _set_limit_16(command: SetLimit) -> Encoded:
    profile = {
        "chargingProfileId": command.profile_id,
        "stackLevel": command.stack_level,
        "chargingProfilePurpose": _purpose(command, "ChargePointMaxProfile"),
        "chargingProfileKind": _kind(command),
        **_validity(command),
        "chargingSchedule": _schedule(command),
    }
    if command.transaction_id is not None:
        profile["transactionId"] = _number(command.transaction_id)
    return "SetChargingProfile", {"connectorId": command.evse_id, "csChargingProfiles": profile}


def _set_limit_2(command: SetLimit) -> Encoded:
    profile = {
        "id": command.profile_id,
        "stackLevel": command.stack_level,
        "chargingProfilePurpose": _purpose(command, "ChargingStationMaxProfile"),
        "chargingProfileKind": _kind(command),
        **_validity(command),
        "chargingSchedule": [{"id": command.profile_id, **_schedule(command)}],
    }
    if command.transaction_id is not None:
        profile["transactionId"] = command.transaction_id
    return "SetChargingProfile", {"evseId": command.evse_id, "chargingProfile": profile}


def _set_default_limit_16(command: SetDefaultLimit) -> Encoded:
    profile = {"chargingProfileId": command.profile_id, **_default(command)}
    profile["chargingSchedule"] = _amperes(command.limit_milliamp, command.phases)
    return "SetChargingProfile", {"connectorId": command.evse_id, "csChargingProfiles": profile}


def _set_default_limit_2(command: SetDefaultLimit) -> Encoded:
    schedule = {"id": command.profile_id, **_amperes(command.limit_milliamp, command.phases)}
    profile = {"id": command.profile_id, **_default(command), "chargingSchedule": [schedule]}
    return "SetChargingProfile", {"evseId": command.evse_id, "chargingProfile": profile}


def _default(command: SetDefaultLimit) -> dict[str, Any]:
    return {
        "stackLevel": command.stack_level,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative",
    }


def _purpose(command: SetLimit, station_wide: str) -> str:
    if command.transaction_id is not None:
        return "TxProfile"
    return "TxDefaultProfile" if command.evse_id else station_wide


def _kind(command: SetLimit) -> str:
    # A station-wide profile must not be Relative (1.6 §3.13.1, 2.x K01.FR.38): nothing starts it.
    relative = command.starts_at is None and (command.transaction_id is not None or command.evse_id > 0)
    return "Relative" if relative else "Absolute"


def _validity(command: SetLimit) -> dict[str, Any]:
    if command.valid_seconds is None:
        return {}
    if command.starts_at is None:
        raise ValueError("valid_seconds needs starts_at")
    end = command.starts_at + command.valid_seconds * 1_000_000
    return {"validTo": format_timestamp(end)}


def _schedule(command: SetLimit) -> dict[str, Any]:
    schedule = _amperes(command.limit_milliamp, command.phases)
    if command.starts_at is not None:
        schedule["startSchedule"] = format_timestamp(command.starts_at)
    if command.valid_seconds is not None:
        schedule["duration"] = command.valid_seconds
    return schedule


def _amperes(limit_milliamp: int, phases: int | None) -> dict[str, Any]:
    period: dict[str, Any] = {"startPeriod": 0, "limit": max(limit_milliamp, 0) // 100 / 10}
    if phases is not None:
        period["numberPhases"] = phases
    return {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]}


def _clear_limit_16(command: ClearLimit) -> Encoded:
    payload: dict[str, Any] = {}
    if command.profile_id is not None:
        payload["id"] = command.profile_id
    elif command.evse_id is not None:
        payload["connectorId"] = command.evse_id
    return "ClearChargingProfile", payload


def _clear_limit_2(command: ClearLimit) -> Encoded:
    payload: dict[str, Any] = {}
    if command.profile_id is not None:
        payload["chargingProfileId"] = command.profile_id
    elif command.evse_id is not None:
        payload["chargingProfileCriteria"] = {"evseId": command.evse_id}
    return "ClearChargingProfile", payload


def _remote_start_16(command: RemoteStart) -> Encoded:
    payload: dict[str, Any] = {"idTag": command.id_token}
    if command.evse_id is not None:
        payload["connectorId"] = command.evse_id
    return "RemoteStartTransaction", payload


def _remote_start_2(command: RemoteStart) -> Encoded:
    payload: dict[str, Any] = {
        "idToken": {"idToken": command.id_token, "type": command.id_token_type},
        "remoteStartId": command.remote_start_id,
    }
    if command.evse_id is not None:
        payload["evseId"] = command.evse_id
    return "RequestStartTransaction", payload


def _remote_stop_16(command: RemoteStop) -> Encoded:
    return "RemoteStopTransaction", {"transactionId": _number(command.transaction_id)}


def _remote_stop_2(command: RemoteStop) -> Encoded:
    return "RequestStopTransaction", {"transactionId": command.transaction_id}


def _update_firmware_16(command: UpdateFirmware) -> Encoded:
    retrieve = format_timestamp(command.retrieve_at)
    return "UpdateFirmware", {"location": command.location, "retrieveDate": retrieve}


def _update_firmware_2(command: UpdateFirmware) -> Encoded:
    firmware = {"location": command.location, "retrieveDateTime": format_timestamp(command.retrieve_at)}
    return "UpdateFirmware", {"requestId": command.request_id, "firmware": firmware}


def _reset_16(command: Reset) -> Encoded:
    return "Reset", {"type": "Soft" if command.kind == "soft" else "Hard"}


def _reset_2(command: Reset) -> Encoded:
    return "Reset", {"type": "OnIdle" if command.kind == "soft" else "Immediate"}


def _number(transaction_id: str) -> int:
    try:
        return int(transaction_id)
    except ValueError as error:
        raise ValueError("a transaction id of OCPP 1.6 is a number") from error


_ENCODERS: Final[Mapping[tuple[bool, type], Callable[[Any], Encoded]]] = {
    (False, SetLimit): _set_limit_16,
    (True, SetLimit): _set_limit_2,
    (False, SetDefaultLimit): _set_default_limit_16,
    (True, SetDefaultLimit): _set_default_limit_2,
    (False, ClearLimit): _clear_limit_16,
    (True, ClearLimit): _clear_limit_2,
    (False, RemoteStart): _remote_start_16,
    (True, RemoteStart): _remote_start_2,
    (False, RemoteStop): _remote_stop_16,
    (True, RemoteStop): _remote_stop_2,
    (False, UpdateFirmware): _update_firmware_16,
    (True, UpdateFirmware): _update_firmware_2,
    (False, Reset): _reset_16,
    (True, Reset): _reset_2,
}
