"""Chains that answer CSRs, and those that do not."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from libs.runtime.clock import now_us
from services.api.domain.certificates import checked_chain, subject_of
from services.api.domain.errors import Conflict, Invalid
from tests.unit.provisioning.authority import Authority, named

ROOT = Authority("root")
SUB = Authority("sub", ROOT)
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = now_us()


def csr(key: Any = KEY) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(named("CP-1"))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def pem(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


LEAF = SUB.issue("CP-1", KEY.public_key())


def test_a_chain_for_the_key_is_sent_as_plain_pem() -> None:
    whole = pem(LEAF, SUB.certificate, ROOT.certificate)
    assert checked_chain(f"Subject: CP-1\n{whole}\n\n", csr(), NOW, "/p") == whole
    assert checked_chain(pem(LEAF), csr(), NOW, "/p") == pem(LEAF)
    assert subject_of(csr()) == "CN=CP-1"
    assert subject_of("nonsense") is None


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        ("", "not a chain"),
        ("nonsense", "not a chain"),
        (pem(SUB.certificate, ROOT.certificate), "not for the key"),
        (pem(SUB.issue("CP-1"), SUB.certificate), "not for the key"),
        (pem(LEAF, ROOT.certificate), "not issued by"),
        (pem(LEAF, SUB.certificate, LEAF), "not issued by"),
    ],
)
def test_what_is_no_chain_for_the_key_is_refused(chain: str, problem: str) -> None:
    with pytest.raises(Invalid, match=problem) as refused:
        checked_chain(chain, csr(), NOW, "/p")
    assert refused.value.path == "/p"


@pytest.mark.parametrize("days", [-2, 40])
def test_a_chain_that_is_not_valid_now_is_refused(days: int) -> None:
    with pytest.raises(Invalid, match="not valid now"):
        checked_chain(pem(LEAF), csr(), NOW + days * 86_400_000_000, "/p")


def test_a_worthless_request_is_answered_by_no_chain() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    lines = csr().splitlines()
    forged = "\n".join([*lines[:-2], lines[-2][:-4] + "AAA=", lines[-1]])
    for request in ("nonsense", csr(weak), forged):
        with pytest.raises(Conflict):
            checked_chain(pem(LEAF), request, NOW, "/p")
