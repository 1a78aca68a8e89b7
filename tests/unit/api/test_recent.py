"""What is remembered takes as much memory as it may, however large its parts are."""

import tracemalloc
from typing import Any

from libs.bus.message import Message
from libs.events.commands import CommandConcluded, CommandDialect, Fate, RequestCommand
from services.api.commands.desk import CommandDesk
from services.api.recent import RecentRecords

MOST = 8 << 20


def concluded(number: int, result: str) -> CommandConcluded:
    return CommandConcluded(
        event_id=f"e-{number}",
        occurred_at=1,
        recorded_at=1,
        cause_id="c",
        station_id="cp-1",
        command_id=f"c-{number}",
        action="GetVariables",
        dialect=CommandDialect.OCPP,
        fate=Fate.ACCEPTED,
        reason="",
        result=result,
        requested_at=1,
        requested_by="api",
        attempts=1,
    )


def request(number: int, payload: str) -> RequestCommand:
    return RequestCommand(
        event_id=f"c-{number}",
        occurred_at=1,
        recorded_at=1,
        cause_id="c",
        station_id="cp-1",
        action="GetVariables",
        payload=payload,
        dialect=CommandDialect.OCPP,
        requested_by="api",
        expires_at=2,
        call_timeout_ms=1,
    )


def text(number: int) -> str:
    """250 kB that nothing else shares, in letters of which Python keeps four bytes each."""
    return f'"{number}{chr(0x1F600)}{"x" * 250_000}"'


def message(record: CommandConcluded) -> Message:
    return Message("commands.outcomes", 0, 0, record.station_id, record, 0)


async def test_the_desk_remembers_no_more_bytes_than_it_may() -> None:
    class Quiet:
        async def write(self, *_: Any) -> None:
            pass

    writer: Any = Quiet()
    desk = CommandDesk(writer, most_bytes=MOST)
    tracemalloc.start()
    try:
        for number in range(1_000):
            await desk.send(request(number, f'{{"a": {text(number)}}}'))
            desk.take(message(concluded(number, text(number))))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two of them, and what is being handed on.
    assert held < 4 * MOST
    for known in (desk.request("c-999"), desk.outcome("c-999")):
        assert known is not None
    assert desk.outcome("c-0") is None
    assert desk.request("c-0") is None


def test_records_come_back_as_they_were_and_the_oldest_go_first() -> None:
    recent = RecentRecords(CommandConcluded, 10_000)
    records = [concluded(number, "x" * 2_000) for number in range(10)]
    for record in records:
        recent.put(record.command_id, record)
        assert recent.bytes <= 10_000
    assert list(recent) == ["c-7", "c-8", "c-9"] or list(recent) == ["c-6", "c-7", "c-8", "c-9"]
    assert recent.get("c-9") == records[9]
    recent.put("c-9", concluded(9, ""))
    assert recent.get("c-9") == concluded(9, "")
    assert recent.bytes <= 10_000


def test_what_is_larger_than_all_room_is_not_kept() -> None:
    recent = RecentRecords(CommandConcluded, 1_000)
    recent.put("c-1", concluded(1, "x" * 1_000))
    assert "c-1" not in recent
    assert recent.bytes == 0
