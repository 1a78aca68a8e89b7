"""Whether a station is the one that it says it is, and with which OCPP security profile it proved that."""

import binascii
import hmac
from base64 import b64decode
from enum import StrEnum
from typing import Final

import msgspec

from libs.events.registry import CredentialsRegistered, PasswordDigest
from libs.ocpp.certificates import is_named
from libs.ocpp.passwords import password_digest, readings
from services.edge.domain.rules import Standing


class Doubt(StrEnum):
    """Why a claimed identity is not believed. Operators read it; the peer gets the same answer to all."""

    UNKNOWN_STATION = "unknown_station"
    WRONG_USER = "wrong_user"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105
    MISSING_PASSWORD = "missing_password"  # noqa: S105
    WRONG_CERTIFICATE = "wrong_certificate"
    REVOKED_CERTIFICATE = "revoked_certificate"
    EXPIRED_CERTIFICATE = "expired_certificate"
    LOW_PROFILE = "low_profile"


class Certificate(msgspec.Struct, frozen=True):
    """A client certificate that our authority issued.

    `names`: its common names, one in a proper certificate. `issuer` and `serial` name it in revocation lists; each of
    `above` names an authority above it in this way.
    """

    names: tuple[str, ...]
    organisations: tuple[str, ...]
    issuer: bytes
    serial: int
    above: tuple[tuple[bytes, int], ...] = ()


class Shown(msgspec.Struct, frozen=True):
    """What a handshake brings along. `flaw`: what is wrong with the certificate itself, whosever it is."""

    encrypted: bool = False
    authorization: tuple[str, ...] = ()
    certificate: Certificate | None = None
    flaw: Doubt | None = None


class Proof(msgspec.Struct, frozen=True):
    """What a connection was believed for. `profile`: OCPP security profile, 0 to 3."""

    profile: int = 0
    password: PasswordDigest | None = None
    certificate: Certificate | None = None


class Basic(msgspec.Struct, frozen=True):
    """User name (case-folded) and password of an Authorization header."""

    user: str
    password: bytes


NOTHING_SHOWN: Final = Shown()
NOTHING_PROVEN: Final = Proof()
_ACCEPTED_AT_A_TIME: Final = 2
_DECOY: Final = PasswordDigest(salt="00" * 16, digest="0" * 64)


def authenticate(
    station_id: str,
    standing: Standing | None,
    credentials: CredentialsRegistered | None,
    shown: Shown,
    operator: str = "",
) -> Proof | Doubt:
    """Judge what a handshake shows of `station_id`. `operator`: organisation of client certificates, "" for any.

    Whatever is shown must be right, also where less would do. Nothing that a peer can choose changes how much work
    this is: neither the identity nor the password.
    """
    try:
        basic = basic_of(shown.authorization)
    except ValueError:
        basic = Basic("", b"")
    accepted = credentials.passwords if credentials is not None else ()
    matched = _matching(accepted, basic.password if basic is not None else b"")
    if basic is None:
        matched = None
    if standing is None:
        return Doubt.UNKNOWN_STATION
    if basic is not None and basic.user != station_id:
        return Doubt.WRONG_USER
    if (doubt := _doubtful(shown, station_id, standing, operator)) is not None:
        return doubt
    profile = _profile(shown, matched)
    enough = profile >= standing.security_profile
    if basic is not None and matched is None and (accepted or not enough):
        return Doubt.WRONG_PASSWORD
    if enough:
        return Proof(profile, matched, shown.certificate)
    return Doubt.LOW_PROFILE if profile else Doubt.MISSING_PASSWORD


def outdated(
    station_id: str,
    standing: Standing | None,
    credentials: CredentialsRegistered | None,
    proof: Proof,
    operator: str = "",
) -> str | None:
    """Why a connection with this proof must end now that the registry is as given; None if it may go on."""
    if standing is None:
        return "not registered"
    if proof.profile < standing.security_profile:
        return "security profile raised"
    if proof.password is not None and (credentials is None or proof.password not in credentials.passwords):
        return "password withdrawn"
    certificate = proof.certificate
    if certificate is not None and not _names(certificate, station_id, standing.certificate_name, operator):
        return "certificate name changed"
    return None


def basic_of(headers: tuple[str, ...]) -> Basic | None:
    """What the Authorization headers (RFC 7617) say; None if there is none, or an empty one.

    Raises ValueError for anything else that is not one Basic header with a user name and a password.
    """
    given = [header.strip() for header in headers if header.strip()]
    if not given:
        return None
    scheme, _, encoded = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "basic":
        raise ValueError("not one Basic header")
    text = encoded.strip()
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not Base64") from error
    user, colon, password = raw.partition(b":")
    if not colon:
        raise ValueError("no colon")
    return Basic(user.decode().casefold(), password)


def _doubtful(shown: Shown, station_id: str, standing: Standing, operator: str) -> Doubt | None:
    """What speaks against the certificate, if there is one."""
    if shown.certificate is None or shown.flaw is not None:
        return shown.flaw
    named = _names(shown.certificate, station_id, standing.certificate_name, operator)
    return None if named else Doubt.WRONG_CERTIFICATE


def _profile(shown: Shown, matched: PasswordDigest | None) -> int:
    if shown.certificate is not None:
        return 3
    if matched is None:
        return 0
    return 2 if shown.encrypted else 1


def _names(certificate: Certificate, station_id: str, certificate_name: str | None, operator: str) -> bool:
    wanted = certificate_name if certificate_name is not None else station_id
    return is_named(certificate.names, certificate.organisations, wanted, operator)


def _matching(accepted: tuple[PasswordDigest, ...], sent: bytes) -> PasswordDigest | None:
    """The accepted password that was sent, if any; at least as many digests are compared as a station can have."""
    found = None
    padding = (_DECOY,) * (_ACCEPTED_AT_A_TIME - len(accepted))
    for each in (*accepted, *padding):
        for password in readings(sent):
            if _is(each, password) and each is not _DECOY:
                found = each
    return found


def _is(accepted: PasswordDigest, password: bytes) -> bool:
    try:
        digest = password_digest(accepted.salt, password)
    except ValueError:
        return False
    return hmac.compare_digest(digest.encode(), accepted.digest.lower().encode())
