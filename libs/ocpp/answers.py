"""The answer that a central system can give alone to any action whose route has the ``default`` policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from libs.ocpp.times import format_timestamp
from libs.ocpp.versions import Version

# What only a processor or a partner can grant is declined; a plain notification is confirmed by {}.
_STATUS: Final[Mapping[str, str]] = {
    "DataTransfer": "UnknownVendorId",
    "GetCertificateStatus": "Failed",
    "NotifyEVChargingNeeds": "Rejected",
    "NotifyEVChargingSchedule": "Accepted",
    "OpenPeriodicEventStream": "Rejected",
    "PullDynamicScheduleUpdate": "Rejected",
    "SignCertificate": "Rejected",
}


def default_answer(version: Version, action: str, payload: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return a conforming answer to ``action`` that promises nothing; ``now`` is in microseconds.

    Covers DataTransfer and every action of the ``default`` policy; ``payload`` must conform.
    """
    if action == "Get15118EVCertificate":
        return {"status": "Failed", "exiResponse": ""}
    if action == "GetCertificateChainStatus":
        return {"certificateStatus": [_failed(item, now) for item in payload["certificateStatusRequests"]]}
    if action == "VatNumberValidation":
        return {"vatNumber": payload["vatNumber"], "status": "Rejected"}
    if action == "NotifyEVChargingNeeds" and version is Version.V21:
        return {"status": "NoChargingProfile"}
    status = _STATUS.get(action)
    return {} if status is None else {"status": status}


def _failed(request: Mapping[str, Any], now: int) -> dict[str, Any]:
    return {
        "certificateHashData": request["certificateHashData"],
        "source": request["source"],
        "status": "Failed",
        "nextUpdate": format_timestamp(now),
    }
