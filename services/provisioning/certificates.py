"""Answers to chargers' questions about certificates, found by asking OCSP responders.

The edge leaves these calls to us where its VOLTBUS_DEFERRED names them; what we do not answer in time it answers
alone.
"""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography import x509
from prometheus_client import Counter

from libs.bus.bus import Bus
from libs.bus.concurrent_consumer import ConcurrentConsumer
from libs.bus.errors import BusUnavailableError
from libs.bus.message import Message
from libs.bus.producer import Producer
from libs.bus.tables import TableSet
from libs.events.commands import AnswerCall
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import TokenRegistered, TokenStatus
from libs.events.topics import COMMANDS_DISPATCH, OCPP_LIFECYCLE, OCPP_TRANSACTIONS, REGISTRY_TOKENS
from libs.ocpp import schemas
from libs.ocpp.certificates import hash_data
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.times import format_timestamp
from libs.ocpp.versions import Version, known_version
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from libs.security.url_guard import UrlRefusedError
from services.provisioning.domain.certificates.contracts import ChainRefusedError, validated
from services.provisioning.domain.certificates.ocsp import (
    CertificateId,
    Finding,
    OcspUnusableError,
    certificate_id,
)
from services.provisioning.ocsp_client import Found, OcspClient, OcspUnavailableError
from services.provisioning.settings import ProvisioningSettings

log = get_logger(__name__)

NAME: Final = "certificates"
TOPICS: Final = (OCPP_LIFECYCLE, OCPP_TRANSACTIONS)


ACTIONS: Final = frozenset({"GetCertificateStatus", "GetCertificateChainStatus", "Authorize"})
_HASHES: Final = "iso15118CertificateHashData"
_CHAIN: Final = "certificate"
_EXPIRED: Final = "CertificateExpired"
_CANCELLED: Final = "ContractCancelled"
_TOO_OLD: Final = 60 * SECOND
_GROUP_LENGTH: Final = 36
_AT_A_TIME: Final = 4
"""Questions of one station. It has one open as a rule, and more only if it comes back again and again."""

ASKED = Counter("voltbus_ocsp_questions", "Certificates asked about, by what came of it.", ["outcome"])
ANSWERS = Counter("voltbus_certificate_answers", "Answers to chargers about certificates.", ["action"])

Payload = dict[str, Any]
_Question = tuple[str, CertificateId | Payload, x509.Certificate | None]

_OUTCOMES: Final[Mapping[type[Exception], str]] = {
    UrlRefusedError: "refused",
    OcspUnavailableError: "unavailable",
    OcspUnusableError: "unusable",
    TimeoutError: "unavailable",
}


