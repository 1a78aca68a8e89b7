"""P: vendors' own data."""

import pytest

from tests.integration.edge_process import BOOT_2
from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import token

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_tc_p_02_unknown_vendor(rig: Rig, cs: ScriptedCharger) -> None:
    """Data of a vendor, or a message, that the platform does not know gets UnknownVendorId, never a CALLERROR, and
    is on record word for word, whatever JSON it is."""
    wishes: tuple[Json, ...] = (
        {"vendorId": "com.example"},
        {"vendorId": "com.example", "messageId": "Trip", "data": "text"},
        {"vendorId": "com.example", "messageId": "Trip", "data": {"deep": [1, None, {"x": True}]}},
    )
    for wish in wishes:
        assert await cs.call("DataTransfer", wish) == {"status": "UnknownVendorId"}
    told = await rig.logged(cs, "DataTransfer", 3)
    assert '{"deep":[1,null,{"x":true}]}' in told[2].payload
    for status in ("UnknownVendorId", "UnknownMessageId", "Rejected"):
        await rig.denied(cs, "DataTransfer", wishes[1], {"status": status})


async def test_tc_p_03_custom_data(rig: Rig, cs: ScriptedCharger) -> None:
    """customData is open at every level: it changes nothing of the answer, and is on record; a field that is not
    custom data and that the schema does not know is an error."""
    custom = {"vendorId": "com.example", "mood": {"level": 3}}
    boot = {
        **BOOT_2,
        "chargingStation": {**BOOT_2["chargingStation"], "customData": custom},  # type: ignore[dict-item]
        "customData": custom,
    }
    assert (await cs.call("BootNotification", boot))["status"] == "Accepted"
    answer = await cs.call("Authorize", {"idToken": {**token(), "customData": custom}, "customData": custom})
    assert answer == {"idTokenInfo": {"status": "Accepted"}}
    (told,) = await rig.logged(cs, "Authorize")
    assert told.payload.count('"mood":{"level":3}') == 2
    refusal = await cs.refused("Heartbeat", {"mood": 3}, strict=False)
    assert refusal.code == "FormatViolation"
