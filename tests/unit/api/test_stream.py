"""The hub: filters, slow clients, resumption."""

import json

import pytest

from libs.bus.message import Message
from libs.events.contract import load_contract
from libs.events.load import Allocation, LoadPlanMade
from libs.events.record import Record
from libs.events.registry import TariffRegistered, TariffVersion
from libs.events.sessions import SessionStarted
from services.api.problems import Unavailable
from services.api.stream import Filter, Hub, Subscription, Wording, known_kinds

STAMP = {"event_id": "e", "occurred_at": 1, "recorded_at": 1_767_225_600_000_000, "cause_id": "c"}


def hub(clients: int = 10, queue: int = 10, ring: int = 10) -> Hub:
    return Hub(Wording(load_contract()), clients=clients, queue=queue, ring=ring)


def started(station_id: str = "a") -> SessionStarted:
    return SessionStarted(
        **STAMP,  # type: ignore[arg-type]
        station_id=station_id,
        session_id="s\nevent: forged",
        evse_id=1,
        transaction_id="t",
        version="ocpp1.6",
        started_at=1_767_225_600_000_001,
    )


def message(record: Record | None, topic: str = "sessions.events") -> Message:
    return Message(topic, 0, 0, "k", record, 0)


def frames(subscription: Subscription) -> list[dict[str, str]]:
    found = []
    while not subscription.queue.empty():
        chunk = subscription.queue.get_nowait()
        if chunk is not None:
            lines = chunk.decode().rstrip("\n").split("\n")
            found.append(dict(line.split(": ", 1) for line in lines))
    return found


def test_moments_are_written_out_at_every_depth() -> None:
    words = Wording(load_contract())
    price = TariffVersion(version=1, valid_from=1_767_225_600_000_001, currency="EUR", price_per_kwh_milli=1)
    tariff = TariffRegistered(**STAMP, tariff_id="t", versions=(price,))  # type: ignore[arg-type]
    said = words.of(tariff)
    assert said["recorded_at"] == "2026-01-01T00:00:00.000000Z"
    assert said["versions"][0]["valid_from"] == "2026-01-01T00:00:00.000001Z"
    assert said["versions"][0]["price_per_kwh_milli"] == 1


def test_data_cannot_forge_an_event() -> None:
    center = hub()
    client = center.subscribe(Filter())
    center.publish(message(started()))
    (frame,) = frames(client)
    assert frame["event"] == "SessionStarted"
    assert json.loads(frame["data"])["data"]["session_id"] == "s\nevent: forged"


def test_a_client_gets_what_it_asked_for() -> None:
    center = hub()
    by_record = center.subscribe(Filter(frozenset({"SessionStarted"})))
    by_topic = center.subscribe(Filter(frozenset({"load.plans"})))
    by_station = center.subscribe(Filter(stations=frozenset({"b"})))
    share = Allocation(station_id="b", evse_id=1, transaction_id="t", current_ma=1)
    plan = LoadPlanMade(**STAMP, site_id="s", plan_no=1, allocations=(share,), waiting=0)  # type: ignore[arg-type]
    for each in (message(started("a")), message(started("b")), message(plan, "load.plans"), message(None)):
        center.publish(each)
    assert [frame["event"] for frame in frames(by_record)] == ["SessionStarted"] * 2
    assert [frame["event"] for frame in frames(by_topic)] == ["LoadPlanMade"]
    assert [frame["event"] for frame in frames(by_station)] == ["SessionStarted", "LoadPlanMade"]
    assert {"SessionStarted", "billing.cdrs"} <= known_kinds(load_contract())


def test_a_slow_client_is_told_and_dropped_and_the_others_go_on() -> None:
    center = hub(queue=2)
    slow = center.subscribe(Filter())
    for _ in range(2):
        center.publish(message(started()))
    quick = center.subscribe(Filter())
    for _ in range(2):
        center.publish(message(started()))
    assert [frame["event"] for frame in frames(slow)] == ["dropped"]
    assert [frame["event"] for frame in frames(quick)] == ["SessionStarted"] * 2


def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    center = hub(ring=3)
    client = center.subscribe(Filter())
    for _ in range(2):
        center.publish(message(started()))
    first, second = frames(client)
    for _ in range(2):
        center.publish(message(started()))
    assert len(frames(center.subscribe(Filter(), second["id"]))) == 2
    assert len(frames(center.subscribe(Filter(), first["id"]))) == 3
    assert frames(center.subscribe(Filter(stations=frozenset({"z"})), first["id"])) == []
    center.publish(message(started()))
    assert [frame["event"] for frame in frames(center.subscribe(Filter(), first["id"]))] == [
        "gap",
        *["SessionStarted"] * 3,
    ]


@pytest.mark.parametrize("last", ["", "x", "x-1", "-", "-1", "0-9999999"])
def test_an_id_of_elsewhere_is_a_gap_and_not_a_replay(last: str) -> None:
    center = hub()
    center.publish(message(started()))
    assert [frame["event"] for frame in frames(center.subscribe(Filter(), last))] == ["gap"]


async def test_closing_ends_every_stream() -> None:
    center = hub(clients=1)
    client = center.subscribe(Filter())
    with pytest.raises(Unavailable):
        center.subscribe(Filter())
    center.close()
    chunks = [chunk async for chunk in center.events(client)]
    assert chunks[0] == b": connected\n\n"
    assert chunks[-1].startswith(b"event: closing\n")
    with pytest.raises(Unavailable):
        center.subscribe(Filter())
