"""L: firmware, signed and published."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, REJECTED, Transaction
from tests.scenarios.v16.flows import ago
from tests.scenarios.v16.test_security import CERTIFICATE

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _update(number: int = 5, **fields: object) -> Json:
    firmware = {
        "location": "https://firmware.example.org/2.bin",
        "retrieveDateTime": "2026-01-01T00:00:00Z",
        "signingCertificate": CERTIFICATE,
        "signature": "c2lnbmF0dXJl",
    }
    return {"requestId": number, "firmware": firmware | fields}


async def _reports(rig: Rig, cs: ScriptedCharger, *statuses: str) -> None:
    """Each status is confirmed and on record in its order, with the request's id."""
    for status in statuses:
        assert await cs.call("FirmwareStatusNotification", {"status": status, "requestId": 5}) == {}
    told = await rig.logged(cs, "FirmwareStatusNotification", len(statuses))
    assert [t.payload for t in told] == [f'{{"status":"{status}","requestId":5}}' for status in statuses]


async def _security_event(rig: Rig, cs: ScriptedCharger, kind: str) -> None:
    assert await cs.call("SecurityEventNotification", {"type": kind, "timestamp": ago(1)}) == {}
    (told,) = await rig.logged(cs, "SecurityEventNotification")
    assert kind in told.payload


async def test_tc_l_01_installed(rig: Rig, cs: ScriptedCharger) -> None:
    """Signed firmware is fetched, verified and installed; the station boots with it, which operators see."""
    await rig.agreed(cs, "UpdateFirmware", _update(), ACCEPTED)
    await _reports(
        rig, cs, "Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting"
    )
    await cs.leave()
    async with rig.charger(cs.station_id, "ocpp2.0.1") as back:
        station = {"vendorName": "Voltbus", "model": "T2", "firmwareVersion": "2.0"}
        assert (await back.boot(reason="FirmwareUpdate", chargingStation=station))["status"] == "Accepted"
        installed = {"status": "Installed", "requestId": 5}
        assert await back.call("FirmwareStatusNotification", installed) == {}
        event = {"type": "FirmwareUpdated", "timestamp": ago(1)}
        assert await back.call("SecurityEventNotification", event) == {}
        await rig.state(cs.station_id, firmware_version="2.0")


async def test_tc_l_02_installation_scheduled(rig: Rig, cs: ScriptedCharger) -> None:
    """Firmware that is to be installed later: the moment goes to the station, which says that it waits."""
    await rig.agreed(cs, "UpdateFirmware", _update(installDateTime="2036-01-01T00:00:00Z"), ACCEPTED)
    await _reports(rig, cs, "Downloading", "Downloaded", "SignatureVerified", "InstallScheduled")


async def test_tc_l_03_download_scheduled(rig: Rig, cs: ScriptedCharger) -> None:
    """Firmware that is to be fetched later."""
    await rig.agreed(cs, "UpdateFirmware", _update(retrieveDateTime="2036-01-01T00:00:00Z"), ACCEPTED)
    await _reports(rig, cs, "DownloadScheduled", "Downloading", "Downloaded")


async def test_tc_l_04_revoked_certificate(rig: Rig, cs: ScriptedCharger) -> None:
    """A revoked signing certificate is the station's no."""
    await rig.denied(cs, "UpdateFirmware", _update(), {"status": "RevokedCertificate"})


async def test_tc_l_05_invalid_certificate(rig: Rig, cs: ScriptedCharger) -> None:
    """An invalid signing certificate is the station's no, with a security event."""
    await rig.denied(cs, "UpdateFirmware", _update(), {"status": "InvalidCertificate"})
    await _security_event(rig, cs, "InvalidFirmwareSigningCertificate")


async def test_tc_l_06_invalid_signature(rig: Rig, cs: ScriptedCharger) -> None:
    """Firmware whose signature does not match is not installed; a security event says so."""
    await rig.agreed(cs, "UpdateFirmware", _update(), ACCEPTED)
    await _reports(rig, cs, "Downloading", "Downloaded", "InvalidSignature")
    await _security_event(rig, cs, "InvalidFirmwareSignature")


async def test_tc_l_07_download_failed(rig: Rig, cs: ScriptedCharger) -> None:
    """A download that fails."""
    await rig.agreed(cs, "UpdateFirmware", _update(), ACCEPTED)
    await _reports(rig, cs, "Downloading", "DownloadFailed")


