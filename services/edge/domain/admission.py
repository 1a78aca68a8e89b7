"""Who may open a websocket, and with which version."""

from collections.abc import Iterable
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec

from libs.ocpp.versions import MAX_IDENTITY_LENGTH, Version, negotiate, station_id_from_path
from services.edge.domain.rules import ReadModels, Standing

PATH_ROOT: Final = "ocpp"


class RefusalReason(StrEnum):
    """Why a handshake was refused; the peer only sees the status."""

    UNKNOWN_STATION = "unknown_station"
    BAD_IDENTITY = "bad_identity"
    NO_SUBPROTOCOL = "no_subprotocol"
    NOT_READY = "not_ready"
    OVERLOAD = "overload"


# An unknown and an unauthorised station get the same answer: identities cannot be enumerated.
_STATUS: Final = {
    RefusalReason.UNKNOWN_STATION: HTTPStatus.UNAUTHORIZED,
    RefusalReason.BAD_IDENTITY: HTTPStatus.NOT_FOUND,
    RefusalReason.NO_SUBPROTOCOL: HTTPStatus.BAD_REQUEST,
    RefusalReason.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusalReason.OVERLOAD: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Admission(msgspec.Struct, frozen=True):
    """A handshake to accept. `echo` says whether the subprotocol is named in the answer."""

    station_id: str
    version: Version
    standing: Standing
    echo: bool = True


class Refusal(msgspec.Struct, frozen=True):
    """A handshake to refuse. `identity` is what was claimed, made printable, at most 48 characters."""

    identity: str
    reason: RefusalReason

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status to answer."""
        return _STATUS[self.reason]


def admit(
    path: str, offered: Iterable[str], models: ReadModels, trouble: RefusalReason | None = None
) -> Admission | Refusal:
    """Judge a handshake by its request path and the subprotocols that it offers, in order.

    `trouble` is why nobody is let in now. The station id is the case-folded last segment of
    `/ocpp/<station>`; segments and slashes before it are tolerated.
    """
    try:
        station_id = station_id_from_path(path).casefold()
        if PATH_ROOT not in _folders(path):
            raise ValueError("not a station's path")
    except ValueError:
        return Refusal(_printable(path), RefusalReason.BAD_IDENTITY)
    if trouble is not None:
        return Refusal(station_id, trouble)
    names = [name for name in offered if name.strip()]
    version = negotiate(names)
    standing = models.standing(station_id)
    if version is None:
        if not names and standing is not None and standing.allow_no_subprotocol:
            # Grizzl-E chargers send no subprotocol; what they speak is 1.6.
            return Admission(station_id, Version.V16, standing, echo=False)
        return Refusal(station_id, RefusalReason.NO_SUBPROTOCOL)
    if standing is None:
        return Refusal(station_id, RefusalReason.UNKNOWN_STATION)
    return Admission(station_id, version, standing)


def _folders(path: str) -> list[str]:
    return path.split("?", 1)[0].rstrip("/").split("/")[:-1]


def _printable(path: str) -> str:
    last = path.split("?", 1)[0].rstrip("/").rpartition("/")[2]
    return "".join(c if c.isprintable() else "?" for c in last[:MAX_IDENTITY_LENGTH])
