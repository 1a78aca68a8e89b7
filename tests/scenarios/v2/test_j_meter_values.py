"""J: clock-aligned, sampled and signed meter values, in transactions and outside."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import Transaction, energy

pytestmark = pytest.mark.asyncio(loop_scope="session")

_SIGNED: Json = {
    "signedMeterData": "T0NNRnx7fQ==",
    "signingMethod": "ECDSA-secp256r1-SHA256",
    "encodingMethod": "OCMF",
    "publicKey": "b2NhOmJhc2UxNg==",
}


def _current(amperes: float, phase: str) -> Json:
    return {
        "value": amperes,
        "context": "Sample.Clock",
        "measurand": "Current.Import",
        "phase": phase,
        "unitOfMeasure": {"unit": "A"},
    }


async def test_tc_j_01_clock_aligned_without_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """Clock-aligned values outside of transactions are measurements of their EVSE, the station's own meter
    (EVSE 0) included."""
    for evse in (0, 1):
        value = energy(123456.7, "Sample.Clock")
        value["sampledValue"] += [_current(0.05, "L1"), _current(12.3, "L2")]
        assert await cs.call("MeterValues", {"evseId": evse, "meterValue": [value]}) == {}
    station, first = await rig.measured(cs, 2)
    assert (station.evse_id, first.evse_id, first.transaction_id) == (0, 1, None)
    assert [(s.measurand, s.phase, s.value_milli, s.unit) for s in first.samples] == [
        ("Energy.Active.Import.Register", None, 123_456_700, "Wh"),
        ("Current.Import", "L1", 50, "A"),
        ("Current.Import", "L2", 12_300, "A"),
    ]


async def test_tc_j_02_clock_aligned_in_a_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """Clock-aligned values of a transaction are its measurements, and show how much was charged so far."""
    transaction = Transaction(cs)
    await transaction.started(meter=1000)
    await transaction.updated("MeterValueClock", meterValue=[energy(1600, "Sample.Clock")])
    await rig.charged(cs, 600)
    taken = (await rig.measured(cs, 2))[-1]
    assert (taken.transaction_id, taken.samples[0].context) == (transaction.transaction_id, "Sample.Clock")


async def test_tc_j_03_clock_aligned_at_the_end(rig: Rig, cs: ScriptedCharger) -> None:
    """Clock-aligned values that come with the Ended event are taken; the register at the end counts."""
    transaction = Transaction(cs)
    await transaction.started(meter=1000)
    history = [energy(2000, "Sample.Clock", at=200), energy(3000, "Sample.Clock", at=100)]
    at_end = energy(3300, "Transaction.End", at=1)
    info = {"stoppedReason": "Local"}
    await transaction.event("Ended", "StopAuthorized", info=info, meterValue=[*history, at_end])
    ended = await rig.ended(cs)
    assert (ended.energy_wh, ended.review) == (2300, ())


async def _signed(rig: Rig, cs: ScriptedCharger, context: str) -> None:
    """Signed values count like others, and their signatures stay on record as they came."""
    transaction = Transaction(cs)
    await transaction.started(meter=1000)
    value = energy(2500, context, signedMeterValue=_SIGNED)
    await transaction.updated("MeterValueClock", meterValue=[value])
    await rig.charged(cs, 1500)
    told = (await rig.logged(cs, "TransactionEvent", 2))[-1]
    assert '"signedMeterData":"T0NNRnx7fQ=="' in told.payload


async def test_tc_j_04_clock_aligned_signed(rig: Rig, cs: ScriptedCharger) -> None:
    """Clock-aligned values may be signed."""
    await _signed(rig, cs, "Sample.Clock")


async def test_tc_j_07_sampled_at_the_start(rig: Rig, cs: ScriptedCharger) -> None:
    """The values of the Started event are the session's first."""
    await Transaction(cs).started(meter=1234)
    assert (await rig.started(cs)).meter_start_wh == 1234


async def test_tc_j_08_begin_told_later(rig: Rig, cs: ScriptedCharger) -> None:
    """A transaction that starts without an EVSE has no meter yet: the value with context Transaction.Begin comes
    with a later event, and is the session's first."""
    transaction = Transaction(cs)
    await transaction.started("Authorized", "Idle", evse=None, meter=None)
    begin = energy(1500, "Transaction.Begin")
    await transaction.updated(
        "CablePluggedIn", "EVConnected", evse={"id": 1, "connectorId": 1}, meterValue=[begin]
    )
    await transaction.ended("StopAuthorized", "Local", 2000)
    ended = await rig.ended(cs)
    assert (ended.meter_start_wh, ended.energy_wh, ended.evse_id) == (1500, 500, 1)


async def test_tc_j_09_sampled(rig: Rig, cs: ScriptedCharger) -> None:
    """Sampled values show how much was charged so far; kWh count as what they are."""
    transaction = Transaction(cs)
    await transaction.started(meter=1000)
    value = energy(2.5, unitOfMeasure={"unit": "kWh"})
    await transaction.updated("MeterValuePeriodic", meterValue=[value])
    await rig.charged(cs, 1500)
    scaled = energy(0.3, unitOfMeasure={"unit": "Wh", "multiplier": 4})
    await transaction.updated("MeterValuePeriodic", meterValue=[scaled])
    await rig.charged(cs, 2000)


async def test_tc_j_10_sampled_at_the_end(rig: Rig, cs: ScriptedCharger) -> None:
    """The values of the Ended event are the session's last."""
    transaction = Transaction(cs)
    await transaction.started(meter=1000)
    await transaction.ended("StopAuthorized", "Local", 1001)
    ended = await rig.ended(cs)
    assert (ended.meter_stop_wh, ended.energy_wh) == (1001, 1)


async def test_tc_j_11_sampled_signed(rig: Rig, cs: ScriptedCharger) -> None:
    """Sampled values may be signed."""
    await _signed(rig, cs, "Sample.Periodic")
