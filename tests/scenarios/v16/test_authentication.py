"""Security profiles of 1.6, passwords, and the websocket subprotocol."""

import asyncio

import httpx
import pytest

from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import MOST_S, Rig

pytestmark = pytest.mark.asyncio(loop_scope="session")

OLD, NEW = "the-old-password-1", "the-new-password-2"
UNAUTHORIZED = httpx.codes.UNAUTHORIZED


async def rotated(rig: Rig, cp: ScriptedCharger, action: str, answer: Json) -> tuple[Json, Json]:
    """Give the station the new password: how that stands, and what it was asked."""
    await rig.online(cp.station_id)
    path = f"/stations/{cp.station_id}/password/rotate"
    return await asyncio.gather(
        rig.post(path, {"password": NEW, "wait_s": MOST_S}), cp.expect(action, answer)
    )


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_073_password_changed(rig: Rig, station_id: str) -> None:
    """The password is changed at the charger, in hex digits; from its consent on the old one is refused, the open
    connection of the old one too. A charger that rejects it keeps the old one."""
    async with rig.charger(station_id, password=OLD) as cp:
        await cp.boot()
        state, _ = await rotated(rig, cp, "ChangeConfiguration", {"status": "Rejected"})
        assert (state["status"], state["accepted"]) == ("REJECTED", 1)
        state, asked = await rotated(rig, cp, "ChangeConfiguration", {"status": "Accepted"})
        assert asked == {"key": "AuthorizationKey", "value": NEW.encode().hex().upper()}
        assert (state["status"], state["accepted"]) == ("ACCEPTED", 1)
        assert await cp.closed() == 1008
    assert await rig.refused(station_id, password=OLD) == UNAUTHORIZED
    async with rig.charger(station_id, password=NEW) as cp:
        assert (await cp.boot())["status"] == "Accepted"


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_083_security_profile_raised(rig: Rig, station_id: str) -> None:
    """The charger is told to use TLS and agrees; the operator raises its profile: without TLS it is refused, with it
    it is let in. A charger cannot lower its profile by itself, nor be told to by mistake."""
    async with rig.charger(station_id, password=OLD) as cp:
        await cp.boot()
        wish = {"key": "SecurityProfile", "value": "2"}
        await rig.agreed(cp, "ChangeConfiguration", wish, {"status": "Accepted"})
        await rig.change(f"/stations/{station_id}", security_profile=2)
        assert await cp.closed() == 1008
    assert await rig.refused(station_id, password=OLD) == UNAUTHORIZED
    async with rig.charger(station_id, password=OLD, tls=rig.tls()) as cp:
        assert (await cp.boot())["status"] == "Accepted"
        await rig.proved(station_id, 2)
    response = await rig.http.patch(f"/stations/{station_id}", json={"security_profile": 1})
    assert response.status_code == httpx.codes.UNPROCESSABLE_ENTITY


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_085_basic_authentication(rig: Rig, station_id: str) -> None:
    """User name and password are right: let in, with security profile 1; the password's hex digits are the same.
    Anything else is refused with 401."""
    for password in (OLD, OLD.encode().hex()):
        async with rig.charger(station_id, password=password) as cp:
            assert (await cp.boot())["status"] == "Accepted"
    await rig.proved(station_id, 1)
    assert await rig.refused(station_id, password=NEW) == UNAUTHORIZED
    assert await rig.refused(station_id, password=OLD, user="somebody") == UNAUTHORIZED
    assert await rig.refused(station_id) == UNAUTHORIZED


@pytest.mark.station(security_profile=2, password=OLD)
async def test_tc_086_tls(rig: Rig, station_id: str) -> None:
    """TLS with the server's certificate, and the password: security profile 2."""
    async with rig.charger(station_id, password=OLD, tls=rig.tls()) as cp:
        assert (await cp.boot())["status"] == "Accepted"
        await rig.proved(station_id, 2)
    assert await rig.refused(station_id, password=NEW, tls=rig.tls()) == UNAUTHORIZED
    assert await rig.refused(station_id, password=OLD) == UNAUTHORIZED


@pytest.mark.station(security_profile=3)
async def test_tc_087_client_certificate(rig: Rig, station_id: str) -> None:
    """TLS with the charger's own certificate: security profile 3; another charger's is refused."""
    own = rig.tls(rig.authority.issue(station_id))
    async with rig.charger(station_id, tls=own) as cp:
        assert (await cp.boot())["status"] == "Accepted"
        await rig.proved(station_id, 3)
    other = rig.tls(rig.authority.issue("another"))
    assert await rig.refused(station_id, tls=other) == UNAUTHORIZED
    assert await rig.refused(station_id, tls=rig.tls()) == UNAUTHORIZED


async def test_tc_088_subprotocol(rig: Rig, station_id: str) -> None:
    """Exactly one of the charger's subprotocols is echoed: the first that we speak. With none in common, or without
    any, the handshake ends with 400."""
    async with rig.socket(station_id, ["ocpp1.6", "ocpp1.5"]) as socket:
        assert socket.subprotocol == "ocpp1.6"
        assert socket.response is not None
        assert socket.response.headers.get_all("Sec-WebSocket-Protocol") == ["ocpp1.6"]
    for offered in (["ocpp1.5"], ["ocpp2.0"], []):
        with pytest.raises(Exception, match="400"):
            async with rig.socket(station_id, offered):
                pass


@pytest.mark.station(allow_no_subprotocol=True)
async def test_tc_088_2_subprotocol_left_out(rig: Rig, station_id: str) -> None:
    """A charger that is known to name no subprotocol is let in as 1.6, and none is echoed."""
    async with rig.socket(station_id, []) as socket:
        assert socket.subprotocol is None
