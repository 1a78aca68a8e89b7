"""Passwords of stations, as the records that keep their digests."""

import re
from typing import Final

from msgspec.structs import replace

from libs.events.record import UNWRITTEN
from libs.events.registry import CredentialsRegistered, PasswordDigest
from libs.ocpp.passwords import MAX_BYTES, MIN_BYTES, password_digest
from services.api.domain.errors import Conflict, Invalid
from services.api.domain.renewal import Stamp

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")


def password_of(text: str | None, digits: str | None) -> bytes | None:
    """The password that is written as text or as hex digits; None if neither is given. Raises Invalid.

    Text of hex digits stands for the bytes that they write, if these are enough: a charger that is configured with
    them may send either (1.6 AuthorizationKey), and both verify then.
    """
    if text is None and digits is None:
        return None
    if text is not None and digits is not None:
        raise Invalid("either password or password_hex, not both", "/password_hex")
    path = "/password" if text is not None else "/password_hex"
    if text is not None:
        password = _meant(text)
    else:
        try:
            password = bytes.fromhex(digits or "")
        except ValueError:
            raise Invalid("not hex digits, two for each byte", path) from None
    if not MIN_BYTES <= len(password) <= MAX_BYTES:
        raise Invalid(
            f"a password has {MIN_BYTES} to {MAX_BYTES} bytes: `password` is text, `password_hex` is hex digits,"
            " two for each byte",
            path,
        )
    return password


def _meant(text: str) -> bytes:
    password = text.encode()
    if _HEX.fullmatch(text) is None or len(text) < 2 * MIN_BYTES:
        return password
    return bytes.fromhex(text)


def kept(password: bytes, salt: str) -> PasswordDigest:
    """What is kept of a password."""
    return PasswordDigest(salt=salt, digest=password_digest(salt, password))


def with_passwords(station_id: str, stamp: Stamp, *passwords: PasswordDigest) -> CredentialsRegistered:
    """The record by which exactly these are accepted."""
    blank = CredentialsRegistered(**UNWRITTEN, station_id=station_id)
    return replace(blank, passwords=passwords, **stamp.fields())


def begun(
    old: CredentialsRegistered | None, station_id: str, new: PasswordDigest, stamp: Stamp
) -> CredentialsRegistered:
    """Old and new are accepted, in this order. Raises Conflict if a change is under way already."""
    accepted = old.passwords if old is not None else ()
    if len(accepted) > 1:
        raise Conflict("an earlier change of the password is not settled: settle it, or set a password")
    return with_passwords(station_id, stamp, *accepted, new)


def settled(
    current: CredentialsRegistered | None, new: PasswordDigest, took: bool, stamp: Stamp
) -> CredentialsRegistered | None:
    """What a change ends in: only the new password, or all but it; `current` if it was overtaken meanwhile."""
    if current is None or new not in current.passwords:
        return current
    left = (new,) if took else tuple(each for each in current.passwords if each != new)
    if left == current.passwords:
        return current
    return with_passwords(current.station_id, stamp, *left) if left else None
