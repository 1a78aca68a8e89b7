"""C: who may charge."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.integration.test_ocsp import CA
from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import LONG_AGO, Rig
from tests.scenarios.v2.flows import ACCEPTED, REJECTED, Transaction, authorize, report, token
from tests.unit.provisioning.authority import Authority

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_tc_c_02_unknown_token(rig: Rig, cs: ScriptedCharger) -> None:
    """An unknown token and one registered as invalid are Invalid; a transaction with it is told so too."""
    assert await authorize(cs, "TAG-NOBODY") == {"status": "Invalid"}
    assert await authorize(cs, "TAG-INVALID") == {"status": "Invalid"}
    transaction = Transaction(cs)
    answer = await transaction.started(idToken=token("TAG-NOBODY"))
    assert answer["idTokenInfo"] == {"status": "Invalid"}
    await transaction.ended("Deauthorized", "DeAuthorized", 1000)
    assert (await rig.ended(cs)).energy_wh == 0


async def test_tc_c_06_blocked_token(cs: ScriptedCharger) -> None:
    """A blocked token is Blocked."""
    assert await authorize(cs, "TAG-BLOCKED") == {"status": "Blocked"}


async def test_tc_c_07_expired_token(cs: ScriptedCharger) -> None:
    """A token whose time is over is Expired, and the answer says until when a cache may keep it."""
    info = await authorize(cs, "TAG-EXPIRED")
    assert info["status"] == "Expired"
    assert info["cacheExpiryDateTime"].startswith(LONG_AGO[:10])


async def test_tc_c_08_cached_token(rig: Rig, cs: ScriptedCharger) -> None:
    """A transaction without an Authorize, the token being in the station's cache: its first event is told that the
    token is good."""
    transaction = Transaction(cs)
    answer = await transaction.started()
    assert answer == {"idTokenInfo": {"status": "Accepted"}}
    assert (await rig.started(cs)).id_token == "TAG-OK"


async def test_tc_c_20_cached_token_that_is_not_valid_any_more(rig: Rig, cs: ScriptedCharger) -> None:
    """A token that the cache holds as good and that was blocked meanwhile is told so by the answer to the
    transaction's first event; the station deauthorises it."""
    transaction = Transaction(cs)
    answer = await transaction.started(idToken=token("TAG-BLOCKED"), meter=1000)
    assert answer == {"idTokenInfo": {"status": "Blocked"}}
    await transaction.ended("Deauthorized", "DeAuthorized", 1010)
    ended = await rig.ended(cs)
    assert (ended.reason, ended.energy_wh, ended.id_token) == ("DeAuthorized", 10, "TAG-BLOCKED")


async def test_tc_c_37_clear_cache(rig: Rig, cs: ScriptedCharger) -> None:
    """The authorisation cache is cleared; the token is asked for anew."""
    await rig.agreed(cs, "ClearCache", {}, ACCEPTED)
    assert await authorize(cs) == {"status": "Accepted"}


async def test_tc_c_38_clear_cache_rejected(rig: Rig, cs: ScriptedCharger) -> None:
    """A station without a cache rejects that."""
    await rig.denied(cs, "ClearCache", {}, REJECTED)


async def test_tc_c_39_authorisation_by_group(rig: Rig, cs: ScriptedCharger) -> None:
    """Tokens of a group are told that group, so that one may stop what the other has started."""
    first = await authorize(cs, "TAG-FAMILY-1")
    second = await authorize(cs, "TAG-FAMILY-2")
    assert first == second == {"status": "Accepted", "groupIdToken": token("FAMILY", "Central")}
    transaction = Transaction(cs)
    begun = await transaction.started(idToken=token("TAG-FAMILY-1"))
    assert begun["idTokenInfo"] == first
    stopped = await transaction.ended("StopAuthorized", "Local", idToken=token("TAG-FAMILY-2"))
    assert stopped["idTokenInfo"] == second
    ended = await rig.ended(cs)
    assert (ended.id_token, ended.energy_wh) == ("TAG-FAMILY-1", 4000)


async def test_tc_c_40_group_in_the_local_list(rig: Rig, cs: ScriptedCharger) -> None:
    """The local list can hold a group; the token that stops is not asked about, and the end is taken as told.
    Covers TC_C_43."""
    info = {"status": "Accepted", "groupIdToken": token("FAMILY", "Central")}
    entries = [{"idToken": token(f"TAG-FAMILY-{n}"), "idTokenInfo": info} for n in (1, 2)]
    entries.append({"idToken": token("TAG-BLOCKED"), "idTokenInfo": {**info, "status": "Blocked"}})
    wish = {"versionNumber": 1, "updateType": "Full", "localAuthorizationList": entries}
    await rig.agreed(cs, "SendLocalList", wish, ACCEPTED)
    transaction = Transaction(cs)
    await transaction.started(idToken=token("TAG-FAMILY-1"))
    await transaction.ended("StopAuthorized", "Local", idToken=token("TAG-FAMILY-2"))
    assert (await rig.ended(cs)).reason == "Local"


