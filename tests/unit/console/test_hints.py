"""What pages are told of changes."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from libs.bus.message import Message
from libs.events.commands import CommandConcluded, CommandDialect, Fate
from libs.events.contract import load_contract
from libs.events.topics import COMMANDS_OUTCOMES
from services.api.live.hub import Hub, Parts, Whose, Wording
from services.api.live.parts import is_part, parts_of
from services.console.hints import hints


def concluded(station_id: str, command_id: str = "c-1") -> CommandConcluded:
    return CommandConcluded(
        event_id="e", occurred_at=1, recorded_at=1, cause_id="c", station_id=station_id, command_id=command_id,
        action="Reset", dialect=CommandDialect.OCPP, fate=Fate.ACCEPTED, reason="", requested_at=1,
        requested_by="anna", attempts=1,
    )  # fmt: skip


def hub() -> Hub:
    return Hub(Wording(load_contract()), clients=5, per_key=5, per_address=5, ring=10, ring_bytes=1 << 20)


def publish(center: Hub, station_id: str) -> None:
    center.publish(Message(COMMANDS_OUTCOMES, 0, 0, station_id, concluded(station_id), 0))


def told(center: Hub, *names: str, after: str | None = None) -> AsyncIterator[bytes]:
    wanted = frozenset(names)
    return hints(center, center.subscribe(Parts(wanted), Whose("anna", "10.0.0.1"), after), wanted)


async def frame(stream: AsyncIterator[bytes]) -> dict[str, str]:
    async with asyncio.timeout(10):
        text = (await anext(stream)).decode()
    return dict(line.split(": ", 1) for line in text.strip().split("\n"))


async def test_many_changes_are_one_hint_and_others_changes_are_none() -> None:
    center = hub()
    stream = told(center, "station/a", "station/b", "command/c-1")
    hello = await frame(stream)
    assert hello["event"] == "hello"
    assert 500 <= int(hello["retry"]) <= 2_000
    for station in ("a", "x", "a", "b", "y"):
        publish(center, station)
    found = await frame(stream)
    assert (found["event"], json.loads(found["data"])) == (
        "changed",
        ["command/c-1", "station/a", "station/b"],
    )
    assert found["id"] == center.position


async def test_a_stream_goes_on_where_it_broke_or_says_that_all_may_have_changed() -> None:
    center = hub()
    place = center.position
    publish(center, "a")
    again = told(center, "station/a", after=place)
    assert [(await frame(again))["event"] for _ in range(2)] == ["hello", "changed"]
    for _ in range(20):
        publish(center, "x")
    for unknown in (place, "0-0", "nothing"):
        stream = told(center, "station/a", after=unknown)
        assert [(await frame(stream))["event"] for _ in range(2)] == ["hello", "reload"]


async def test_a_stream_that_ends_says_why_and_leaves_room() -> None:
    center = hub()
    for _ in range(20):
        stream = told(center, "stations")
        await frame(stream)
        await stream.aclose()  # type: ignore[attr-defined]
    stream = told(center, "stations")
    await frame(stream)
    center.close()
    assert (await frame(stream))["event"] == "closing"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


def test_a_record_changes_its_lists_and_what_it_names() -> None:
    assert parts_of(COMMANDS_OUTCOMES, concluded("a", "c-9"), ("a",)) == {
        "worklist",
        "station/a",
        "command/c-9",
    }


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("stations", True),
        ("station/cp-1", True),
        ("station/\N{BATTERY}", True),
        ("", False),
        ("station/", False),
        ("station/a b", False),
        ("Station/a", False),
        ("station/a\nb", False),
        ("station/" + "x" * 300, False),
    ],
)
def test_names_of_parts(name: str, is_one: bool) -> None:
    assert is_part(name) is is_one
