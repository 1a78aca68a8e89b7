"""O: messages on the station's screen."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, FAR, REJECTED, Transaction

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _message(**fields: object) -> Json:
    text = {"format": "UTF8", "language": "en", "content": "Welcome; 42 ct per kWh"}
    message: Json = {"id": 1, "priority": "NormalCycle", "message": text}
    return {"message": message | fields}


async def test_tc_o_01_set_message(rig: Rig, cs: ScriptedCharger) -> None:
    """A message is put on the screen."""
    await rig.agreed(cs, "SetDisplayMessage", _message(), ACCEPTED)


async def _get(rig: Rig, cs: ScriptedCharger, **criteria: object) -> None:
    """Messages are asked for; what is told of them, in parts, is confirmed and on record with the request's id."""
    await rig.agreed(cs, "GetDisplayMessages", {"requestId": 8, **criteria}, ACCEPTED)
    for number, more in ((1, True), (2, False)):
        part = {"requestId": 8, "tbc": more, "messageInfo": [_message(id=number)["message"]]}
        assert await cs.call("NotifyDisplayMessages", part) == {}
    parts = await rig.logged(cs, "NotifyDisplayMessages", 2)
    assert all('"requestId":8' in part.payload for part in parts)


async def test_tc_o_02_get_messages(rig: Rig, cs: ScriptedCharger) -> None:
    """All messages are told."""
    await _get(rig, cs)


async def test_tc_o_03_no_messages(rig: Rig, cs: ScriptedCharger) -> None:
    """There are none: Unknown is the station's no."""
    await rig.denied(cs, "GetDisplayMessages", {"requestId": 8}, {"status": "Unknown"})


async def test_tc_o_04_clear_message(rig: Rig, cs: ScriptedCharger) -> None:
    """A message is taken off the screen."""
    await rig.agreed(cs, "SetDisplayMessage", _message(), ACCEPTED)
    await rig.agreed(cs, "ClearDisplayMessage", {"id": 1}, ACCEPTED)


async def test_tc_o_05_clear_unknown_message(rig: Rig, cs: ScriptedCharger) -> None:
    """There is no such message."""
    await rig.denied(cs, "ClearDisplayMessage", {"id": 99}, {"status": "Unknown"})


async def test_tc_o_06_message_for_a_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """A message is shown during one transaction; with a start, and with an end. Covers TC_O_27, TC_O_28."""
    transaction = Transaction(cs)
    await transaction.started()
    name = transaction.transaction_id
    for fields in ({}, {"startDateTime": "2026-11-23T00:00:00Z"}, {"endDateTime": FAR}):
        await rig.agreed(cs, "SetDisplayMessage", _message(transactionId=name, **fields), ACCEPTED)
    await transaction.ended("StopAuthorized")


async def test_tc_o_07_get_message_by_id(rig: Rig, cs: ScriptedCharger) -> None:
    """Messages by id."""
    await _get(rig, cs, id=[1, 2])


async def test_tc_o_08_get_messages_by_priority(rig: Rig, cs: ScriptedCharger) -> None:
    """Messages by priority."""
    await _get(rig, cs, priority="NormalCycle")


async def test_tc_o_09_get_messages_by_state(rig: Rig, cs: ScriptedCharger) -> None:
    """Messages by the station's state in which they are shown."""
    await _get(rig, cs, state="Idle")


async def test_tc_o_10_message_for_an_unknown_transaction(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction is not there (any more)."""
    wish = _message(transactionId="gone")
    await rig.denied(cs, "SetDisplayMessage", wish, {"status": "UnknownTransaction"})


async def test_tc_o_11_get_unknown_message(rig: Rig, cs: ScriptedCharger) -> None:
    """No message fits."""
    wish = {"requestId": 8, "id": [99], "state": "Faulted"}
    await rig.denied(cs, "GetDisplayMessages", wish, {"status": "Unknown"})


async def test_tc_o_12_replace_message(rig: Rig, cs: ScriptedCharger) -> None:
    """A message with the id of an earlier one replaces it."""
    await rig.agreed(cs, "SetDisplayMessage", _message(), ACCEPTED)
    await rig.agreed(cs, "SetDisplayMessage", _message(priority="AlwaysFront"), ACCEPTED)


async def test_tc_o_13_message_from_a_moment(rig: Rig, cs: ScriptedCharger) -> None:
    """A message is shown from a moment on."""
    await rig.agreed(cs, "SetDisplayMessage", _message(startDateTime=FAR), ACCEPTED)


async def test_tc_o_14_message_until_a_moment(rig: Rig, cs: ScriptedCharger) -> None:
    """A message is shown until a moment."""
    await rig.agreed(cs, "SetDisplayMessage", _message(endDateTime=FAR), ACCEPTED)


async def test_tc_o_17_priority_not_supported(rig: Rig, cs: ScriptedCharger) -> None:
    """The screen does not know the priority."""
    wish = _message(priority="InFront")
    await rig.denied(cs, "SetDisplayMessage", wish, {"status": "NotSupportedPriority"})


async def test_tc_o_18_state_not_supported(rig: Rig, cs: ScriptedCharger) -> None:
    """The screen does not know the state."""
    wish = _message(state="Unavailable")
    await rig.denied(cs, "SetDisplayMessage", wish, {"status": "NotSupportedState"})


async def test_tc_o_19_format_not_supported(rig: Rig, cs: ScriptedCharger) -> None:
    """The screen does not know the format."""
    wish = _message(message={"format": "HTML", "content": "<b>Hello</b>"})
    await rig.denied(cs, "SetDisplayMessage", wish, {"status": "NotSupportedMessageFormat"})


async def test_tc_o_25_message_in_a_state(rig: Rig, cs: ScriptedCharger) -> None:
    """A message is shown in a state of the station."""
    for state in ("Charging", "Faulted", "Idle", "Unavailable"):
        await rig.agreed(cs, "SetDisplayMessage", _message(state=state), ACCEPTED)


async def test_tc_o_26_message_rejected(rig: Rig, cs: ScriptedCharger) -> None:
    """The station shows no such message."""
    await rig.denied(cs, "SetDisplayMessage", _message(), REJECTED)
