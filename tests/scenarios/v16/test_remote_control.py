"""Remote start and stop, resets, unlocking, triggers."""

import asyncio

import pytest

from tests.scenarios.charger import Json, Refusal, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v16.flows import authorize, report, started, stop

pytestmark = pytest.mark.asyncio(loop_scope="session")

_START = {"idTag": "TAG-OK", "connectorId": 1}


async def test_tc_010_remote_start_cable_first(rig: Rig, cp: ScriptedCharger) -> None:
    """The cable is in; a remote start is accepted and becomes a session of that tag."""
    await report(cp, 1, "Preparing")
    done = await rig.command(cp, "RemoteStartTransaction", _START, {"status": "Accepted"})
    assert done["status"] == "ACCEPTED"
    assert (await authorize(cp, "TAG-OK"))["status"] == "Accepted"
    transaction = await started(cp)
    await report(cp, 1, "Charging")
    begun = await rig.started(cp)
    assert (begun.transaction_id, begun.id_token) == (str(transaction), "TAG-OK")


async def test_tc_011_1_remote_start_first(rig: Rig, cp: ScriptedCharger) -> None:
    """The remote start comes first, then the cable."""
    done = await rig.command(cp, "RemoteStartTransaction", _START, {"status": "Accepted"})
    assert done["status"] == "ACCEPTED"
    await report(cp, 1, "Preparing")
    await started(cp)
    await report(cp, 1, "Charging")
    await rig.started(cp)
    await rig.status(cp.station_id, 1, "Charging")


async def test_tc_011_2_remote_start_without_cable(rig: Rig, cp: ScriptedCharger) -> None:
    """A remote start that is followed by no cable times out at the charger; the connector is free again."""
    await rig.command(cp, "RemoteStartTransaction", _START, {"status": "Accepted"})
    await report(cp, 1, "Preparing")
    await rig.status(cp.station_id, 1, "Preparing")
    await report(cp, 1, "Available")
    await rig.status(cp.station_id, 1, "Available")


async def test_tc_012_remote_stop(rig: Rig, cp: ScriptedCharger) -> None:
    """A remote stop names the transaction; the session ends as stopped remotely."""
    transaction = await started(cp)
    done = await rig.command(
        cp, "RemoteStopTransaction", {"transactionId": transaction}, {"status": "Accepted"}
    )
    assert done["status"] == "ACCEPTED"
    assert await stop(cp, transaction, 1500, reason="Remote") == {}
    await report(cp, 1, "Finishing")
    ended = await rig.ended(cp)
    assert (ended.reason, ended.energy_wh) == ("Remote", 500)


async def test_tc_013_hard_reset(rig: Rig, cp: ScriptedCharger) -> None:
    """A hard reset is accepted; the charger comes back and boots."""
    await _reset(rig, cp, "Hard")


async def test_tc_014_soft_reset(rig: Rig, cp: ScriptedCharger) -> None:
    """A soft reset is accepted; the charger comes back and boots."""
    await _reset(rig, cp, "Soft")


async def _reset(rig: Rig, cp: ScriptedCharger, kind: str) -> None:
    done = await rig.command(cp, "Reset", {"type": kind}, {"status": "Accepted"})
    assert done["status"] == "ACCEPTED"
    await cp.leave()
    async with rig.charger(cp.station_id) as back:
        assert (await back.boot(firmwareVersion="after"))["status"] == "Accepted"
        await report(back, 0, "Available")
        await rig.state(cp.station_id, connected=True, firmware_version="after")


async def test_tc_017_1_unlock_without_session(rig: Rig, cp: ScriptedCharger) -> None:
    """Without a session the connector is unlocked."""
    done = await rig.command(cp, "UnlockConnector", {"connectorId": 1}, {"status": "Unlocked"})
    assert (done["status"], done["result"]) == ("ACCEPTED", {"status": "Unlocked"})


async def test_tc_017_2_unlock_fixed_cable(rig: Rig, cp: ScriptedCharger) -> None:
    """A connector with a fixed cable cannot be unlocked: NotSupported is the charger's no."""
    done = await rig.command(cp, "UnlockConnector", {"connectorId": 1}, {"status": "NotSupported"})
    assert (done["status"], done["result"]) == ("REJECTED", {"status": "NotSupported"})


async def test_tc_018_1_unlock_with_session(rig: Rig, cp: ScriptedCharger) -> None:
    """Unlocking during a session ends it."""
    transaction = await started(cp)
    done = await rig.command(cp, "UnlockConnector", {"connectorId": 1}, {"status": "Unlocked"})
    assert done["status"] == "ACCEPTED"
    await stop(cp, transaction, 1200, reason="UnlockCommand")
    assert (await rig.ended(cp)).reason == "UnlockCommand"


