"""Requests for logs, and what chargers said of their uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

DIAGNOSTICS: Final = "DiagnosticsStatusNotification"


class Upload(msgspec.Struct, frozen=True):
    """One status notification about an upload."""

    status: str
    at: datetime


class LogRequest(msgspec.Struct, frozen=True):
    """A request for a log. `fate` None: none yet. `filename`: as the charger says it is called."""

    command_id: str
    request_id: int | None
    log: str
    location: str
    requested_at: datetime
    requested_by: str
    fate: str | None
    reason: str
    filename: str | None
    uploads: tuple[Upload, ...] = ()


def number_of(command_id: str) -> int:
    """The request id (1 to 2^31-1) of the command that asks for a log: the same for the same command."""
    return int.from_bytes(hashlib.sha256(command_id.encode()).digest()[:4], "big") % (2**31 - 1) + 1


def joined(
    commands: Iterable[Mapping[str, Any]], notifications: Sequence[Mapping[str, Any]]
) -> list[LogRequest]:
    """Rows of GetLog and GetDiagnostics commands, the latest first, with the notifications that belong to each.

    A notification belongs to the latest earlier request with its number; without a number, as in
    DiagnosticsStatusNotification, to the latest earlier one that the charger took.
    """
    requests = sorted(map(_request, commands), key=lambda each: each.requested_at, reverse=True)
    uploads: dict[str, list[Upload]] = {}
    for row in sorted(notifications, key=lambda each: each["recorded_at"]):
        payload = _object(row["payload"])
        number = payload.get("requestId")
        for request in requests:
            fits = request.request_id == number if isinstance(number, int) else request.fate == "ACCEPTED"
            if fits and request.requested_at <= row["recorded_at"]:
                upload = Upload(str(payload.get("status", "")), row["recorded_at"])
                uploads.setdefault(request.command_id, []).append(upload)
                break
    return [
        msgspec.structs.replace(each, uploads=tuple(uploads.get(each.command_id, ()))) for each in requests
    ]


def _request(row: Mapping[str, Any]) -> LogRequest:
    payload, result = _object(row["payload"]), _object(row["result"])
    # A version-free command, an OCPP GetLog, or a GetDiagnostics of 1.6.
    log = payload.get("log")
    location = payload.get("location")
    if isinstance(log, dict):
        location = log.get("remoteLocation")
    kind = str(payload.get("logType") or (log if isinstance(log, str) else "diagnostics"))
    number = payload.get("request_id", payload.get("requestId"))
    filename = result.get("filename", result.get("fileName"))
    return LogRequest(
        command_id=row["command_id"],
        request_id=number if isinstance(number, int) else None,
        log="security" if kind.casefold().startswith("security") else "diagnostics",
        location=str(location or ""),
        requested_at=row["requested_at"],
        requested_by=row["requested_by"],
        fate=row["fate"],
        reason=row["reason"],
        filename=None if filename is None else str(filename),
    )


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
