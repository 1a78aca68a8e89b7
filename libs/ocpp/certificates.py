"""What names a certificate in OCPP, and whom a certificate of a station may name."""

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

_LENGTHS: Final = {
    "hashAlgorithm": 20,
    "issuerNameHash": 128,
    "issuerKeyHash": 128,
    "serialNumber": 40,
}
"""CertificateHashDataType of 2.1."""

SIGNED_USES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "station": "ChargingStationCertificate",
        "v2g": "V2GCertificate",
        "v2g20": "V2G20Certificate",
    }
)
"""OCPP's certificateType of what stations ask to have signed, by the platform's own word; the last in 2.1 only."""

_FOR_VEHICLES: Final = frozenset({"V2GCertificate", "V2G20Certificate"})
_LEAST_RSA_BITS: Final = 2048
_LEAST_EC_BITS: Final = 224
_MOST_RSA_BITS: Final = 8192
_MOST_EXPONENT_BITS: Final = 64
"""With larger ones a signature takes many times as long to check."""


class CsrUnusableError(ValueError):
    """A certificate request that nobody should sign; the message says why."""


class Owner(msgspec.Struct, frozen=True):
    """The station that a certificate is for.

    `name`: what its own certificate has to be called. `operator`: the organisation that it has to name, "" for any.
    `others`: case-folded names that other stations go by.
    """

    station_id: str
    name: str
    operator: str = ""
    others: Container[str] = frozenset()


def hash_data(asked: Mapping[str, Any]) -> dict[str, str]:
    """What names a certificate, cut to what an answer may hold: a question may be longer (`too_long`)."""
    return {name: asked[name][:length] for name, length in _LENGTHS.items()}


def read_csr(csr: str) -> x509.CertificateSigningRequest:
    """A PKCS#10 request (PEM) that is signed with its own key, which is neither weak nor costly.

    Raises CsrUnusableError.
    """
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CsrUnusableError("the CSR cannot be read") from error
    if not is_sound_key(key):
        raise CsrUnusableError("the CSR's key is too short, or of an odd kind")
    try:
        signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CsrUnusableError("the CSR's signature cannot be checked") from error
    if not signed:
        raise CsrUnusableError("the CSR is not signed with its own key")
    return request


def is_sound_key(key: object) -> bool:
    """Whether a public key is long enough (2.0.1 A00.FR.509, A00.FR.510), and no more work than others."""
    if isinstance(key, rsa.RSAPublicKey):
        small = key.public_numbers().e.bit_length() <= _MOST_EXPONENT_BITS
        return small and _LEAST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.key_size >= _LEAST_EC_BITS
    return isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)


def foreign(subject: x509.Name, use: str | None, owner: Owner) -> str | None:
    """Why a certificate for this subject must not be the station's; None if it may. `use`: OCPP's certificateType.

    What is shown to vehicles has a name of its own (2.0.1 `ISO15118Ctrlr.SeccId`), which is any but another station's.
    """
    names = values_of(subject, NameOID.COMMON_NAME)
    if use in _FOR_VEHICLES:
        own = {owner.station_id.casefold(), owner.name.casefold()}
        if len(names) != 1:
            return "it has no common name, or several"
        folded = names[0].casefold()
        return (
            "its common name is not the station's to bear"
            if folded not in own and folded in owner.others
            else None
        )
    if not is_named(names, (), owner.name, ""):
        return f"its common name is not {owner.name!r}, as the station's"
    if not is_named(names, values_of(subject, NameOID.ORGANIZATION_NAME), owner.name, owner.operator):
        return f"its organisation is not {owner.operator!r}"
    return None


def is_named(names: Sequence[str], organisations: Sequence[str], name: str, operator: str) -> bool:
    """Whether CN is the station's name, and O the operator, "" for any (security whitepaper A00.FR.406, .407)."""
    if len(names) != 1 or names[0].casefold() != name.casefold():
        return False
    return not operator or tuple(organisations) == (operator,)


def values_of(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    """All values of one kind in a subject."""
    return tuple(str(attribute.value) for attribute in name.get_attributes_for_oid(oid))