async def _by_master_pass(rig: Rig, cs: ScriptedCharger, stopped: int) -> None:
    begun = [Transaction(cs, str(evse)) for evse in (1, 2)]
    for evse, transaction in enumerate(begun, 1):
        await transaction.started(evse={"id": evse, "connectorId": 1})
    info = await authorize(cs, "TAG-MASTER")
    assert info == {"status": "Accepted", "groupIdToken": token("MASTERPASS", "Central")}
    for transaction in begun[:stopped]:
        answer = await transaction.ended("StopAuthorized", "MasterPass", idToken=token("TAG-MASTER"))
        assert answer["idTokenInfo"]["status"] == "Accepted"
    ended = [await rig.ended(cs, number) for number in range(1, stopped + 1)]
    assert {e.reason for e in ended} == {"MasterPass"}
    assert {e.id_token for e in ended} == {"TAG-OK"}


async def test_tc_c_47_master_pass_stops_all(rig: Rig, cs: ScriptedCharger) -> None:
    """The master pass, a token of the group that the station is configured with, stops all transactions."""
    await _by_master_pass(rig, cs, 2)


async def test_tc_c_48_master_pass_stops_one(rig: Rig, cs: ScriptedCharger) -> None:
    """The master pass stops the transaction that is chosen on the station's screen."""
    await _by_master_pass(rig, cs, 1)


async def test_tc_c_49_master_pass_without_screen(rig: Rig, cs: ScriptedCharger) -> None:
    """Without a screen the master pass stops all; the bill stays that of who has charged."""
    await _by_master_pass(rig, cs, 2)
    await report(cs, 1, "Available")
    await report(cs, 2, "Available")


_CONTRACT, _ENDED = "DE-ABC-C0000001-1", "DE-ABC-C0000002-2"


async def _by_contract(rig: Rig, cs: ScriptedCharger, emaid: str, *chain: x509.Certificate) -> Json:
    """The answer to an Authorize with the hashes of a contract's certificates, which the station has validated."""
    hashes = [CA.hash_data(each) | {"responderURL": rig.responder.url} for each in chain]
    wish = {"idToken": token(emaid, "eMAID"), "iso15118CertificateHashData": hashes}
    return await cs.call("Authorize", wish)


async def test_tc_c_50_contract_certificate(rig: Rig, cs: ScriptedCharger) -> None:
    """A contract is good if OCSP says so of each of its certificates, and the registry of its token; a session of it
    is one of that contract."""
    contract, issuer = CA.issue("contract"), CA.issue("issuer")
    for certificate in (contract, issuer):
        rig.responder.knows(certificate)
    accepted = {"idTokenInfo": {"status": "Accepted"}, "certificateStatus": "Accepted"}
    assert await _by_contract(rig, cs, _CONTRACT, contract, issuer) == accepted
    blocked = {"idTokenInfo": {"status": "Blocked"}, "certificateStatus": "ContractCancelled"}
    assert await _by_contract(rig, cs, _ENDED, contract) == blocked
    await Transaction(cs).started(idToken=token(_CONTRACT, "eMAID"))
    assert (await rig.started(cs)).id_token == _CONTRACT


async def test_tc_c_51_contract_certificate_revoked(rig: Rig, cs: ScriptedCharger) -> None:
    """A revoked certificate in the chain, or one that nobody answers for, authorises nothing."""
    contract, revoked, unknown = (CA.issue(name) for name in ("contract", "revoked", "unknown"))
    rig.responder.knows(contract)
    rig.responder.knows(revoked, revoked=True)
    for chain, word in (((contract, revoked), "CertificateRevoked"), ((unknown,), "NoCertificateAvailable")):
        answer = await _by_contract(rig, cs, _CONTRACT, *chain)
        assert answer == {"idTokenInfo": {"status": "Invalid"}, "certificateStatus": word}


async def test_tc_c_52_contract_certificate_for_central_validation(rig: Rig, cs: ScriptedCharger) -> None:
    """A contract that the station could not validate itself, sent whole: the platform validates its chain up to an
    authority that the operator trusts, asks OCSP about each certificate, and the registry about the token. Another's
    certificate, a revoked one, or one of an authority that nobody trusts authorises nothing."""
    contract, revoked, others = (
        CA.issue(name, responder=rig.responder.url) for name in (_CONTRACT, _CONTRACT, _ENDED)
    )
    for certificate in (contract, others):
        rig.responder.knows(certificate)
    rig.responder.knows(revoked, revoked=True)
    stranger = Authority().issue(_CONTRACT, responder=rig.responder.url)
    for certificate, token_status, word in (
        (contract, "Accepted", "Accepted"),
        (revoked, "Invalid", "CertificateRevoked"),
        (others, "Invalid", "NoCertificateAvailable"),
        (stranger, "Invalid", "SignatureError"),
    ):
        pem = certificate.public_bytes(Encoding.PEM).decode()
        answer = await cs.call("Authorize", {"idToken": token(_CONTRACT, "eMAID"), "certificate": pem})
        assert answer == {"idTokenInfo": {"status": token_status}, "certificateStatus": word}
