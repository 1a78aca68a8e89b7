"""Whether a certificate chain answers a charger's CSR."""

from __future__ import annotations

from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.api.domain.errors import Conflict, Invalid

_LEAST_RSA_BITS = 2048
_LEAST_EC_BITS = 224


def subject_of(csr: str) -> str | None:
    """Whom a CSR (PEM) is for, as RFC 4514 writes it; None if it cannot be read."""
    try:
        return x509.load_pem_x509_csr(csr.encode()).subject.rfc4514_string()
    except (ValueError, UnsupportedAlgorithm):
        return None


def checked_chain(chain: str, csr: str, now: int, path: str) -> str:
    """The chain (PEM, the charger's own certificate first) as it is to be sent; `now` in microseconds.

    Raises Conflict if the CSR is worth nothing, Invalid at `path` for what is no chain, is not valid now, or is for
    another key.
    """
    request = _request(csr)
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("not a chain of PEM certificates", path) from error
    if _key(certificates[0]) != _key(request):
        raise Invalid("the first certificate is not for the key of the CSR", path)
    for certificate, issuer in pairwise(certificates):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            name = certificate.subject.rfc4514_string()
            raise Invalid(f"{name!r} is not issued by the certificate that follows it", path) from error
    for certificate in certificates:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begin.timestamp() <= now / 1_000_000 <= end.timestamp():
            raise Invalid(f"{certificate.subject.rfc4514_string()!r} is not valid now", path)
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def _request(csr: str) -> x509.CertificateSigningRequest:
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key, signed = request.public_key(), request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Conflict("the charger's CSR cannot be read") from error
    if not signed:
        raise Conflict("the charger's CSR is not signed with its own key")
    # 2.0.1 A00.FR.509 and A00.FR.510
    weak = (isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < _LEAST_EC_BITS
    )
    if weak:
        raise Conflict("the charger's key is too short")
    return request


def _key(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
