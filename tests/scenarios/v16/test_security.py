"""The security extension of 1.6: certificates, security events, logs, signed firmware."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.signing import StationKey, hand_on, request
from tests.scenarios.v16.flows import ago

pytestmark = pytest.mark.asyncio(loop_scope="session")

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
HASH = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "a1" * 32,
    "issuerKeyHash": "b2" * 32,
    "serialNumber": "0a1b",
}


async def test_tc_074_certificate_renewed(rig: Rig, cp: ScriptedCharger) -> None:
    """The charger is asked for a new key; its request waits for whoever signs; the chain goes to the charger, which
    installs it. A chain for another key is refused before it is sent."""
    wish = {"requestedMessage": "SignChargePointCertificate"}
    await rig.agreed(cp, "ExtendedTriggerMessage", wish, {"status": "Accepted"})
    key, other = StationKey(cp.station_id), StationKey(cp.station_id)
    assert await cp.call("SignCertificate", {"csr": key.csr}) == {"status": "Accepted"}
    wanted = await request(rig, cp)
    assert wanted["subject"] == key.subject
    path = f"/certificate-requests/{wanted['request_id']}"
    refused = await rig.http.post(path, json={"certificate_chain": other.signed()})
    assert refused.status_code == 422
    chain = key.signed()
    done, asked = await hand_on(rig, cp, wanted, chain, "Accepted")
    assert (done["status"], asked) == ("ACCEPTED", {"certificateChain": chain})
    await request(rig, cp, "ACCEPTED")


async def test_charge_point_certificate_in_anothers_name(rig: Rig, cp: ScriptedCharger) -> None:
    """A charger asks for a certificate that names another one: Rejected, and operators see who asked beside the name
    that was asked for."""
    key = StationKey("another")
    assert await cp.call("SignCertificate", {"csr": key.csr}) == {"status": "Rejected"}
    seen = await request(rig, cp, "DECLINED")
    assert (seen["subject"], seen["certificate_name"]) == (key.subject, cp.station_id)


async def _install(rig: Rig, cp: ScriptedCharger, kind: str) -> None:
    wish = {"certificateType": kind, "certificate": CERTIFICATE}
    for status, fate in (("Accepted", "ACCEPTED"), ("Rejected", "REJECTED"), ("Failed", "REJECTED")):
        done = await rig.command(cp, "InstallCertificate", wish, {"status": status})
        assert (done["status"], done["result"]) == (fate, {"status": status})
    found = {"status": "Accepted", "certificateHashData": [HASH]}
    done = await rig.command(cp, "GetInstalledCertificateIds", {"certificateType": kind}, found)
    assert (done["status"], done["result"]) == ("ACCEPTED", found)


async def test_tc_075_1_install_manufacturer_root(rig: Rig, cp: ScriptedCharger) -> None:
    """A manufacturer's root certificate is installed, refused, failed to install; and listed."""
    await _install(rig, cp, "ManufacturerRootCertificate")


async def test_tc_075_2_install_central_system_root(rig: Rig, cp: ScriptedCharger) -> None:
    """A central system's root certificate likewise."""
    await _install(rig, cp, "CentralSystemRootCertificate")


async def test_tc_076_delete_certificate(rig: Rig, cp: ScriptedCharger) -> None:
    """A certificate is named by its hashes and deleted; NotFound and Failed are the charger's no."""
    found = {"status": "Accepted", "certificateHashData": [HASH]}
    kind = {"certificateType": "CentralSystemRootCertificate"}
    listed = await rig.command(cp, "GetInstalledCertificateIds", kind, found)
    (known,) = listed["result"]["certificateHashData"]
    for status, fate in (("Accepted", "ACCEPTED"), ("NotFound", "REJECTED"), ("Failed", "REJECTED")):
        done = await rig.command(cp, "DeleteCertificate", {"certificateHashData": known}, {"status": status})
        assert done["status"] == fate
    none = await rig.command(cp, "GetInstalledCertificateIds", kind, {"status": "NotFound"})
    assert none["status"] == "REJECTED"


