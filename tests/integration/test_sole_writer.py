"""One writer at a time, on the real bus: what one decided on holds until it is written, or is not written."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from libs.bus.bus import Bus, connect
from libs.bus.errors import ClaimLostError
from libs.bus.message import Emit
from libs.bus.sole_writer import SoleWriter
from libs.bus.tables import TableSet
from libs.devstack import Endpoints
from libs.events.contract import Contract, load_contract
from libs.events.ids import new_id
from libs.events.record import Record
from libs.events.registry import CredentialsRegistered, StationRegistered
from tests.integration.bus import bus_settings, drop_topics, make_topics

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIONS, CREDENTIALS = "registry.stations", "registry.credentials"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(stack: Endpoints) -> AsyncIterator[Bus]:
    whole = load_contract()
    contract = Contract({name: whole.topics[name] for name in (STATIONS, CREDENTIALS)}, whole.schemas)
    settings = bus_settings(stack, f"sole{secrets.token_hex(3)}", partitions=3)
    await make_topics(settings, contract)
    async with connect(settings, contract) as connected:
        yield connected
    await drop_topics(settings)


class Member:
    """One process: a table of its own, and a writer of the one id."""

    def __init__(self, bus: Bus) -> None:
        self.tables = TableSet(bus, "test", (STATIONS, CREDENTIALS))
        self.writer = SoleWriter(bus, "test-registry", "test", timeout_s=10)
        self.claims = 0

    async def claim(self) -> None:
        self.claims += 1
        await self.writer.claim()
        await self.tables.catch_up()


@pytest_asyncio.fixture(loop_scope="module")
async def members(bus: Bus) -> AsyncIterator[tuple[Member, Member]]:
    async with AsyncExitStack() as opened:
        pair = Member(bus), Member(bus)
        for member in pair:
            await opened.enter_async_context(member.tables)
            opened.push_async_callback(member.writer.release)
        yield pair


def station(key: str, evses: int = 0) -> StationRegistered:
    stamp = dict.fromkeys(("event_id", "cause_id"), new_id()) | dict.fromkeys(
        ("occurred_at", "recorded_at"), 1
    )
    return StationRegistered(**stamp, station_id=key, evses=evses)  # type: ignore[arg-type]


async def count(member: Member, key: str, steps: int) -> list[int]:
    """Raise the number in the entry by one so many times; the numbers that were written."""
    written: list[int] = []
    while len(written) < steps:
        if not member.writer.holds:
            await member.claim()
        known = member.tables[STATIONS].get(key)
        number = (known.evses if isinstance(known, StationRegistered) else 0) + 1
        try:
            await member.writer.write([Emit(STATIONS, key, station(key, number))])
        except ClaimLostError:
            await asyncio.sleep(secrets.randbelow(100) / 1000)
            continue
        written.append(number)
        await member.tables.catch_up()
    return written


async def test_two_that_count_in_one_entry_never_write_the_same_number(
    members: tuple[Member, Member],
) -> None:
    one, other = members
    both = await asyncio.gather(count(one, "raced", 12), count(other, "raced", 12))
    assert sorted(both[0] + both[1]) == list(range(1, 25))
    assert one.claims + other.claims > 2


async def test_what_was_decided_before_another_claimed_is_not_written(members: tuple[Member, Member]) -> None:
    one, other = members
    await one.claim()
    await one.writer.write([Emit(STATIONS, "mine", station("mine", 1))])
    await other.claim()
    assert "mine" in other.tables[STATIONS]
    with pytest.raises(ClaimLostError):
        await one.writer.write([Emit(STATIONS, "mine", station("mine", 2))])
    assert not one.writer.holds
    await other.writer.write([Emit(STATIONS, "mine", station("mine", 3))])
    await one.claim()
    known = one.tables[STATIONS]["mine"]
    assert isinstance(known, StationRegistered)
    assert known.evses == 3


async def test_records_of_one_write_are_committed_together(members: tuple[Member, Member]) -> None:
    one, other = members
    digest = CredentialsRegistered(
        event_id="e", cause_id="e", occurred_at=1, recorded_at=1, station_id="both"
    )

    def pair(entry: Record | None, beside: Record | None) -> list[Emit]:
        return [Emit(STATIONS, "both", entry), Emit(CREDENTIALS, "both", beside)]

    await one.claim()
    await one.writer.write(pair(station("both"), digest))
    await other.claim()
    with pytest.raises(ClaimLostError):
        await one.writer.write(pair(None, None))
    await other.tables.catch_up()
    assert "both" in other.tables[STATIONS]
    assert "both" in other.tables[CREDENTIALS]
    await other.writer.write(pair(None, None))
    await other.tables.catch_up()
    assert "both" not in other.tables[STATIONS]
    assert "both" not in other.tables[CREDENTIALS]
