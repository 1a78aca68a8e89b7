"""Configuration, the authorisation cache, vendors' own data."""

import pytest

from tests.scenarios.charger import Refusal, ScriptedCharger
from tests.scenarios.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="session")

_INTERVAL = {"key": "MeterValueSampleInterval", "readonly": False, "value": "60"}


async def test_tc_019_1_all_configuration_keys(rig: Rig, cp: ScriptedCharger) -> None:
    """A GetConfiguration without keys asks for all, and brings them to the operator."""
    answer = {"configurationKey": [_INTERVAL, {"key": "NumberOfConnectors", "readonly": True, "value": "2"}]}
    done = await rig.command(cp, "GetConfiguration", {}, answer)
    assert (done["status"], done["result"]) == ("ACCEPTED", answer)


async def test_tc_019_2_one_configuration_key(rig: Rig, cp: ScriptedCharger) -> None:
    """A GetConfiguration with a key asks for that one."""
    answer = {"configurationKey": [_INTERVAL]}
    done = await rig.command(cp, "GetConfiguration", {"key": ["MeterValueSampleInterval"]}, answer)
    assert (done["status"], done["result"]) == ("ACCEPTED", answer)


async def test_tc_021_change_configuration(rig: Rig, cp: ScriptedCharger) -> None:
    """A key is set; RebootRequired means that it holds after a reboot, and is agreement too."""
    wish = {"key": "MeterValueSampleInterval", "value": "60"}
    for status in ("Accepted", "RebootRequired"):
        done = await rig.command(cp, "ChangeConfiguration", wish, {"status": status})
        assert (done["status"], done["result"]) == ("ACCEPTED", {"status": status})


async def test_tc_040_1_unknown_configuration_key(rig: Rig, cp: ScriptedCharger) -> None:
    """A key that the charger does not have: NotSupported, told as REJECTED."""
    wish = {"key": "NoSuchKey", "value": "1"}
    done = await rig.command(cp, "ChangeConfiguration", wish, {"status": "NotSupported"})
    assert (done["status"], done["result"]) == ("REJECTED", {"status": "NotSupported"})


async def test_tc_040_2_invalid_configuration_value(rig: Rig, cp: ScriptedCharger) -> None:
    """A value that the charger does not take: Rejected."""
    wish = {"key": "MeterValueSampleInterval", "value": "-1"}
    done = await rig.command(cp, "ChangeConfiguration", wish, {"status": "Rejected"})
    assert (done["status"], done["result"]) == ("REJECTED", {"status": "Rejected"})


async def test_tc_061_clear_cache(rig: Rig, cp: ScriptedCharger) -> None:
    """The authorisation cache is cleared, or the charger says no."""
    assert (await rig.command(cp, "ClearCache", {}, {"status": "Accepted"}))["status"] == "ACCEPTED"
    assert (await rig.command(cp, "ClearCache", {}, {"status": "Rejected"}))["status"] == "REJECTED"
    failed = await rig.command(cp, "ClearCache", {}, Refusal("NotImplemented"))
    assert (failed["status"], failed["error"]["code"]) == ("FAILED", "NotImplemented")


async def test_tc_064_data_transfer(rig: Rig, cp: ScriptedCharger) -> None:
    """Data of a vendor that the platform does not know gets UnknownVendorId, never a CALLERROR, and is on record
    word for word; the other way it reaches the charger."""
    payload = {"vendorId": "com.example", "messageId": "Temperature", "data": '{"celsius": 21}'}
    assert await cp.call("DataTransfer", payload) == {"status": "UnknownVendorId"}
    assert await cp.call("DataTransfer", {"vendorId": "com.example"}) == {"status": "UnknownVendorId"}
    first, _ = await rig.logged(cp, "DataTransfer", 2)
    assert '{\\"celsius\\": 21}' in first.payload
    for status, fate in (("Accepted", "ACCEPTED"), ("UnknownVendorId", "REJECTED")):
        done = await rig.command(cp, "DataTransfer", payload, {"status": status})
        assert (done["status"], done["result"]) == (fate, {"status": status})
