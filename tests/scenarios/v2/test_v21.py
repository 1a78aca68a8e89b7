"""What 2.1 adds: SEND and CALLRESULTERROR, event streams, DER, battery swap, tariffs, payment, dynamic schedules."""

import asyncio

import pytest

from libs.events.ocpp_log import FrameRejected
from tests.integration.test_ocsp import CA
from tests.scenarios.charger import Json, Refusal, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, FAR, REJECTED, Transaction, authorize, report, token
from tests.scenarios.v16.flows import ago

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_v21_session(rig: Rig, cs21: ScriptedCharger) -> None:
    """A session of 2.1, from the boot to the bill."""
    assert (await authorize(cs21))["status"] == "Accepted"
    await report(cs21, 1, "Occupied")
    transaction = Transaction(cs21)
    await transaction.started()
    await transaction.updated("ChargingStateChanged", "Charging", meter=2000)
    await transaction.ended("StopAuthorized")
    assert (await rig.cdr(cs21)).amount_minor == 200
    state = await rig.state(cs21.station_id, connected=True)
    assert state["version"] == "ocpp2.1"


async def test_v21_send(rig: Rig, cs21: ScriptedCharger) -> None:
    """A SEND is recorded and never answered: the next frame that the station gets answers its next CALL."""
    await cs21.send("NotifyPeriodicEventStream", _stream(3))
    assert set(await cs21.call("Heartbeat")) == {"currentTime"}
    (told,) = await rig.logged(cs21, "NotifyPeriodicEventStream")
    assert (told.answer, told.error, told.pending) == (None, None, False)


async def test_v21_call_result_error(rig: Rig, cs21: ScriptedCharger) -> None:
    """A station that cannot use our answer says so with a CALLRESULTERROR: it is on record, nothing else happens."""
    await cs21.call("Heartbeat")
    message_id = cs21.last_id
    await cs21.wire.send([5, message_id, "PropertyConstraintViolation", "no good", {}])
    assert set(await cs21.call("Heartbeat")) == {"currentTime"}
    (kept,) = await rig.records("ocpp.rejected", FrameRejected, cs21.station_id)
    assert (kept.message_id, kept.code) == (message_id, "PropertyConstraintViolation")
    assert "no good" in kept.reason


async def test_v21_unusable_result(rig: Rig, cs21: ScriptedCharger) -> None:
    """An answer of the station that we cannot use: its command FAILED, and the station is told with a
    CALLRESULTERROR."""
    wish = {"action": "GetLocalListVersion"}
    failed, _ = await asyncio.gather(
        rig.order(cs21, wish), cs21.expect("GetLocalListVersion", {"versionNumber": "four"}, strict=False)
    )
    assert failed["status"] == "FAILED"
    (told,) = await cs21.complaints(1)
    assert told[2] == "TypeConstraintViolation"


def _stream(number: int) -> Json:
    samples = [{"t": 0.0, "v": "230.1"}, {"t": 1.5, "v": "229.9"}]
    return {"id": number, "pending": 0, "basetime": ago(10), "data": samples}


async def test_tc_n_107_periodic_event_stream(rig: Rig, cs21: ScriptedCharger) -> None:
    """Event streams: the platform opens none at a station's request (Rejected, by which the station falls back to
    NotifyEvent); what streams all the same is recorded; streams are listed, adjusted, and closed."""
    stream = {"id": 3, "variableMonitoringId": 8, "params": {"interval": 5, "values": 10}}
    opened = await cs21.call("OpenPeriodicEventStream", {"constantStreamData": stream})
    assert opened["status"] == "Rejected"
    await cs21.send("NotifyPeriodicEventStream", _stream(3))
    await rig.agreed(cs21, "GetPeriodicEventStream", {}, {"constantStreamData": [stream]})
    change = {"id": 3, "params": {"interval": 10}}
    await rig.agreed(cs21, "AdjustPeriodicEventStream", change, ACCEPTED)
    await rig.denied(cs21, "AdjustPeriodicEventStream", change, REJECTED)
    assert await cs21.call("ClosePeriodicEventStream", {"id": 3}) == {}
    assert len(await rig.logged(cs21, "NotifyPeriodicEventStream")) == 1