class CertificateDesk:
    """Answers pending calls about certificates. `tokens`: the topic's table. `authorities`: of contracts.

    A contract certificate authorises only if a trusted authority vouches for each of its certificates, and the
    registry for its token; `unknown_tokens` tells whether a token that it does not know may charge. `longest_s` is for
    all responders that one question leads to; what they have not said by then counts as not said. `catch_up` returns
    once `tokens` has all that was written before its call.
    """

    def __init__(
        self,
        client: OcspClient,
        producer: Producer,
        tokens: Mapping[str, Record],
        *,
        unknown_tokens: bool,
        catch_up: Callable[[], Awaitable[None]],
        authorities: Sequence[x509.Certificate] = (),
        longest_s: float = 10.0,
    ) -> None:
        self._catch_up = catch_up
        self._client = client
        self._producer = producer
        self._tokens = tokens
        self._unknown_tokens = unknown_tokens
        self._authorities = authorities
        self._longest_s = longest_s
        self._under_way: defaultdict[str, int] = defaultdict(int)
        self._restarting = asyncio.Lock()

    @staticmethod
    def wants(_topic: str, kind: str, subject: str | None) -> bool:
        """Only calls that may be about certificates."""
        return kind == OcppCallReceived.__name__ and subject in ACTIONS

    async def handle(self, message: Message) -> None:
        """Answer a pending call; pass over anything else, and calls whose time is long over.

        Of one station 4 at a time: the edge answers alone what comes beyond them.
        """
        call = message.record
        if not isinstance(call, OcppCallReceived) or call.slot is None or call.action not in ACTIONS:
            return
        if now_us() - call.recorded_at > _TOO_OLD:
            return
        version = known_version(call.version)
        if version is None:
            return
        payload = orjson.loads(call.payload)
        if call.quirks:
            checked = check_call(version, call.action, payload)
            if not isinstance(checked, CheckedCall):
                return
            payload = checked.payload
        under_way, station_id = self._under_way, call.station_id
        if under_way[station_id] >= _AT_A_TIME:
            ASKED.labels("crowded").inc()
            log.warning("certificate_question_dropped", station_id=station_id)
            return
        under_way[station_id] += 1
        try:
            ends_at = asyncio.get_running_loop().time() + self._longest_s
            answer = await self._answer(version, call.action, payload, ends_at)
            if answer is not None:
                await self._send(call, answer)
        finally:
            under_way[station_id] -= 1
            if not under_way[station_id]:
                del under_way[station_id]

    async def _answer(
        self, version: Version, action: str, payload: Payload, ends_at: float
    ) -> Payload | None:
        match action:
            case "GetCertificateStatus":
                return await self._status(version, payload["ocspRequestData"], ends_at)
            case "GetCertificateChainStatus":
                wanted = payload["certificateStatusRequests"]
                found = await asyncio.gather(*(self._chain_status(each, ends_at) for each in wanted))
                return {"certificateStatus": list(found)}
            case "Authorize" if _CHAIN in payload or _HASHES in payload:
                return await self._authorize(payload, ends_at)
            case _:
                return None

    async def _status(self, version: Version, data: Payload, ends_at: float) -> Payload:
        """M06: the responder's own words, for the station to check."""
        found = await self._ask(data["responderURL"], data, None, ends_at)
        if found is None:
            return {"status": "Failed"}
        answer = {"status": "Accepted", "ocspResult": base64.b64encode(found[0]).decode()}
        if schemas.validate(version, "GetCertificateStatus", "response", answer) is not None:
            log.warning("ocsp_response_too_long", bytes=len(found[0]))
            return {"status": "Failed"}
        return answer

    async def _chain_status(self, wanted: Payload, ends_at: float) -> Payload:
        """2.1 M: our word for each certificate, so only for what is proved. CRLs are not read."""
        data, status, moment = wanted["certificateHashData"], "Failed", now_us()
        for url in wanted["urls"] if wanted["source"] == "OCSP" else ():
            found = await self._ask(url, data, None, ends_at)
            if found is not None and found[1].proof is not None:
                finding = found[1]
                status, moment = finding.status.capitalize(), finding.next_update or finding.this_update
                break
        return {
            "certificateHashData": hash_data(data),
            "source": wanted["source"],
            "status": status,
            "nextUpdate": format_timestamp(moment),
        }

    async def _authorize(self, payload: Payload, ends_at: float) -> Payload:
        """2.0.1 C07: a contract certificate is good if all of its chain is, and its token is.

        Hashes are of a chain that the station has validated; a chain itself is one that it could not. The pairs of
        statuses are those of C07.FR.13 to 17.
        """
        id_token = payload["idToken"]["idToken"]
        try:
            questions = self._questions(payload, id_token)
        except ChainRefusedError as error:
            status = error.status
            log.info("contract_refused", status=status, reason=str(error))
        else:
            findings = await asyncio.gather(*(self._ask(*question, ends_at) for question in questions))
            status = contract_status([None if found is None else found[1] for found in findings])
        if status != "Accepted":
            refused = TokenStatus.EXPIRED if status == _EXPIRED else TokenStatus.INVALID
            return {"idTokenInfo": {"status": refused.value}, "certificateStatus": status}
        info = self._token_info(id_token)
        if info["status"] != TokenStatus.ACCEPTED:
            # It may have been registered a moment ago.
            with suppress(BusUnavailableError, TimeoutError):
                async with asyncio.timeout_at(ends_at):
                    await self._catch_up()
            info = self._token_info(id_token)
            if info["status"] != TokenStatus.ACCEPTED:
                status = _CANCELLED
        return {"idTokenInfo": info, "certificateStatus": status}

    def _questions(self, payload: Payload, id_token: str) -> list[_Question]:
        """What is to be asked about a contract: responder, certificate, and its issuer if that is known to be good.

        Raises ChainRefusedError if the chain is not, or nobody answers for a certificate of it.
        """
        if _CHAIN not in payload:
            return [(data["responderURL"], data, None) for data in payload[_HASHES]]
        questions: list[_Question] = []
        for link in validated(payload[_CHAIN], id_token, self._authorities, now_us()):
            if link.responder is None:
                raise ChainRefusedError("NoCertificateAvailable", "a certificate names no OCSP responder")
            questions.append((link.responder, link.id, link.issuer))
        return questions

    def _token_info(self, id_token: str) -> Payload:
        token = self._tokens.get(id_token.casefold())
        if not isinstance(token, TokenRegistered):
            unknown = TokenStatus.ACCEPTED if self._unknown_tokens else TokenStatus.INVALID
            return {"status": unknown.value}
        status = token.status
        if status is TokenStatus.ACCEPTED and token.valid_until is not None and token.valid_until <= now_us():
            status = TokenStatus.EXPIRED
        info: Payload = {"status": status.value}
        if token.valid_until is not None:
            info["cacheExpiryDateTime"] = format_timestamp(token.valid_until)
        if token.group_id and len(token.group_id) <= _GROUP_LENGTH:
            info["groupIdToken"] = {"idToken": token.group_id, "type": "Central"}
        return info

    async def _ask(
        self, url: str, wanted: CertificateId | Payload, issuer: x509.Certificate | None, ends_at: float
    ) -> Found | None:
        """A responder's answer, and what it says; None, counted and logged, if there is none to be used."""
        try:
            if asyncio.get_running_loop().time() >= ends_at:
                raise TimeoutError("the time for this question is over")
            async with asyncio.timeout_at(ends_at):
                named = wanted if isinstance(wanted, CertificateId) else certificate_id(wanted)
                found = await self._client.ask(url, named, issuer)
        except (UrlRefusedError, OcspUnavailableError, OcspUnusableError, TimeoutError) as error:
            outcome = _OUTCOMES[type(error)]
            ASKED.labels(outcome).inc()
            log.info("ocsp_without_result", outcome=outcome, reason=str(error))
            return None
        ASKED.labels(found[1].status).inc()
        return found

    async def _send(self, call: OcppCallReceived, answer: Payload) -> None:
        now, slot = now_us(), call.slot
        assert slot is not None
        record = AnswerCall(
            event_id=derive_id(call.event_id, "answer"),
            occurred_at=now,
            recorded_at=now,
            cause_id=call.event_id,
            station_id=call.station_id,
            slot=slot,
            connection_epoch=call.connection_epoch,
            message_id=call.message_id,
            action=call.action,
            answer=orjson.dumps(answer).decode(),
        )
        try:
            if self._producer.failed:
                async with self._restarting:
                    if self._producer.failed:
                        await self._producer.restart()
            await self._producer.send_and_wait(COMMANDS_DISPATCH, str(slot), record, partition=slot)
        except BusUnavailableError as error:
            # The edge answers alone; nothing is to be made up for when Kafka is back.
            log.warning("answer_not_written", call_id=call.event_id, error=str(error))
            return
        ANSWERS.labels(call.action).inc()


