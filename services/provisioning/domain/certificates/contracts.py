"""Contract certificates that a station could not validate itself (2.0.1 C07, central contract validation)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from libs.ocpp.certificates import is_sound_key, values_of
from libs.runtime.clock import SECOND
from services.provisioning.domain.certificates.ocsp import CertificateId, key_bits

LONGEST: Final = 5
"""Certificates in a chain: 15118 has a contract, two authorities below the root, and the root."""
_WITHOUT_CHECK_DIGIT: Final = 14


class ChainRefusedError(ValueError):
    """The chain authorises nothing. `status`: AuthorizeCertificateStatusEnumType."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


class Link(msgspec.Struct, frozen=True):
    """A certificate of a chain that leads to an authority, who issued it, and the responder that it names, if any."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    responder: str | None

    @property
    def id(self) -> CertificateId:
        """The certificate as responders are asked about it. Raises OcspUnusableError for an issuer's odd key."""
        return CertificateId(
            "SHA256",
            hashlib.sha256(self.issuer.subject.public_bytes()).digest(),
            hashlib.sha256(key_bits(self.issuer)).digest(),
            self.certificate.serial_number,
        )


def validated(pem: str, id_token: str, authorities: Sequence[x509.Certificate], now: int) -> tuple[Link, ...]:
    """The chain of `id_token`'s contract, from its certificate up to below an authority; `now` in microseconds.

    Each certificate is issued by the next, the last by one of `authorities`, all are valid now, all but the first may
    issue others, and the first bears the token's name. Raises ChainRefusedError. Whether any is revoked is another
    question.
    """
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ChainRefusedError("CertChainError", "not a chain of PEM certificates") from error
    if len(chain) > LONGEST:
        raise ChainRefusedError("CertChainError", f"more than {LONGEST} certificates")
    try:
        links = tuple(_links(chain, authorities))
        _check_contract(chain[0], id_token)
        for number, link in enumerate(links):
            _check_moment(link.certificate, now)
            _check_moment(link.issuer, now)
            _check_authority(link.issuer, below=number)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if isinstance(error, ChainRefusedError):
            raise
        raise ChainRefusedError("CertChainError", "a certificate that cannot be read") from error
    return links


def _links(chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]) -> list[Link]:
    links: list[Link] = []
    for number, certificate in enumerate(chain):
        if number and certificate in authorities:
            # What is trusted needs nobody to vouch for it.
            break
        above = chain[number + 1 : number + 2] or authorities
        links.append(Link(certificate, _issuer_of(certificate, above), _responder_of(certificate)))
    return links


def _issuer_of(certificate: x509.Certificate, candidates: Sequence[x509.Certificate]) -> x509.Certificate:
    named = [each for each in candidates if each.subject == certificate.issuer]
    if not named:
        raise ChainRefusedError("CertChainError", "it does not lead to a trusted authority")
    for issuer in named:
        if not is_sound_key(issuer.public_key()):
            continue
        try:
            certificate.verify_directly_issued_by(issuer)
        except InvalidSignature:
            continue
        return issuer
    raise ChainRefusedError("SignatureError", "a certificate is not signed by its issuer")


def _check_contract(certificate: x509.Certificate, id_token: str) -> None:
    names = values_of(certificate.subject, NameOID.COMMON_NAME)
    if len(names) != 1 or not _same_contract(names[0], id_token):
        raise ChainRefusedError("NoCertificateAvailable", "the certificate is another contract's")
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise ChainRefusedError("CertChainError", "the first certificate is an authority's")
    except x509.ExtensionNotFound:
        pass


def _same_contract(name: str, id_token: str) -> bool:
    """Whether two eMAIDs are one: neither case nor separators count, and the check digit may be left out."""
    one, other = (text.replace("-", "").casefold() for text in (name, id_token))
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) == _WITHOUT_CHECK_DIGIT == len(longer) - 1 and longer.startswith(shorter)


def _check_moment(certificate: x509.Certificate, now: int) -> None:
    moment = now / SECOND
    if moment > certificate.not_valid_after_utc.timestamp():
        raise ChainRefusedError("CertificateExpired", "a certificate has expired")
    if moment < certificate.not_valid_before_utc.timestamp():
        raise ChainRefusedError("CertChainError", "a certificate is not valid yet")


def _check_authority(certificate: x509.Certificate, below: int) -> None:
    """`below`: how many authorities are between it and the contract."""
    try:
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        limits = x509.BasicConstraints(ca=False, path_length=None)
    if not limits.ca or (limits.path_length is not None and below > limits.path_length):
        raise ChainRefusedError("CertChainError", "a certificate's issuer may not issue it")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise ChainRefusedError("CertChainError", "a certificate's issuer may not issue any")


def _responder_of(certificate: x509.Certificate) -> str | None:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return None
    for each in access:
        if each.access_method == AuthorityInformationAccessOID.OCSP:
            location = each.access_location
            return location.value if isinstance(location, x509.UniformResourceIdentifier) else None
    return None
