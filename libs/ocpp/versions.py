"""OCPP versions, their websocket subprotocols, and the station identity in a URL path."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from unicodedata import category
from urllib.parse import unquote_to_bytes

MAX_IDENTITY_LENGTH = 48
# Marks that show on the letter before, or nowhere, and letters that are blank.
_MARKS = frozenset({"Mn", "Me"})
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")


class Version(StrEnum):
    """An OCPP version; the value is the websocket subprotocol registered for it at IANA."""

    V16 = "ocpp1.6"
    V201 = "ocpp2.0.1"
    V21 = "ocpp2.1"

    @property
    def is_v2(self) -> bool:
        """Whether the version belongs to the 2.x family, whose messages share one shape."""
        return self is not Version.V16


_BY_SUBPROTOCOL = {str(version): version for version in Version}


def known_version(name: str) -> Version | None:
    """Return the version of a recorded subprotocol; ``None`` for one that only a newer release knows."""
    return _BY_SUBPROTOCOL.get(name)


def negotiate(offered: Iterable[str]) -> Version | None:
    """Return the first offered subprotocol that we speak, in the client's order of preference.

    ``None`` means that there is none in common; the handshake is then refused (OCPP-J 1.6 §3.2: the client
    lists its subprotocols in order of preference, RFC 6455 §4.2.2: exactly one is echoed).
    """
    for name in offered:
        version = _BY_SUBPROTOCOL.get(name.strip())
        if version is not None:
            return version
    return None


def station_identity(text: str) -> str:
    """Return the id of the station that is called ``text``: one rule for those who connect and those who register.

    Stations are the same without regard to case (OCPP: ``CiString``), so it is case-folded. Raises ``ValueError`` for
    one that is empty or, folded, longer than 48 characters, begins or ends with a space, is ``.`` or ``..``, or holds
    ``:`` (it would split the basic-auth user name), ``/``, or what does not show by itself: control characters, other
    white space, marks of direction and of no width, combining marks. Two ids that look alike could be mistaken.
    """
    identity = text.casefold()
    if not identity.strip():
        raise ValueError("a station identity is not empty")
    if max(len(text), len(identity)) > MAX_IDENTITY_LENGTH:
        raise ValueError(f"a station identity has at most {MAX_IDENTITY_LENGTH} characters, case-folded too")
    if identity != identity.strip() or identity in {".", ".."}:
        raise ValueError("a station identity does not begin or end with a space and is not '.' or '..'")
    if ":" in identity or "/" in identity:
        raise ValueError("a station identity holds neither ':' nor '/'")
    if not (text.isprintable() and identity.isprintable()) or any(map(_hides, identity)):
        raise ValueError(
            "a station identity holds nothing that does not show: no control or combining characters"
        )
    return identity


def station_id_from_path(path: str) -> str:
    """Return the `station_identity` that a request path ends in, percent-decoded.

    The query string, doubled and trailing slashes are tolerated (SETEC chargers add them). The path never
    selects the version. Raises ``ValueError`` for what is none, and for bytes that are not UTF-8.
    """
    raw = path.split("?", 1)[0].split("#", 1)[0].rstrip("/").rpartition("/")[2]
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeError as error:
        raise ValueError("station identity is not UTF-8") from error
    return station_identity(text)


def _hides(character: str) -> bool:
    return character in _BLANKS or category(character) in _MARKS
