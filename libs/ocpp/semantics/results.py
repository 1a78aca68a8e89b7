"""Did the charger agree? One verdict for the results of all commands of all versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Verdict = Literal["accepted", "rejected"]

# Statuses by which a charger says that it does, did or will do what was asked.
ACCEPTING: Final = frozenset(
    {
        "Accepted",
        "AcceptedCanceled",  # GetLog, UpdateFirmware: done, and the earlier one cancelled
        "Scheduled",  # ChangeAvailability, Reset: after the transaction
        "RebootRequired",  # ChangeConfiguration, SetVariables: after a reboot
        "Unlocked",
        "Unpublished",
    }
)
# Commands about several items: the list of their results, and the name of an item's status.
_ITEMS: Final[Mapping[str, tuple[str, str]]] = {
    "SetVariables": ("setVariableResult", "attributeStatus"),
    "GetVariables": ("getVariableResult", "attributeStatus"),
    "SetVariableMonitoring": ("setMonitoringResult", "status"),
    "ClearVariableMonitoring": ("clearMonitoringResult", "status"),
    "ClearTariffs": ("clearTariffsResult", "status"),
}


def interpret_result(action: str, payload: Mapping[str, Any]) -> Verdict:
    """Return whether a CALLRESULT means that the charger agreed.

    Of several items all must be accepted. A result without a status (GetConfiguration, CostUpdated, 1.6
    UpdateFirmware) means agreement: refusing those takes a CALLERROR.
    """
    if action in _ITEMS:
        name, status = _ITEMS[action]
        items = payload.get(name, ())
        agreed = all(item.get(status) in ACCEPTING for item in items)
    else:
        agreed = "status" not in payload or payload["status"] in ACCEPTING
    return "accepted" if agreed else "rejected"
