"""H: reservations."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, FAR, REJECTED, Transaction, authorize, report, token

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _wish(**fields: object) -> Json:
    wish: Json = {"id": 7, "expiryDateTime": FAR, "idToken": token()}
    return wish | fields


async def test_tc_h_01_reservation_used(rig: Rig, cs: ScriptedCharger) -> None:
    """An EVSE is reserved and shown as such; the transaction that uses the reservation names it."""
    await rig.agreed(cs, "ReserveNow", _wish(evseId=1), ACCEPTED)
    await report(cs, 1, "Reserved")
    await rig.status(cs.station_id, 1, "Reserved", connector_id=1)
    assert (await authorize(cs))["status"] == "Accepted"
    transaction = Transaction(cs)
    await transaction.started(reservationId=7)
    await transaction.ended("StopAuthorized")
    assert (await rig.ended(cs)).energy_wh == 4000
    first, _ = await rig.logged(cs, "TransactionEvent", 2)
    assert '"reservationId":7' in first.payload


async def test_tc_h_07_reservation_expires(rig: Rig, cs: ScriptedCharger) -> None:
    """A reservation that nobody used expires; the station says so."""
    await rig.agreed(cs, "ReserveNow", _wish(evseId=1), ACCEPTED)
    await report(cs, 1, "Reserved")
    await report(cs, 1, "Available")
    update = {"reservationId": 7, "reservationUpdateStatus": "Expired"}
    assert await cs.call("ReservationStatusUpdate", update) == {}
    await rig.status(cs.station_id, 1, "Available", connector_id=1)
    (told,) = await rig.logged(cs, "ReservationStatusUpdate")
    assert '"reservationUpdateStatus":"Expired"' in told.payload


async def test_tc_h_08_any_evse_reserved(rig: Rig, cs: ScriptedCharger) -> None:
    """Without an EVSE any one is reserved; the transaction uses it on the second."""
    await rig.agreed(cs, "ReserveNow", _wish(), ACCEPTED)
    transaction = Transaction(cs)
    await transaction.started(reservationId=7, evse={"id": 2, "connectorId": 1})
    assert (await rig.started(cs)).evse_id == 2


async def test_tc_h_14_as_many_reservations_as_evses(rig: Rig, cs: ScriptedCharger) -> None:
    """Once as many reservations are made as there are EVSEs, the next is refused as occupied."""
    for number in (1, 2):
        await rig.agreed(cs, "ReserveNow", _wish(id=number), ACCEPTED)
    for no in ("Occupied", "Faulted", "Unavailable"):
        await rig.denied(cs, "ReserveNow", _wish(id=3), {"status": no})


async def test_tc_h_15_connector_type_reserved(rig: Rig, cs: ScriptedCharger) -> None:
    """A connector of a type is reserved."""
    await rig.agreed(cs, "ReserveNow", _wish(connectorType="cType2"), ACCEPTED)


async def test_tc_h_17_reservation_cancelled(rig: Rig, cs: ScriptedCharger) -> None:
    """A reservation is cancelled; one that the station does not know cannot be."""
    await rig.agreed(cs, "ReserveNow", _wish(evseId=1), ACCEPTED)
    await rig.agreed(cs, "CancelReservation", {"reservationId": 7}, ACCEPTED)
    await report(cs, 1, "Available")
    await rig.denied(cs, "CancelReservation", {"reservationId": 7}, REJECTED)


async def test_tc_h_19_reservation_used_by_the_group(rig: Rig, cs: ScriptedCharger) -> None:
    """A reservation for a group is used by another token of it."""
    group = (await authorize(cs, "TAG-FAMILY-1"))["groupIdToken"]
    wish = _wish(evseId=1, idToken=token("TAG-FAMILY-1"), groupIdToken=group)
    await rig.agreed(cs, "ReserveNow", wish, ACCEPTED)
    assert (await authorize(cs, "TAG-FAMILY-2"))["groupIdToken"] == group
    transaction = Transaction(cs)
    answer = await transaction.started(reservationId=7, idToken=token("TAG-FAMILY-2"))
    assert answer["idTokenInfo"] == {"status": "Accepted", "groupIdToken": group}
    assert (await rig.started(cs)).id_token == "TAG-FAMILY-2"


async def test_tc_h_20_reservation_removed_by_a_fault(rig: Rig, cs: ScriptedCharger) -> None:
    """A reserved EVSE that becomes faulty loses its reservation; the station says so."""
    await rig.agreed(cs, "ReserveNow", _wish(evseId=1), ACCEPTED)
    await report(cs, 1, "Faulted")
    update = {"reservationId": 7, "reservationUpdateStatus": "Removed"}
    assert await cs.call("ReservationStatusUpdate", update) == {}
    await rig.status(cs.station_id, 1, "Faulted", connector_id=1)


async def test_tc_h_22_reservation_rejected(rig: Rig, cs: ScriptedCharger) -> None:
    """A station that takes no reservations rejects them."""
    await rig.denied(cs, "ReserveNow", _wish(evseId=1), REJECTED)
