"""What a station that is not accepted yet may say and be told (2.0.1 B02, B03; 1.6 §4.2)."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from libs.events.registry import BootStatus
from libs.ocpp.routing import Route

_REPORTS: Final = {"GetBaseReport": "NotifyReport", "GetReport": "NotifyReport"}
_TRIGGERS: Final = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})
_STARTS_OR_STOPS: Final = frozenset(
    {
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "RequestStartTransaction",
        "RequestStopTransaction",
    }
)


def may_call(route: Route, status: BootStatus, asked_for: Collection[str]) -> bool:
    """Whether a station's CALL is to be answered; if not, it gets SecurityError.

    `asked_for`: actions that we made the station send (see `asks_for`).
    """
    return status is BootStatus.ACCEPTED or route.before_acceptance or route.action in asked_for


def asks_for(action: str, payload: Mapping[str, Any]) -> str | None:
    """The action that a station will send because we sent it `action`, if any."""
    if action in _TRIGGERS:
        wanted = payload.get("requestedMessage")
        # SignChargingStationCertificate and its kin all ask for a SignCertificate.
        if isinstance(wanted, str):
            return "SignCertificate" if wanted.startswith("Sign") else wanted
    return _REPORTS.get(action)


def why_not_send(action: str, status: BootStatus) -> str | None:
    """Why `action` must not be sent to a station that stands so; None if it may be."""
    if status is BootStatus.REJECTED:
        return "the station's boot is rejected"
    if status is BootStatus.PENDING and action in _STARTS_OR_STOPS:
        return "the station's boot is pending"
    return None
