"""The local list, by hand and brought in line with the registry."""

from __future__ import annotations

import asyncio

import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import TOKENS, Rig

pytestmark = pytest.mark.asyncio(loop_scope="session")

_ENTRY = {"idTag": "TAG-OK", "idTagInfo": {"status": "Accepted"}}
_REGISTERED = {token.casefold() for token in TOKENS}


async def _sync(rig: Rig, cp: ScriptedCharger, version: int, *answers: str) -> tuple[Json, list[Json]]:
    """Bring the list in line: the charger has `version`, and answers each SendLocalList in turn; what became of it,
    and what was sent."""
    await rig.online(cp.station_id)

    async def play() -> list[Json]:
        await cp.expect("GetLocalListVersion", {"listVersion": version})
        return [await cp.expect("SendLocalList", {"status": answer}) for answer in answers]

    done, sent = await asyncio.gather(rig.post(f"/stations/{cp.station_id}/local-list/sync", {}), play())
    return done, sent


def _tags(sent: Json) -> set[str]:
    return {entry["idTag"].casefold() for entry in sent["localAuthorizationList"]}


async def test_tc_042_1_list_not_supported(rig: Rig, cp: ScriptedCharger) -> None:
    """A charger without a local list says -1: nothing is sent to it."""
    await rig.agreed(cp, "GetLocalListVersion", {}, {"listVersion": -1})
    done, _ = await _sync(rig, cp, -1)
    assert (done["outcome"], done["sent"]) == ("not_supported", 0)


async def test_tc_042_2_list_empty(rig: Rig, cp: ScriptedCharger) -> None:
    """A charger whose list is empty says 0: it gets the whole list."""
    await rig.agreed(cp, "GetLocalListVersion", {}, {"listVersion": 0})
    done, (sent,) = await _sync(rig, cp, 0, "Accepted")
    assert (done["outcome"], done["version"]) == ("full", sent["listVersion"])
    assert sent["updateType"] == "Full"
    assert _tags(sent) >= _REGISTERED


async def test_tc_043_1_list_refused_as_not_supported(rig: Rig, cp: ScriptedCharger) -> None:
    """SendLocalList is NotSupported: the operator is told, and no other list follows."""
    done, (sent,) = await _sync(rig, cp, 0, "NotSupported")
    assert (done["outcome"], sent["updateType"]) == ("not_supported", "Full")


async def _differences(rig: Rig, cp: ScriptedCharger, word: str, *rest: str) -> tuple[Json, list[Json]]:
    """Bring the list of a charger in line that has one of ours, which history needs a moment to know of: it answers
    the difference with `word`, and what follows with `rest`. What became of it, and what was sent."""
    version = 0
    while True:
        path = f"/stations/{cp.station_id}/local-list/sync"
        syncing = asyncio.create_task(rig.post(path, {}))
        await cp.expect("GetLocalListVersion", {"listVersion": version})
        sent = await cp.expect(
            "SendLocalList",
            lambda asked: {"status": word if asked["updateType"] == "Differential" else "Accepted"},
        )
        if sent["updateType"] == "Differential":
            follow = [await cp.expect("SendLocalList", {"status": each}) for each in rest]
            return await syncing, [sent, *follow]
        version = sent["listVersion"]
        await syncing


async def test_tc_043_3_list_failed(rig: Rig, cp: ScriptedCharger) -> None:
    """A difference that Failed is followed by the whole list; if that fails too, the operator is told."""
    await rig.online(cp.station_id)
    done, sent = await _differences(rig, cp, "Failed", "Accepted")
    assert (done["outcome"], done["version"]) == ("full", sent[1]["listVersion"])
    assert (sent[1]["updateType"], _tags(sent[1]) >= _REGISTERED) == ("Full", True)
    done, _ = await _sync(rig, cp, 0, "Failed")
    assert (done["outcome"], done["version"]) == ("failed", None)


async def test_tc_043_4_full_list(rig: Rig, cp: ScriptedCharger) -> None:
    """A full list by hand; and the list of a charger that has one of somebody else's is replaced."""
    wish = {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [_ENTRY]}
    await rig.agreed(cp, "SendLocalList", wish, {"status": "Accepted"})
    done, (sent,) = await _sync(rig, cp, 4711, "Accepted")
    assert (done["outcome"], done["version_before"], sent["updateType"]) == ("full", 4711, "Full")
    blocked = next(e for e in sent["localAuthorizationList"] if e["idTag"].casefold() == "tag-blocked")
    assert blocked["idTagInfo"]["status"] == "Blocked"


async def test_tc_043_5_differential_list(rig: Rig, cp: ScriptedCharger) -> None:
    """A list of ours is brought in line by what changed; VersionMismatch leads to a full list."""
    await rig.online(cp.station_id)
    done, (sent,) = await _differences(rig, cp, "Accepted")
    assert (done["outcome"], done["version"]) == ("differential", sent["listVersion"])
    assert sent["listVersion"] > done["version_before"]
    wish = {"listVersion": 1, "updateType": "Differential", "localAuthorizationList": [_ENTRY]}
    await rig.denied(cp, "SendLocalList", wish, {"status": "VersionMismatch"})
    done, sent_again = await _differences(rig, cp, "VersionMismatch", "Accepted")
    assert done["outcome"] == "full"
    assert [each["updateType"] for each in sent_again] == ["Differential", "Full"]
