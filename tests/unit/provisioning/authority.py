"""A certificate authority for tests: certificates, their hashes as OCPP has them, and OCSP responses."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from services.provisioning.domain.certificates.ocsp import key_bits

Key = ec.EllipticCurvePrivateKey


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """Issues certificates, and answers for them; `certificate` is its own.

    `responder`: the URL of who answers for that. `path_length`: how many authorities may be below it.
    """

    def __init__(
        self,
        name: str = "Test CA",
        issuer: Authority | None = None,
        *,
        responder: str | None = None,
        path_length: int | None = None,
        ca: bool = True,
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (issuer or self).sign(
            named(name),
            self.key.public_key(),
            issuer,
            ca=ca,
            path_length=path_length,
            responder=responder,
        )

    def sign(
        self,
        subject: x509.Name,
        key: Any,
        issuer: Authority | None,
        *,
        ca: bool = False,
        ocsp_for: bool = False,
        path_length: int | None = None,
        responder: str | None = None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        )
        if responder is not None:
            place = x509.UniformResourceIdentifier(responder)
            described = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
            builder = builder.add_extension(x509.AuthorityInformationAccess([described]), critical=False)
        if ocsp_for:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
            builder = builder.add_extension(usage, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(
        self, name: str, key: Any = None, *, ocsp_for: bool = False, responder: str | None = None
    ) -> x509.Certificate:
        public = key or ec.generate_private_key(ec.SECP256R1()).public_key()
        return self.sign(named(name), public, self, ocsp_for=ocsp_for, responder=responder)

    def hash_data(self, certificate: x509.Certificate, algorithm: str = "SHA256") -> dict[str, str]:
        """CertificateHashDataType of a certificate that this authority issued."""
        name = hashlib.new(algorithm.lower(), self.certificate.subject.public_bytes()).hexdigest()
        key = hashlib.new(algorithm.lower(), key_bits(self.certificate)).hexdigest()
        serial = f"{certificate.serial_number:x}"
        return {
            "hashAlgorithm": algorithm,
            "issuerNameHash": name,
            "issuerKeyHash": key,
            "serialNumber": serial,
        }

    def response(
        self,
        certificate: x509.Certificate,
        *,
        revoked: bool = False,
        signer: tuple[x509.Certificate, Key] | None = None,
        brings: list[x509.Certificate] | None = None,
        age: timedelta = timedelta(0),
        lasts: timedelta | None = timedelta(hours=1),
        algorithm: hashes.HashAlgorithm | None = None,
    ) -> bytes:
        """The DER of an OCSP response; by default signed by the authority itself, which it brings along."""
        begin = datetime.now(UTC) - age
        who, key = signer or (self.certificate, self.key)
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=certificate,
            issuer=self.certificate,
            algorithm=algorithm or hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=begin,
            next_update=None if lasts is None else begin + lasts,
            revocation_time=begin if revoked else None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, who)
        found = [self.certificate] if brings is None else brings
        if found:
            builder = builder.certificates(found)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