async def test_tc_r_107_der_control(rig: Rig, cs21: ScriptedCharger) -> None:
    """A grid control is set, read back in a report, and cleared; what it replaces is told."""
    droop = {
        "priority": 0,
        "overFreq": 50.2,
        "underFreq": 49.8,
        "overDroop": 5.0,
        "underDroop": 5.0,
        "responseTime": 2,
    }
    wish = {"isDefault": True, "controlId": "fd1", "controlType": "FreqDroop", "freqDroop": droop}
    await rig.agreed(cs21, "SetDERControl", wish, {"status": "Accepted", "supersededIds": ["fd0"]})
    await rig.agreed(cs21, "GetDERControl", {"requestId": 2, "controlType": "FreqDroop"}, ACCEPTED)
    entry = {"id": "fd1", "isDefault": True, "isSuperseded": False, "freqDroop": droop}
    assert await cs21.call("ReportDERControl", {"requestId": 2, "freqDroop": [entry]}) == {}
    await rig.agreed(cs21, "ClearDERControl", {"isDefault": True, "controlId": "fd1"}, ACCEPTED)
    for status in ("NotFound", "NotSupported"):
        await rig.denied(cs21, "ClearDERControl", {"isDefault": True}, {"status": status})


async def test_tc_r_108_der_event(rig: Rig, cs21: ScriptedCharger) -> None:
    """A grid control that starts, an alarm of the grid, and its end are confirmed and on record."""
    start = {"controlId": "fd1", "started": True, "timestamp": ago(3), "supersededIds": ["fd0"]}
    assert await cs21.call("NotifyDERStartStop", start) == {}
    alarm = {"controlType": "FreqDroop", "gridEventFault": "OverFrequency", "timestamp": ago(2)}
    assert await cs21.call("NotifyDERAlarm", alarm) == {}
    assert await cs21.call("NotifyDERAlarm", {**alarm, "alarmEnded": True}) == {}
    assert len(await rig.logged(cs21, "NotifyDERAlarm", 2)) == 2


async def test_tc_s_102_battery_swap_refused(rig: Rig, cs21: ScriptedCharger) -> None:
    """A swap for which there are not enough batteries is refused."""
    await rig.denied(cs21, "RequestBatterySwap", {"requestId": 4, "idToken": token()}, REJECTED)


async def test_tc_s_103_battery_swap(rig: Rig, cs21: ScriptedCharger) -> None:
    """A swap is asked for; batteries go in and come out, each confirmed and on record."""
    await rig.agreed(cs21, "RequestBatterySwap", {"requestId": 4, "idToken": token()}, ACCEPTED)
    battery = {"evseId": 1, "serialNumber": "B-1", "soC": 20, "soH": 97}
    for kind in ("BatteryIn", "BatteryOut"):
        event = {"eventType": kind, "requestId": 4, "idToken": token(), "batteryData": [battery]}
        assert await cs21.call("BatterySwap", event) == {}
    assert len(await rig.logged(cs21, "BatterySwap", 2)) == 2


_TARIFF: Json = {"tariffId": "day", "currency": "EUR", "energy": {"prices": [{"priceKwh": 0.5}]}}


async def test_tc_i_101_default_tariff(rig: Rig, cs21: ScriptedCharger) -> None:
    """A tariff for all drivers is set at the station; what it cannot express is its no. Covers TC_I_102, TC_I_105,
    TC_I_106."""
    await rig.agreed(cs21, "SetDefaultTariff", {"evseId": 0, "tariff": _TARIFF}, ACCEPTED)
    for status in ("TooManyElements", "ConditionNotSupported", "DuplicateTariffId", "Rejected"):
        await rig.denied(cs21, "SetDefaultTariff", {"evseId": 1, "tariff": _TARIFF}, {"status": status})


async def test_tc_i_110_clear_tariffs(rig: Rig, cs21: ScriptedCharger) -> None:
    """Tariffs are listed and cleared; one that is not there makes the whole a no."""
    assignment = {"tariffId": "day", "tariffKind": "DefaultTariff", "evseIds": [1]}
    found = {"status": "Accepted", "tariffAssignments": [assignment]}
    await rig.agreed(cs21, "GetTariffs", {"evseId": 0}, found)
    await rig.denied(cs21, "GetTariffs", {"evseId": 0}, {"status": "NoTariff"})
    cleared = {"clearTariffsResult": [{"tariffId": "day", "status": "Accepted"}]}
    await rig.agreed(cs21, "ClearTariffs", {"tariffIds": ["day"]}, cleared)
    missing = {"clearTariffsResult": [{"tariffId": "day", "status": "NoTariff"}]}
    await rig.denied(cs21, "ClearTariffs", {"tariffIds": ["day"]}, missing)


