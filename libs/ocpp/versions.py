"""OCPP versions, their websocket subprotocols, and the station identity in a URL path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import unquote_to_bytes

MAX_IDENTITY_LENGTH = 48
_FORBIDDEN_IN_IDENTITY = re.compile(r"[:\x00-\x1f\x7f-\x9f]")


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


def station_id_from_path(path: str) -> str:
    """Return the station identity that a request path ends in, percent-decoded and as sent.

    The query string, doubled and trailing slashes are tolerated (SETEC chargers add them). The path never
    selects the version. Raises ``ValueError`` for an empty identity, one longer than 48 characters, one that
    holds ``:`` (it would split the basic-auth user name) or a control character, and for bytes that are not
    UTF-8. A percent-encoded slash is part of the identity, not a separator.
    """
    raw = path.split("?", 1)[0].split("#", 1)[0].rstrip("/").rpartition("/")[2]
    try:
        identity = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeError as error:
        raise ValueError("station identity is not UTF-8") from error
    if not identity.strip():
        raise ValueError("no station identity in the path")
    if len(identity) > MAX_IDENTITY_LENGTH:
        raise ValueError(f"station identity is longer than {MAX_IDENTITY_LENGTH} characters")
    if _FORBIDDEN_IN_IDENTITY.search(identity):
        raise ValueError("station identity holds ':' or a control character")
    return identity
