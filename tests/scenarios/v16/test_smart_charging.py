"""Charging profiles."""

import asyncio

import pytest

from tests.patience import until
from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v16.flows import report, started, stop

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _profile(purpose: str, number: int = 1, **fields: object) -> Json:
    schedule = {
        "duration": 3600,
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10.1, "numberPhases": 3}],
    }
    profile: Json = {
        "chargingProfileId": number,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": schedule,
    }
    return profile | fields


async def test_tc_056_tx_default_profile(rig: Rig, cp: ScriptedCharger) -> None:
    """A default profile for transactions reaches the charger as it was asked for, tenths of amperes included."""
    wish = {"connectorId": 1, "csChargingProfiles": _profile("TxDefaultProfile")}
    done = await rig.command(cp, "SetChargingProfile", wish, {"status": "Accepted"})
    assert done["status"] == "ACCEPTED"


async def test_tc_057_tx_profile(rig: Rig, cp: ScriptedCharger) -> None:
    """A profile for a running transaction names it, also when it is asked for as a limit free of versions."""
    transaction = await started(cp)
    await report(cp, 1, "Charging")
    await rig.started(cp)
    wish = {"connectorId": 1, "csChargingProfiles": _profile("TxProfile", transactionId=transaction)}
    done = await rig.command(cp, "SetChargingProfile", wish, {"status": "Accepted"})
    assert done["status"] == "ACCEPTED"
    limit = {
        "evse_id": 1,
        "transaction_id": str(transaction),
        "limit_milliamp": 8190,
        "profile_id": 2,
        "stack_level": 1,
    }
    free, asked = await rig.free(cp, "SetLimit", limit, "SetChargingProfile", {"status": "Accepted"})
    assert free["status"] == "ACCEPTED"
    profile = asked["csChargingProfiles"]
    assert (profile["chargingProfilePurpose"], profile["transactionId"]) == ("TxProfile", transaction)
    assert profile["chargingSchedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 8.1}]
    await stop(cp, transaction)


async def test_tc_059_remote_start_with_profile(rig: Rig, cp: ScriptedCharger) -> None:
    """A remote start can carry a profile for its transaction, which has no transaction id yet."""
    wish = {"idTag": "TAG-OK", "connectorId": 1, "chargingProfile": _profile("TxProfile")}
    done = await rig.command(cp, "RemoteStartTransaction", wish, {"status": "Accepted"})
    assert done["status"] == "ACCEPTED"
    assert "transactionId" not in done["payload"]["chargingProfile"]
    await started(cp)
    assert (await rig.started(cp)).id_token == "TAG-OK"


async def test_tc_066_composite_schedule(rig: Rig, cp: ScriptedCharger) -> None:
    """The schedule that results of several profiles is asked for, and shown as the charger gives it."""
    for number in (1, 2):
        wish = {"connectorId": number, "csChargingProfiles": _profile("TxDefaultProfile", number)}
        await rig.command(cp, "SetChargingProfile", wish, {"status": "Accepted"})
    answer = {
        "status": "Accepted",
        "connectorId": 1,
        "scheduleStart": "2026-11-23T00:00:00Z",
        "chargingSchedule": _profile("TxProfile")["chargingSchedule"],
    }
    question = {"connectorId": 1, "duration": 3600, "chargingRateUnit": "A"}
    done = await rig.command(cp, "GetCompositeSchedule", question, answer)
    assert (done["status"], done["result"]) == ("ACCEPTED", answer)
    done = await rig.command(cp, "GetCompositeSchedule", question, {"status": "Rejected"})
    assert done["status"] == "REJECTED"


async def test_tc_067_clear_profile(rig: Rig, cp: ScriptedCharger) -> None:
    """A profile is cleared by id, by criteria, or with all others; Unknown means that there was none."""
    wish = {"connectorId": 1, "csChargingProfiles": _profile("TxDefaultProfile")}
    await rig.command(cp, "SetChargingProfile", wish, {"status": "Accepted"})
    by_criteria = {"connectorId": 1, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}
    for criteria in ({"id": 1}, by_criteria, {}):
        done = await rig.command(cp, "ClearChargingProfile", criteria, {"status": "Accepted"})
        assert done["status"] == "ACCEPTED"
    done = await rig.command(cp, "ClearChargingProfile", {"id": 1}, {"status": "Unknown"})
    assert (done["status"], done["result"]) == ("REJECTED", {"status": "Unknown"})


async def test_limits_in_another_form(rig: Rig, cp: ScriptedCharger) -> None:
    """A charger that rejects a limit as a Relative profile in amperes gets it as an Absolute one, then in watts; what
    it takes is sent first the next time."""
    limit = {"evse_id": 1, "limit_milliamp": 6000, "profile_id": 3, "stack_level": 0, "phases": 3}
    wish = {"command": "SetDefaultLimit", "payload": limit}
    answers = ["Rejected", "Rejected", "Accepted"]

    async def charger() -> list[Json]:
        return [await cp.expect("SetChargingProfile", {"status": word}) for word in answers]

    done, asked = await asyncio.gather(rig.order(cp, wish), charger())
    assert (done["status"], done["attempts"]) == ("ACCEPTED", 3)
    profiles = [each["csChargingProfiles"] for each in asked]
    forms = [(p["chargingProfileKind"], p["chargingSchedule"]["chargingRateUnit"]) for p in profiles]
    assert forms == [("Relative", "A"), ("Absolute", "A"), ("Relative", "W")]
    assert profiles[2]["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] == 4140.0
    units: list[str] = []

    def in_watts(payload: Json) -> Json:
        units.append(payload["csChargingProfiles"]["chargingSchedule"]["chargingRateUnit"])
        return {"status": "Accepted" if units[-1] == "W" else "Rejected"}

    async def at_once() -> bool:
        """Whether it is asked for watts first: not before the ledger has learned that it takes them."""
        units.clear()
        ordering = asyncio.create_task(rig.order(cp, wish))
        while "W" not in units:
            await cp.expect("SetChargingProfile", in_watts)
        done = await ordering
        return (done["status"], done["attempts"]) == ("ACCEPTED", 1)

    await until(at_once)
    assert units == ["W"]
