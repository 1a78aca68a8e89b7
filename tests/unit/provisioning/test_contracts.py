"""Contract certificates that a station sends whole (2.0.1 C07): what their chains prove, and what they are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import httpx
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.message import Message
from libs.bus.producer import Producer
from libs.events.commands import AnswerCall
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import TokenRegistered, TokenStatus
from libs.ocpp import schemas
from libs.ocpp.versions import Version
from libs.runtime.clock import now_us
from services.provisioning.certificates import CertificateDesk
from services.provisioning.domain.certificates.contracts import ChainRefusedError, Link, validated
from services.provisioning.domain.certificates.ocsp import (
    CertificateId,
    OcspUnusableError,
    certificate_id,
    read_response,
)
from services.provisioning.ocsp_client import Found, OcspClient, OcspUnavailableError
from tests.unit.provisioning.authority import Authority

NOW = now_us()
DAY = 86_400_000_000
A_DAY = timedelta(days=1)
"""How long OCSP answers are good: they are made when tests are collected, which may be an hour before they run."""
EMAID = "DE-ABC-C0000001-1"
OCSP = "http://ocsp.example.com/"

ROOT = Authority("MO root")
SUB = Authority("MO sub", ROOT, responder=OCSP + "sub")
CONTRACT = SUB.issue("DEABCC00000011", responder=OCSP + "contract")
CHAIN = (CONTRACT, SUB.certificate)


def pem(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def links(chain: str, id_token: str = EMAID, *trusted: Authority, now: int = NOW) -> tuple[Link, ...]:
    return validated(chain, id_token, [each.certificate for each in trusted or (ROOT,)], now)


@pytest.mark.parametrize("trusted", [(ROOT,), (SUB,), (ROOT, SUB), (Authority("MO root"), ROOT)])
@pytest.mark.parametrize("sent", [CHAIN, (*CHAIN, ROOT.certificate)])
def test_a_chain_leads_from_the_contract_to_an_authority(
    sent: tuple[x509.Certificate, ...], trusted: tuple[Authority, ...]
) -> None:
    found = links(pem(*sent), EMAID, *trusted)
    assert found[0].certificate == CONTRACT
    assert (found[0].issuer, found[0].responder) == (SUB.certificate, OCSP + "contract")
    assert found[0].id == certificate_id(SUB.hash_data(CONTRACT))
    # Nobody is asked about what is trusted.
    assert len(found) == (1 if SUB in trusted else 2)


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("DEABCC00000011", "de-abc-c0000001-1"),
        ("DE-ABC-C0000001-1", "DEABCC00000011"),
        ("DEABCC00000012X", "DEABCC00000012"),
        ("DEABCC00000012", "DE-ABC-C00000012-X"),
    ],
)
def test_the_certificate_bears_the_contracts_name_however_it_is_written(name: str, token: str) -> None:
    """With separators or without, with the check digit or without."""
    assert links(pem(SUB.issue(name), SUB.certificate), token)


@pytest.mark.parametrize("token", ["DEABCC0000001", "DEABCC00000021", "DEABCC0000001122", "X"])
def test_another_contracts_certificate_is_none(token: str) -> None:
    with pytest.raises(ChainRefusedError) as refused:
        links(pem(*CHAIN), token)
    assert refused.value.status == "NoCertificateAvailable"


FORGER = Authority("MO sub")
NO_CA = Authority("no CA", ROOT, ca=False)
SHORT = Authority("short", path_length=0)
BELOW = Authority("below", SHORT)
LONG = [ROOT]
for number in range(5):
    LONG.append(Authority(f"sub {number}", LONG[-1]))


@pytest.mark.parametrize(
    ("chain", "trusted", "status"),
    [
        ("", (ROOT,), "CertChainError"),
        ("nonsense", (ROOT,), "CertChainError"),
        (pem(CONTRACT), (ROOT,), "CertChainError"),
        (pem(*CHAIN), (Authority("stranger"),), "CertChainError"),
        (pem(*CHAIN), (Authority("MO root"),), "SignatureError"),
        (pem(CONTRACT, FORGER.certificate), (FORGER,), "SignatureError"),
        (pem(SUB.certificate, CONTRACT), (ROOT,), "CertChainError"),
        (pem(NO_CA.issue("DEABCC00000011"), NO_CA.certificate), (ROOT,), "CertChainError"),
        (pem(BELOW.issue("DEABCC00000011"), BELOW.certificate), (SHORT,), "CertChainError"),
        (pem(ROOT.certificate), (ROOT,), "NoCertificateAvailable"),
        (pem(SUB.issue("DEABCC00000022"), SUB.certificate), (ROOT,), "NoCertificateAvailable"),
        (
            pem(LONG[-1].issue("DEABCC00000011"), *(each.certificate for each in LONG[:0:-1])),
            (ROOT,),
            "CertChainError",
        ),
    ],
)
def test_what_proves_nothing_is_refused(chain: str, trusted: tuple[Authority, ...], status: str) -> None:
    with pytest.raises(ChainRefusedError) as refused:
        links(chain, EMAID, *trusted)
    assert refused.value.status == status


def test_an_authority_is_no_contract() -> None:
    acting = Authority("DEABCC00000011", ROOT)
    with pytest.raises(ChainRefusedError) as refused:
        links(pem(acting.certificate))
    assert refused.value.status == "CertChainError"


@pytest.mark.parametrize(("days", "status"), [(40, "CertificateExpired"), (-2, "CertChainError")])
def test_what_is_not_valid_now_is_refused(days: int, status: str) -> None:
    with pytest.raises(ChainRefusedError) as refused:
        links(pem(*CHAIN), now=NOW + days * DAY)
    assert refused.value.status == status


class Responders:
    """Those that the certificates name; `says` answers about each."""

    def __init__(self, says: dict[str, bytes | None]) -> None:
        self.says = says
        self.asked: list[str] = []

    async def ask(self, url: str, wanted: CertificateId, issuer: x509.Certificate | None = None) -> Found:
        self.asked.append(url)
        der = self.says.get(url)
        if der is None:
            raise OcspUnavailableError(url)
        trusted = [ROOT.certificate, *([] if issuer is None else [issuer])]
        return der, read_response(der, wanted, trusted, now_us())


GOOD: dict[str, bytes | None] = {
    OCSP + "sub": ROOT.response(SUB.certificate, lasts=A_DAY),
    OCSP + "contract": SUB.response(CONTRACT, lasts=A_DAY),
}


async def answer(
    payload: dict[str, Any],
    says: dict[str, bytes | None],
    *tokens: TokenRegistered,
    version: Version = Version.V21,
    late: TokenRegistered | None = None,
) -> dict[str, Any]:
    """What a station is told that sends this Authorize. `late`: a token that has not been read yet."""
    written: list[AnswerCall] = []
    table = {token.id_token: token for token in tokens}

    async def catch_up() -> None:
        if late is not None:
            table[late.id_token] = late

    class Written:
        failed = False

        async def send_and_wait(self, _topic: str, _key: str, record: AnswerCall, *, partition: int) -> None:
            written.append(record)

    responders = Responders(says)
    desk = CertificateDesk(
        cast(OcspClient, responders),
        cast(Producer, Written()),
        table,
        unknown_tokens=False,
        catch_up=catch_up,
        authorities=[ROOT.certificate],
    )
    call = OcppCallReceived(
        event_id="e",
        occurred_at=now_us(),
        recorded_at=now_us(),
        cause_id="e",
        station_id="cp-1",
        connection_epoch=7,
        edge_id="edge-0",
        version=version,
        message_id="1",
        action="Authorize",
        payload=orjson.dumps(payload).decode(),
        pending=True,
        slot=3,
    )
    await desk.handle(Message("ocpp.transactions", 0, 0, "cp-1", call, now_us()))
    (record,) = written
    told: dict[str, Any] = orjson.loads(record.answer or "")
    assert schemas.validate(version, "Authorize", "response", told) is None
    return told


def authorize(chain: str) -> dict[str, Any]:
    return {"idToken": {"idToken": EMAID, "type": "eMAID"}, "certificate": chain}


def registered(status: TokenStatus, **fields: Any) -> TokenRegistered:
    return TokenRegistered(
        event_id="e",
        occurred_at=NOW,
        recorded_at=NOW,
        cause_id="e",
        id_token=EMAID.casefold(),
        type="eMAID",
        status=status,
        **fields,
    )


@pytest.mark.parametrize("version", [Version.V201, Version.V21])
async def test_a_contract_is_accepted_if_its_chain_ocsp_and_registry_say_so(version: Version) -> None:
    known = registered(TokenStatus.ACCEPTED)
    told = await answer(authorize(pem(*CHAIN)), GOOD, known, version=version)
    assert told == {"idTokenInfo": {"status": "Accepted"}, "certificateStatus": "Accepted"}


async def test_the_token_of_a_contract_that_was_registered_a_moment_ago_is_accepted() -> None:
    told = await answer(authorize(pem(*CHAIN)), GOOD, late=registered(TokenStatus.ACCEPTED))
    assert told == {"idTokenInfo": {"status": "Accepted"}, "certificateStatus": "Accepted"}


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (registered(TokenStatus.BLOCKED), "Blocked"),
        (registered(TokenStatus.EXPIRED), "Expired"),
        (registered(TokenStatus.ACCEPTED, valid_until=NOW - DAY), "Expired"),
        (None, "Invalid"),
    ],
)
async def test_a_good_certificate_of_a_token_that_may_not_charge(
    token: TokenRegistered | None, status: str
) -> None:
    told = await answer(authorize(pem(*CHAIN)), GOOD, *([] if token is None else [token]))
    assert (told["idTokenInfo"]["status"], told["certificateStatus"]) == (status, "ContractCancelled")


async def test_the_token_of_an_expired_certificate_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    def later(chain: str, id_token: str, trusted: list[x509.Certificate], now: int) -> tuple[Link, ...]:
        return validated(chain, id_token, trusted, now + 40 * DAY)

    monkeypatch.setattr("services.provisioning.certificates.validated", later)
    told = await answer(authorize(pem(*CHAIN)), GOOD, registered(TokenStatus.ACCEPTED))
    assert told == {"idTokenInfo": {"status": "Expired"}, "certificateStatus": "CertificateExpired"}


@pytest.mark.parametrize(
    ("chain", "says", "status"),
    [
        (
            pem(*CHAIN),
            GOOD | {OCSP + "contract": SUB.response(CONTRACT, revoked=True, lasts=A_DAY)},
            "CertificateRevoked",
        ),
        (
            pem(*CHAIN),
            GOOD | {OCSP + "sub": ROOT.response(SUB.certificate, revoked=True, lasts=A_DAY)},
            "CertificateRevoked",
        ),
        (pem(*CHAIN), GOOD | {OCSP + "contract": None}, "NoCertificateAvailable"),
        (pem(*CHAIN), GOOD | {OCSP + "sub": None}, "NoCertificateAvailable"),
        (pem(SUB.issue("DEABCC00000011"), SUB.certificate), GOOD, "NoCertificateAvailable"),
        (pem(CONTRACT), GOOD, "CertChainError"),
        ("nonsense", GOOD, "CertChainError"),
    ],
)
async def test_a_token_is_invalid_whenever_its_certificate_is_not_good(
    chain: str, says: dict[str, bytes | None], status: str
) -> None:
    told = await answer(authorize(chain), says, registered(TokenStatus.ACCEPTED))
    assert told == {"idTokenInfo": {"status": "Invalid"}, "certificateStatus": status}


def test_a_response_counts_only_if_the_certificates_own_issuer_stands_behind_it() -> None:
    wanted = links(pem(*CHAIN))[0].id
    forged = FORGER.response(CONTRACT, signer=(FORGER.certificate, FORGER.key), brings=[])
    with pytest.raises(OcspUnusableError):
        read_response(forged, wanted, [SUB.certificate], now_us())


class Body(httpx.AsyncByteStream):
    """An answer that is still to be read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


async def test_what_was_found_for_a_trusted_issuer_is_not_mixed_with_what_was_found_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "http://198.41.0.4/contract"
    fetched: list[str] = []

    async def answer(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        fetched.append(str(request.url))
        return httpx.Response(200, stream=Body(SUB.response(CONTRACT, lasts=A_DAY)))

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    client = OcspClient(authorities=[ROOT.certificate])
    wanted = certificate_id(SUB.hash_data(CONTRACT))
    proofs = [
        (await client.ask(url, wanted, issuer))[1].proof
        for issuer in (None, SUB.certificate, None, SUB.certificate)
    ]
    assert proofs == ["issuer", "authority", "issuer", "authority"]
    assert fetched == [url, url]
    await client.close()


def test_a_long_chain_is_not_looked_into() -> None:
    with pytest.raises(ChainRefusedError, match="more than"):
        links(pem(*([CONTRACT] * 50)))
