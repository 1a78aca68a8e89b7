"""What names a certificate in OCPP."""

from collections.abc import Mapping
from typing import Any, Final

_LENGTHS: Final = {
    "hashAlgorithm": 20,
    "issuerNameHash": 128,
    "issuerKeyHash": 128,
    "serialNumber": 40,
}
"""CertificateHashDataType of 2.1."""


def hash_data(asked: Mapping[str, Any]) -> dict[str, str]:
    """What names a certificate, cut to what an answer may hold: a question may be longer (`too_long`)."""
    return {name: asked[name][:length] for name, length in _LENGTHS.items()}
