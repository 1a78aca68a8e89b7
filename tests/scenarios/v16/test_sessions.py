"""Booting and charging."""

import pytest

from tests.patience import until
from tests.scenarios.charger import ScriptedCharger
from tests.scenarios.rig import SITE, Rig
from tests.scenarios.v16.flows import ago, authorize, measure, report, start, started, stop

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_tc_001_cold_boot(rig: Rig, station_id: str) -> None:
    """A cold boot is accepted with a heartbeat interval; statuses, that of connector 0 too, and heartbeats are
    answered, and operators see them."""
    async with rig.charger(station_id) as cp:
        boot = await cp.boot(firmwareVersion="1.0", chargePointSerialNumber="S-1")
        assert (boot["status"], boot["interval"]) == ("Accepted", 300)
        await report(cp, 0, "Available")
        await report(cp, 1, "Available")
        await report(cp, 2, "Unavailable")
        assert (await cp.call("Heartbeat"))["currentTime"].endswith("Z")
        await rig.status(station_id, 0, "Available")
        await rig.status(station_id, 2, "Unavailable")
        state = await rig.state(station_id, firmware_version="1.0", serial="S-1", connected=True)
        assert (state["vendor"], state["model"], state["version"]) == ("Voltbus", "T1", "ocpp1.6")
    await rig.state(station_id, connected=False)


async def test_tc_003_plug_in_first(rig: Rig, cp: ScriptedCharger) -> None:
    """Cable first, then the tag: the session is billed by the transaction's registers."""
    await report(cp, 1, "Preparing")
    assert await authorize(cp, "TAG-OK") == {"status": "Accepted"}
    transaction = await started(cp, meter=1000)
    await report(cp, 1, "Charging")
    begun = await rig.started(cp)
    assert (begun.transaction_id, begun.id_token) == (str(transaction), "TAG-OK")
    assert (begun.evse_id, begun.site_id, begun.meter_start_wh) == (1, SITE, 1000)
    await measure(cp, transaction, 3000)
    assert await stop(cp, transaction, 5000, idTag="TAG-OK", reason="Local") == {
        "idTagInfo": {"status": "Accepted"}
    }
    await report(cp, 1, "Finishing")
    await report(cp, 1, "Available")
    ended = await rig.ended(cp)
    assert (ended.session_id, ended.energy_wh, ended.reason, ended.review) == (
        begun.session_id, 4000, "Local", (),
    )  # fmt: skip
    bill = await rig.cdr(cp)
    assert (bill.energy_wh, bill.currency, bill.amount_minor) == (4000, "EUR", 200)
    await rig.status(cp.station_id, 1, "Available")

    async def kept() -> bool:
        page = await rig.get("/sessions", station_id=cp.station_id, status="ended")
        return [s["energy_wh"] for s in page["items"]] == [4000]

    await until(kept)


async def test_tc_004_1_identification_first(rig: Rig, cp: ScriptedCharger) -> None:
    """The tag first, then the cable."""
    assert (await authorize(cp, "tag-ok"))["status"] == "Accepted"
    await report(cp, 1, "Preparing")
    transaction = await started(cp)
    await report(cp, 1, "Charging")
    await stop(cp, transaction, idTag="TAG-OK")
    ended = await rig.ended(cp)
    assert (ended.energy_wh, ended.reason) == (4000, "Local")


async def test_tc_004_2_identification_without_cable(rig: Rig, cp: ScriptedCharger) -> None:
    """A tag that is followed by no cable leaves no session behind."""
    assert (await authorize(cp, "TAG-OK"))["status"] == "Accepted"
    await report(cp, 1, "Preparing")
    await rig.status(cp.station_id, 1, "Preparing")
    await report(cp, 1, "Available")
    await rig.status(cp.station_id, 1, "Available")
    (asked,) = await rig.logged(cp, "Authorize")
    assert asked.answer == '{"idTagInfo":{"status":"Accepted"}}'
    transaction = await started(cp, connectorId=2)
    begun = await rig.started(cp)
    assert begun.transaction_id == str(transaction)


async def test_tc_005_1_cable_pulled(rig: Rig, cp: ScriptedCharger) -> None:
    """The cable pulled at the vehicle ends the session; no tag is needed to stop."""
    await authorize(cp, "TAG-OK")
    transaction = await started(cp)
    await report(cp, 1, "Charging")
    await report(cp, 1, "SuspendedEV")
    assert await stop(cp, transaction, 1750, reason="EVDisconnected") == {}
    await report(cp, 1, "Finishing")
    ended = await rig.ended(cp)
    assert (ended.energy_wh, ended.reason) == (750, "EVDisconnected")
    await report(cp, 1, "Available")
    await rig.status(cp.station_id, 1, "Available")


async def test_tc_007_cached_tag(rig: Rig, cp: ScriptedCharger) -> None:
    """A StartTransaction without an Authorize, the tag being in the charger's cache, is answered like any other,
    and the same one sent again gets the same transaction."""
    at = ago(300)
    first = await start(cp, timestamp=at)
    assert first["idTagInfo"] == {"status": "Accepted"}
    assert await start(cp, timestamp=at) == first
    assert (await start(cp, timestamp=ago(100)))["transactionId"] != first["transactionId"]
    begun = await rig.started(cp)
    assert begun.transaction_id == str(first["transactionId"])


async def test_v16_vendor_properties(rig: Rig, cp: ScriptedCharger) -> None:
    """Properties that 1.6 does not list, and empty words, from the tag to the end: the session is billed."""
    tag = {"idTag": "TAG-OK", "connectorId": 1}
    assert (await cp.call("Authorize", tag, strict=False))["idTagInfo"] == {"status": "Accepted"}
    begun = {"connectorId": 1, "idTag": "TAG-OK", "meterStart": 1000, "timestamp": ago(600), "evseId": 1}
    transaction = (await cp.call("StartTransaction", begun, strict=False))["transactionId"]
    sample = {"value": "3000", "unit": "", "phase": "", "format": "", "quality": "good"}
    measured = {
        "connectorId": 1,
        "transactionId": transaction,
        "meterValue": [{"timestamp": ago(300), "sampledValue": [sample], "source": "meter"}],
    }
    assert await cp.call("MeterValues", measured, strict=False) == {}
    over = {"transactionId": transaction, "meterStop": 5000, "timestamp": ago(1), "reason": ""}
    assert await cp.call("StopTransaction", over | {"disconnectReason": "Cable"}, strict=False) == {}
    ended = await rig.ended(cp)
    assert (ended.billed_wh, ended.reason, ended.review) == (4000, "Local", ())
    assert ended.quirks == ("empty_removed", "property_unlisted")
