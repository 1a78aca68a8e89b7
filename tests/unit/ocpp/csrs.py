"""Certificate requests of stations, right ones and worthless ones."""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

KEY: Final = ec.generate_private_key(ec.SECP256R1())


def csr_of(*names: str, organisation: str | None = None, key: Any = KEY) -> str:
    """A request (PEM) for these common names."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    if organisation is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _forged() -> str:
    lines = csr_of("cp1").splitlines()
    return "\n".join([*lines[:-2], lines[-2][:-4] + "AAA=", lines[-1]])


WORTHLESS: Final = {
    "empty": "",
    "nonsense": "nonsense",
    "a block that is none": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
    "surrogates": "\ud800",
    "signed with another key": _forged(),
    "short key": csr_of("cp1", key=rsa.generate_private_key(65537, 1024)),
    # A small one: the parameters of a large one take a second to find.
    "odd kind of key": csr_of("cp1", key=dsa.generate_private_key(1024)),
}
"""What no authority should sign, in the name of cp1."""
