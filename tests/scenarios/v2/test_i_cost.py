"""I: what the driver is told of costs."""

import pytest

from tests.scenarios.charger import ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import Transaction

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_tc_i_01_running_cost(rig: Rig, cs: ScriptedCharger) -> None:
    """The cost so far is sent to the station while it charges: an empty answer is agreement."""
    transaction = Transaction(cs)
    await transaction.started()
    await transaction.updated("MeterValuePeriodic", "Charging", meter=3000)
    await rig.charged(cs, 2000)
    wish = {"totalCost": 1.0, "transactionId": transaction.transaction_id}
    await rig.agreed(cs, "CostUpdated", wish, {})


async def test_tc_i_02_final_cost(rig: Rig, cs: ScriptedCharger) -> None:
    """The bill of a session is made with its end, by the tariff in force at its start, and the answer to the Ended
    event holds its total. An operator may send it again."""
    transaction = Transaction(cs)
    await transaction.started()
    assert await transaction.ended("StopAuthorized", "Local", 5000) == {"totalCost": 2.0}
    bill = await rig.cdr(cs)
    assert (bill.energy_wh, bill.amount_minor, bill.currency) == (4000, 200, "EUR")
    (line,) = bill.lines
    assert (line.kind, line.quantity, line.amount_minor) == ("energy", 4000, 200)
    wish = {"totalCost": bill.amount_minor / 100, "transactionId": transaction.transaction_id}
    await rig.agreed(cs, "CostUpdated", wish, {})