async def test_tc_l_08_installation_verification_failed(rig: Rig, cs: ScriptedCharger) -> None:
    """An installation that does not verify."""
    await rig.agreed(cs, "UpdateFirmware", _update(), ACCEPTED)
    await _reports(rig, cs, "Downloaded", "SignatureVerified", "Installing", "InstallVerificationFailed")


async def test_tc_l_09_installation_failed(rig: Rig, cs: ScriptedCharger) -> None:
    """An installation that fails."""
    await rig.agreed(cs, "UpdateFirmware", _update(), ACCEPTED)
    await _reports(rig, cs, "Downloaded", "SignatureVerified", "Installing", "InstallationFailed")


async def test_tc_l_10_update_replaced(rig: Rig, cs: ScriptedCharger) -> None:
    """A second update cancels the first: AcceptedCanceled is agreement."""
    await rig.agreed(cs, "UpdateFirmware", _update(5), ACCEPTED)
    await _reports(rig, cs, "Downloading")
    await rig.agreed(cs, "UpdateFirmware", _update(6), {"status": "AcceptedCanceled"})
    assert await cs.call("FirmwareStatusNotification", {"status": "Downloading", "requestId": 6}) == {}


async def test_tc_l_11_update_not_replaced(rig: Rig, cs: ScriptedCharger) -> None:
    """A station that cannot cancel the first update rejects the second."""
    await rig.agreed(cs, "UpdateFirmware", _update(5), ACCEPTED)
    await rig.denied(cs, "UpdateFirmware", _update(6), REJECTED)
    await _reports(rig, cs, "Downloading", "Downloaded")


async def test_tc_l_13_update_during_a_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """During a transaction the update waits; it goes on when that is over."""
    transaction = Transaction(cs)
    await transaction.started()
    await rig.agreed(cs, "UpdateFirmware", _update(), ACCEPTED)
    await _reports(rig, cs, "DownloadScheduled")
    await transaction.ended("StopAuthorized")
    assert (await rig.ended(cs)).energy_wh == 4000
    assert await cs.call("FirmwareStatusNotification", {"status": "Downloading", "requestId": 5}) == {}


_PUBLISH: Json = {"location": "https://firmware.example.org/2.bin", "checksum": "0" * 32, "requestId": 5}


async def _published(rig: Rig, cs: ScriptedCharger, *statuses: str) -> None:
    await rig.agreed(cs, "PublishFirmware", _PUBLISH, ACCEPTED)
    for status in statuses:
        wish: Json = {"status": status, "requestId": 5}
        if status == "Published":
            wish["location"] = ["http://controller.local/2.bin"]
        assert await cs.call("PublishFirmwareStatusNotification", wish) == {}
    told = await rig.logged(cs, "PublishFirmwareStatusNotification", len(statuses))
    assert f'"status":"{statuses[-1]}"' in told[-1].payload


async def test_tc_l_17_published(rig: Rig, cs: ScriptedCharger) -> None:
    """A local controller publishes firmware, and says where."""
    await _published(rig, cs, "Downloading", "Downloaded", "ChecksumVerified", "Published")


async def test_tc_l_19_invalid_checksum(rig: Rig, cs: ScriptedCharger) -> None:
    """Firmware whose checksum is wrong is not published."""
    await _published(rig, cs, "Downloading", "Downloaded", "InvalidChecksum")


async def test_tc_l_20_publishing_failed(rig: Rig, cs: ScriptedCharger) -> None:
    """Publishing fails, or is refused at once."""
    await _published(rig, cs, "Downloaded", "ChecksumVerified", "PublishFailed")
    await rig.denied(cs, "PublishFirmware", _PUBLISH, REJECTED)


async def test_tc_l_21_unpublished(rig: Rig, cs: ScriptedCharger) -> None:
    """Firmware is published no more: Unpublished is agreement."""
    await rig.agreed(cs, "UnpublishFirmware", {"checksum": "0" * 32}, {"status": "Unpublished"})


async def test_tc_l_22_nothing_published(rig: Rig, cs: ScriptedCharger) -> None:
    """There was no such firmware."""
    await rig.denied(cs, "UnpublishFirmware", {"checksum": "0" * 32}, {"status": "NoFirmware"})


async def test_tc_l_23_unpublished_too_early(rig: Rig, cs: ScriptedCharger) -> None:
    """A station still fetches it: the download goes on."""
    await rig.denied(cs, "UnpublishFirmware", {"checksum": "0" * 32}, {"status": "DownloadOngoing"})


async def test_tc_l_24_publishing_download_failed(rig: Rig, cs: ScriptedCharger) -> None:
    """The controller cannot fetch the firmware."""
    await _published(rig, cs, "Downloading", "DownloadFailed")