def contract_status(findings: list[Finding | None]) -> str:
    """One word for a chain (AuthorizeCertificateStatusEnumType): the worst that is known of any of it."""
    if any(found is not None and found.status == "revoked" for found in findings):
        return "CertificateRevoked"
    if any(found is None or found.status == "unknown" for found in findings):
        return "NoCertificateAvailable"
    # Good by somebody whom nobody here knows is what a forged chain would say, too.
    if any(found is not None and found.proof != "authority" for found in findings):
        return "CertChainError"
    return "Accepted"


async def answer_about_certificates(
    bus: Bus, settings: ProvisioningSettings, health: Health, stop: asyncio.Event
) -> None:
    """Answer what chargers ask about certificates until `stop`."""
    tables = TableSet(bus, NAME, (REGISTRY_TOKENS,))
    producer = Producer(bus, NAME)
    authorities = read_authorities(settings.certificate_authorities)
    client = OcspClient(
        authorities=authorities,
        allowed=settings.url_networks,
        timeout_s=settings.ocsp_timeout_s,
    )
    reader = ConcurrentConsumer(bus, TOPICS, NAME, CertificateDesk.wants)
    health.ready(NAME, lambda: tables.ready and reader.healthy)
    await producer.start()
    try:
        async with tables:
            desk = CertificateDesk(
                client,
                producer,
                tables[REGISTRY_TOKENS],
                unknown_tokens=settings.unknown_tokens == "accept",
                catch_up=tables.catch_up,
                authorities=authorities,
            )
            await reader.run(desk.handle, stop)
    finally:
        await client.close()
        await producer.stop()


def read_authorities(path: Path | None) -> list[x509.Certificate]:
    """The certificates in a PEM file. Raises OSError or ValueError if there are none."""
    return [] if path is None else x509.load_pem_x509_certificates(path.read_bytes())
