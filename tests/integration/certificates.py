"""A certificate authority of charging stations, for tests: everything in files, as operators have it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OPERATOR = "Voltbus Test"
HOST = IPv4Address("127.0.0.1")


def _name(common: str, organisation: str = OPERATOR) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
        ]
    )


class Issued:
    """A certificate and its key, in files."""

    def __init__(
        self, folder: Path, stem: str, certificate: x509.Certificate, key: bytes, brings: bytes = b""
    ) -> None:
        self.x509 = certificate
        self.certificate = folder / f"{stem}.pem"
        self.key = folder / f"{stem}.key"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + brings)
        self.key.write_bytes(key)

    @property
    def serial(self) -> int:
        return self.x509.serial_number


class Authority:
    """Issues certificates into `folder`; `ca`: its own, `crl`: its revocation list.

    Below an `above` it is an intermediate one, and what it issues brings its own certificate along.
    """

    def __init__(self, folder: Path, name: str = "Authority", above: Authority | None = None) -> None:
        self._folder = folder
        self._name = _name(name)
        self._stem = name.lower().replace(" ", "-")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issued = 0
        self._revoked: list[int] = []
        now = datetime.now(UTC)
        own = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name((above or self)._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign((above or self)._key, hashes.SHA256())
        )
        self.serial = own.serial_number
        self._brings = b"" if above is None else own.public_bytes(serialization.Encoding.PEM)
        self.ca = folder / f"{self._stem}-ca.pem"
        self.ca.write_bytes(own.public_bytes(serialization.Encoding.PEM))
        self.crl = folder / f"{self._stem}.crl"
        self.revoke()

    def issue(
        self,
        common: str,
        organisation: str = OPERATOR,
        *,
        server: bool = False,
        expired: bool = False,
        by_rsa: bool = False,
    ) -> Issued:
        """A certificate for a station, or for a server on HOST; `by_rsa`: its key is RSA's."""
        key = rsa.generate_private_key(65537, 2048) if by_rsa else ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common, organisation))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=-1 if expired else 10))
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if server:
            names = x509.SubjectAlternativeName([x509.IPAddress(HOST)])
            builder = builder.add_extension(names, critical=False)
        self._issued += 1
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        stem = f"{self._stem}-{self._issued}"
        return Issued(self._folder, stem, builder.sign(self._key, hashes.SHA256()), secret, self._brings)

    def revoke(self, *serials: int) -> None:
        """Write the revocation list, with these added; at once, as a careful operator does."""
        self._revoked.extend(serials)
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - timedelta(hours=1))
            .next_update(now + timedelta(days=7))
        )
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(entry)
        fresh = self.crl.with_suffix(".new")
        fresh.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        fresh.replace(self.crl)


def client_context(ca: Path, station: Issued | None = None) -> ssl.SSLContext:
    """What a station connects with: it trusts `ca`, and shows its certificate if it has one."""
    context = ssl.create_default_context(cafile=str(ca))
    if station is not None:
        context.load_cert_chain(station.certificate, station.key)
    return context
