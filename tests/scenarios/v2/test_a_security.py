"""A: authentication, TLS, renewal of passwords, security profiles."""

import ssl
from pathlib import Path

import pytest
from websockets.exceptions import InvalidHandshake, InvalidStatus

from tests.integration.certificates import Authority
from tests.patience import until
from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.signing import StationKey, hand_on, request
from tests.scenarios.v2.flows import ACCEPTED
from tests.scenarios.v16.flows import ago
from tests.scenarios.v16.test_authentication import NEW, OLD, UNAUTHORIZED, rotated

pytestmark = pytest.mark.asyncio(loop_scope="session")

V201 = "ocpp2.0.1"
_PASSWORD: Json = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_a_01_basic_authentication(rig: Rig, station_id: str) -> None:
    """User name and password are right: let in with security profile 1."""
    async with rig.charger(station_id, V201, password=OLD) as cs:
        assert (await cs.boot())["status"] == "Accepted"
        await rig.proved(station_id, 1)


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_a_02_wrong_user(rig: Rig, station_id: str) -> None:
    """A user name other than the station's identity is refused with 401, whoever's it is; without regard to case it
    is the same."""
    for user in ("somebody", f"{station_id}-2", "tc-a-01-basic-authentication"):
        assert await rig.refused(station_id, V201, password=OLD, user=user) == UNAUTHORIZED
    async with rig.charger(station_id, V201, password=OLD, user=station_id.upper()) as cs:
        assert (await cs.boot())["status"] == "Accepted"


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_a_03_wrong_password(rig: Rig, station_id: str) -> None:
    """A wrong password, one too long, one empty, none: refused with 401, the same way as an unknown station."""
    for password in (NEW, OLD + "x", "", None):
        assert await rig.refused(station_id, V201, password=password) == UNAUTHORIZED
    assert await rig.refused("tc-a-03-nobody", V201, password=OLD) == UNAUTHORIZED


@pytest.mark.station(security_profile=2, password=OLD)
async def test_tc_a_04_tls(rig: Rig, station_id: str) -> None:
    """TLS with a valid certificate of ours: security profile 2."""
    async with rig.charger(station_id, V201, password=OLD, tls=rig.tls()) as cs:
        assert (await cs.boot())["status"] == "Accepted"
        await rig.proved(station_id, 2)
    assert await rig.refused(station_id, V201, password=OLD) == UNAUTHORIZED


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.station(security_profile=2, password=OLD)
async def test_tc_a_06_tls_too_old(rig: Rig, station_id: str) -> None:
    """TLS 1.1 and before are not spoken; 1.2 and 1.3 are."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = rig.tls()
        context.minimum_version = context.maximum_version = version
        async with rig.charger(station_id, V201, password=OLD, tls=context) as cs:
            assert (await cs.boot())["status"] == "Accepted"
    context = rig.tls()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((OSError, InvalidHandshake)):
        async with rig.socket(station_id, [V201], password=OLD, tls=context):
            pass


@pytest.mark.station(security_profile=3)
async def test_tc_a_07_client_certificate(rig: Rig, station_id: str) -> None:
    """TLS with the station's own certificate: security profile 3; no password is needed."""
    async with rig.charger(station_id, V201, tls=rig.tls(rig.authority.issue(station_id))) as cs:
        assert (await cs.boot())["status"] == "Accepted"
        await rig.proved(station_id, 3)


@pytest.mark.station(security_profile=3)
async def test_tc_a_08_invalid_client_certificate(rig: Rig, station_id: str, tmp_path: Path) -> None:
    """Another station's certificate, one of another operator, or none: refused with 401. One that has expired, or
    that our authority did not issue: no TLS."""
    issue = rig.authority.issue
    for certificate in (issue("another"), issue(station_id, "Another Operator"), None):
        assert await rig.refused(station_id, V201, tls=rig.tls(certificate)) == UNAUTHORIZED
    stranger = Authority(tmp_path, "Stranger").issue(station_id)
    for certificate in (issue(station_id, expired=True), stranger):
        with pytest.raises((OSError, InvalidHandshake)):
            async with rig.socket(station_id, [V201], tls=rig.tls(certificate)):
                pass


