"""Who may open a websocket, with which version, and how sure we are of who it is."""

from collections.abc import Iterable
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec

from libs.ocpp.versions import MAX_IDENTITY_LENGTH, Version, negotiate, station_id_from_path
from services.edge.domain.authentication import (
    NOTHING_PROVEN,
    NOTHING_SHOWN,
    Doubt,
    Proof,
    Shown,
    authenticate,
)
from services.edge.domain.rules import ReadModels, Standing

PATH_ROOT: Final = "ocpp"


class RefusalReason(StrEnum):
    """Why a handshake was refused, whoever asked; the peer only sees the status."""

    BAD_IDENTITY = "bad_identity"
    NO_SUBPROTOCOL = "no_subprotocol"
    NOT_READY = "not_ready"
    OVERLOAD = "overload"
    THROTTLED = "throttled"


_STATUS: Final = {
    RefusalReason.BAD_IDENTITY: HTTPStatus.NOT_FOUND,
    RefusalReason.NO_SUBPROTOCOL: HTTPStatus.BAD_REQUEST,
    RefusalReason.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusalReason.OVERLOAD: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusalReason.THROTTLED: HTTPStatus.TOO_MANY_REQUESTS,
}


class Admission(msgspec.Struct, frozen=True):
    """A handshake to accept. `echo` says whether the subprotocol is named in the answer."""

    station_id: str
    version: Version
    standing: Standing
    echo: bool = True
    proof: Proof = NOTHING_PROVEN


class Refusal(msgspec.Struct, frozen=True):
    """A handshake to refuse. `identity` is what was claimed, made printable, at most 48 characters.

    `believed`: False if the identity was looked at and not believed, whatever the reason that is given.
    """

    identity: str
    reason: RefusalReason | Doubt
    believed: bool = True

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status to answer: one for all doubts, so that identities cannot be enumerated."""
        if isinstance(self.reason, Doubt):
            return HTTPStatus.UNAUTHORIZED
        return _STATUS[self.reason]


def identify(path: str) -> str | Refusal:
    """The station id that a request path claims: the case-folded last segment of `/ocpp/<station>`.

    Segments and slashes before it are tolerated.
    """
    try:
        station_id = station_id_from_path(path)
        if PATH_ROOT not in _folders(path):
            raise ValueError("not a station's path")
    except ValueError:
        return Refusal(_printable(path), RefusalReason.BAD_IDENTITY)
    return station_id


def admit(
    path: str,
    offered: Iterable[str],
    models: ReadModels,
    trouble: RefusalReason | None = None,
    shown: Shown = NOTHING_SHOWN,
) -> Admission | Refusal:
    """Judge a handshake by its request path, the subprotocols that it offers, in order, and what it shows of itself.

    `trouble` is why this peer is not let in now, whoever it is.
    """
    station_id = identify(path)
    if isinstance(station_id, Refusal):
        return station_id
    if trouble is not None:
        return Refusal(station_id, trouble)
    names = [name for name in offered if name.strip()]
    version = negotiate(names)
    standing = models.standing(station_id)
    credentials = models.credentials.get(station_id)
    proof = authenticate(station_id, standing, credentials, shown, models.rules.operator)
    if version is None:
        if not names and standing is not None and standing.allow_no_subprotocol and isinstance(proof, Proof):
            # Grizzl-E chargers send no subprotocol; what they speak is 1.6.
            return Admission(station_id, Version.V16, standing, echo=False, proof=proof)
        # Also if it is not believed: the answer must not tell for which stations the header may be missing.
        return Refusal(station_id, RefusalReason.NO_SUBPROTOCOL, isinstance(proof, Proof))
    if standing is None or isinstance(proof, Doubt):
        doubt = proof if isinstance(proof, Doubt) else Doubt.UNKNOWN_STATION
        return Refusal(station_id, doubt, believed=False)
    return Admission(station_id, version, standing, proof=proof)


def _folders(path: str) -> list[str]:
    return path.split("?", 1)[0].rstrip("/").split("/")[:-1]


def _printable(path: str) -> str:
    last = path.split("?", 1)[0].rstrip("/").rpartition("/")[2]
    return "".join(c if c.isprintable() else "?" for c in last[:MAX_IDENTITY_LENGTH])
