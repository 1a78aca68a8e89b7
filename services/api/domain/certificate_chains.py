"""Whether a certificate chain answers a charger's CSR."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.ocpp.certificates import SIGNED_USES, CsrUnusableError, Owner, foreign, read_csr
from libs.runtime.clock import SECOND
from services.api.domain.errors import Conflict, Invalid

SIGNED: Final = "CertificateSigned"


def subject_of(csr: str) -> str | None:
    """Whom a CSR (PEM) is for, as RFC 4514 writes it; None if it cannot be read."""
    try:
        return x509.load_pem_x509_csr(csr.encode()).subject.rfc4514_string()
    except (ValueError, UnsupportedAlgorithm):
        return None


def flaw_of(csr: str, use: str, owner: Owner) -> str | None:
    """Why nobody should sign a CSR that the station sent; None if nothing speaks against it."""
    try:
        return foreign(read_csr(csr).subject, use, owner)
    except CsrUnusableError as error:
        return str(error)


def checked_answer(chain: str, csr: str, use: str, owner: Owner, *, now: int, path: str) -> str:
    """The chain that answers a CSR, as it is to be sent; `now` in microseconds.

    Raises Conflict if the CSR is worth nothing, Invalid as `checked_chain` does, and for a chain for another key.
    """
    try:
        request = read_csr(csr)
    except CsrUnusableError as error:
        raise Conflict(str(error)) from error
    certificates = checked_chain(chain, use, owner, path)
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
        if not begin.timestamp() <= now / SECOND <= end.timestamp():
            raise Invalid(f"{certificate.subject.rfc4514_string()!r} is not valid now", path)
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def checked_chain(chain: str, use: str | None, owner: Owner, path: str) -> list[x509.Certificate]:
    """The certificates of a chain (PEM, the charger's own first) that the charger may have.

    Raises Invalid at `path` for what is no chain, or is in another's name.
    """
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("not a chain of PEM certificates", path) from error
    if (flaw := foreign(certificates[0].subject, use, owner)) is not None:
        raise Invalid(f"the first certificate must not be the charger's: {flaw}", path)
    return certificates


def check_signed(payload: Mapping[str, Any], owner: Owner) -> None:
    """Raise Invalid if the chain of a SIGNED, of OCPP's or a version-free one, is not for the station to have."""
    for name in ("certificateChain", "certificate_chain"):
        if isinstance(chain := payload.get(name), str):
            use = payload.get("certificateType") or SIGNED_USES.get(str(payload.get("use")))
            checked_chain(chain, use, owner, f"/payload/{name}")


def _key(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
