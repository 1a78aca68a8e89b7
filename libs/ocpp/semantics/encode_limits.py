"""Limits of current as the charging profiles of both families; the rest of a SetChargingProfile is the version's."""

from __future__ import annotations

from typing import Any

from libs.ocpp.semantics.commands import SetDefaultLimit, SetLimit
from libs.ocpp.times import format_timestamp


def limit_profile(command: SetLimit, station_wide: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a SetLimit's profile and its schedule have in common; ``station_wide`` is the purpose for EVSE 0."""
    profile = {
        "stackLevel": command.stack_level,
        "chargingProfilePurpose": _purpose(command, station_wide),
        "chargingProfileKind": _kind(command),
        **_validity(command),
    }
    return profile, _schedule(command)


def default_limit_profile(command: SetDefaultLimit) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a SetDefaultLimit's profile and its schedule have in common."""
    profile = {
        "stackLevel": command.stack_level,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative",
    }
    return profile, _amperes(command.limit_milliamp, command.phases)


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
