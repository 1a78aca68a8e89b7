"""Tags that are refused, faults, and what happened while the charger was offline."""

import pytest

from tests.integration.edge_process import stamp
from tests.patience import until
from tests.scenarios.charger import ScriptedCharger
from tests.scenarios.rig import LONG_AGO, Rig
from tests.scenarios.v16.flows import ago, authorize, report, start, started, stop

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_tc_023_1_invalid_tag(rig: Rig, cp: ScriptedCharger) -> None:
    """An unknown tag is Invalid."""
    await report(cp, 1, "Preparing")
    assert await authorize(cp, "TAG-NOBODY") == {"status": "Invalid"}
    assert await authorize(cp, "TAG-INVALID") == {"status": "Invalid"}
    assert len(await rig.logged(cp, "Authorize", 2)) == 2


async def test_tc_023_2_expired_tag(cp: ScriptedCharger) -> None:
    """A tag whose time is over is Expired, and the answer says since when."""
    info = await authorize(cp, "TAG-EXPIRED")
    assert info["status"] == "Expired"
    assert info["expiryDate"].startswith(LONG_AGO[:10])


async def test_tc_023_3_blocked_tag(rig: Rig, cp: ScriptedCharger) -> None:
    """A blocked tag is Blocked; a tag that is blocked while it may charge is so from its next use on."""
    assert await authorize(cp, "TAG-BLOCKED") == {"status": "Blocked"}
    await rig.put("/tokens/tag-blocked-later", {}, 201)
    await until(lambda: _is(cp, "TAG-BLOCKED-LATER", "Accepted"))
    await rig.change("/tokens/tag-blocked-later", status="Blocked")
    await until(lambda: _is(cp, "TAG-BLOCKED-LATER", "Blocked"))


async def _is(cp: ScriptedCharger, tag: str, status: str) -> bool:
    return bool((await authorize(cp, tag))["status"] == status)


async def test_tc_024_lock_failure(rig: Rig, cp: ScriptedCharger) -> None:
    """A connector that does not lock: operators see the fault; no session comes of it."""
    assert (await authorize(cp, "TAG-OK"))["status"] == "Accepted"
    await report(cp, 1, "Faulted", "ConnectorLockFailure")
    seen = await rig.status(cp.station_id, 1, "Faulted")
    assert seen["error_code"] == "ConnectorLockFailure"


async def test_tc_032_1_power_loss(rig: Rig, cp: ScriptedCharger) -> None:
    """After a power loss the charger boots and stops the transaction that it had: the session ends with it."""
    transaction = await started(cp)
    await report(cp, 1, "Charging")
    cp.wire.socket.transport.abort()
    await rig.state(cp.station_id, connected=False)
    async with rig.charger(cp.station_id) as back:
        assert (await back.boot())["status"] == "Accepted"
        await stop(back, transaction, 2500, reason="PowerLoss")
        await report(back, 1, "Available")
    ended = await rig.ended(cp)
    assert (ended.energy_wh, ended.reason, ended.review) == (1500, "PowerLoss", ())


async def test_tc_037_1_offline_start(rig: Rig, cp: ScriptedCharger) -> None:
    """A transaction that began offline is told after the reconnect, without a boot: its time is the charger's."""
    await cp.leave()
    at = ago(7200)
    async with rig.charger(cp.station_id) as back:
        transaction = await started(back, timestamp=at)
        await report(back, 1, "Charging")
        await stop(back, transaction, 3000)
    ended = await rig.ended(cp)
    assert ended.ended_at - ended.started_at == pytest.approx(7199_000_000, abs=30_000_000)
    assert ended.energy_wh == 2000


async def test_tc_037_3_offline_start_with_an_invalid_tag(rig: Rig, cp: ScriptedCharger) -> None:
    """An invalid tag that has charged offline is told Invalid, and its transaction gets an id nevertheless; the
    charger ends it, and what was taken is on record."""
    await cp.leave()
    async with rig.charger(cp.station_id) as back:
        answer = await start(back, "TAG-NOBODY", timestamp=ago(900))
        assert answer["idTagInfo"] == {"status": "Invalid"}
        await stop(back, answer["transactionId"], 1100, reason="DeAuthorized")
    ended = await rig.ended(cp)
    assert (ended.energy_wh, ended.reason, ended.id_token) == (100, "DeAuthorized", "TAG-NOBODY")


async def test_tc_039_offline_transaction(rig: Rig, cp: ScriptedCharger) -> None:
    """A transaction that began and ended offline is told after the reconnect, start and stop in a row."""
    begun, over = ago(3600), ago(1800)
    await cp.leave()
    async with rig.charger(cp.station_id) as back:
        transaction = await started(back, timestamp=begun, meter=0)
        await stop(back, transaction, 11_000, timestamp=over, idTag="TAG-OK")
        await report(back, 1, "Available")
    ended = await rig.ended(cp)
    assert (ended.energy_wh, stamp(ended.started_at), stamp(ended.ended_at)) == (11_000, begun, over)
    assert (await rig.cdr(cp)).amount_minor == 550
