"""What a station that is not accepted yet may say and be told (2.0.1 B02, B03; 1.6 §4.2)."""

from collections.abc import Mapping
from typing import Any, Final

from libs.events.registry import BootStatus
from libs.ocpp.routing import Route

_ASKED_FOR_US: Final = 600_000_000
_ASKED_TIMES: Final = 1_000
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


def may_call(route: Route, status: BootStatus) -> bool:
    """Whether a station may call of its own accord; if not, it gets SecurityError, unless it was `AskedFor`."""
    return status is BootStatus.ACCEPTED or route.before_acceptance


class AskedFor:
    """The actions that our commands make a station send (see `asks_for`): for ten minutes, a thousand times.

    A report comes in many parts, and the answer to one trigger for each connector; what comes beyond them nobody asked
    for.
    """

    def __init__(self) -> None:
        self._allowed: dict[str, tuple[int, int]] = {}

    def add(self, action: str, now: int) -> None:
        """The station is asked for `action` at `now` (microseconds)."""
        self._allowed[action] = (now + _ASKED_FOR_US, _ASKED_TIMES)

    def take(self, action: str, now: int) -> bool:
        """Whether a call of that action was asked for; it counts as one of them."""
        until, left = self._allowed.get(action, (0, 0))
        if now > until or not left:
            self._allowed.pop(action, None)
            return False
        self._allowed[action] = (until, left - 1)
        return True


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
