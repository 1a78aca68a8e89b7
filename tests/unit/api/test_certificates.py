"""Chains that answer CSRs, and those that do not."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from libs.ocpp.certificates import Owner
from libs.runtime.clock import now_us
from services.api.domain.certificate_chains import check_signed, checked_answer, flaw_of, subject_of
from services.api.domain.errors import Conflict, Invalid
from tests.unit.ocpp.csrs import KEY, WORTHLESS, csr_of
from tests.unit.provisioning.authority import Authority

ROOT = Authority("root")
SUB = Authority("sub", ROOT)
NOW = now_us()
STATION = "ChargingStationCertificate"
VEHICLES = "V2GCertificate"
OWNER = Owner("cp-1", "CP-1", others={"cp-1", "cp-2"})


def pem(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def checked(
    chain: str, csr: str | None = None, use: str = STATION, owner: Owner = OWNER, now: int = NOW
) -> str:
    return checked_answer(chain, csr_of("cp-1") if csr is None else csr, use, owner, now=now, path="/p")


LEAF = SUB.issue("CP-1", KEY.public_key())
THEIRS = SUB.issue("CP-2", KEY.public_key())


def test_a_chain_for_the_key_is_sent_as_plain_pem() -> None:
    whole = pem(LEAF, SUB.certificate, ROOT.certificate)
    assert checked(f"Subject: CP-1\n{whole}\n\n") == whole
    assert checked(pem(LEAF)) == pem(LEAF)
    assert subject_of(csr_of("CP-1")) == "CN=CP-1"
    assert subject_of("nonsense") is None


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        ("", "not a chain"),
        ("nonsense", "not a chain"),
        (pem(SUB.certificate, ROOT.certificate), "common name is not 'CP-1'"),
        (pem(SUB.issue("CP-1"), SUB.certificate), "not for the key"),
        (pem(LEAF, ROOT.certificate), "not issued by"),
        (pem(LEAF, SUB.certificate, LEAF), "not issued by"),
    ],
)
def test_what_is_no_chain_for_the_key_is_refused(chain: str, problem: str) -> None:
    with pytest.raises(Invalid, match=problem) as refused:
        checked(chain)
    assert refused.value.path == "/p"


@pytest.mark.parametrize("days", [-2, 40])
def test_a_chain_that_is_not_valid_now_is_refused(days: int) -> None:
    with pytest.raises(Invalid, match="not valid now"):
        checked(pem(LEAF), now=NOW + days * 86_400_000_000)


def test_a_worthless_request_is_answered_by_no_chain() -> None:
    for kind, request in WORTHLESS.items():
        with pytest.raises(Conflict):
            checked(pem(LEAF), request)
        assert flaw_of(request, STATION, OWNER), kind


def test_a_chain_in_anothers_name_is_refused_even_for_the_key_of_the_csr() -> None:
    for csr in (csr_of("cp-1"), csr_of("cp-2")):
        for use in (STATION, VEHICLES):
            with pytest.raises(Invalid, match="common name") as refused:
                checked(pem(THEIRS), csr, use)
            assert refused.value.path == "/p"
    assert flaw_of(csr_of("cp-1"), STATION, OWNER) is None
    assert "common name" in (flaw_of(csr_of("cp-2"), STATION, OWNER) or "")


def test_a_chain_of_another_operator_is_refused() -> None:
    ours = Owner("cp-1", "CP-1", operator="Us")
    with pytest.raises(Invalid, match="organisation"):
        checked(pem(LEAF), owner=ours)
    assert "organisation" in (flaw_of(csr_of("cp-1", organisation="Them"), STATION, ours) or "")
    assert flaw_of(csr_of("cp-1", organisation="Us"), STATION, ours) is None


def test_what_vehicles_are_shown_bears_its_own_name() -> None:
    """2.0.1 `ISO15118Ctrlr.SeccId`."""
    secc = SUB.issue("DEABCS0001", KEY.public_key())
    assert checked(pem(secc), csr_of("DEABCS0001"), VEHICLES) == pem(secc)
    with pytest.raises(Invalid, match="common name"):
        checked(pem(secc), csr_of("DEABCS0001"), STATION)


@pytest.mark.parametrize(
    "payload",
    [
        {"certificateChain": pem(THEIRS)},
        {"certificateChain": pem(THEIRS), "certificateType": STATION},
        {"certificateChain": pem(THEIRS), "certificateType": VEHICLES},
        {"certificateChain": "nonsense"},
        {"certificate_chain": pem(THEIRS)},
        {"certificate_chain": pem(THEIRS), "use": "v2g"},
    ],
)
def test_a_certificate_that_is_sent_without_a_request_is_the_stations_own_too(
    payload: dict[str, Any],
) -> None:
    with pytest.raises(Invalid) as refused:
        check_signed(payload, OWNER)
    assert refused.value.path == f"/payload/{next(iter(payload))}"
    check_signed(
        {
            name: pem(SUB.issue("cp-1", ec.generate_private_key(ec.SECP256R1()).public_key()))
            if "chain" in name.casefold()
            else value
            for name, value in payload.items()
        },
        OWNER,
    )