async def test_tc_i_113_change_transaction_tariff(rig: Rig, cs21: ScriptedCharger) -> None:
    """The tariff of a running transaction is changed, which the transaction tells; or the station says no.
    Covers TC_I_114, TC_I_115."""
    transaction = Transaction(cs21)
    await transaction.started()
    wish = {"transactionId": transaction.transaction_id, "tariff": _TARIFF}
    await rig.agreed(cs21, "ChangeTransactionTariff", wish, ACCEPTED)
    await transaction.updated("TariffChanged", "Charging")
    for status in ("TxNotFound", "NoCurrencyChange", "TooManyElements", "ConditionNotSupported"):
        await rig.denied(cs21, "ChangeTransactionTariff", wish, {"status": status})


async def test_tc_i_122_cost_details(rig: Rig, cs21: ScriptedCharger) -> None:
    """A station that computes costs itself tells them with the end of the transaction: they are on record; the bill
    is the platform's."""
    transaction = Transaction(cs21)
    await transaction.started()
    price = {"exclTax": 1.5}
    details = {
        "chargingPeriods": [{"startPeriod": ago(600), "tariffId": "day"}],
        "totalCost": {"currency": "EUR", "typeOfCost": "NormalCost", "energy": price, "total": price},
        "totalUsage": {"energy": 4000, "chargingTime": 600, "idleTime": 0},
    }
    await transaction.ended("StopAuthorized", "Local", 5000, costDetails=details)
    assert (await rig.cdr(cs21)).amount_minor == 200
    told = (await rig.logged(cs21, "TransactionEvent", 2))[-1]
    assert '"typeOfCost":"NormalCost"' in told.payload


async def test_tc_k_118_priority_charging(rig: Rig, cs21: ScriptedCharger) -> None:
    """Priority charging is switched on for a transaction, and its start is told; without a profile for it the
    station says so."""
    transaction = Transaction(cs21)
    await transaction.started()
    wish = {"transactionId": transaction.transaction_id, "activate": True}
    await rig.agreed(cs21, "UsePriorityCharging", wish, ACCEPTED)
    told = {"transactionId": transaction.transaction_id, "activated": True}
    assert await cs21.call("NotifyPriorityCharging", told) == {}
    await rig.denied(cs21, "UsePriorityCharging", wish, {"status": "NoProfile"})


async def test_tc_k_121_dynamic_schedule(rig: Rig, cs21: ScriptedCharger) -> None:
    """A dynamic profile's limit is pushed to the station; a station that pulls is told that nothing waits for it
    (Rejected), and keeps what it has."""
    push = {"chargingProfileId": 7, "scheduleUpdate": {"limit": 11000.0}}
    await rig.agreed(cs21, "UpdateDynamicSchedule", push, ACCEPTED)
    await rig.denied(cs21, "UpdateDynamicSchedule", push, REJECTED)
    pulled = await cs21.call("PullDynamicScheduleUpdate", {"chargingProfileId": 7})
    assert pulled["status"] == "Rejected"


async def test_tc_q_102_allowed_energy_transfer(rig: Rig, cs21: ScriptedCharger) -> None:
    """A vehicle may give energy back: the transfers that are allowed are told in mid-transaction."""
    transaction = Transaction(cs21)
    await transaction.started()
    wish = {
        "transactionId": transaction.transaction_id,
        "allowedEnergyTransfer": ["AC_BPT", "AC_three_phase"],
    }
    await rig.agreed(cs21, "NotifyAllowedEnergyTransfer", wish, ACCEPTED)
    await rig.denied(cs21, "NotifyAllowedEnergyTransfer", wish, REJECTED)


async def test_tc_q_120_frequency_restoration(rig: Rig, cs21: ScriptedCharger) -> None:
    """A signal of the grid's frequency restoration reaches the station."""
    wish = {"timestamp": "2026-11-23T00:00:00Z", "signal": -42}
    await rig.agreed(cs21, "AFRRSignal", wish, ACCEPTED)
    await rig.denied(cs21, "AFRRSignal", wish, REJECTED)


