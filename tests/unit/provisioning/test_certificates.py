"""What the desk for certificates answers, and how much of it one station can have."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson

from libs.bus.message import Message
from libs.bus.producer import Producer
from libs.events.commands import AnswerCall
from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp import schemas
from libs.ocpp.versions import Version
from libs.runtime.clock import now_us
from services.provisioning.certificates import CertificateDesk
from services.provisioning.domain.certificates.ocsp import CertificateId
from services.provisioning.ocsp_client import Found, OcspClient, OcspUnavailableError

HASHES = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "00" * 32,
    "issuerKeyHash": "01" * 32,
    "serialNumber": "02",
}


class Responders:
    """Responders of which those with `slow` in their URL never answer, and the others say no at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = 0

    async def ask(self, url: str, _wanted: CertificateId, _issuer: object = None) -> Found:
        self.asked.append(url)
        if "slow" in url:
            self.open += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.open -= 1
        raise OcspUnavailableError(url)


class Written:
    """The answers that were written."""

    failed = False

    def __init__(self) -> None:
        self.answers: list[AnswerCall] = []

    async def send_and_wait(self, _topic: str, _key: str, record: AnswerCall, *, partition: int) -> None:
        assert partition == record.slot
        self.answers.append(record)


async def nothing_new() -> None:
    pass


class Desk:
    def __init__(self, longest_s: float = 60.0) -> None:
        self.responders, self.written = Responders(), Written()
        self.desk = CertificateDesk(
            cast(OcspClient, self.responders),
            cast(Producer, self.written),
            {},
            unknown_tokens=False,
            catch_up=nothing_new,
            longest_s=longest_s,
        )
        self.tasks: list[asyncio.Task[None]] = []

    async def asks(self, station: str, call: OcppCallReceived) -> None:
        message = Message("ocpp.lifecycle", 0, 0, station, call, now_us())
        self.tasks.append(asyncio.create_task(self.desk.handle(message)))
        # Until nothing more happens by itself.
        for _ in range(10):
            await asyncio.sleep(0)


def question(station: str, number: int, *urls: str, **changes: str) -> OcppCallReceived:
    wanted = {"certificateHashData": HASHES | changes, "source": "OCSP", "urls": list(urls)}
    return OcppCallReceived(
        event_id=f"{station}-{number}",
        occurred_at=now_us(),
        recorded_at=now_us(),
        cause_id=f"{station}-{number}",
        station_id=station,
        connection_epoch=7,
        edge_id="edge-0",
        version="ocpp2.1",
        message_id=str(number),
        action="GetCertificateChainStatus",
        payload=orjson.dumps({"certificateStatusRequests": [wanted]}).decode(),
        pending=True,
        slot=3,
        quirks=("too_long",) if changes else (),
    )


async def test_a_station_has_four_questions_at_a_time_and_holds_up_nobody() -> None:
    desk = Desk()
    for number in range(6):
        await desk.asks("greedy", question("greedy", number, f"http://slow-{number}.example.com"))
    assert (desk.responders.open, sum(task.done() for task in desk.tasks)) == (4, 2)
    await desk.asks("other", question("other", 1, "http://quick.example.com"))
    assert [answer.station_id for answer in desk.written.answers] == ["other"]
    desk.tasks[0].cancel()
    await asyncio.wait(desk.tasks[:1])
    await desk.asks("greedy", question("greedy", 7, "http://quick.example.com"))
    assert [answer.cause_id for answer in desk.written.answers] == ["other-1", "greedy-7"]
    for task in desk.tasks:
        task.cancel()
    await asyncio.gather(*desk.tasks, return_exceptions=True)
    assert desk.responders.open == 0


async def test_a_question_has_one_deadline_for_all_its_responders() -> None:
    desk = Desk(longest_s=0.01)
    urls = [f"http://slow-{number}.example.com" for number in range(5)]
    await desk.asks("greedy", question("greedy", 1, *urls))
    await asyncio.gather(*desk.tasks)
    # The others are not even asked.
    assert desk.responders.asked == urls[:1]
    (answer,) = desk.written.answers
    assert orjson.loads(answer.answer or "")["certificateStatus"][0]["status"] == "Failed"


async def test_hashes_that_are_too_long_come_back_as_an_answer_may_hold_them() -> None:
    desk = Desk()
    long = {"serialNumber": "02" * 30, "issuerNameHash": "a" * 200}
    await desk.asks("other", question("other", 1, "http://quick.example.com", **long))
    (answer,) = desk.written.answers
    payload: dict[str, Any] = orjson.loads(answer.answer or "")
    assert schemas.validate(Version.V21, "GetCertificateChainStatus", "response", payload) is None
    (status,) = payload["certificateStatus"]
    assert status["certificateHashData"] == HASHES | {
        "serialNumber": "02" * 20,
        "issuerNameHash": "a" * 128,
    }