@pytest.mark.station(security_profile=3)
async def test_b01_boot_serial(rig: Rig, station_id: str) -> None:
    """A boot whose serial number is not the certificate's common name ends the connection unanswered (B01.FR.12)."""
    tls = rig.tls(rig.authority.issue(station_id))
    about = {"vendorName": "Voltbus", "model": "T2"}
    async with rig.charger(station_id, V201, tls=tls) as cs:
        boot = {"reason": "PowerUp", "chargingStation": {**about, "serialNumber": "another"}}
        await cs.wire.send([2, cs.wire.next_id(), "BootNotification", boot])
        assert await cs.closed() == 1008
    async with rig.charger(station_id, V201, tls=tls) as cs:
        boot = {"reason": "PowerUp", "chargingStation": {**about, "serialNumber": station_id}}
        assert (await cs.call("BootNotification", boot))["status"] == "Accepted"


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_a_09_password_changed(rig: Rig, station_id: str) -> None:
    """The password is changed at the station, as text; from its consent on the old one is refused. The log does not
    show it."""
    async with rig.charger(station_id, V201, password=OLD) as cs:
        await cs.boot()
        answer = {"setVariableResult": [{**_PASSWORD, "attributeStatus": "Accepted"}]}
        state, asked = await rotated(rig, cs, "SetVariables", answer)
        assert asked["setVariableData"][0]["attributeValue"] == NEW
        assert (state["status"], state["accepted"]) == ("ACCEPTED", 1)
        assert await cs.closed() == 1008
    assert await rig.refused(station_id, V201, password=OLD) == UNAUTHORIZED
    async with rig.charger(station_id, V201, password=NEW) as cs:
        assert (await cs.boot())["status"] == "Accepted"
    told = await rig.get(f"/commands/{state['command_id']}")
    assert NEW not in str(told)


async def _shut_out(rig: Rig, station_id: str, password: str) -> bool:
    """Whether the station is refused without TLS: from when the edge has read what has changed."""
    try:
        async with rig.socket(station_id, [V201], password=password):
            return False
    except InvalidStatus as refusal:
        return refusal.response.status_code == UNAUTHORIZED


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_a_10_password_change_rejected(rig: Rig, station_id: str) -> None:
    """The station rejects the password: the old one stays good, the new one is not."""
    async with rig.charger(station_id, V201, password=OLD) as cs:
        await cs.boot()
        answer = {"setVariableResult": [{**_PASSWORD, "attributeStatus": "Rejected"}]}
        state, _ = await rotated(rig, cs, "SetVariables", answer)
        assert (state["status"], state["accepted"]) == ("REJECTED", 1)
        assert set(await cs.call("Heartbeat")) == {"currentTime"}
    await until(lambda: _shut_out(rig, station_id, NEW))
    async with rig.charger(station_id, V201, password=OLD) as cs:
        assert (await cs.boot())["status"] == "Accepted"


async def _renewed(rig: Rig, cs: ScriptedCharger, trigger: str, kind: str) -> None:
    await rig.agreed(cs, "TriggerMessage", {"requestedMessage": trigger}, ACCEPTED)
    key = StationKey(cs.station_id)
    wish = {"csr": key.csr, "certificateType": kind}
    assert await cs.call("SignCertificate", wish) == {"status": "Accepted"}
    wanted = await request(rig, cs)
    assert (wanted["subject"], wanted["certificate_type"]) == (key.subject, kind)
    chain = key.signed()
    done, asked = await hand_on(rig, cs, wanted, chain, "Accepted")
    assert (done["status"], asked) == ("ACCEPTED", {"certificateChain": chain, "certificateType": kind})
    await request(rig, cs, "ACCEPTED")


