"""E: every point at which a transaction starts or ends, queues, and what the operator can ask."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import SITE, Rig
from tests.scenarios.v2.flows import ACCEPTED, Transaction, authorize, report, token

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _begun(rig: Rig, cs: ScriptedCharger, trigger: str, state: str, **fields: object) -> Transaction:
    """A transaction that starts at some point; the session starts with it, token and EVSE come when they are known."""
    transaction = Transaction(cs)
    assert await transaction.started(trigger, state, idToken=None, **fields) == {}
    begun = await rig.started(cs)
    assert (begun.transaction_id, begun.site_id, begun.id_token) == (transaction.transaction_id, SITE, None)
    return transaction


async def _charged(rig: Rig, transaction: Transaction, **fields: object) -> None:
    answer = await transaction.updated("Authorized", "Charging", idToken=token(), meter=2000, **fields)
    assert answer == {"idTokenInfo": {"status": "Accepted"}}
    await transaction.ended("StopAuthorized")
    ended = await rig.ended(transaction.cs)
    assert (ended.id_token, ended.evse_id, ended.energy_wh) == ("TAG-OK", 1, 4000)


async def test_tc_e_01_start_power_path_closed(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction starts when the power path is closed: authorised and plugged in."""
    assert (await authorize(cs))["status"] == "Accepted"
    await report(cs, 1, "Occupied")
    transaction = Transaction(cs)
    await transaction.started("ChargingStateChanged", "Charging")
    assert (await rig.started(cs)).id_token == "TAG-OK"


