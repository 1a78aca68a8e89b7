"""Virtual chargers against a central system that drops, refuses and commands: the meter's truth always arrives."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from services.simulator.clock import Clock
from services.simulator.domain.scenario import Arrival, Group, Outage, Scenario
from services.simulator.fleet import Fleet
from services.simulator.scenario import load
from tests.integration.simulator_central import Call, Central, service_unavailable, until

STATIONS = {
    "Norvolt": "NRV-0001",
    "Ampera": "AMP-0001",
    "AmperaAC": "AMA-0001",
    "Kaskade": "KSK-0001",
    "Drifter": "DRF-0001",
    "Relais": "REL-0001",
}
TRANSACTIONAL = {"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"}
HOUR = 3_600.0


def arrival(make: str, at_s: float = 0, *, energy_wh: int = 3_000, evse_id: int = 1, **more: Any) -> Arrival:
    defaults: dict[str, Any] = {"max_power_w": 11_040, "id_token": "TAG00001"}
    return Arrival(STATIONS[make], evse_id, at_s, energy_wh, **(defaults | more))


def one(make: str, *arrivals: Arrival, speed: float = 1_800, hours: float = 3, **more: Any) -> Scenario:
    group = Group(make, 1, "yard", outages_per_day=0, reuse_message_ids=more.pop("reuse_message_ids", False))
    return Scenario((group,), speed=speed, duration_s=hours * HOUR, arrivals=arrivals, **more)


@asynccontextmanager
async def playing(scenario: Scenario, central: Central, **more: Any) -> AsyncIterator[Fleet]:
    """A fleet that runs; at the end it is settled, and nothing went wrong inside it."""
    fleet = Fleet(scenario, central.url, **({"timeout_s": 2.0, "drain_s": 20.0} | more))
    run = asyncio.create_task(fleet.run())
    try:
        yield fleet
        fleet.end()
        await run
        assert fleet.settled
        assert fleet.journal.failures == []
    finally:
        run.cancel()
        await fleet.stop()


async def play(scenario: Scenario, central: Central, sessions: int, **more: Any) -> Fleet:
    """Run until so many sessions have ended and every queue is empty."""
    async with playing(scenario, central, **more) as fleet:
        await until(lambda: len(fleet.truths()) >= sessions and fleet.settled, 30)
    return fleet


def registers_16(central: Central, station_id: str) -> dict[str, tuple[int, int]]:
    """(meterStart, meterStop) by transaction id; the first StopTransaction counts."""
    starts = {str(number): key[4] for key, number in central.transactions.items() if key[0] == station_id}
    stops: dict[str, int] = {}
    for call in central.of(station_id, "StopTransaction"):
        stops.setdefault(str(call.payload["transactionId"]), call.payload["meterStop"])
    return {number: (start, stops[number]) for number, start in starts.items()}


def registers_201(central: Central, station_id: str) -> dict[str, tuple[int, int]]:
    """(first, last) register by transaction id, after checking that no seqNo is missing or said twice."""
    events: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for call in central.of(station_id, "TransactionEvent"):
        transaction = events[call.payload["transactionInfo"]["transactionId"]]
        seen = transaction.setdefault(call.payload["seqNo"], call.payload)
        assert seen == call.payload
    found = {}
    for transaction_id, transaction in events.items():
        assert sorted(transaction) == list(range(len(transaction)))
        values = [
            transaction[seq]["meterValue"][0]["sampledValue"][0]["value"] for seq in sorted(transaction)
        ]
        assert values == sorted(values)
        assert transaction[0]["eventType"] == "Started"
        assert transaction[len(transaction) - 1]["eventType"] == "Ended"
        found[transaction_id] = (values[0], values[-1])
    return found


def assert_truths_arrived(fleet: Fleet, central: Central) -> None:
    for charger in fleet.chargers.values():
        registers = registers_16 if charger.make.version == "1.6" else registers_201
        told = registers(central, charger.station.id)
        truths = [truth for truth in fleet.truths() if truth.station_id == charger.station.id]
        assert {truth.transaction_id: (truth.meter_start_wh, truth.meter_stop_wh) for truth in truths} == told
        assert sum(truth.energy_wh for truth in truths) == sum(stop - start for start, stop in told.values())


def assert_retries_keep_content(central: Central, station_id: str) -> None:
    """An unanswered transaction message is the next one to be sent, with the same content."""
    calls = [call for call in central.of(station_id) if call.action in TRANSACTIONAL]
    for call, following in pairwise(calls):
        if not call.answered:
            assert (following.action, following.payload) == (call.action, call.payload)
            assert following.message_id != call.message_id


class Dropping:
    """Drops one transaction message in `every`, the same one at most twice."""

    def __init__(self, seed: int, every: int = 3) -> None:
        self.random, self.every = random.Random(seed), every
        self.dropped: dict[str, int] = defaultdict(int)

    def __call__(self, station_id: str, action: str, payload: dict[str, Any], seen: int) -> str:
        key = f"{station_id} {action} {payload}"
        if action not in TRANSACTIONAL or self.random.randrange(self.every) or self.dropped[key] == 2:
            return "answer"
        self.dropped[key] += 1
        return "drop"


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
    assert {(seen.message_id, seen.action) for seen in fleet.answered} == answered


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
        fleet = await play(one("Norvolt", arrival("Norvolt")), central, sessions=1, timeout_s=0.3)
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
    outage = Outage("REL-0001", 60, 2_400)
    cars = arrival("Relais", 120, energy_wh=2_000), arrival("Relais", 1_200, energy_wh=1_000)
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
    outage = Outage("DRF-0001", 60, 2_400)
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
    assert 1.0 <= refusals[1] - refusals[0] < 3.0


@pytest.mark.parametrize("make", ["Norvolt", "AmperaAC"])
async def test_charging_profiles_limit_the_power(make: str) -> None:
    station_id = STATIONS[make]
    cars = [arrival(make, evse_id=evse_id, energy_wh=60_000, max_power_w=22_080) for evse_id in (1, 2)]
    async with Central() as central, playing(one(make, *cars, speed=60, hours=9), central) as fleet:
        charger = fleet.chargers[station_id]

        def powers() -> list[int]:
            return [evse.power_w for evse in charger.evses.values()]

        def sampled() -> set[float]:
            found = set()
            for call in central.of(station_id, "MeterValues", "TransactionEvent")[-2:]:
                sample = call.payload["meterValue"][0]["sampledValue"]
                found.add(float(sample[1]["value"]))
            return found

        async def profile(number: int, evse_id: int, purpose: str, limit: float, unit: str = "A") -> str:
            schedule: dict[str, Any] = {
                "chargingRateUnit": unit,
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
            }
            body: dict[str, Any] = {
                "stackLevel": 0,
                "chargingProfilePurpose": purpose,
                "chargingProfileKind": "Absolute",
            }
            if purpose == "TxProfile":
                session = charger.evses[evse_id].session
                assert session is not None
                assert session.transaction_id is not None
                body["transactionId"] = (
                    int(session.transaction_id) if make == "Norvolt" else session.transaction_id
                )
            if make == "Norvolt":
                body |= {"chargingProfileId": number, "chargingSchedule": schedule}
                payload = {"connectorId": evse_id, "csChargingProfiles": body}
            else:
                body |= {"id": number, "chargingSchedule": [schedule | {"id": 1}]}
                payload = {"evseId": evse_id, "chargingProfile": body}
            return str((await central.command(station_id, "SetChargingProfile", payload))["status"])

        await until(lambda: powers() == [22_080, 22_080])
        await until(lambda: all(e.session and e.session.transaction_id for e in charger.evses.values()))
        station_max = "ChargePointMaxProfile" if make == "Norvolt" else "ChargingStationMaxProfile"
        assert await profile(1, 0, "TxDefaultProfile", 16) == "Accepted"
        await until(lambda: powers() == [11_040, 11_040])
        assert await profile(2, 1, "TxProfile", 5_000, "W") == "Accepted"
        await until(lambda: powers() == [5_000, 11_040])
        await until(lambda: sampled() == {5_000, 11_040})
        assert await profile(3, 0, station_max, 20) == "Accepted"
        await until(lambda: powers() == [5_000, 8_800])
        assert await profile(4, 2, "TxProfile", 5.9) == "Accepted"
        await until(lambda: powers() == [5_000, 0])
        await until(lambda: "SuspendedEVSE" in str(central.of(station_id)[-20:]))
        assert await profile(5, 1, station_max, 20) == "Rejected"

        key = "connectorId" if make == "Norvolt" else "evseId"
        schedule = await central.command(
            station_id, "GetCompositeSchedule", {key: 1, "duration": 600, "chargingRateUnit": "W"}
        )
        body = schedule["chargingSchedule" if make == "Norvolt" else "schedule"]
        assert body["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 5_000}]
        assert await central.command(station_id, "ClearChargingProfile", {}) == {"status": "Accepted"}
        await until(lambda: powers() == [22_080, 22_080])
        assert await central.command(station_id, "ClearChargingProfile", {}) == {"status": "Unknown"}


@pytest.mark.parametrize(
    ("fault", "statuses", "version"),
    [
        (None, ["Downloading", "Downloaded", "Installing", "Installed"], "9.8.7"),
        ("download", ["Downloading", "DownloadFailed"], None),
        ("install", ["Downloading", "Downloaded", "Installing", "InstallationFailed"], None),
        ("rollback", ["Downloading", "Downloaded", "Installing", "Installed"], "same"),
    ],
)
@pytest.mark.parametrize("make", ["Norvolt", "Ampera"])
async def test_a_firmware_update_waits_for_the_session_and_ends_as_scripted(
    make: str, fault: Any, statuses: list[str], version: str | None
) -> None:
    station_id, location = STATIONS[make], "https://files.example/fw-9.8.7.bin"
    faults = {station_id: fault} if fault else {}
    order: dict[str, Any] = {"location": location, "retrieveDate": "2026-01-01T00:00:00Z"}
    if make == "Ampera":
        firmware = {"location": location, "retrieveDateTime": "2026-01-01T00:00:00Z"}
        order = {"requestId": 77, "firmware": firmware}
    scenario = one(make, arrival(make, energy_wh=4_000), firmware_faults=faults)
    async with Central() as central, playing(scenario, central) as fleet:
        await until(lambda: fleet.stats().charging == 1)
        await central.command(station_id, "UpdateFirmware", order)

        def told() -> list[Call]:
            return central.of(station_id, "FirmwareStatusNotification")

        await until(lambda: len(told()) == len(statuses))
        assert [call.payload["status"] for call in told()] == statuses
        if make == "Ampera":
            assert {call.payload["requestId"] for call in told()} == {77}
        if "Installing" in statuses:
            names = [call.action + str(call.payload.get("status")) for call in central.of(station_id)]
            ended = max(i for i, call in enumerate(central.of(station_id)) if call.action in TRANSACTIONAL)
            assert ended < names.index("FirmwareStatusNotificationInstalling")
        boots = central.of(station_id, "BootNotification")
        if version is None:
            assert len(boots) == 1
            return
        await until(lambda: len(central.of(station_id, "BootNotification")) == 2)
        first, second = (
            call.payload.get("chargingStation", call.payload)["firmwareVersion"]
            for call in central.of(station_id, "BootNotification")
        )
        assert second == (first if version == "same" else version)


@pytest.mark.parametrize("make", ["Norvolt", "Ampera"])
async def test_remote_start_stop_and_reset(make: str) -> None:
    station_id, old = STATIONS[make], make == "Norvolt"
    async with Central() as central, playing(one(make, speed=60), central) as fleet:
        await until(lambda: fleet.stats().online == 1)
        charger = fleet.chargers[station_id]
        start: tuple[str, dict[str, Any]] = (
            ("RemoteStartTransaction", {"idTag": "TAG00009", "connectorId": 1})
            if old
            else (
                "RequestStartTransaction",
                {"idToken": {"idToken": "TAG00009", "type": "Central"}, "remoteStartId": 5, "evseId": 1},
            )
        )
        answer = await central.command(station_id, *start)
        assert answer["status"] == "Accepted"
        await until(lambda: (s := charger.evses[1].session) is not None and s.transaction_id is not None)
        assert (await central.command(station_id, *start))["status"] == "Rejected"
        session = charger.evses[1].session
        assert session is not None
        assert session.transaction_id is not None
        if not old:
            assert answer["transactionId"] == session.transaction_id
        await until(lambda: bool(central.of(station_id, "StartTransaction", "TransactionEvent")))
        stop = "RemoteStopTransaction" if old else "RequestStopTransaction"
        number: Any = int(session.transaction_id) if old else session.transaction_id
        assert await central.command(station_id, stop, {"transactionId": number}) == {"status": "Accepted"}
        await until(lambda: charger.settled)
        assert fleet.truths()[0].reason == "Remote"
        assert (await central.command(station_id, stop, {"transactionId": number}))["status"] == "Rejected"

        await until(lambda: not charger.evses[1].lock.locked())
        assert (await central.command(station_id, *start))["status"] == "Accepted"
        await until(lambda: len(charger.sessions) == 2)
        opened = central.opened
        await central.command(station_id, "Reset", {"type": "Hard" if old else "Immediate"})
        await until(lambda: central.opened > opened and fleet.settled and fleet.stats().online == 1)
        assert fleet.truths()[1].reason == ("HardReset" if old else "Reset")
        assert len(central.of(station_id, "BootNotification")) == 2
    assert_truths_arrived(fleet, central)


COMMANDS_16: list[tuple[str, dict[str, Any], Any]] = [
    ("ChangeAvailability", {"connectorId": 2, "type": "Inoperative"}, "Accepted"),
    ("ChangeAvailability", {"connectorId": 9, "type": "Inoperative"}, "Rejected"),
    ("RemoteStartTransaction", {"idTag": "A", "connectorId": 2}, "Rejected"),
    ("ChangeAvailability", {"connectorId": 0, "type": "Operative"}, "Accepted"),
    ("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "30"}, "Accepted"),
    ("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "often"}, "Rejected"),
    ("ChangeConfiguration", {"key": "NumberOfConnectors", "value": "3"}, "Rejected"),
    ("ChangeConfiguration", {"key": "Colour", "value": "red"}, "NotSupported"),
    ("ClearCache", {}, "Accepted"),
    ("UnlockConnector", {"connectorId": 1}, "Unlocked"),
    ("UnlockConnector", {"connectorId": 7}, "NotSupported"),
    ("TriggerMessage", {"requestedMessage": "BootNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "Heartbeat"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "DiagnosticsStatusNotification"}, "Accepted"),
    (
        "ReserveNow",
        {"connectorId": 1, "expiryDate": "2099-01-01T00:00:00Z", "idTag": "A", "reservationId": 4},
        "Accepted",
    ),
    ("RemoteStartTransaction", {"idTag": "B", "connectorId": 1}, "Rejected"),
    ("CancelReservation", {"reservationId": 4}, "Accepted"),
    ("CancelReservation", {"reservationId": 4}, "Rejected"),
    (
        "SendLocalList",
        {
            "listVersion": 2,
            "updateType": "Full",
            "localAuthorizationList": [{"idTag": "A", "idTagInfo": {"status": "Blocked"}}],
        },
        "Accepted",
    ),
    ("SendLocalList", {"listVersion": 1, "updateType": "Differential"}, "VersionMismatch"),
    ("DataTransfer", {"vendorId": "nobody"}, "UnknownVendorId"),
    (
        "GetLog",
        {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "x"}},
        {"error": "NotSupported"},
    ),
    ("BrewCoffee", {}, {"error": "NotImplemented"}),
    ("Reset", {"type": "Warm"}, {"error": "FormationViolation"}),
]
EVSE = {"id": 1}
COMMANDS_201: list[tuple[str, dict[str, Any], Any]] = [
    ("ChangeAvailability", {"operationalStatus": "Inoperative", "evse": {"id": 2}}, "Accepted"),
    ("ChangeAvailability", {"operationalStatus": "Inoperative", "evse": {"id": 9}}, "Rejected"),
    ("ChangeAvailability", {"operationalStatus": "Operative"}, "Accepted"),
    ("ClearCache", {}, "Accepted"),
    ("UnlockConnector", {"evseId": 1, "connectorId": 1}, "Unlocked"),
    ("UnlockConnector", {"evseId": 1, "connectorId": 5}, "UnknownConnector"),
    ("TriggerMessage", {"requestedMessage": "BootNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "Heartbeat"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "StatusNotification", "evse": EVSE}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "MeterValues", "evse": EVSE}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "TransactionEvent", "evse": EVSE}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "LogStatusNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, "NotImplemented"),
    (
        "ReserveNow",
        {
            "id": 4,
            "evseId": 1,
            "expiryDateTime": "2099-01-01T00:00:00Z",
            "idToken": {"idToken": "A", "type": "Central"},
        },
        "Accepted",
    ),
    ("CancelReservation", {"reservationId": 4}, "Accepted"),
    ("SendLocalList", {"versionNumber": 3, "updateType": "Full"}, "Accepted"),
    ("SendLocalList", {"versionNumber": 3, "updateType": "Differential"}, "VersionMismatch"),
    ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}, "Accepted"),
    (
        "GetReport",
        {"requestId": 2, "componentVariable": [{"component": {"name": "Teapot"}}]},
        "EmptyResultSet",
    ),
    ("GetLog", {"logType": "DiagnosticsLog", "requestId": 8, "log": {"remoteLocation": "x"}}, "Accepted"),
    ("RequestStopTransaction", {"transactionId": "none"}, "Rejected"),
    ("DataTransfer", {"vendorId": "Ampera"}, "UnknownMessageId"),
    ("Reset", {"type": "Immediate", "evseId": 1}, "Rejected"),
    ("SetNetworkProfile", {}, {"error": "NotSupported"}),
    ("BrewCoffee", {}, {"error": "NotImplemented"}),
    ("Reset", {"type": "Warm"}, {"error": "FormatViolation"}),
]


@pytest.mark.parametrize(("make", "commands"), [("Norvolt", COMMANDS_16), ("Ampera", COMMANDS_201)])
async def test_commands_are_answered_as_the_specification_asks(
    make: str, commands: list[tuple[str, dict[str, Any], Any]]
) -> None:
    async with Central() as central, playing(one(make), central) as fleet:
        await until(lambda: fleet.stats().online == 1)
        for action, payload, expected in commands:
            answer = await central.command(STATIONS[make], action, payload)
            wanted = expected if isinstance(expected, dict) else {"status": expected}
            assert wanted.items() <= answer.items(), (action, payload, answer)
    assert central.schema_errors == []


async def test_configuration_lists_and_local_list_version_of_1_6() -> None:
    async with Central() as central, playing(one("Norvolt"), central) as fleet:
        await until(lambda: fleet.stats().online == 1)
        answer = await central.command(
            "NRV-0001", "GetConfiguration", {"key": ["HeartbeatInterval", "Colour"]}
        )
        assert answer == {
            "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}],
            "unknownKey": ["Colour"],
        }
        assert len((await central.command("NRV-0001", "GetConfiguration", {}))["configurationKey"]) > 10
        await central.command("NRV-0001", "SendLocalList", {"listVersion": 6, "updateType": "Full"})
        assert await central.command("NRV-0001", "GetLocalListVersion", {}) == {"listVersion": 6}
        diagnostics = await central.command("NRV-0001", "GetDiagnostics", {"location": "https://x.example"})
        assert diagnostics["fileName"]
        await until(lambda: len(central.of("NRV-0001", "DiagnosticsStatusNotification")) == 2)


async def test_variables_reports_and_transaction_status_of_2_0_1() -> None:
    heartbeat = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
    teapot = {"component": {"name": "Teapot"}, "variable": {"name": "Spout"}}
    model = {"component": {"name": "ChargingStation"}, "variable": {"name": "Model"}}
    async with (
        Central() as central,
        playing(one("Ampera", arrival("Ampera", energy_wh=40_000), speed=60), central) as fleet,
    ):
        await until(lambda: fleet.stats().charging == 1)
        asked = {
            "setVariableData": [
                {**heartbeat, "attributeValue": "77"},
                {**teapot, "attributeValue": "1"},
                {**model, "attributeValue": "x"},
            ]
        }
        answer = await central.command("AMP-0001", "SetVariables", asked)
        statuses = [result["attributeStatus"] for result in answer["setVariableResult"]]
        assert statuses == ["Accepted", "UnknownComponent", "Rejected"]
        answer = await central.command("AMP-0001", "GetVariables", {"getVariableData": [heartbeat]})
        assert answer["getVariableResult"][0]["attributeValue"] == "77"
        await central.command("AMP-0001", "GetBaseReport", {"requestId": 3, "reportBase": "FullInventory"})
        await until(lambda: any(not call.payload["tbc"] for call in central.of("AMP-0001", "NotifyReport")))
        reports = [call.payload for call in central.of("AMP-0001", "NotifyReport")]
        assert [report["seqNo"] for report in reports] == list(range(len(reports)))
        session = fleet.chargers["AMP-0001"].evses[1].session
        assert session is not None
        answer = await central.command(
            "AMP-0001", "GetTransactionStatus", {"transactionId": session.transaction_id}
        )
        assert answer["ongoingIndicator"] is True
    assert central.schema_errors == []


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
