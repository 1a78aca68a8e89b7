"""One certificate for a request, however many processes are asked and however late the history is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest

from libs.bus.bus import Bus
from libs.bus.errors import BusUnavailableError, ClaimLostError
from libs.bus.message import Emit
from libs.bus.sole_writer import SoleWriter
from libs.events.commands import CommandConcluded, CommandDialect, Fate, RequestCommand
from libs.events.record import Record
from services.api.commands.desk import CommandDesk
from services.api.domain.errors import Conflict
from services.api.equipment import certificate_writer
from services.api.equipment.certificate_writer import Certificates

FAILURES = [Fate.REJECTED, Fate.FAILED, Fate.EXPIRED, Fate.UNKNOWN]


class Platform:
    """What is in the topic, who holds the claim, and the fates that are known; the history knows nothing yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[RequestCommand] = []
        self.holder: Writer | None = None
        self.fates: dict[str, Fate] = {}
        self.away = False
        monkeypatch.setattr(certificate_writer, "records_of", self._records_of)

    async def _records_of(self, _bus: object, _topic: str, key: str, _since: int) -> list[Record]:
        await asyncio.sleep(0)
        return [each for each in self.log if each.station_id == key]

    def process(self) -> Certificates:
        writer, platform = Writer(self), self

        class Desk:
            def outcome(self, command_id: str) -> CommandConcluded | None:
                fate = platform.fates.get(command_id)
                return None if fate is None else concluded(command_id, fate)

        async def stored(_command_id: str) -> dict[str, Any] | None:
            return None

        return Certificates(
            cast(Bus, None),
            cast(SoleWriter, writer),
            cast(CommandDesk, Desk()),
            stored,
            timeout_s=5,
        )


class Writer:
    """Whoever was fenced does not know it before it writes."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.holds = False

    async def claim(self) -> None:
        await asyncio.sleep(0)
        if self._platform.away:
            raise BusUnavailableError("no broker")
        self._platform.holder = self
        self.holds = True

    async def write(self, records: Iterable[Emit]) -> None:
        await asyncio.sleep(0)
        if self._platform.holder is not self:
            self.holds = False
            raise ClaimLostError("fenced")
        self._platform.log += [cast(RequestCommand, each.record) for each in records]


def command(number: int, request: str = "csr-1") -> RequestCommand:
    return RequestCommand(
        event_id=f"c-{number}",
        occurred_at=1,
        recorded_at=1,
        cause_id=request,
        station_id="cp-1",
        action="CertificateSigned",
        payload="{}",
        dialect=CommandDialect.VOLTBUS,
        requested_by="anna",
        expires_at=1,
        call_timeout_ms=1,
    )


def concluded(command_id: str, fate: Fate) -> CommandConcluded:
    return CommandConcluded(
        event_id="e",
        occurred_at=1,
        recorded_at=1,
        cause_id="e",
        station_id="cp-1",
        command_id=command_id,
        action="CertificateSigned",
        dialect=CommandDialect.VOLTBUS,
        fate=fate,
        reason="",
        result=None,
        requested_at=1,
        requested_by="anna",
        attempts=1,
    )


async def test_of_several_at_once_one_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_writer, "LONGEST_PAUSE_S", 0.0)
    platform = Platform(monkeypatch)
    one, other = platform.process(), platform.process()
    processes = (one, other) * 3
    sending = [process.write(command(number), None) for number, process in enumerate(processes)]
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert len(platform.log) == 1
    assert [type(each) for each in results if each is not None] == [Conflict] * 5
    # Another request of the same station is another matter.
    await other.write(command(9, "csr-2"), None)
    assert [each.cause_id for each in platform.log] == ["csr-1", "csr-2"]


@pytest.mark.parametrize("fate", FAILURES)
async def test_after_one_that_was_not_taken_another_is_sent_at_once(
    fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = Platform(monkeypatch)
    process = platform.process()
    await process.write(command(1), None)
    with pytest.raises(Conflict, match="PENDING"):
        await process.write(command(2), None)
    platform.fates["c-1"] = fate
    await process.write(command(2), None)
    platform.fates["c-2"] = Fate.ACCEPTED
    with pytest.raises(Conflict, match="ACCEPTED"):
        await platform.process().write(command(3), "c-1")
    assert [each.event_id for each in platform.log] == ["c-1", "c-2"]


async def test_what_only_the_history_knows_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Platform(monkeypatch)
    with pytest.raises(Conflict, match="PENDING"):
        await platform.process().write(command(2), "long-ago")
    platform.fates["long-ago"] = Fate.REJECTED
    await platform.process().write(command(2), "long-ago")
    assert len(platform.log) == 1


async def test_without_kafka_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Platform(monkeypatch)
    platform.away = True
    with pytest.raises(BusUnavailableError):
        await platform.process().write(command(1), None)
    assert platform.log == []