async def test_tc_a_11_station_certificate_renewed(rig: Rig, cs: ScriptedCharger) -> None:
    """The station is asked for a new key of its own; its request waits for whoever signs, and the chain goes to the
    station, which installs it."""
    await _renewed(rig, cs, "SignChargingStationCertificate", "ChargingStationCertificate")


async def test_tc_a_12_v2g_certificate_renewed(rig: Rig, cs: ScriptedCharger) -> None:
    """Likewise for the certificate that it shows to vehicles."""
    await _renewed(rig, cs, "SignV2GCertificate", "V2GCertificate")


async def test_tc_a_14_certificate_refused(rig: Rig, cs: ScriptedCharger) -> None:
    """The station does not take the certificate, and reports a security event; another may be sent then."""
    key = StationKey(cs.station_id)
    wish = {"csr": key.csr, "certificateType": "ChargingStationCertificate"}
    assert await cs.call("SignCertificate", wish) == {"status": "Accepted"}
    done, _ = await hand_on(rig, cs, await request(rig, cs), key.signed(), "Rejected")
    assert done["status"] == "REJECTED"
    event = {"type": "InvalidChargingStationCertificate", "timestamp": ago(1)}
    assert await cs.call("SecurityEventNotification", event) == {}
    (told,) = await rig.logged(cs, "SecurityEventNotification")
    assert "InvalidChargingStationCertificate" in told.payload
    again, _ = await hand_on(rig, cs, await request(rig, cs, "REJECTED"), key.signed(), "Accepted")
    assert again["status"] == "ACCEPTED"


async def test_station_certificate_in_anothers_name(rig: Rig, cs: ScriptedCharger) -> None:
    """A station asks for a certificate that names another one, or with something that is no request at all: Rejected,
    and operators see who asked beside the name that was asked for."""
    key = StationKey("another")
    for csr in (key.csr, "nonsense"):
        wish = {"csr": csr, "certificateType": "ChargingStationCertificate"}
        answer = await cs.call("SignCertificate", wish)
        assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", "InvalidCSR")
        if csr != "nonsense":
            seen = await request(rig, cs, "DECLINED")
            assert (seen["subject"], seen["certificate_name"]) == (key.subject, cs.station_id)


@pytest.mark.station(security_profile=1, password=OLD)
async def test_tc_a_19_security_profile_raised(rig: Rig, station_id: str) -> None:
    """The station gets a network profile with TLS, gives it priority, and comes back over TLS; its profile is raised
    then, and it cannot go back."""
    async with rig.charger(station_id, V201, password=OLD) as cs:
        await cs.boot()
        profile = {
            "messageTimeout": 30,
            "ocppCsmsUrl": f"wss://127.0.0.1:{rig.tls_port}/ocpp",
            "ocppInterface": "Wired0",
            "ocppTransport": "JSON",
            "ocppVersion": "OCPP20",
            "securityProfile": 2,
        }
        wish = {"configurationSlot": 1, "connectionData": profile}
        await rig.agreed(cs, "SetNetworkProfile", wish, ACCEPTED)
        priority: Json = {
            "component": {"name": "OCPPCommCtrlr"},
            "variable": {"name": "NetworkConfigurationPriority"},
        }
        result = {"setVariableResult": [{**priority, "attributeStatus": "RebootRequired"}]}
        change = {"setVariableData": [{**priority, "attributeValue": "1"}]}
        await rig.agreed(cs, "SetVariables", change, result)
        await rig.agreed(cs, "Reset", {"type": "OnIdle"}, ACCEPTED)
    async with rig.charger(station_id, V201, password=OLD, tls=rig.tls()) as cs:
        assert (await cs.boot(reason="RemoteReset"))["status"] == "Accepted"
        await rig.proved(station_id, 2)
        await rig.change(f"/stations/{station_id}", security_profile=2)
        assert set(await cs.call("Heartbeat")) == {"currentTime"}
    await until(lambda: _shut_out(rig, station_id, OLD))
