"""OCSP (RFC 6960) in OCPP's terms: requests by certificate hashes, and what a response proves. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from libs.runtime.clock import micros

MINUTE_US: Final = 60_000_000
_SKEW_US: Final = 5 * MINUTE_US
_ALGORITHMS: Final[Mapping[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}

Status = Literal["good", "revoked", "unknown"]


class OcspUnusableError(ValueError):
    """The hashes are none, or the response says nothing about the certificate that can be relied on."""


class CertificateId(msgspec.Struct, frozen=True):
    """A certificate by its issuer's hashes (`algorithm`: SHA256, SHA384 or SHA512) and its serial number."""

    algorithm: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int


class Finding(msgspec.Struct, frozen=True):
    """What a response says of one certificate; moments in microseconds.

    `proof`: "authority" if it is signed on behalf of an issuer that the operator trusts, "issuer" if on behalf of the
    one that the hashes name, None if that cannot be told from what the response brings along.
    """

    status: Status
    proof: Literal["authority", "issuer"] | None
    this_update: int
    next_update: int | None


def certificate_id(data: Mapping[str, Any]) -> CertificateId:
    """The certificate that OCPP hash data names. Raises OcspUnusableError for what are no hashes."""
    algorithm = str(data["hashAlgorithm"])
    try:
        name, key = bytes.fromhex(data["issuerNameHash"]), bytes.fromhex(data["issuerKeyHash"])
        serial_number = int(data["serialNumber"], 16)
        size = _ALGORITHMS[algorithm].digest_size
    except (ValueError, KeyError) as error:
        raise OcspUnusableError("the certificate's hashes are not hexadecimal") from error
    if len(name) != size or len(key) != size or serial_number <= 0:
        raise OcspUnusableError(f"the certificate's hashes are not of {algorithm}")
    return CertificateId(algorithm, name, key, serial_number)


def request_for(wanted: CertificateId) -> bytes:
    """The DER of an OCSP request about one certificate; without nonce, so that responders may answer from a cache."""
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        wanted.issuer_name_hash,
        wanted.issuer_key_hash,
        wanted.serial_number,
        _ALGORITHMS[wanted.algorithm],
    )
    return builder.build().public_bytes(Encoding.DER)


def read_response(
    der: bytes, wanted: CertificateId, authorities: Sequence[x509.Certificate], now: int
) -> Finding:
    """What a response says of a certificate at `now` (microseconds).

    Raises OcspUnusableError for what is no response, is not about it, is out of date, or is signed by somebody else.
    """
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise OcspUnusableError(f"the responder says {response.response_status.name}")
        single = next((each for each in response.responses if _is_about(each, wanted)), None)
        if single is None:
            raise OcspUnusableError("the response is about another certificate")
        this_update = micros(single.this_update_utc)
        next_update = None if single.next_update_utc is None else micros(single.next_update_utc)
        status = _STATUS[single.certificate_status]
        proof = _proof(response, wanted, authorities, now)
    except OcspUnusableError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise OcspUnusableError("what came is no OCSP response") from error
    if this_update > now + _SKEW_US or (next_update is not None and next_update < now - _SKEW_US):
        raise OcspUnusableError("the response is out of date")
    return Finding(status, proof, this_update, next_update)


_STATUS: Final[Mapping[ocsp.OCSPCertStatus, Status]] = {
    ocsp.OCSPCertStatus.GOOD: "good",
    ocsp.OCSPCertStatus.REVOKED: "revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "unknown",
}


def _is_about(single: ocsp.OCSPSingleResponse, wanted: CertificateId) -> bool:
    return (single.issuer_name_hash, single.issuer_key_hash, single.serial_number) == (
        wanted.issuer_name_hash,
        wanted.issuer_key_hash,
        wanted.serial_number,
    )


def _proof(
    response: ocsp.OCSPResponse, wanted: CertificateId, authorities: Sequence[x509.Certificate], now: int
) -> Literal["authority", "issuer"] | None:
    """On whose behalf the response is signed. Raises OcspUnusableError if a signature that can be checked is wrong."""
    trusted = [each for each in authorities if _is_issuer(each, wanted)]
    named = [each for each in response.certificates if _is_issuer(each, wanted)]
    checkable = False
    for issuers, proof in ((trusted, "authority"), (named, "issuer")):
        for signer in _signers(issuers, response.certificates, now):
            checkable = True
            if _has_signed(signer, response):
                return proof  # type: ignore[return-value]
    if checkable:
        raise OcspUnusableError("the response's signature is wrong")
    return None


def _signers(
    issuers: Iterable[x509.Certificate], brought: Sequence[x509.Certificate], now: int
) -> Iterator[x509.Certificate]:
    """The issuers, and responders that they authorised to sign for them (RFC 6960 §4.2.2.2)."""
    for issuer in issuers:
        yield issuer
        for each in brought:
            if each != issuer and _is_valid(each, now) and _signs_ocsp(each) and _issued(issuer, each):
                yield each


def _is_issuer(certificate: x509.Certificate, wanted: CertificateId) -> bool:
    digest = hashlib.new(wanted.algorithm.lower())
    digest.update(certificate.subject.public_bytes())
    if digest.digest() != wanted.issuer_name_hash:
        return False
    digest = hashlib.new(wanted.algorithm.lower())
    digest.update(key_bits(certificate))
    return digest.digest() == wanted.issuer_key_hash


def key_bits(certificate: x509.Certificate) -> bytes:
    """The public key as RFC 6960 hashes it: the bit string without tag and length."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    raise OcspUnusableError("the issuer's key is of an unknown kind")


def _has_signed(certificate: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    key, signature, content = certificate.public_key(), response.signature, response.tbs_response_bytes
    algorithm = response.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, content, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, content, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, content)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signs_ocsp(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _is_valid(certificate: x509.Certificate, now: int) -> bool:
    begin, end = micros(certificate.not_valid_before_utc), micros(certificate.not_valid_after_utc)
    return begin <= now <= end
