"""G: availability of station, EVSE and connector."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, REJECTED, Transaction, report

pytestmark = pytest.mark.asyncio(loop_scope="session")

_EVSE = {"id": 1}
_CONNECTOR = {"id": 1, "connectorId": 1}


async def _change(
    rig: Rig, cs: ScriptedCharger, kind: str, what: Json | None, *shown: tuple[int, int]
) -> None:
    """Change availability; the connectors `shown` report what came of it, and operators see it."""
    wish: Json = {"operationalStatus": kind} | ({} if what is None else {"evse": what})
    await rig.agreed(cs, "ChangeAvailability", wish, ACCEPTED)
    status = "Available" if kind == "Operative" else "Unavailable"
    for evse, connector in shown:
        await report(cs, evse, status, connector)
        await rig.status(cs.station_id, evse, status, connector_id=connector)


async def test_tc_g_03_evse_out_of_service(rig: Rig, cs: ScriptedCharger) -> None:
    """An EVSE is taken out of service; all its connectors are."""
    await _change(rig, cs, "Inoperative", _EVSE, (1, 1), (1, 2))


async def test_tc_g_04_evse_back_in_service(rig: Rig, cs: ScriptedCharger) -> None:
    """An EVSE is put back into service."""
    await _change(rig, cs, "Operative", _EVSE, (1, 1))


async def test_tc_g_05_station_out_of_service(rig: Rig, cs: ScriptedCharger) -> None:
    """The station is taken out of service: without an EVSE in the request; a station may refuse."""
    await _change(rig, cs, "Inoperative", None, (1, 1), (2, 1))
    await rig.denied(cs, "ChangeAvailability", {"operationalStatus": "Inoperative"}, REJECTED)


async def test_tc_g_06_station_back_in_service(rig: Rig, cs: ScriptedCharger) -> None:
    """The station is put back into service."""
    await _change(rig, cs, "Operative", None, (1, 1), (2, 1))


async def test_tc_g_07_connector_out_of_service(rig: Rig, cs: ScriptedCharger) -> None:
    """A connector is taken out of service."""
    await _change(rig, cs, "Inoperative", _CONNECTOR, (1, 1))


async def test_tc_g_08_connector_back_in_service(rig: Rig, cs: ScriptedCharger) -> None:
    """A connector is put back into service."""
    await _change(rig, cs, "Operative", _CONNECTOR, (1, 1))


async def _scheduled(rig: Rig, cs: ScriptedCharger, what: Json | None) -> None:
    """With a transaction the change is scheduled, which is agreement; the transaction goes on to its own end."""
    transaction = Transaction(cs)
    await transaction.started("Authorized", "Charging")
    wish: Json = {"operationalStatus": "Inoperative"} | ({} if what is None else {"evse": what})
    await rig.agreed(cs, "ChangeAvailability", wish, {"status": "Scheduled"})
    await transaction.ended("StopAuthorized")
    assert (await rig.ended(cs)).energy_wh == 4000
    await report(cs, 1, "Unavailable")
    await rig.status(cs.station_id, 1, "Unavailable", connector_id=1)


async def test_tc_g_11_evse_after_its_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """An EVSE with a transaction is taken out of service after it."""
    await _scheduled(rig, cs, _EVSE)


async def test_tc_g_14_station_after_its_transactions(rig: Rig, cs: ScriptedCharger) -> None:
    """A station with a transaction is taken out of service after it."""
    await _scheduled(rig, cs, None)


async def test_tc_g_17_connector_after_its_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """A connector with a transaction is taken out of service after it."""
    await _scheduled(rig, cs, _CONNECTOR)


async def test_tc_g_20_lock_failure(rig: Rig, cs: ScriptedCharger) -> None:
    """A lock that fails is told as an event of the connector plug's lock, which is confirmed and on record, and
    the connector's state goes with it."""
    event = {
        "eventId": 1,
        "timestamp": "2026-11-23T00:00:00Z",
        "trigger": "Delta",
        "actualValue": "true",
        "eventNotificationType": "HardWiredNotification",
        "component": {"name": "ConnectorPlugRetentionLock", "evse": _CONNECTOR},
        "variable": {"name": "Problem"},
    }
    wish = {"generatedAt": "2026-11-23T00:00:00Z", "seqNo": 0, "eventData": [event]}
    assert await cs.call("NotifyEvent", wish) == {}
    await report(cs, 1, "Faulted")
    await rig.status(cs.station_id, 1, "Faulted", connector_id=1)
    (told,) = await rig.logged(cs, "NotifyEvent")
    assert "ConnectorPlugRetentionLock" in told.payload