async def _security_event(rig: Rig, cp: ScriptedCharger, kind: str) -> None:
    event = {"type": kind, "timestamp": ago(1), "techInfo": "signature does not match"}
    assert await cp.call("SecurityEventNotification", event) == {}
    (told,) = await rig.logged(cp, "SecurityEventNotification")
    assert f'"type":"{kind}"' in told.payload


async def test_tc_077_invalid_charge_point_certificate(rig: Rig, cp: ScriptedCharger) -> None:
    """A charger that cannot use the certificate that it was sent says no, and reports a security event."""
    wish = {"certificateChain": StationKey(cp.station_id).signed()}
    done = await rig.command(cp, "CertificateSigned", wish, {"status": "Rejected"})
    assert done["status"] == "REJECTED"
    await _security_event(rig, cp, "InvalidChargePointCertificate")


async def test_tc_078_invalid_central_system_certificate(rig: Rig, cp: ScriptedCharger) -> None:
    """A root certificate that the charger cannot verify: refused, with a security event."""
    wish = {"certificateType": "CentralSystemRootCertificate", "certificate": CERTIFICATE}
    done = await rig.command(cp, "InstallCertificate", wish, {"status": "Rejected"})
    assert done["status"] == "REJECTED"
    await _security_event(rig, cp, "InvalidCentralSystemCertificate")


async def test_tc_079_security_log(rig: Rig, cp: ScriptedCharger) -> None:
    """The security log is asked for; the upload's course is confirmed and on record with its request id."""
    log = {"remoteLocation": "https://logs.example.org/in", "oldestTimestamp": ago(86400)}
    wish = {"logType": "SecurityLog", "requestId": 12, "log": log}
    done = await rig.command(cp, "GetLog", wish, {"status": "Accepted", "filename": "security.log"})
    assert (done["status"], done["result"]["filename"]) == ("ACCEPTED", "security.log")
    for status in ("Uploading", "Uploaded"):
        assert await cp.call("LogStatusNotification", {"status": status, "requestId": 12}) == {}
    told = await rig.logged(cp, "LogStatusNotification", 2)
    assert [t.payload for t in told] == [
        '{"status":"Uploading","requestId":12}',
        '{"status":"Uploaded","requestId":12}',
    ]


def _signed_update() -> Json:
    firmware = {
        "location": "https://firmware.example.org/2.bin",
        "retrieveDateTime": "2026-01-01T00:00:00Z",
        "signingCertificate": CERTIFICATE,
        "signature": "c2lnbmF0dXJl",
    }
    return {"requestId": 5, "firmware": firmware}


async def _signed(rig: Rig, cp: ScriptedCharger, *statuses: str) -> None:
    done = await rig.command(cp, "SignedUpdateFirmware", _signed_update(), {"status": "Accepted"})
    assert done["status"] == "ACCEPTED"
    for status in statuses:
        assert await cp.call("SignedFirmwareStatusNotification", {"status": status, "requestId": 5}) == {}
    told = await rig.logged(cp, "SignedFirmwareStatusNotification", len(statuses))
    assert [t.payload for t in told] == [f'{{"status":"{s}","requestId":5}}' for s in statuses]


async def test_tc_080_signed_firmware(rig: Rig, cp: ScriptedCharger) -> None:
    """Signed firmware goes through verification to its installation; the charger boots with it."""
    await _signed(rig, cp, "Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting")
    await cp.leave()
    async with rig.charger(cp.station_id) as back:
        await back.boot(firmwareVersion="2.0")
        installed = {"status": "Installed", "requestId": 5}
        assert await back.call("SignedFirmwareStatusNotification", installed) == {}
        event = {"type": "FirmwareUpdated", "timestamp": ago(1)}
        assert await back.call("SecurityEventNotification", event) == {}
        await rig.state(cp.station_id, firmware_version="2.0")


async def test_tc_081_firmware_with_invalid_signature(rig: Rig, cp: ScriptedCharger) -> None:
    """Firmware whose signature does not match is not installed, and the charger reports a security event."""
    await _signed(rig, cp, "Downloading", "Downloaded", "InvalidSignature")
    await _security_event(rig, cp, "InvalidFirmwareSignature")
