"""D: the local authorisation list, as the operator sends it by hand."""

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, token

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _list(version: int, kind: str, *entries: Json) -> Json:
    return {"versionNumber": version, "updateType": kind, "localAuthorizationList": list(entries)}


def _entry(text: str, status: str = "Accepted") -> Json:
    return {"idToken": token(text), "idTokenInfo": {"status": status}}


async def test_tc_d_01_full_list(rig: Rig, cs: ScriptedCharger) -> None:
    """A full list takes the place of what was there; Failed is the station's no."""
    wish = _list(1, "Full", _entry("TAG-OK"), _entry("TAG-BLOCKED", "Blocked"))
    await rig.agreed(cs, "SendLocalList", wish, ACCEPTED)
    await rig.denied(cs, "SendLocalList", wish, {"status": "Failed"})


async def test_tc_d_02_differential_update(rig: Rig, cs: ScriptedCharger) -> None:
    """A differential list adds and changes; VersionMismatch is the station's no."""
    await rig.agreed(cs, "SendLocalList", _list(1, "Full", _entry("TAG-OK")), ACCEPTED)
    change = _list(2, "Differential", _entry("TAG-OTHER"), _entry("TAG-OK", "Blocked"))
    await rig.agreed(cs, "SendLocalList", change, ACCEPTED)
    await rig.denied(cs, "SendLocalList", change, {"status": "VersionMismatch"})


async def test_tc_d_03_differential_removal(rig: Rig, cs: ScriptedCharger) -> None:
    """An entry without information is removed."""
    await rig.agreed(cs, "SendLocalList", _list(3, "Differential", {"idToken": token("TAG-OK")}), ACCEPTED)


async def test_tc_d_04_empty_full_list(rig: Rig, cs: ScriptedCharger) -> None:
    """A full list without entries clears it: the list is left out, not sent empty."""
    await rig.agreed(cs, "SendLocalList", {"versionNumber": 4, "updateType": "Full"}, ACCEPTED)
    problem = await rig.impossible(cs, "SendLocalList", _list(4, "Full"))
    assert problem["errors"][0]["path"] == "/payload/localAuthorizationList"


async def test_tc_d_08_list_version(rig: Rig, cs: ScriptedCharger) -> None:
    """The version of the list is asked for."""
    await rig.agreed(cs, "GetLocalListVersion", {}, {"versionNumber": 4})


async def test_tc_d_09_no_list(rig: Rig, cs: ScriptedCharger) -> None:
    """A station without a list says version 0."""
    await rig.agreed(cs, "GetLocalListVersion", {}, {"versionNumber": 0})
