"""K: charging profiles, composite schedules, limits that others set."""

import pytest

from tests.scenarios.charger import Json, Refusal, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, REJECTED, Transaction, token

pytestmark = pytest.mark.asyncio(loop_scope="session")

_SCHEDULE: Json = {
    "id": 1,
    "chargingRateUnit": "A",
    "duration": 3600,
    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8.1, "numberPhases": 3}],
}
_CRITERIA: Json = {"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}


def _profile(purpose: str, number: int = 1, **fields: object) -> Json:
    profile: Json = {
        "id": number,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": [_SCHEDULE],
    }
    return profile | fields


def _set(evse: int, purpose: str, number: int = 1, **fields: object) -> Json:
    return {"evseId": evse, "chargingProfile": _profile(purpose, number, **fields)}


async def test_tc_k_01_default_profile_of_an_evse(rig: Rig, cs: ScriptedCharger) -> None:
    """A default profile for the transactions of one EVSE arrives as it was asked for, tenths of amperes included."""
    await rig.agreed(cs, "SetChargingProfile", _set(1, "TxDefaultProfile"), ACCEPTED)


async def test_tc_k_02_transaction_profile_without_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """A transaction's profile without a transaction is refused, with the station's reason."""
    reason = {"status": "Rejected", "statusInfo": {"reasonCode": "TxNotFound"}}
    wish = _set(1, "TxProfile", transactionId="none")
    await rig.denied(cs, "SetChargingProfile", wish, reason)


async def test_tc_k_03_station_maximum(rig: Rig, cs: ScriptedCharger) -> None:
    """A maximum for the whole station: EVSE 0, absolute in time."""
    schedule = {**_SCHEDULE, "startSchedule": "2026-11-23T00:00:00Z"}
    wish = _set(0, "ChargingStationMaxProfile", chargingProfileKind="Absolute", chargingSchedule=[schedule])
    await rig.agreed(cs, "SetChargingProfile", wish, ACCEPTED)


async def test_tc_k_04_profile_replaced(rig: Rig, cs: ScriptedCharger) -> None:
    """A profile with the id of an earlier one replaces it."""
    await rig.agreed(cs, "SetChargingProfile", _set(1, "TxDefaultProfile", 5), ACCEPTED)
    lower = {**_SCHEDULE, "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}]}
    await rig.agreed(
        cs, "SetChargingProfile", _set(1, "TxDefaultProfile", 5, chargingSchedule=[lower]), ACCEPTED
    )


async def test_tc_k_05_profile_cleared_by_id(rig: Rig, cs: ScriptedCharger) -> None:
    """A profile is cleared by its id."""
    await rig.agreed(cs, "SetChargingProfile", _set(1, "TxDefaultProfile", 5), ACCEPTED)
    await rig.agreed(cs, "ClearChargingProfile", {"chargingProfileId": 5}, ACCEPTED)


async def test_tc_k_06_profile_cleared_by_criteria(rig: Rig, cs: ScriptedCharger) -> None:
    """A profile is cleared by stack level and purpose."""
    await rig.agreed(cs, "ClearChargingProfile", {"chargingProfileCriteria": _CRITERIA}, ACCEPTED)


async def test_tc_k_08_nothing_to_clear(rig: Rig, cs: ScriptedCharger) -> None:
    """There was no such profile: Unknown, told as a no."""
    wish = {"chargingProfileCriteria": {**_CRITERIA, "evseId": 1}}
    await rig.denied(cs, "ClearChargingProfile", wish, {"status": "Unknown"})


async def test_tc_k_10_default_profile_of_all_evses(rig: Rig, cs: ScriptedCharger) -> None:
    """A default profile for the transactions of all EVSEs: EVSE 0; also as the platform's own command."""
    await rig.agreed(cs, "SetChargingProfile", _set(0, "TxDefaultProfile"), ACCEPTED)
    limit = {"evse_id": 0, "limit_milliamp": 6000, "profile_id": 1000, "stack_level": 0}
    done, asked = await rig.free(cs, "SetDefaultLimit", limit, "SetChargingProfile", ACCEPTED)
    assert done["status"] == "ACCEPTED"
    assert (asked["evseId"], asked["chargingProfile"]["chargingProfilePurpose"]) == (0, "TxDefaultProfile")


async def test_tc_k_15_profiles_not_supported(rig: Rig, cs: ScriptedCharger) -> None:
    """A station without smart charging answers NotSupported, an error: FAILED with its code."""
    wish = _set(1, "TxDefaultProfile")
    failed = await rig.command(cs, "SetChargingProfile", wish, Refusal("NotSupported", "no smart charging"))
    assert (failed["status"], failed["error"]["code"]) == ("FAILED", "NotSupported")


async def test_tc_k_19_recurring_profile(rig: Rig, cs: ScriptedCharger) -> None:
    """A profile that recurs each day has a start."""
    schedule = {**_SCHEDULE, "duration": 86400, "startSchedule": "2026-11-23T00:00:00Z"}
    wish = _set(
        1,
        "TxDefaultProfile",
        chargingProfileKind="Recurring",
        recurrencyKind="Daily",
        chargingSchedule=[schedule],
    )
    await rig.agreed(cs, "SetChargingProfile", wish, ACCEPTED)


async def _profiles(rig: Rig, cs: ScriptedCharger, evse: int | None, **criterion: object) -> None:
    """Profiles are asked for; what is reported, in parts, is confirmed and on record with the request's id."""
    wish: Json = {"requestId": 9, "chargingProfile": criterion} | ({} if evse is None else {"evseId": evse})
    await rig.agreed(cs, "GetChargingProfiles", wish, ACCEPTED)
    for number, more in ((1, True), (2, False)):
        part = {
            "requestId": 9,
            "chargingLimitSource": "CSO",
            "evseId": evse or 0,
            "tbc": more,
            "chargingProfile": [_profile("TxDefaultProfile", number)],
        }
        assert await cs.call("ReportChargingProfiles", part) == {}
    parts = await rig.logged(cs, "ReportChargingProfiles", 2)
    assert all('"requestId":9' in part.payload for part in parts)
    await rig.denied(cs, "GetChargingProfiles", wish, {"status": "NoProfiles"})


async def test_tc_k_29_profiles_of_the_station(rig: Rig, cs: ScriptedCharger) -> None:
    """Profiles of EVSE 0."""
    await _profiles(rig, cs, 0, chargingProfilePurpose="ChargingStationMaxProfile")


async def test_tc_k_30_profiles_of_an_evse(rig: Rig, cs: ScriptedCharger) -> None:
    """Profiles of one EVSE."""
    await _profiles(rig, cs, 1, chargingLimitSource=["CSO", "EMS", "SO", "Other"])


async def test_tc_k_31_all_profiles(rig: Rig, cs: ScriptedCharger) -> None:
    """Profiles of all EVSEs and the station."""
    await _profiles(rig, cs, None, chargingProfilePurpose="TxDefaultProfile")


async def test_tc_k_32_profile_by_id(rig: Rig, cs: ScriptedCharger) -> None:
    """A profile by its id."""
    await _profiles(rig, cs, None, chargingProfileId=[1, 2])


async def test_tc_k_33_profiles_by_stack_level(rig: Rig, cs: ScriptedCharger) -> None:
    """Profiles by stack level, by limit source, by purpose, by both. Covers TC_K_34, TC_K_35, TC_K_36."""
    await _profiles(rig, cs, 1, stackLevel=0)
    for criterion in ({"chargingLimitSource": ["CSO"]}, {"chargingProfilePurpose": "TxProfile"}, _CRITERIA):
        wish = {"requestId": 10, "evseId": 1, "chargingProfile": criterion}
        await rig.agreed(cs, "GetChargingProfiles", wish, ACCEPTED)


async def test_tc_k_37_remote_start_with_profile(rig: Rig, cs: ScriptedCharger) -> None:
    """A remote start carries a profile for its transaction, which has no id yet."""
    wish = {
        "idToken": token(),
        "remoteStartId": 3,
        "evseId": 1,
        "chargingProfile": _profile("TxProfile"),
    }
    await rig.agreed(cs, "RequestStartTransaction", wish, ACCEPTED)
    await Transaction(cs).started("RemoteStart", "Charging", info={"remoteStartId": 3})
    assert (await rig.started(cs)).id_token == "TAG-OK"


async def _composite(rig: Rig, cs: ScriptedCharger, evse: int) -> None:
    wish = {"duration": 300, "evseId": evse, "chargingRateUnit": "W"}
    period = {"startPeriod": 0, "limit": 22000.0}
    schedule = {
        "evseId": evse,
        "duration": 300,
        "scheduleStart": "2026-11-23T00:00:00Z",
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [period],
    }
    await rig.agreed(cs, "GetCompositeSchedule", wish, {"status": "Accepted", "schedule": schedule})
    await rig.denied(cs, "GetCompositeSchedule", wish, REJECTED)


async def test_tc_k_43_composite_schedule_of_an_evse(rig: Rig, cs: ScriptedCharger) -> None:
    """What the profiles of an EVSE amount to, as the station computes it."""
    await _composite(rig, cs, 1)


async def test_tc_k_44_composite_schedule_of_the_station(rig: Rig, cs: ScriptedCharger) -> None:
    """What the profiles of the station amount to: EVSE 0."""
    await _composite(rig, cs, 0)


async def test_tc_k_48_external_limit(rig: Rig, cs: ScriptedCharger) -> None:
    """A limit that an energy management system sets is told, with its schedule, confirmed and on record."""
    limit = {"chargingLimitSource": "EMS", "isGridCritical": False}
    wish = {"evseId": 1, "chargingLimit": limit, "chargingSchedule": [_SCHEDULE]}
    assert await cs.call("NotifyChargingLimit", wish) == {}
    (told,) = await rig.logged(cs, "NotifyChargingLimit")
    assert '"chargingLimitSource":"EMS"' in told.payload


async def test_tc_k_50_external_limit_released(rig: Rig, cs: ScriptedCharger) -> None:
    """A limit that is gone is told, for the station or for an EVSE."""
    for wish in ({"chargingLimitSource": "EMS"}, {"chargingLimitSource": "SO", "evseId": 1}):
        assert await cs.call("ClearedChargingLimit", wish) == {}
    assert len(await rig.logged(cs, "ClearedChargingLimit", 2)) == 2


async def test_tc_k_51_external_limit_released_in_a_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """With a transaction the release shows in it: a change of the charging rate."""
    transaction = Transaction(cs)
    await transaction.started()
    assert await cs.call("ClearedChargingLimit", {"chargingLimitSource": "EMS", "evseId": 1}) == {}
    await transaction.updated("ChargingRateChanged", "Charging", meter=2000)
    await transaction.ended("StopAuthorized")
    assert (await rig.ended(cs)).energy_wh == 4000


async def test_tc_k_52_external_limit_reported(rig: Rig, cs: ScriptedCharger) -> None:
    """The profile behind an external limit is reported with its source and its purpose."""
    wish = {
        "requestId": 4,
        "chargingProfile": {"chargingProfilePurpose": "ChargingStationExternalConstraints"},
    }
    await rig.agreed(cs, "GetChargingProfiles", wish, ACCEPTED)
    part = {
        "requestId": 4,
        "chargingLimitSource": "EMS",
        "evseId": 0,
        "chargingProfile": [_profile("ChargingStationExternalConstraints", 42)],
    }
    assert await cs.call("ReportChargingProfiles", part) == {}
    (told,) = await rig.logged(cs, "ReportChargingProfiles")
    assert '"ChargingStationExternalConstraints"' in told.payload


_NEEDS: Json = {
    "evseId": 1,
    "chargingNeeds": {
        "requestedEnergyTransfer": "AC_three_phase",
        "acChargingParameters": {
            "energyAmount": 20000,
            "evMinCurrent": 6,
            "evMaxCurrent": 32,
            "evMaxVoltage": 400,
        },
    },
}


async def test_tc_k_53_vehicle_needs(rig: Rig, cs: ScriptedCharger) -> None:
    """What a vehicle needs is on record. The platform computes no schedule from it and says so: Rejected, with
    which the station charges within its limits; the operator may send a profile, and the schedule that the vehicle
    makes of it is confirmed."""
    transaction = Transaction(cs)
    await transaction.started("CablePluggedIn", "EVConnected")
    assert (await cs.call("NotifyEVChargingNeeds", _NEEDS))["status"] == "Rejected"
    wish = _set(1, "TxProfile", transactionId=transaction.transaction_id)
    await rig.agreed(cs, "SetChargingProfile", wish, ACCEPTED)
    await _schedule_told(rig, cs)
    (told,) = await rig.logged(cs, "NotifyEVChargingNeeds")
    assert '"energyAmount":20000' in told.payload


async def _schedule_told(rig: Rig, cs: ScriptedCharger) -> None:
    schedule = {"timeBase": "2026-11-23T00:00:00Z", "evseId": 1, "chargingSchedule": _SCHEDULE}
    assert await cs.call("NotifyEVChargingSchedule", schedule) == {"status": "Accepted"}


async def test_tc_k_55_vehicle_schedule_beyond_limits(rig: Rig, cs: ScriptedCharger) -> None:
    """A schedule of the vehicle that exceeds the limits is taken note of: Accepted confirms the message; the limits
    stay in force at the station."""
    transaction = Transaction(cs)
    await transaction.started("CablePluggedIn", "EVConnected")
    high = {**_SCHEDULE, "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 63.0}]}
    schedule = {"timeBase": "2026-11-23T00:00:00Z", "evseId": 1, "chargingSchedule": high}
    assert await cs.call("NotifyEVChargingSchedule", schedule) == {"status": "Accepted"}
    (told,) = await rig.logged(cs, "NotifyEVChargingSchedule")
    assert '"limit":63.0' in told.payload


async def test_tc_k_57_renegotiated_by_the_vehicle(rig: Rig, cs: ScriptedCharger) -> None:
    """A vehicle that changes its mind tells its needs again in mid-transaction; each message is answered."""
    transaction = Transaction(cs)
    await transaction.started()
    for _ in range(2):
        assert (await cs.call("NotifyEVChargingNeeds", _NEEDS))["status"] == "Rejected"
    await _schedule_told(rig, cs)
    assert len(await rig.logged(cs, "NotifyEVChargingNeeds", 2)) == 2


async def test_tc_k_58_renegotiated_by_the_operator(rig: Rig, cs: ScriptedCharger) -> None:
    """The operator sends another profile in mid-transaction; the station negotiates with the vehicle, tells needs
    and schedule, and the transaction its change. Covers TC_K_59."""
    transaction = Transaction(cs)
    await transaction.started()
    wish = _set(1, "TxProfile", transactionId=transaction.transaction_id)
    await rig.agreed(cs, "SetChargingProfile", wish, ACCEPTED)
    assert (await cs.call("NotifyEVChargingNeeds", _NEEDS))["status"] == "Rejected"
    await _schedule_told(rig, cs)
    await transaction.updated("ChargingRateChanged", "Charging", meter=1500)
    await rig.charged(cs, 500)


async def test_tc_k_60_transaction_profile(rig: Rig, cs: ScriptedCharger) -> None:
    """A profile for a running transaction names it; also as the platform's own command, rounded down to tenths."""
    transaction = Transaction(cs)
    await transaction.started()
    wish = _set(1, "TxProfile", transactionId=transaction.transaction_id)
    await rig.agreed(cs, "SetChargingProfile", wish, ACCEPTED)
    limit = {
        "evse_id": 1,
        "transaction_id": transaction.transaction_id,
        "limit_milliamp": 8199,
        "profile_id": 2,
        "stack_level": 1,
    }
    _, asked = await rig.free(cs, "SetLimit", limit, "SetChargingProfile", ACCEPTED)
    profile = asked["chargingProfile"]
    assert (profile["transactionId"], profile["id"]) == (transaction.transaction_id, 2)
    assert profile["chargingSchedule"][0]["chargingSchedulePeriod"][0]["limit"] == 8.1


async def test_tc_k_70_several_profiles(rig: Rig, cs: ScriptedCharger) -> None:
    """Profiles of several EVSEs and stack levels lie side by side, each with an id of its own."""
    wishes = [
        _set(1, "TxDefaultProfile", 1),
        _set(1, "TxDefaultProfile", 2, stackLevel=1),
        _set(2, "TxDefaultProfile", 3),
    ]
    for wish in wishes:
        await rig.agreed(cs, "SetChargingProfile", wish, ACCEPTED)