async def test_tc_c_108_vat_number(rig: Rig, cs21: ScriptedCharger) -> None:
    """A VAT number that nobody here can validate is rejected, and repeated as it was given, with its EVSE."""
    asked = {"vatNumber": "DE123456789", "evseId": 1}
    assert await cs21.call("VatNumberValidation", asked) == {**asked, "status": "Rejected"}


async def test_v21_no_charging_profile(cs21: ScriptedCharger) -> None:
    """What a vehicle needs is taken note of; the station of 2.1 is told that no charging profile follows."""
    needs = {
        "evseId": 1,
        "chargingNeeds": {"requestedEnergyTransfer": "AC_three_phase"},
    }
    assert await cs21.call("NotifyEVChargingNeeds", needs) == {"status": "NoChargingProfile"}


async def test_tc_c_117_settlement(rig: Rig, cs21: ScriptedCharger) -> None:
    """Settlements, good and bad, are confirmed and on record. Covers TC_C_118, TC_C_119, TC_C_120."""
    for status in ("Settled", "Canceled", "Rejected", "Failed"):
        wish = {"pspRef": "p-1", "status": status, "settlementAmount": 2.0, "settlementTime": ago(1)}
        assert await cs21.call("NotifySettlement", wish) == {}
    assert len(await rig.logged(cs21, "NotifySettlement", 4)) == 4


async def test_tc_c_131_web_payment(rig: Rig, cs21: ScriptedCharger) -> None:
    """A station whose QR code was scanned is told that a payment has begun; then it is started remotely."""
    await rig.agreed(cs21, "NotifyWebPaymentStarted", {"evseId": 1, "timeout": 120}, {})
    start = {"idToken": token("TAG-OK", "DirectPayment"), "remoteStartId": 5, "evseId": 1}
    await rig.agreed(cs21, "RequestStartTransaction", start, ACCEPTED)


async def test_tc_b_103_reset_and_resume(rig: Rig, cs21: ScriptedCharger) -> None:
    """An immediate reset after which the transaction goes on: one session. Covers TC_B_104, TC_E_113."""
    transaction = Transaction(cs21)
    await transaction.started()
    await rig.agreed(cs21, "Reset", {"type": "ImmediateAndResume"}, ACCEPTED)
    await cs21.leave()
    async with rig.charger(cs21.station_id, "ocpp2.1") as back:
        await back.boot(reason="RemoteReset")
        transaction.cs = back
        await transaction.updated("TxResumed", "Charging", meter=2000)
        await transaction.ended("StopAuthorized", "Local", 4000)
    ended = await rig.ended(cs21)
    assert (ended.energy_wh, ended.review) == (3000, ())


async def test_tc_f_100_custom_trigger(rig: Rig, cs21: ScriptedCharger) -> None:
    """A vendor's own message is triggered by its name."""
    wish = {"requestedMessage": "CustomTrigger", "customTrigger": "Selfie"}
    await rig.agreed(cs21, "TriggerMessage", wish, ACCEPTED)
    failed = await rig.command(cs21, "TriggerMessage", wish, Refusal("NotImplemented"))
    assert failed["status"] == "FAILED"


async def test_tc_h_07_v21_reservation_unused(rig: Rig, cs21: ScriptedCharger) -> None:
    """A reservation for which there was no transaction says so (2.1)."""
    wish = {"id": 7, "expiryDateTime": FAR, "idToken": token(), "evseId": 1}
    await rig.agreed(cs21, "ReserveNow", wish, ACCEPTED)
    update = {"reservationId": 7, "reservationUpdateStatus": "NoTransaction"}
    assert await cs21.call("ReservationStatusUpdate", update) == {}


async def test_v21_certificate_chain_status(rig: Rig, cs21: ScriptedCharger) -> None:
    """The status of several certificates is asked at once: each gets the platform's own word, by OCSP only."""
    good, revoked = CA.issue("good"), CA.issue("revoked")
    rig.responder.knows(good)
    rig.responder.knows(revoked, revoked=True)
    requests = [
        {"certificateHashData": CA.hash_data(each), "source": source, "urls": [rig.responder.url]}
        for each, source in ((good, "OCSP"), (revoked, "OCSP"), (good, "CRL"))
    ]
    answer = await cs21.call("GetCertificateChainStatus", {"certificateStatusRequests": requests})
    assert [each["status"] for each in answer["certificateStatus"]] == ["Good", "Revoked", "Failed"]
