"""Chargers' questions about certificates, answered by a real responder through the real edge and bus."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from libs.bus.bus import connect
from libs.bus.settings import BusSettings
from libs.events.ocpp_log import AnswerSource, OcppCallAnswered
from libs.events.registry import TokenRegistered, TokenStatus
from libs.events.topics import REGISTRY_TOKENS
from libs.runtime.service import Health
from libs.security.url_guard import UrlRefusedError
from services.provisioning import ocsp_client
from services.provisioning.certificates import answer_about_certificates
from services.provisioning.domain.certificates.ocsp import OcspUnusableError, certificate_id
from services.provisioning.ocsp_client import LARGEST, OcspClient, OcspUnavailableError
from services.provisioning.settings import ProvisioningSettings
from tests.integration.api_platform import stamp
from tests.integration.edge_process import BOOT_2, Log, charger, edge
from tests.patience import until
from tests.unit.provisioning.authority import Authority

LOOPBACK = (ip_network("127.0.0.0/8"),)
CA = Authority()


class Responder:
    """An OCSP responder over HTTP. `answer`: the request to status, headers and body."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, ocsp.OCSPRequest]] = []
        self.certificates: dict[int, bytes] = {}
        self.answer: Callable[[bytes], tuple[str, bytes]] = self.by_serial_number
        self.pause_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ocsp"

    def knows(self, certificate: x509.Certificate, **how: Any) -> None:
        self.certificates[certificate.serial_number] = CA.response(certificate, **how)

    def by_serial_number(self, request: bytes) -> tuple[str, bytes]:
        found = self.certificates.get(ocsp.load_der_ocsp_request(request).serial_number)
        return ("404 Not Found", b"") if found is None else ("200 OK", found)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = {
            name.lower(): value
            for name, value in (line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        }
        body = await reader.readexactly(int(fields["content-length"]))
        self.asked.append((fields["host"], ocsp.load_der_ocsp_request(body)))
        assert fields["content-type"] == "application/ocsp-request"
        await asyncio.sleep(self.pause_s)
        status, content = self.answer(body)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def responding() -> AsyncIterator[Responder]:
    responder = Responder()
    server = await asyncio.start_server(responder.serve, "127.0.0.1", 0)
    responder.port = server.sockets[0].getsockname()[1]
    try:
        yield responder
    finally:
        server.close()


@asynccontextmanager
async def provisioning(bus: BusSettings, authorities: Path, **settings: object) -> AsyncIterator[None]:
    given = bus.model_dump() | {
        "certificate_authorities": authorities,
        "url_networks": LOOPBACK,
        "ocsp_timeout_s": 7,
    }
    made = ProvisioningSettings.model_validate(given | settings)
    stop, health = asyncio.Event(), Health()
    async with connect(made) as connected:
        running = asyncio.create_task(answer_about_certificates(connected, made, health, stop))
        try:
            await until(lambda: running.done() or health.is_ready(), "provisioning is ready")
            yield
        finally:
            stop.set()
            await running


def status_request(certificate: x509.Certificate, url: str) -> dict[str, Any]:
    return {"ocspRequestData": CA.hash_data(certificate) | {"responderURL": url}}


async def test_stations_get_the_responder_s_word_and_contracts_are_authorised(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(CA.certificate.public_bytes(Encoding.PEM))
    good, revoked, unknown = (CA.issue(name) for name in ("good", "revoked", "unknown"))
    deferred = "GetCertificateStatus:30,GetCertificateChainStatus:30,Authorize.iso15118CertificateHashData:30"
    token = TokenRegistered(
        **stamp(), id_token="emaid-1", type="eMAID", status=TokenStatus.ACCEPTED, group_id="g"
    )
    await log.publish(REGISTRY_TOKENS, "emaid-1", token)
    async with (
        responding() as responder,
        provisioning(bus, authorities),
        edge(bus, slot=1, deferred=deferred) as process,
        charger(process, "contract", "ocpp2.0.1") as c,
        charger(process, "contract-21", "ocpp2.1") as newer,
    ):
        responder.knows(good)
        responder.knows(revoked, revoked=True)
        await c.call("BootNotification", BOOT_2)
        await newer.call("BootNotification", BOOT_2)

        answer = await c.call("GetCertificateStatus", status_request(good, responder.url))
        assert answer["status"] == "Accepted"
        der = base64.b64decode(answer["ocspResult"])
        assert ocsp.load_der_ocsp_response(der).certificate_status is ocsp.OCSPCertStatus.GOOD
        # Until its nextUpdate the answer is remembered, also for other chargers.
        asked = len(responder.asked)
        assert (await newer.call("GetCertificateStatus", status_request(good, responder.url))) == answer
        assert len(responder.asked) == asked
        # Nothing inside is asked, and nothing that is not HTTP; no deadline passes with it, as the answers show below.
        for url in (
            "http://169.254.169.254/",
            "file:///etc/passwd",
            "http://u:p@127.0.0.1/",
            "http://10.0.0.1/",
        ):
            refused = await c.call("GetCertificateStatus", status_request(good, url))
            assert refused == {"status": "Failed"}
        assert len(responder.asked) == asked

        async def authorise(*chain: x509.Certificate) -> Any:
            hashes = [status_request(each, responder.url)["ocspRequestData"] for each in chain]
            payload = {
                "idToken": {"idToken": "EMAID-1", "type": "eMAID"},
                "iso15118CertificateHashData": hashes,
            }
            return await c.call("Authorize", payload)

        assert await authorise(good) == {
            "certificateStatus": "Accepted",
            "idTokenInfo": {"status": "Accepted", "groupIdToken": {"idToken": "g", "type": "Central"}},
        }
        for chain, word in (
            ((good, revoked), "CertificateRevoked"),
            ((good, unknown), "NoCertificateAvailable"),
        ):
            assert await authorise(*chain) == {
                "certificateStatus": word,
                "idTokenInfo": {"status": "Invalid"},
            }
        # A card without contract is nothing that is asked about.
        plain = await c.call("Authorize", {"idToken": {"idToken": "CARD", "type": "ISO14443"}})
        assert plain == {"idTokenInfo": {"status": "Accepted"}}

        def wanted(certificate: x509.Certificate, source: str = "OCSP") -> dict[str, Any]:
            hashes = CA.hash_data(certificate)
            return {"certificateHashData": hashes, "source": source, "urls": [responder.url]}

        requests = [wanted(good), wanted(revoked), wanted(unknown), wanted(good, "CRL")]
        chain_status = await newer.call("GetCertificateChainStatus", {"certificateStatusRequests": requests})
        assert [(each["source"], each["status"]) for each in chain_status["certificateStatus"]] == [
            ("OCSP", "Good"),
            ("OCSP", "Revoked"),
            ("OCSP", "Failed"),
            ("CRL", "Failed"),
        ]

        def answers() -> list[OcppCallAnswered]:
            return [
                *log.of("ocpp.lifecycle", OcppCallAnswered),
                *log.of("ocpp.transactions", OcppCallAnswered),
            ]

        await until(lambda: len(answers()) == 1 + 1 + 4 + 3 + 1, "the answers of all calls but the card's")
        assert {each.source for each in answers()} == {AnswerSource.PROCESSOR}


async def test_who_is_not_trusted_authorises_nobody(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(Authority("another").certificate.public_bytes(Encoding.PEM))
    mine = CA.issue("mine")
    async with (
        responding() as responder,
        provisioning(bus, authorities, unknown_tokens="accept"),
        edge(bus, slot=2, edge_id="edge-2", deferred="Authorize.iso15118CertificateHashData:30") as process,
        charger(process, "forger", "ocpp2.0.1") as c,
    ):
        responder.knows(mine)
        await c.call("BootNotification", BOOT_2)
        hashes = [CA.hash_data(mine) | {"responderURL": responder.url}]
        payload = {"idToken": {"idToken": "X", "type": "eMAID"}, "iso15118CertificateHashData": hashes}
        assert await c.call("Authorize", payload) == {
            "certificateStatus": "CertChainError",
            "idTokenInfo": {"status": "Invalid"},
        }


@asynccontextmanager
async def asking(kept_bytes: int = 1 << 20, timeout_s: float = 20) -> AsyncIterator[OcspClient]:
    client = OcspClient(allowed=LOOPBACK, timeout_s=timeout_s, kept_bytes=kept_bytes)
    try:
        yield client
    finally:
        await client.close()


def said(status: str, content: bytes, _request: bytes) -> tuple[str, bytes]:
    return status, content


async def test_a_responder_is_not_followed_anywhere_nor_waited_for() -> None:
    leaf = CA.issue("leaf")
    wanted = certificate_id(CA.hash_data(leaf))
    async with responding() as responder, asking() as client:
        responder.knows(leaf)
        for status, content in (
            (f"302 Found\r\nLocation: {responder.url}", b""),
            ("500 Internal Server Error", b""),
            ("200 OK\r\nContent-Encoding: gzip", b"\x1f\x8b"),
            ("200 OK", bytes(LARGEST + 1)),
        ):
            responder.answer = partial(said, status, content)
            with pytest.raises(OcspUnavailableError):
                await client.ask(responder.url, wanted)
        assert len(responder.asked) == 4
        responder.answer = partial(said, "200 OK", b"<html>hello</html>")
        with pytest.raises(OcspUnusableError):
            await client.ask(responder.url, wanted)
        responder.pause_s = 300
        async with asking(timeout_s=0.5) as hurried:
            with pytest.raises(OcspUnavailableError, match="TimeoutError"):
                await hurried.ask(responder.url, wanted)
    async with asking() as client:
        with pytest.raises(OcspUnavailableError):
            await client.ask(responder.url, wanted)


async def test_a_name_is_resolved_once_and_every_address_of_it_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaf = CA.issue("leaf")
    wanted = certificate_id(CA.hash_data(leaf))
    addresses: list[list[str]] = []
    resolved: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host != "ocsp.test":
            return real(host, port, *more, **options)
        resolved.append(host)
        found = addresses.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with responding() as responder, asking() as client:
        responder.knows(leaf, lasts=None)
        url = f"http://ocsp.test:{responder.port}/"
        # A second look-up would lead elsewhere, and an answer without nextUpdate is not remembered.
        addresses[:] = [["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], []]
        assert (await client.ask(url, wanted))[1].status == "good"
        assert responder.asked[0][0] == f"ocsp.test:{responder.port}"
        assert len(resolved) == 1
        for _ in range(3):
            with pytest.raises(UrlRefusedError):
                await client.ask(url, wanted)
        assert len(responder.asked) == 1


async def test_the_same_question_at_the_same_time_is_asked_once_and_old_answers_are_forgotten() -> None:
    leaf, other = CA.issue("leaf"), CA.issue("other")
    # One of these answers fits, two do not.
    async with responding() as responder, asking(kept_bytes=3_000) as client:
        responder.knows(leaf)
        responder.knows(other)
        responder.pause_s = 0.1
        wanted = certificate_id(CA.hash_data(leaf))
        found = await asyncio.gather(*(client.ask(responder.url, wanted) for _ in range(20)))
        assert len({each[0] for each in found}) == len(responder.asked) == 1
        await client.ask(responder.url, certificate_id(CA.hash_data(other)))
        await client.ask(responder.url, wanted)
        assert len(responder.asked) == 3
        stale = CA.issue("stale")
        responder.knows(stale, age=timedelta(minutes=62), lasts=timedelta(minutes=60))
        for _ in range(2):
            # Just out of date: within what clocks may differ, but never remembered.
            await client.ask(responder.url, certificate_id(CA.hash_data(stale)))
        assert len(responder.asked) == 5


async def test_what_proves_nothing_is_large_or_old_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The URL is the charger's choice, and so may be all that is behind it."""
    for_a_month = {"lasts": timedelta(days=30)}
    now, ahead = time.time(), 0.0
    monkeypatch.setattr(ocsp_client, "now_us", lambda: int((now + ahead) * 1_000_000))

    async def times_asked(name: str, **how: Any) -> int:
        leaf = CA.issue(name)
        responder.knows(leaf, **how)
        before = len(responder.asked)
        for _ in range(2):
            await client.ask(responder.url, certificate_id(CA.hash_data(leaf)))
        return len(responder.asked) - before

    async with responding() as responder, asking() as client:
        assert await times_asked("proved", **for_a_month) == 1
        assert await times_asked("unproved", brings=[], **for_a_month) == 2
        others = [CA.issue(f"another-{number}") for number in range(60)]
        assert await times_asked("large", brings=[CA.certificate, *others], **for_a_month) == 2
        leaf = CA.issue("kept")
        wanted = certificate_id(CA.hash_data(leaf))
        responder.knows(leaf, **for_a_month)
        for hours, asked in ((0, 1), (23, 0), (25, 1)):
            ahead, before = hours * 3600.0, len(responder.asked)
            await client.ask(responder.url, wanted)
            assert len(responder.asked) - before == asked
