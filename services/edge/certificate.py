"""`python -m services.edge.certificate`: make an edge's certificate where there is none, so that TLS works at once.

It is issued by an authority of its own, whose certificate is written beside it: chargers must be given that one. Real
networks bring a certificate that their chargers know already.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import Field

from libs.runtime.settings import Settings, read_settings

AUTHORITY: Final = "authority.pem"
_LASTS: Final = timedelta(days=3650)
_EARLIER: Final = timedelta(days=1)


class CertificateSettings(Settings):
    """Read from `VOLTBUS_<FIELD>`."""

    tls_certificate: Path = Field(description="Where the certificate is written, unless it is there.")
    tls_key: Path = Field(description="Where its key is written, unless it is there.")
    edge_names: str = Field(
        default="localhost",
        description="Names and addresses at which chargers reach the edge.",
    )


def make(certificate: Path, key: Path, names: list[str], now: datetime) -> bool:
    """Write certificate and key (PEM), and the authority's certificate beside them; False if one of them is there.

    The authority's own key is not kept: it issues nothing else.
    """
    if certificate.exists() or key.exists():
        return False
    above, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("Voltbus edge authority")
    authority = (
        _certificate(issuer, issuer, above.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(above, hashes.SHA256())
    )
    issued = (
        _certificate(_name(names[0]), issuer, own.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(above, hashes.SHA256())
    )
    folder = certificate.parent
    (folder / AUTHORITY).write_bytes(authority.public_bytes(Encoding.PEM))
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(issued.public_bytes(Encoding.PEM))
    return True


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LASTS)
    )


def main() -> int:
    """Make what is missing, and say what there is."""
    settings = read_settings(CertificateSettings)
    names = [name.strip() for name in settings.edge_names.split(",") if name.strip()]
    if not names:
        print("VOLTBUS_EDGE_NAMES names nothing", file=sys.stderr)
        return 2
    made = make(settings.tls_certificate, settings.tls_key, names, datetime.now(UTC))
    print(f"{'made' if made else 'kept'} {settings.tls_certificate}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