async def test_tc_026_remote_start_rejected(rig: Rig, cp: ScriptedCharger) -> None:
    """A remote start that the charger rejects is REJECTED, and nothing follows."""
    await report(cp, 1, "Faulted", "GroundFailure")
    done = await rig.command(cp, "RemoteStartTransaction", _START, {"status": "Rejected"})
    assert (done["status"], done["result"]) == ("REJECTED", {"status": "Rejected"})


async def test_tc_028_remote_stop_rejected(rig: Rig, cp: ScriptedCharger) -> None:
    """A remote stop of a transaction that the charger does not know is REJECTED; the session that runs goes on."""
    transaction = await started(cp)
    done = await rig.command(cp, "RemoteStopTransaction", {"transactionId": 4711}, {"status": "Rejected"})
    assert done["status"] == "REJECTED"
    await stop(cp, transaction, 1100)
    assert (await rig.ended(cp)).energy_wh == 100


async def test_tc_030_unlock_failed(rig: Rig, cp: ScriptedCharger) -> None:
    """A connector that does not unlock is the charger's no."""
    done = await rig.command(cp, "UnlockConnector", {"connectorId": 1}, {"status": "UnlockFailed"})
    assert (done["status"], done["result"]) == ("REJECTED", {"status": "UnlockFailed"})


async def test_tc_031_unlock_unknown_connector(rig: Rig, cp: ScriptedCharger) -> None:
    """A connector that does not exist: NotSupported is the charger's no."""
    done = await rig.command(cp, "UnlockConnector", {"connectorId": 9}, {"status": "NotSupported"})
    assert done["status"] == "REJECTED"


async def test_tc_054_trigger_message(rig: Rig, cp: ScriptedCharger) -> None:
    """Each message that can be triggered is asked for, and what comes of it is answered."""
    for wanted in ("Heartbeat", "StatusNotification", "BootNotification", "MeterValues"):
        asked = {"requestedMessage": wanted}
        if wanted in ("StatusNotification", "MeterValues"):
            asked["connectorId"] = 1  # type: ignore[assignment]
        done = await rig.command(cp, "TriggerMessage", asked, {"status": "Accepted"})
        assert done["status"] == "ACCEPTED"
    await cp.call("Heartbeat")
    await report(cp, 1, "Available")
    await cp.boot()
    sample = {"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{"value": "1", "context": "Trigger"}]}
    assert await cp.call("MeterValues", {"connectorId": 1, "meterValue": [sample]}) == {}
    for wanted in ("DiagnosticsStatusNotification", "FirmwareStatusNotification"):
        await rig.command(cp, "TriggerMessage", {"requestedMessage": wanted}, {"status": "Accepted"})
        assert await cp.call(wanted, {"status": "Idle"}) == {}
    assert len(await rig.logged(cp, "BootNotification", 2)) == 2


async def test_tc_055_trigger_rejected(rig: Rig, cp: ScriptedCharger) -> None:
    """A trigger may be Rejected or NotImplemented: the charger's no; or a CALLERROR: FAILED."""
    asked = {"requestedMessage": "MeterValues", "connectorId": 1}
    for status in ("Rejected", "NotImplemented"):
        done = await rig.command(cp, "TriggerMessage", asked, {"status": status})
        assert (done["status"], done["result"]) == ("REJECTED", {"status": status})
    failed = await rig.command(cp, "TriggerMessage", asked, Refusal("NotSupported", "no such thing"))
    assert (failed["status"], failed["error"]["code"]) == ("FAILED", "NotSupported")


async def test_answers_that_say_nothing(rig: Rig, cp: ScriptedCharger) -> None:
    """An answer without a status, of another message, or in words that no version has is no yes: UNKNOWN, as the
    charger may have acted; of a question FAILED."""
    cases: list[tuple[str, Json, Json, str]] = [
        ("Reset", {"type": "Soft"}, {}, "UNKNOWN"),
        ("Reset", {"type": "Soft"}, {"status": "OK"}, "UNKNOWN"),
        (
            "TriggerMessage",
            {"requestedMessage": "Heartbeat"},
            {"currentTime": "2026-01-01T00:00:00Z"},
            "UNKNOWN",
        ),
        ("ChangeAvailability", {"connectorId": 0, "type": "Operative"}, {"state": "Accepted"}, "UNKNOWN"),
        ("GetLocalListVersion", {}, {}, "FAILED"),
    ]
    for action, payload, answer, status in cases:
        wish = {"action": action, "payload": payload}
        done, _ = await asyncio.gather(rig.order(cp, wish), cp.expect(action, answer, strict=False))
        assert (done["status"], done["result"]) == (status, answer)
        assert "cannot be read" in done["reason"]
