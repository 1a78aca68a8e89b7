"""Reservations: used, expired, refused, cancelled."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v16.flows import authorize, report, start, started, stop

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAR = "2036-01-01T00:00:00Z"


def _wish(connector: int = 1, **fields: object) -> Json:
    wish: Json = {"connectorId": connector, "expiryDate": FAR, "idTag": "TAG-OK", "reservationId": 7}
    return wish | fields


async def _reserve(rig: Rig, cp: ScriptedCharger, wish: Json, status: str) -> None:
    done = await rig.command(cp, "ReserveNow", wish, {"status": status})
    assert done["status"] == ("ACCEPTED" if status == "Accepted" else "REJECTED")
    assert done["result"] == {"status": status}


async def test_tc_046_reservation_used(rig: Rig, cp: ScriptedCharger) -> None:
    """A reserved connector is shown as such; the session that uses the reservation names it."""
    await _reserve(rig, cp, _wish(), "Accepted")
    await report(cp, 1, "Reserved")
    await rig.status(cp.station_id, 1, "Reserved")
    assert (await authorize(cp, "TAG-OK"))["status"] == "Accepted"
    await report(cp, 1, "Preparing")
    transaction = await started(cp, reservationId=7)
    await report(cp, 1, "Charging")
    (told,) = await rig.logged(cp, "StartTransaction")
    assert '"reservationId":7' in told.payload
    await stop(cp, transaction)
    assert (await rig.ended(cp)).energy_wh == 4000


async def test_tc_047_reservation_expires(rig: Rig, cp: ScriptedCharger) -> None:
    """A reservation that nobody uses expires at the charger, and the connector is available again."""
    await _reserve(rig, cp, _wish(expiryDate="2026-11-23T00:00:00Z"), "Accepted")
    await report(cp, 1, "Reserved")
    await rig.status(cp.station_id, 1, "Reserved")
    await report(cp, 1, "Available")
    await rig.status(cp.station_id, 1, "Available")


async def test_tc_048_1_reservation_faulted(rig: Rig, cp: ScriptedCharger) -> None:
    """A faulted connector cannot be reserved."""
    await report(cp, 1, "Faulted", "OtherError")
    await _reserve(rig, cp, _wish(), "Faulted")


async def test_tc_048_2_reservation_occupied(rig: Rig, cp: ScriptedCharger) -> None:
    """A connector in use cannot be reserved."""
    await report(cp, 1, "Preparing")
    await _reserve(rig, cp, _wish(), "Occupied")


async def test_tc_048_3_reservation_unavailable(rig: Rig, cp: ScriptedCharger) -> None:
    """A connector that was made unavailable cannot be reserved."""
    wish = {"connectorId": 1, "type": "Inoperative"}
    assert (await rig.command(cp, "ChangeAvailability", wish, {"status": "Accepted"}))["status"] == "ACCEPTED"
    await report(cp, 1, "Unavailable")
    await _reserve(rig, cp, _wish(), "Unavailable")


async def test_tc_048_4_reservation_rejected(rig: Rig, cp: ScriptedCharger) -> None:
    """A charger that does not take reservations rejects them."""
    await _reserve(rig, cp, _wish(), "Rejected")


async def test_tc_049_reservation_of_the_charge_point(rig: Rig, cp: ScriptedCharger) -> None:
    """Connector 0 reserves any connector; the session on connector 2 uses it."""
    await _reserve(rig, cp, _wish(0), "Accepted")
    await report(cp, 2, "Preparing")
    await started(cp, connectorId=2, reservationId=7)
    assert (await rig.started(cp)).evse_id == 2


async def test_tc_050_charge_point_not_reserved(rig: Rig, cp: ScriptedCharger) -> None:
    """Connector 0 is refused for the reasons for which a connector is (050_1 to 050_4)."""
    for status in ("Faulted", "Occupied", "Unavailable", "Rejected"):
        await _reserve(rig, cp, _wish(0), status)


async def test_tc_051_cancel_reservation(rig: Rig, cp: ScriptedCharger) -> None:
    """A reservation is cancelled, and the connector is available again."""
    await _reserve(rig, cp, _wish(), "Accepted")
    await report(cp, 1, "Reserved")
    done = await rig.command(cp, "CancelReservation", {"reservationId": 7}, {"status": "Accepted"})
    assert done["status"] == "ACCEPTED"
    await report(cp, 1, "Available")
    await rig.status(cp.station_id, 1, "Available")


async def test_tc_052_cancel_unknown_reservation(rig: Rig, cp: ScriptedCharger) -> None:
    """A reservation that the charger does not know cannot be cancelled."""
    done = await rig.command(cp, "CancelReservation", {"reservationId": 99}, {"status": "Rejected"})
    assert (done["status"], done["result"]) == ("REJECTED", {"status": "Rejected"})


async def test_tc_053_reservation_used_by_the_group(rig: Rig, cp: ScriptedCharger) -> None:
    """A reservation for a parent tag: another tag of the group is told that parent, by Authorize and by
    StartTransaction, and uses it."""
    group = (await authorize(cp, "TAG-FAMILY-1"))["parentIdTag"]
    await _reserve(rig, cp, _wish(idTag="TAG-FAMILY-1", parentIdTag=group), "Accepted")
    await report(cp, 1, "Reserved")
    assert (await authorize(cp, "TAG-FAMILY-2")) == {"status": "Accepted", "parentIdTag": group}
    answer = await start(cp, "TAG-FAMILY-2", reservationId=7)
    assert answer["idTagInfo"] == {"status": "Accepted", "parentIdTag": group}
    assert (await rig.started(cp)).id_token == "TAG-FAMILY-2"
