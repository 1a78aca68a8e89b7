"""M: certificates at stations, and what stations ask on behalf of vehicles."""

import base64

import pytest
from cryptography.x509 import ocsp

from tests.integration.test_ocsp import CA
from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, REJECTED
from tests.scenarios.v16.test_security import CERTIFICATE, HASH

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _install(rig: Rig, cs: ScriptedCharger, kind: str) -> None:
    wish = {"certificateType": kind, "certificate": CERTIFICATE}
    await rig.agreed(cs, "InstallCertificate", wish, ACCEPTED)


async def test_tc_m_01_install_csms_root(rig: Rig, cs: ScriptedCharger) -> None:
    """A root certificate of central systems is installed."""
    await _install(rig, cs, "CSMSRootCertificate")


async def test_tc_m_02_install_manufacturer_root(rig: Rig, cs: ScriptedCharger) -> None:
    """A manufacturer's root certificate is installed."""
    await _install(rig, cs, "ManufacturerRootCertificate")


async def test_tc_m_03_install_v2g_root(rig: Rig, cs: ScriptedCharger) -> None:
    """A root certificate of ISO 15118 is installed."""
    await _install(rig, cs, "V2GRootCertificate")


async def test_tc_m_04_install_mobility_operator_root(rig: Rig, cs: ScriptedCharger) -> None:
    """A mobility operator's root certificate is installed."""
    await _install(rig, cs, "MORootCertificate")


async def test_tc_m_05_install_failed(rig: Rig, cs: ScriptedCharger) -> None:
    """A certificate is rejected, or its installation fails."""
    wish = {"certificateType": "CSMSRootCertificate", "certificate": CERTIFICATE}
    await rig.denied(cs, "InstallCertificate", wish, {"status": "Failed"})
    await rig.denied(cs, "InstallCertificate", wish, REJECTED)


async def _list(rig: Rig, cs: ScriptedCharger, *kinds: str, asked: list[str] | None = None) -> None:
    """Certificates are listed by kind; all of them without one."""
    chain = [{"certificateType": kind, "certificateHashData": HASH} for kind in kinds]
    wish: Json = {"certificateType": list(kinds)} if asked is None else {}
    answer = {"status": "Accepted", "certificateHashDataChain": chain}
    await rig.agreed(cs, "GetInstalledCertificateIds", wish, answer)


async def test_tc_m_12_list_csms_roots(rig: Rig, cs: ScriptedCharger) -> None:
    """Root certificates of central systems are listed."""
    await _list(rig, cs, "CSMSRootCertificate")


async def test_tc_m_13_list_manufacturer_roots(rig: Rig, cs: ScriptedCharger) -> None:
    """Manufacturers' root certificates are listed."""
    await _list(rig, cs, "ManufacturerRootCertificate")


async def test_tc_m_14_list_v2g_roots(rig: Rig, cs: ScriptedCharger) -> None:
    """Root certificates of ISO 15118 are listed."""
    await _list(rig, cs, "V2GRootCertificate")


async def test_tc_m_15_list_v2g_chain(rig: Rig, cs: ScriptedCharger) -> None:
    """The station's own chain of ISO 15118 is listed, with those below it."""
    child = {**HASH, "serialNumber": "0c1d"}
    chain = {"certificateType": "V2GCertificateChain", "certificateHashData": HASH}
    answer = {
        "status": "Accepted",
        "certificateHashDataChain": [{**chain, "childCertificateHashData": [child]}],
    }
    wish = {"certificateType": ["V2GCertificateChain"]}
    await rig.agreed(cs, "GetInstalledCertificateIds", wish, answer)


async def test_tc_m_16_list_mobility_operator_roots(rig: Rig, cs: ScriptedCharger) -> None:
    """Mobility operators' root certificates are listed."""
    await _list(rig, cs, "MORootCertificate")


async def test_tc_m_17_list_two_kinds(rig: Rig, cs: ScriptedCharger) -> None:
    """Two kinds are listed together."""
    await _list(rig, cs, "CSMSRootCertificate", "ManufacturerRootCertificate")


async def test_tc_m_18_list_all(rig: Rig, cs: ScriptedCharger) -> None:
    """All are listed: no kind is named."""
    await _list(rig, cs, "CSMSRootCertificate", "V2GRootCertificate", "MORootCertificate", asked=[])


async def test_tc_m_19_list_nothing(rig: Rig, cs: ScriptedCharger) -> None:
    """There is none of the kind."""
    wish = {"certificateType": ["MORootCertificate"]}
    await rig.denied(cs, "GetInstalledCertificateIds", wish, {"status": "NotFound"})


async def test_tc_m_20_delete(rig: Rig, cs: ScriptedCharger) -> None:
    """A certificate is named by its hashes and deleted."""
    await rig.agreed(cs, "DeleteCertificate", {"certificateHashData": HASH}, ACCEPTED)


async def test_tc_m_21_delete_failed(rig: Rig, cs: ScriptedCharger) -> None:
    """A certificate is not there, or cannot be deleted."""
    for status in ("Failed", "NotFound"):
        await rig.denied(cs, "DeleteCertificate", {"certificateHashData": HASH}, {"status": status})


async def test_tc_m_24_certificate_status(rig: Rig, cs: ScriptedCharger) -> None:
    """The status of a certificate is asked of the responder that the station names, and handed on as it was said;
    inside the house, or where nobody answers, nothing is asked: Failed."""
    good = CA.issue("good")
    rig.responder.knows(good)
    wish = {"ocspRequestData": CA.hash_data(good) | {"responderURL": rig.responder.url}}
    answer = await cs.call("GetCertificateStatus", wish)
    assert answer["status"] == "Accepted"
    said = ocsp.load_der_ocsp_response(base64.b64decode(answer["ocspResult"]))
    assert said.certificate_status is ocsp.OCSPCertStatus.GOOD
    for url in ("http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "file:///etc/passwd"):
        wish = {"ocspRequestData": CA.hash_data(good) | {"responderURL": url}}
        assert await cs.call("GetCertificateStatus", wish) == {"status": "Failed"}


async def _contract(rig: Rig, cs: ScriptedCharger, action: str) -> None:
    wish = {
        "iso15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef",
        "action": action,
        "exiRequest": "gJgBqBwAAA==",
    }
    assert await cs.call("Get15118EVCertificate", wish) == {"status": "Failed", "exiResponse": ""}
    (told,) = await rig.logged(cs, "Get15118EVCertificate")
    assert f'"action":"{action}"' in told.payload


async def test_tc_m_26_contract_certificate_wanted(rig: Rig, cs: ScriptedCharger) -> None:
    """A vehicle wants a contract certificate: the platform has no contract authority behind it and says Failed; the
    request is on record word for word."""
    await _contract(rig, cs, "Install")


async def test_tc_m_28_contract_certificate_renewal_wanted(rig: Rig, cs: ScriptedCharger) -> None:
    """A vehicle wants its contract certificate renewed: likewise."""
    await _contract(rig, cs, "Update")