async def test_tc_e_02_start_energy_transfer(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction starts when energy flows."""
    transaction = Transaction(cs)
    await transaction.started("ChargingStateChanged", "Charging", meter=1010)
    assert (await rig.started(cs)).meter_start_wh == 1010


async def test_tc_e_03_cable_first(rig: Rig, cs: ScriptedCharger) -> None:
    """Cable first: the transaction starts with it, the token comes later and is the session's."""
    await report(cs, 1, "Occupied")
    transaction = await _begun(rig, cs, "CablePluggedIn", "EVConnected")
    await _charged(rig, transaction)


async def test_tc_e_04_token_first(rig: Rig, cs: ScriptedCharger) -> None:
    """Token first: the transaction starts without an EVSE, which comes with the cable."""
    assert (await authorize(cs))["status"] == "Accepted"
    transaction = Transaction(cs)
    await transaction.started("Authorized", "Idle", evse=None, meter=None)
    await transaction.updated("CablePluggedIn", "EVConnected", evse={"id": 1, "connectorId": 1}, meter=1000)
    await transaction.updated("ChargingStateChanged", "Charging")
    await transaction.ended("StopAuthorized")
    ended = await rig.ended(cs)
    assert (ended.id_token, ended.evse_id, ended.energy_wh) == ("TAG-OK", 1, 4000)


async def test_tc_e_09_start_ev_connected(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction starts when a vehicle is connected."""
    await _charged(rig, await _begun(rig, cs, "CablePluggedIn", "EVConnected"))


async def test_tc_e_10_start_authorized(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction starts with the token."""
    transaction = Transaction(cs)
    answer = await transaction.started("Authorized", "Idle")
    assert answer["idTokenInfo"]["status"] == "Accepted"
    assert (await rig.started(cs)).id_token == "TAG-OK"


async def test_tc_e_11_start_data_signed(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction starts when the meter has signed its first value."""
    await _charged(rig, await _begun(rig, cs, "SignedDataReceived", "EVConnected"))


async def test_tc_e_12_start_parking_bay_occupied(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction starts when a vehicle stands in the bay; nothing else is known yet."""
    transaction = await _begun(rig, cs, "EVDetected", "Idle", evse=None, meter=None)
    await transaction.updated("CablePluggedIn", "EVConnected", evse={"id": 1, "connectorId": 1}, meter=1000)
    await _charged(rig, transaction)


async def _ends(rig: Rig, cs: ScriptedCharger, trigger: str, reason: str, **fields: Json) -> None:
    """A transaction ends at some point, and the session with it, for that reason."""
    transaction = Transaction(cs)
    await transaction.started("Authorized", "Charging")
    await transaction.ended(trigger, reason, 3500, **fields)
    ended = await rig.ended(cs)
    assert (ended.reason, ended.energy_wh, ended.review) == (reason, 2500, ())
    assert (await rig.cdr(cs)).amount_minor == 125


async def test_tc_e_07_stop_power_path_opened(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction ends when the power path opens after a token was shown."""
    await _ends(rig, cs, "StopAuthorized", "Local", idToken=token())


async def test_tc_e_08_stop_energy_transfer(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction ends when no more energy flows, the driver having stopped it."""
    await _ends(rig, cs, "ChargingStateChanged", "Local")


async def test_tc_e_14_stop_unplugged_at_the_station(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction ends when the cable is taken out of the station."""
    await _ends(rig, cs, "EVCommunicationLost", "EVDisconnected")


async def test_tc_e_15_stop_authorized_local(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction ends when the driver shows the token again, which is told that it is good."""
    await _ends(rig, cs, "StopAuthorized", "Local", idToken=token())


async def test_tc_e_16_stop_deauthorized(rig: Rig, cs: ScriptedCharger) -> None:
    """A token that turns out to be invalid ends the transaction."""
    transaction = Transaction(cs)
    answer = await transaction.started("Authorized", "Charging", idToken=token("TAG-NOBODY"))
    assert answer["idTokenInfo"]["status"] == "Invalid"
    await transaction.updated("Deauthorized", "SuspendedEVSE")
    await transaction.ended("Deauthorized", "DeAuthorized", 1000)
    assert (await rig.ended(cs)).reason == "DeAuthorized"


async def test_tc_e_17_stop_deauthorized_unplugged(rig: Rig, cs: ScriptedCharger) -> None:
    """The vehicle leaves while the transaction is not authorised any more."""
    await _ends(rig, cs, "EVCommunicationLost", "DeAuthorized")


async def test_tc_e_19_stop_parking_bay_unoccupied(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction ends when the vehicle has left the bay."""
    await _ends(rig, cs, "EVDeparted", "Local")


async def test_tc_e_20_stop_unplugged_at_the_vehicle(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction ends when the cable is pulled at the vehicle."""
    await _ends(rig, cs, "EVCommunicationLost", "EVDisconnected")


async def test_tc_e_21_stop_remotely(rig: Rig, cs: ScriptedCharger) -> None:
    """The operator stops the transaction by its id."""
    transaction = Transaction(cs)
    await transaction.started("Authorized", "Charging")
    wish = {"transactionId": transaction.transaction_id}
    await rig.agreed(cs, "RequestStopTransaction", wish, ACCEPTED)
    await transaction.updated("RemoteStop", "EVConnected")
    await transaction.ended("RemoteStop", "Remote")
    assert (await rig.ended(cs)).reason == "Remote"


async def test_tc_e_22_stop_suspended_by_the_vehicle(rig: Rig, cs: ScriptedCharger) -> None:
    """The vehicle wants no more: the transaction ends with the energy transfer."""
    transaction = Transaction(cs)
    await transaction.started("Authorized", "Charging")
    await transaction.updated("ChargingStateChanged", "SuspendedEV", meter=2000)
    await transaction.ended("ChargingStateChanged", "StoppedByEV", 2000)
    ended = await rig.ended(cs)
    assert (ended.reason, ended.energy_wh) == ("StoppedByEV", 1000)


async def test_tc_e_26_suspended_by_unplugging(rig: Rig, cs: ScriptedCharger) -> None:
    """A cable pulled at the vehicle suspends the transaction, which goes on when it is back: one session."""
    transaction = Transaction(cs)
    await transaction.started("Authorized", "Charging")
    await transaction.updated("EVCommunicationLost", "Idle", meter=2000)
    await transaction.updated("CablePluggedIn", "Charging", meter=2000)
    await transaction.ended("StopAuthorized", "Local", 4000)
    assert (await rig.ended(cs)).energy_wh == 3000


async def test_tc_e_38_vehicle_not_ready(rig: Rig, cs: ScriptedCharger) -> None:
    """Plugged in and authorised, the vehicle does not charge yet: the session has no energy until it does."""
    transaction = Transaction(cs)
    await transaction.started("Authorized", "EVConnected")
    await transaction.updated("ChargingStateChanged", "SuspendedEV")
    await transaction.updated("ChargingStateChanged", "Charging", meter=1100)
    await transaction.ended("StopAuthorized", "Local", 1500)
    assert (await rig.ended(cs)).energy_wh == 500


async def test_tc_e_39_no_cable_in_time(rig: Rig, cs: ScriptedCharger) -> None:
    """Authorised without a cable, the transaction times out: a session without energy and without a bill."""
    transaction = Transaction(cs)
    await transaction.started("Authorized", "Idle", evse=None, meter=None)
    await transaction.event("Ended", "EVConnectTimeout", info={"stoppedReason": "Timeout"})
    ended = await rig.ended(cs)
    assert (ended.reason, ended.energy_wh, ended.evse_id) == ("Timeout", 0, 0)
    assert (await rig.cdr(cs)).amount_minor == 0


async def _asked(rig: Rig, transaction: Transaction, ongoing: bool | None, queued: bool) -> None:
    wish = {} if ongoing is None else {"transactionId": transaction.transaction_id}
    answer = {"messagesInQueue": queued} | ({} if ongoing is None else {"ongoingIndicator": ongoing})
    await rig.agreed(transaction.cs, "GetTransactionStatus", wish, answer)


async def _queued(transaction: Transaction) -> None:
    """Events that the station has kept while it was offline."""
    await transaction.updated("MeterValuePeriodic", "Charging", meter=2000, offline=True)


async def test_tc_e_29_status_of_a_running_transaction_with_queue(rig: Rig, cs: ScriptedCharger) -> None:
    """The status of a running transaction: messages wait, and come afterwards."""
    transaction = Transaction(cs)
    await transaction.started()
    await _asked(rig, transaction, ongoing=True, queued=True)
    await _queued(transaction)
    assert len(await rig.logged(cs, "TransactionEvent", 2)) == 2


async def test_tc_e_30_status_of_a_running_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """The status of a running transaction: nothing waits."""
    transaction = Transaction(cs)
    await transaction.started()
    await _asked(rig, transaction, ongoing=True, queued=False)


async def test_tc_e_31_ended_before_its_updates(rig: Rig, cs: ScriptedCharger) -> None:
    """The Ended event arrives before Updated ones that waited in the station: the status says that they wait, the
    bill is right at once, and what comes late, with numbers in between, adds what it knows and harms nothing."""
    transaction = Transaction(cs)
    await transaction.started()
    late = transaction.seq_no
    transaction.seq_no += 2
    await transaction.ended("StopAuthorized", "Local", 5000)
    assert (await rig.ended(cs)).energy_wh == 4000
    await _asked(rig, transaction, ongoing=False, queued=True)
    transaction.seq_no = late
    for wh in (2000, 3000):
        await transaction.updated("MeterValuePeriodic", "Charging", meter=wh, offline=True)
    assert len(await rig.logged(cs, "TransactionEvent", 4)) == 4
    again = Transaction(cs, "after")
    await again.started()
    await again.ended("StopAuthorized", "Local", 1500)
    assert (await rig.ended(cs, 2)).energy_wh == 500
    bills = [(bill.version, bill.energy_wh) for bill in await rig.bills(cs, 2)]
    assert bills == [(1, 4000), (1, 500)]


async def test_tc_e_32_status_of_an_ended_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """The status of a transaction that is over, of which nothing waits."""
    transaction = Transaction(cs)
    await transaction.started()
    await transaction.ended("StopAuthorized")
    await _asked(rig, transaction, ongoing=False, queued=False)


async def test_tc_e_33_status_without_id_with_queue(rig: Rig, cs: ScriptedCharger) -> None:
    """Asked without a transaction id, the station says whether anything waits."""
    await _asked(rig, Transaction(cs), ongoing=None, queued=True)


async def test_tc_e_34_status_without_id(rig: Rig, cs: ScriptedCharger) -> None:
    """Nothing waits."""
    await _asked(rig, Transaction(cs), ongoing=None, queued=False)


async def test_tc_e_53_sequence_starts_anew(rig: Rig, cs: ScriptedCharger) -> None:
    """Sequence numbers start at 0 with each transaction; both are sessions of their own. A transaction whose
    events come twice, with new message ids, is one."""
    for number in ("1", "2"):
        transaction = Transaction(cs, number)
        await transaction.started()
        await transaction.repeated()
        await transaction.ended("StopAuthorized", "Local", 3000)
        await transaction.repeated()
    first, second = await rig.ended(cs), await rig.ended(cs, 2)
    assert (first.energy_wh, second.energy_wh) == (2000, 2000)
    assert first.session_id != second.session_id
    assert [bill.version for bill in await rig.bills(cs, 2)] == [1, 1]
