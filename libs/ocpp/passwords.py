"""Basic-auth passwords of stations: how they are kept, and the two ways in which stations send them.

1.6 configures a password of 16 to 20 bytes, possibly binary, as up to 40 hex digits; some stations then send those
bytes, others the digits (security whitepaper A00.FR.204 to 206). 2.x has 16 to 40 characters (A00.FR.304).
"""

import hmac
from typing import Any, Final

from libs.ocpp.secrets import PASSWORD_KEY, PASSWORD_VARIABLE
from libs.ocpp.versions import Version

MIN_BYTES: Final = 16
MAX_BYTES: Final = 40
MAX_BYTES_16: Final = 20
"""What fits into the 40 hex digits of 1.6's AuthorizationKey."""

SALT_BYTES: Final = 16


def password_digest(salt: str, password: bytes) -> str:
    """HMAC-SHA-256 of the password under the salt (hex digits), as 64 hex digits. Raises ValueError for another salt.

    Passwords are keys of machines, long and random; a slow hash would buy little, and cost thousands of seconds when
    all stations come back at once.
    """
    return hmac.digest(bytes.fromhex(salt), password, "sha256").hex()


def readings(sent: bytes) -> tuple[bytes, bytes]:
    """The passwords that a station may mean by what it sent: the very bytes, or those that it wrote as hex digits.

    Always two, so that comparing them costs the same whatever was sent.
    """
    try:
        return sent, bytes.fromhex(sent.decode("ascii"))
    except ValueError:
        return sent, sent


def password_command(version: Version, password: bytes) -> tuple[str, dict[str, Any]]:
    """Action and payload that give a station its new password (whitepaper A01, 2.x A01).

    Raises ValueError if the version has no way to write this one.
    """
    if not version.is_v2:
        if len(password) > MAX_BYTES_16:
            raise ValueError(
                f"a password of OCPP 1.6 has at most {MAX_BYTES_16} bytes, {2 * MAX_BYTES_16} hex digits"
            )
        return "ChangeConfiguration", {"key": PASSWORD_KEY, "value": password.hex().upper()}
    component, variable = PASSWORD_VARIABLE
    try:
        text = password.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("a password of OCPP 2.x is text, not any bytes") from None
    item = {"component": {"name": component}, "variable": {"name": variable}, "attributeValue": text}
    return "SetVariables", {"setVariableData": [item]}
