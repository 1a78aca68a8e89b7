"""Firmware and diagnostics."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v16.flows import report

pytestmark = pytest.mark.asyncio(loop_scope="session")

_UPDATE = {"location": "https://firmware.example.org/2.bin", "retrieveDate": "2026-01-01T00:00:00Z"}
_DIAGNOSTICS = {"location": "ftp://logs.example.org/in", "retries": 1, "retryInterval": 60}


async def _firmware(rig: Rig, cp: ScriptedCharger, *statuses: str) -> None:
    """The update is agreed to (an empty answer), and each status is confirmed and recorded in order."""
    done = await rig.command(cp, "UpdateFirmware", _UPDATE, {})
    assert (done["status"], done["result"]) == ("ACCEPTED", {})
    for status in statuses:
        assert await cp.call("FirmwareStatusNotification", {"status": status}) == {}
    told = await rig.logged(cp, "FirmwareStatusNotification", len(statuses))
    assert [record.payload for record in told] == [f'{{"status":"{status}"}}' for status in statuses]


async def test_tc_044_1_firmware_update(rig: Rig, cp: ScriptedCharger) -> None:
    """Firmware is fetched and installed; after it the charger boots with the new version, which operators see."""
    await _firmware(rig, cp, "Downloading", "Downloaded", "Installing")
    await report(cp, 1, "Unavailable")
    await cp.leave()
    async with rig.charger(cp.station_id) as back:
        await back.boot(firmwareVersion="2.0")
        assert await back.call("FirmwareStatusNotification", {"status": "Installed"}) == {}
        await rig.state(cp.station_id, firmware_version="2.0")


async def test_tc_044_2_firmware_download_failed(rig: Rig, cp: ScriptedCharger) -> None:
    """A download that fails is on record."""
    await _firmware(rig, cp, "Downloading", "DownloadFailed")


async def test_tc_044_3_firmware_installation_failed(rig: Rig, cp: ScriptedCharger) -> None:
    """An installation that fails is on record."""
    await _firmware(rig, cp, "Downloading", "Downloaded", "Installing", "InstallationFailed")


async def _diagnostics(rig: Rig, cp: ScriptedCharger, answer: Json, *statuses: str) -> Json:
    done = await rig.command(cp, "GetDiagnostics", _DIAGNOSTICS, answer)
    for status in statuses:
        assert await cp.call("DiagnosticsStatusNotification", {"status": status}) == {}
    told = await rig.logged(cp, "DiagnosticsStatusNotification", len(statuses))
    assert [record.payload for record in told] == [f'{{"status":"{status}"}}' for status in statuses]
    return done


async def test_tc_045_1_diagnostics(rig: Rig, cp: ScriptedCharger) -> None:
    """The charger names the file that it uploads, which the operator is told; the upload's course is on record."""
    done = await _diagnostics(rig, cp, {"fileName": "cp.log"}, "Uploading", "Uploaded")
    assert (done["status"], done["result"]) == ("ACCEPTED", {"fileName": "cp.log"})


async def test_tc_045_2_diagnostics_upload_failed(rig: Rig, cp: ScriptedCharger) -> None:
    """A charger with nothing to tell names no file; a failed upload is on record."""
    done = await _diagnostics(rig, cp, {}, "Uploading", "UploadFailed")
    assert (done["status"], done["result"]) == ("ACCEPTED", {})
