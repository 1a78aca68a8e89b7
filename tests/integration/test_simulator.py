"""Virtual chargers against a central system that drops, refuses and commands: the meter's truth always arrives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.simulator.clock import Clock
from services.simulator.domain.scenario import Outage
from services.simulator.fleet import Fleet
from services.simulator.scenario import load
from tests.integration.simulator_central import Central, service_unavailable
from tests.integration.simulator_play import (
    STATIONS,
    TRANSACTIONAL,
    Dropping,
    arrival,
    assert_retries_keep_content,
    assert_truths_arrived,
    one,
    play,
    playing,
)
from tests.patience import until


async def test_smoke_delivers_the_truth_and_speaks_by_the_book_but_for_the_odd_make() -> None:
    async with Central() as central:
        fleet = Fleet(load("smoke"), central.url)
        await fleet.run()
        await fleet.stop()
    assert len(fleet.truths()) == 8
    assert [truth.energy_wh for truth in fleet.truths() if truth.station_id == "AMP-0001"] == [9_000, 7_000]
    assert_truths_arrived(fleet, central)
    assert fleet.journal.failures == []
    assert {error.split()[0] for error in central.schema_errors} == {"KSK-0001"}
    assert [(seen.message_id, seen.action) for seen in fleet.answered] == [
        (call.message_id, call.action) for call in central.calls if call.answered
    ]


@pytest.mark.parametrize("make", list(STATIONS))
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_truth_arrives_although_connections_drop(make: str, seed: int) -> None:
    cars = [arrival(make, at_s, id_token=f"TAG0000{at_s // 1200}") for at_s in (0, 1_200, 2_400)]
    dropping = Dropping(seed)
    async with Central(fate=dropping) as central:
        fleet = await play(one(make, *cars, sample_interval_s=240), central, sessions=3, seed=seed)
    assert sum(dropping.dropped.values()) > 2
    assert_truths_arrived(fleet, central)
    assert_retries_keep_content(central, STATIONS[make])
    assert fleet.stats().lost == fleet.stats().mismatched == 0
    answered = {(call.message_id, call.action) for call in central.calls if call.answered}
    seen = {(each.message_id, each.action) for each in fleet.answered}
    last = central.calls[-1]
    # The last answer may still be on its way when the fleet stops.
    assert answered - {(last.message_id, last.action)} <= seen <= answered


async def test_a_retry_can_keep_its_message_id() -> None:
    dropped = []

    def drop_first(station_id: str, action: str, payload: dict[str, Any], seen: int) -> str:
        if action == "TransactionEvent" and seen == 0:
            dropped.append(payload)
            return "drop"
        return "answer"

    async with Central(fate=drop_first) as central:
        await play(one("Ampera", arrival("Ampera"), reuse_message_ids=True), central, sessions=1)
    first, second, *_ = central.of("AMP-0001", "TransactionEvent")
    assert (first.message_id, first.payload) == (second.message_id, second.payload)


async def test_a_call_without_answer_is_sent_again_on_a_new_connection() -> None:
    def silent_once(station_id: str, action: str, payload: dict[str, Any], seen: int) -> str:
        return "silence" if action == "StartTransaction" and seen == 0 else "answer"

    async with Central(fate=silent_once) as central:
        fleet = await play(one("Norvolt", arrival("Norvolt")), central, sessions=1, timeout_s=3.0)
    assert fleet.stats().reconnects == 1
    assert_retries_keep_content(central, "NRV-0001")
    assert_truths_arrived(fleet, central)


async def test_a_refused_message_is_tried_again_and_at_last_counted_as_lost() -> None:
    def refuse(station_id: str, action: str, payload: dict[str, Any], seen: int) -> str:
        return (
            "InternalError"
            if action == "StopTransaction" or (action == "MeterValues" and seen < 2)
            else "answer"
        )

    async with Central(fate=refuse) as central:
        fleet = await play(one("Norvolt", arrival("Norvolt")), central, sessions=1)
    assert [(lost.action, lost.code) for lost in fleet.journal.lost] == [("StopTransaction", "InternalError")]
    assert len(central.of("NRV-0001", "StopTransaction")) == 5


async def test_offline_from_start_to_end_relais_replays_in_order_with_its_own_times() -> None:
    outage = Outage("REL-0001", 0, 2_400)
    cars = arrival("Relais", 420, energy_wh=2_000), arrival("Relais", 1_500, energy_wh=1_000)
    async with Central() as central:
        fleet = await play(one("Relais", *cars, outages=(outage,)), central, sessions=2)
    calls = [call for call in central.of("REL-0001") if call.action in TRANSACTIONAL]
    assert [call.action for call in calls if call.action != "MeterValues"] == [
        "StartTransaction",
        "StopTransaction",
    ] * 2
    times = [
        call.payload["meterValue"][0]["timestamp"]
        if call.action == "MeterValues"
        else call.payload["timestamp"]
        for call in calls
    ]
    assert times == sorted(times)
    first, second = fleet.truths()
    assert [call.payload["transactionId"] for call in calls if "transactionId" in call.payload] == sorted(
        call.payload["transactionId"] for call in calls if "transactionId" in call.payload
    )
    assert (first.transaction_id, second.transaction_id) == ("1", "2")
    assert central.of("REL-0001", "Authorize") == []
    assert_truths_arrived(fleet, central)


async def test_drifter_replays_ended_before_updated_and_fills_the_gap() -> None:
    outage = Outage("DRF-0001", 0, 2_400)
    async with Central() as central:
        fleet = await play(one("Drifter", arrival("Drifter", 120), outages=(outage,)), central, sessions=1)
    payloads = [call.payload for call in central.of("DRF-0001", "TransactionEvent")]
    assert [payload["eventType"] for payload in payloads[:3]] == ["Started", "Ended", "Updated"]
    seqs = [payload["seqNo"] for payload in payloads]
    assert seqs == [0, len(seqs) - 1, *range(1, len(seqs) - 1)]
    assert all(payload["offline"] for payload in payloads)
    assert_truths_arrived(fleet, central)


async def test_kaskade_repeats_itself_and_keeps_the_first_word() -> None:
    cars = [arrival("Kaskade", at_s, energy_wh=500) for at_s in range(0, 6_000, 600)]
    async with Central() as central:
        fleet = await play(one("Kaskade", *cars), central, sessions=10)
    starts, stops = central.of("KSK-0001", "StartTransaction"), central.of("KSK-0001", "StopTransaction")
    assert len(starts) > 10
    assert len(stops) > 10
    assert len({str(call.payload) for call in starts}) == 10
    assert len({call.message_id for call in starts}) == len(starts)
    assert not any(call.payload["timestamp"].endswith("Z") for call in starts)
    samples = central.of("KSK-0001", "MeterValues")[0].payload["meterValue"][0]["sampledValue"]
    assert samples[0]["unit"] == "kWh"
    assert "," in samples[1]["value"]
    assert {call.payload["connectorId"] for call in central.of("KSK-0001", "StatusNotification")} == set(
        range(5)
    )
    assert_truths_arrived(fleet, central)


async def test_boot_is_repeated_until_accepted_and_nothing_is_said_before() -> None:
    answers = [
        {"status": "Rejected", "interval": 1},
        {"status": "Pending", "interval": 1},
        {"status": "Accepted", "interval": 2},
    ]
    scenario = one("Norvolt", arrival("Norvolt"), hours=9)
    async with Central(boot=lambda _, boots: answers[min(boots, 3) - 1]) as central:
        async with playing(scenario, central) as fleet:
            await until(lambda: len(fleet.truths()) == 1 and bool(central.of("NRV-0001", "Heartbeat")))
        assert [call.action for call in central.calls[:3]] == ["BootNotification"] * 3
        assert len(central.of("NRV-0001", "BootNotification")) == 3
        assert fleet.chargers["NRV-0001"].heartbeat_s == 2


@pytest.mark.parametrize("refused", ["TransactionEvent", "StatusNotification"])
async def test_a_central_system_that_forgot_the_charger_gets_a_boot_and_then_the_message(
    refused: str,
) -> None:
    def forgetful(station_id: str, action: str, payload: dict[str, Any], seen: int) -> str:
        return "SecurityError" if action == refused and seen == 1 else "answer"

    async with Central(fate=forgetful) as central:
        fleet = await play(one("AmperaAC", arrival("AmperaAC")), central, sessions=1)
    assert len(central.of("AMA-0001", "BootNotification")) == 2
    assert fleet.stats().lost == 0
    assert_truths_arrived(fleet, central)


async def test_retry_after_is_honoured() -> None:
    refusals: list[float] = []

    def refuse_once(_: str) -> Any:
        refusals.append(asyncio.get_running_loop().time())
        return service_unavailable("1") if len(refusals) == 1 else None

    async with (
        Central(refuse=refuse_once) as central,
        playing(one("Norvolt"), central) as fleet,
    ):
        await until(lambda: fleet.stats().online == 1)
    assert 1.0 <= refusals[1] - refusals[0] < 20


async def test_simulated_stamps_run_with_the_cars() -> None:
    scenario = one(
        "AmperaAC", arrival("AmperaAC", 60, energy_wh=5_000), stamp="simulated", start="2026-03-01T06:00:00Z"
    )
    async with Central() as central:
        fleet = await play(scenario, central, sessions=1)
    (truth,) = fleet.truths()
    started, ended = (
        next(
            c.payload["timestamp"]
            for c in central.of("AMA-0001", "TransactionEvent")
            if c.payload["eventType"] == kind
        )
        for kind in ("Started", "Ended")
    )
    assert started.startswith("2026-03-01T06:0")
    # 5 kWh at 11.04 kW with a taper take a little more than 27 minutes.
    assert 27 * 60 < (truth.ended_at - truth.started_at) / 1e6 < 40 * 60
    assert ended > started


async def test_a_fleet_can_be_ended_early_and_still_tells_the_truth() -> None:
    async with Central() as central:
        fleet = Fleet(one("Norvolt", arrival("Norvolt", energy_wh=50_000)), central.url, Clock(speed=60))
        run = asyncio.create_task(fleet.run())
        await until(lambda: fleet.stats().energy_wh > 0)
        fleet.end()
        await run
        await fleet.stop()
    assert 0 < fleet.truths()[0].energy_wh < 50_000
    assert_truths_arrived(fleet, central)
