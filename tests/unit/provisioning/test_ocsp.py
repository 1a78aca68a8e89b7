"""What an OCSP response proves."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from libs.runtime.clock import now_us
from services.provisioning.certificates import contract_status
from services.provisioning.domain.certificates.ocsp import (
    CertificateId,
    Finding,
    OcspUnusableError,
    certificate_id,
    read_response,
    request_for,
)
from tests.unit.provisioning.authority import Authority

NOW = now_us()
CA = Authority()
LEAF = CA.issue("leaf")
WANTED = certificate_id(CA.hash_data(LEAF))


def read(der: bytes, *authorities: Authority, wanted: CertificateId = WANTED) -> Finding:
    return read_response(der, wanted, [each.certificate for each in authorities], now_us())


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_a_request_asks_for_the_certificate_by_its_hashes(algorithm: str) -> None:
    data = CA.hash_data(LEAF, algorithm)
    request = ocsp.load_der_ocsp_request(request_for(certificate_id(data)))
    assert request.serial_number == LEAF.serial_number
    assert request.issuer_key_hash.hex() == data["issuerKeyHash"]
    assert request.issuer_name_hash.hex() == data["issuerNameHash"]
    assert request.hash_algorithm.name == algorithm.lower()


@pytest.mark.parametrize(
    "change",
    [
        {"hashAlgorithm": "SHA1"},
        {"hashAlgorithm": "SHA512"},
        {"issuerNameHash": "00"},
        {"issuerKeyHash": "no hex"},
        {"serialNumber": ""},
        {"serialNumber": "0"},
        {"serialNumber": "-1"},
        {"serialNumber": "xyz"},
    ],
)
def test_hashes_that_are_none_are_not_asked_about(change: dict[str, Any]) -> None:
    with pytest.raises(OcspUnusableError):
        certificate_id(CA.hash_data(LEAF) | change)


def test_the_issuers_own_word_counts_and_an_authority_s_counts_more() -> None:
    good, revoked = CA.response(LEAF), CA.response(LEAF, revoked=True)
    assert (read(good).status, read(good).proof) == ("good", "issuer")
    assert (read(good, CA).status, read(good, CA).proof) == ("good", "authority")
    assert read(revoked, Authority("other"), CA).status == "revoked"
    without = CA.response(LEAF, brings=[])
    assert read(without).proof is None
    assert read(without, CA).proof == "authority"
    algorithm = CA.response(LEAF, algorithm=hashes.SHA512())
    assert read(algorithm, CA, wanted=certificate_id(CA.hash_data(LEAF, "SHA512"))).status == "good"


def test_a_responder_needs_the_issuer_s_leave() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    responder = CA.issue("responder", key.public_key(), ocsp_for=True)
    plain = CA.issue("no responder", key.public_key())
    stranger = Authority("stranger").issue("responder", key.public_key(), ocsp_for=True)
    by_responder = CA.response(LEAF, signer=(responder, key), brings=[responder])
    assert read(by_responder, CA).proof == "authority"
    assert read(by_responder).proof is None
    assert (
        read(CA.response(LEAF, signer=(responder, key), brings=[responder, CA.certificate])).proof == "issuer"
    )
    for other in (plain, stranger):
        forged = CA.response(LEAF, signer=(other, key), brings=[other, CA.certificate])
        with pytest.raises(OcspUnusableError, match="signature"):
            read(forged, CA)
        with pytest.raises(OcspUnusableError, match="signature"):
            read(forged)


def test_a_forged_signature_proves_nothing() -> None:
    mallory = Authority()  # of the same name, with another key
    forged = CA.response(LEAF, signer=(mallory.certificate, mallory.key), brings=[mallory.certificate])
    with pytest.raises(OcspUnusableError, match="signature"):
        read(forged, CA)
    assert read(forged).proof is None


def test_what_is_about_something_else_or_out_of_date_or_no_response_is_unusable() -> None:
    other = CA.issue("other")
    with pytest.raises(OcspUnusableError, match="another certificate"):
        read(CA.response(other))
    for der in (
        CA.response(LEAF, age=timedelta(hours=3)),
        CA.response(LEAF, age=-timedelta(hours=1)),
    ):
        with pytest.raises(OcspUnusableError, match="out of date"):
            read(der)
    assert read(CA.response(LEAF, age=timedelta(days=9), lasts=None)).next_update is None
    busy = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    with pytest.raises(OcspUnusableError, match="TRY_LATER"):
        read(busy.public_bytes(Encoding.DER))
    for noise in (b"", b"\x30\x00", b"<html>", CA.response(LEAF)[:-20]):
        with pytest.raises(OcspUnusableError):
            read(noise)


def test_a_contract_is_as_good_as_the_worst_of_its_chain() -> None:
    good = Finding("good", "authority", NOW, None)
    said = Finding("good", "issuer", NOW, None)
    bad, unknown = Finding("revoked", None, NOW, None), Finding("unknown", "authority", NOW, None)
    assert contract_status([good, good]) == "Accepted"
    assert contract_status([good, said]) == "CertChainError"
    assert contract_status([good, None]) == "NoCertificateAvailable"
    assert contract_status([unknown, good]) == "NoCertificateAvailable"
    assert contract_status([None, bad]) == "CertificateRevoked"
