"""Certificate requests of stations, right ones and worthless ones."""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

DSA_KEY: Final = """\
-----BEGIN PRIVATE KEY-----
MIICXgIBADCCAjYGByqGSM44BAEwggIpAoIBAQDdvIfJCtyt94ab0YexFK5Fnhlf
jpDh9qog1QiPEnSZJhARpkDfjBJ3RGh9zQXw+2qTlcE0idXIAIFEPzXqtU5HELy7
bnwlL3TS/yUfpDWtMHyD+NmGFB5+YptJ9zu/vMlOhL31lDuhRt10SpKSaSUpwhGh
tkemYUDsXLEXmC68v9jvr+QQTI3EpeYDAOXT76vxpnPKzzE0qsZgpVqknc88fUST
LQedKYhFFcBV3TeHiHY8dBqkBjvPuiXHtnoWAzV9sP4wzTGmLtv1iE6/QgJLG82k
JhPBy1r/16/pg0Y0MgEm2WFXwWnA9vgC1enRdudh3GeTbY3zLlyJzmZRYcCpAh0A
1zCYaYUKKwtFegfXODzICK/oIlKt9mjBhJBj1wKCAQEAh7VSPMmYd5rT/S6BTx8j
AltMcemH8z9AF5gVyTNlWa4QAxVxl2RtmIAg3SdBMzWVkya7TmntFROOKh6k1Gx1
RhF+lhHr60l+LNH0PGYBirHCPuFKMkEvaFwRK5nSFTQG7iqlSFJ2CW9zYEzSJvmz
+n9pqJeq7OnJCj9Vf7pXjdDXAMJ12vDbaa2XCDRJpMIc727dp9KXqc5KYyl5W5Fs
CWWGd3Y4dxVnYNeQgh3YtnnOUjOFHLyg0pTXoRqsMfzM+tGAtqrBYyGDsjsKcyU3
NcETWrCywryTp3KBFWdkGA58Xk9UZKjaSAanFevqY1YlQPROMVrsNqkFOcKUM9AQ
iAQfAh0Atqm63lRBKQQA5nV0kNLQ371ZTw+9l/dsCFDSOw==
-----END PRIVATE KEY-----
"""
"""Of 2048 bits: nothing is wrong with it but its kind. To find one takes a second."""

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
    "odd kind of key": csr_of("cp1", key=load_pem_private_key(DSA_KEY.encode(), None)),
}
"""What no authority should sign, in the name of cp1."""
