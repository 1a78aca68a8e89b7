"""Limits of current as the charging profiles of both families; the rest of a SetChargingProfile is the version's."""

from __future__ import annotations

from typing import Any

from libs.ocpp.semantics.commands import SetDefaultLimit, SetLimit
from libs.ocpp.times import format_timestamp
from libs.runtime.clock import SECOND


def limit_profile(command: SetLimit, station_wide: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a SetLimit's profile and its schedule have in common; ``station_wide`` is the purpose for EVSE 0."""
    profile = {
        "stackLevel": command.stack_level,
        "chargingProfilePurpose": _purpose(command, station_wide),
        "chargingProfileKind": "Relative" if is_relative(command) else "Absolute",
        **_validity(command),
    }
    return profile, _schedule(command)


def default_limit_profile(command: SetDefaultLimit) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a SetDefaultLimit's profile and its schedule have in common."""
    profile = {
        "stackLevel": command.stack_level,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative" if is_relative(command) else "Absolute",
    }
    return profile, _begun(_amperes(command.limit_milliamp, command.phases), command)


def _purpose(command: SetLimit, station_wide: str) -> str:
    if command.transaction_id is not None:
        return "TxProfile"
    return "TxDefaultProfile" if command.evse_id else station_wide


def is_relative(command: SetLimit | SetDefaultLimit) -> bool:
    """Whether its profile begins with the transaction."""
    # A station-wide profile must not be Relative (1.6 §3.13.1, 2.x K01.FR.38): nothing starts it.
    of_transactions = (
        isinstance(command, SetDefaultLimit) or command.transaction_id is not None or command.evse_id > 0
    )
    return command.starts_at is None and of_transactions


def _validity(command: SetLimit) -> dict[str, Any]:
    if command.valid_seconds is None:
        return {}
    if command.starts_at is None:
        raise ValueError("valid_seconds needs starts_at")
    end = command.starts_at + command.valid_seconds * SECOND
    return {"validTo": format_timestamp(end)}


def _schedule(command: SetLimit) -> dict[str, Any]:
    schedule = _begun(_amperes(command.limit_milliamp, command.phases), command)
    if command.valid_seconds is not None:
        schedule["duration"] = command.valid_seconds
    return schedule


def _begun(schedule: dict[str, Any], command: SetLimit | SetDefaultLimit) -> dict[str, Any]:
    if command.starts_at is not None:
        schedule["startSchedule"] = format_timestamp(command.starts_at)
    return schedule


def _amperes(limit_milliamp: int, phases: int | None) -> dict[str, Any]:
    period: dict[str, Any] = {"startPeriod": 0, "limit": max(limit_milliamp, 0) // 100 / 10}
    if phases is not None:
        period["numberPhases"] = phases
    return {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]}
