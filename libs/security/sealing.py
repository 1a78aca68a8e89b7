"""Secrets that travel through logs which many may read."""

import hmac
from base64 import b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PREFIX: Final = "sealed:1:"
_NONCE_BYTES: Final = 12


class Sealer:
    """Seals texts with AES-256-GCM, for those who have the same `key`, and for one `purpose` each.

    The same text for the same purpose always looks the same, so that repeating a request is no new one.
    """

    def __init__(self, key: str) -> None:
        self._cipher = AESGCM(sha256(b"voltbus sealing\0" + key.encode()).digest())
        self._nonce_key = sha256(b"voltbus nonce\0" + key.encode()).digest()

    def seal(self, text: str, purpose: str) -> str:
        """`text` sealed: ASCII, about a third longer and 50 characters more."""
        # A nonce that depends on all that is sealed is never used for anything else.
        told = f"{len(purpose)}:{purpose}{text}".encode()
        nonce = hmac.digest(self._nonce_key, told, "sha256")[:_NONCE_BYTES]
        sealed = self._cipher.encrypt(nonce, text.encode(), purpose.encode())
        return _PREFIX + urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """The text. Raises ValueError if it was sealed with another key or for another purpose, or was changed."""
        raw = b64decode(sealed.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        try:
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode()).decode()
        except InvalidTag:
            raise ValueError("sealed with another key, or for something else") from None


def is_sealed(text: str) -> bool:
    """Whether the text looks like a sealed one."""
    return text.startswith(_PREFIX)
