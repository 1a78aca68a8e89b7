"""What happens between a station's bytes and the answer, on a transport and a bus that only take notes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.frames import CloseCode, Opcode

from libs.bus.errors import BusUnavailableError
from libs.events.commands import DispatchCommand
from libs.events.ocpp_log import CallOutcome, FrameRejected, OcppCallSent
from libs.events.ocpp_log import ConnectionClosed as ClosedRecord
from libs.ocpp.errors import ErrorCode
from libs.ocpp.frames import Call, Refused, ResultReceived
from libs.ocpp.versions import Version
from libs.runtime.clock import now_us
from services.edge import socket as socket_module
from services.edge.domain.authentication import Certificate, Proof
from services.edge.domain.quota import Rates
from services.edge.socket import StationSocket
from tests.memory import growth
from tests.unit.edge.noted_station import (
    Station,
    new_socket,
    sent,
    transport_of,
    turns,
)


class Listener:
    """Takes messages while `takes`."""

    def __init__(self, socket: StationSocket, takes: bool = True) -> None:
        self.takes = takes
        self.taken: list[bytes] = []
        socket.on_message = self.on_message

    def on_message(self, message: bytes) -> bool:
        if self.takes:
            self.taken.append(message)
        return self.takes


async def test_frames_cut_anywhere_give_the_same_messages() -> None:
    messages = [b"[2]", b"x" * 200, b"", b"[3,4]"]
    stream = b"".join(sent(message) for message in messages)
    for cut in range(len(stream)):
        socket = new_socket()
        listener = Listener(socket)
        socket.data_received(stream[:cut])
        socket.data_received(stream[cut:])
        assert listener.taken == messages, cut


async def test_a_rest_that_looks_like_a_message_is_not_taken_for_one() -> None:
    # The payload of a long frame, sent by itself, is a whole text frame to whoever has not seen the header.
    inner = sent(b"[2]")
    header = b"\x82" + bytes([0x80 | len(inner)]) + b"\0\0\0\0"
    for cut in range(1, len(header) + 1):
        socket = new_socket()
        listener = Listener(socket)
        socket.data_received(header[:cut])
        socket.data_received((header + inner)[cut:])
        assert listener.taken == [inner], cut


async def test_whole_messages_do_not_reach_the_general_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    socket = new_socket()
    listener = Listener(socket)
    parsed: list[bytes] = []
    general = socket.protocol.receive_data

    def receive_data(data: bytes) -> None:
        parsed.append(data)
        general(data)

    monkeypatch.setattr(socket.protocol, "receive_data", receive_data)
    socket.data_received(sent(b"one"))
    half = sent(b"two")
    socket.data_received(half[:3])
    socket.data_received(half[3:])
    socket.data_received(sent(b"three"))
    assert listener.taken == [b"one", b"two", b"three"]
    assert parsed == [half[:3], half[3:]]


async def test_fragments_become_one_message_with_control_frames_in_between() -> None:
    socket = new_socket()
    listener = Listener(socket)
    socket.data_received(sent(b"[2,", fin=False))
    socket.data_received(sent(b"", opcode=Opcode.PING))
    socket.data_received(sent(b"3]", opcode=Opcode.CONT))
    assert listener.taken == [b"[2,3]"]


async def test_a_message_of_countless_empty_fragments_takes_no_room() -> None:
    socket = new_socket()
    listener = Listener(socket)
    socket.data_received(sent(b"[2,", fin=False))
    with growth() as taken:
        for _ in range(100):
            socket.data_received(sent(b"", fin=False, opcode=Opcode.CONT) * 100)
            for _ in range(4):
                await asyncio.sleep(0)
            assert transport_of(socket).reading
    assert taken.kept < 20_000, "less than two bytes for each"
    socket.data_received(sent(b"3]", opcode=Opcode.CONT))
    assert listener.taken == [b"[2,3]"]


async def test_nothing_is_read_from_a_peer_that_does_not_read() -> None:
    socket = new_socket()
    Listener(socket)
    socket.pause_writing()
    assert not transport_of(socket).reading
    socket.resume_writing()
    assert transport_of(socket).reading


async def test_a_peer_that_reads_again_is_read_again_once_there_is_room() -> None:
    socket = new_socket()
    Listener(socket, takes=False)
    for number in range(4):
        socket.data_received(sent(b"%d" % number))
    socket.pause_writing()
    socket.resume_writing()
    assert not transport_of(socket).reading
    socket.next_message()
    assert transport_of(socket).reading


async def test_messages_before_anybody_listens_are_kept_in_order() -> None:
    socket = new_socket()
    socket.data_received(sent(b"one") + sent(b"two"))
    assert [socket.next_message(), socket.next_message(), socket.next_message()] == [b"one", b"two", None]


async def test_reading_stops_with_four_messages_kept_and_goes_on_below() -> None:
    socket = new_socket()
    listener = Listener(socket, takes=False)
    for number in range(4):
        assert transport_of(socket).reading
        socket.data_received(sent(b"%d" % number))
    assert not transport_of(socket).reading
    listener.takes = True
    # Behind those that are kept, not before them.
    socket.data_received(sent(b"4"))
    assert listener.taken == []
    assert [socket.next_message() for _ in range(2)] == [b"0", b"1"]
    assert transport_of(socket).reading


async def test_after_the_end_everything_is_thrown_away_and_the_close_frame_is_read() -> None:
    socket = new_socket()
    Listener(socket, takes=False)
    for _ in range(4):
        socket.data_received(sent(b"late"))
    socket.discard()
    assert transport_of(socket).reading
    for _ in range(100):
        socket.data_received(sent(b"later"))
    assert transport_of(socket).reading
    assert socket.next_message() is None


@pytest.fixture
async def station() -> Station:
    return await Station.connected()


async def test_an_answer_waits_for_the_acknowledgement(station: Station) -> None:
    station.call("a")
    await turns()
    assert station.bus.calls == ["a"]
    assert station.answers == []
    assert station.gate.used > 0
    station.bus.acknowledge()
    assert station.answers == ["a"]
    assert station.gate.used == 0
    assert station.connection.idle
    await station.lose()


async def test_calls_in_one_segment_are_handled_one_after_the_other(station: Station) -> None:
    station.call("a", "b", "c")
    for done in (["a"], ["a", "b"], ["a", "b", "c"]):
        await turns()
        assert station.bus.calls == done
        station.bus.acknowledge()
        assert station.answers == done
    assert station.connection.idle
    await station.lose()


async def test_a_bad_call_keeps_its_place_between_good_ones(station: Station) -> None:
    station.socket.data_received(
        sent(b'[2,"a","Heartbeat",{}]') + sent(b'[2,"b","Nonsense",{}]') + sent(b'[2,"c","Heartbeat",{}]')
    )
    for _ in range(3):
        station.bus.acknowledge()
        await turns()
    assert station.answers == ["a", "b", "c"]
    assert station.gate.used == 0
    await station.lose()


async def test_nothing_is_answered_after_the_end(station: Station) -> None:
    station.call("a", "b")
    station.connection.end(CloseCode.POLICY_VIOLATION, "replaced")
    station.bus.acknowledge()
    await turns()
    assert station.answers == []
    assert station.bus.calls == ["a"]
    assert station.gate.used == 0
    assert station.connection.waits_since() is None
    await station.lose()


async def test_a_failed_acknowledgement_closes_the_socket(station: Station) -> None:
    station.call("a")
    station.bus.acknowledge(BusUnavailableError("lost"))
    await turns()
    assert station.answers == []
    assert station.gate.used == 0
    assert station.socket.protocol.close_sent is not None
    assert station.socket.protocol.close_sent.code == CloseCode.TRY_AGAIN_LATER
    await station.lose()


async def test_a_bus_that_takes_nothing_closes_the_socket(station: Station) -> None:
    station.bus.failing = True
    station.call("a")
    await turns()
    assert station.gate.used == 0
    assert station.socket.protocol.close_sent is not None
    assert station.socket.protocol.close_sent.code == CloseCode.TRY_AGAIN_LATER
    await station.lose()


async def test_a_full_gate_makes_a_call_wait_its_turn(station: Station) -> None:
    assert station.gate.try_enter(1 << 20)
    station.call("a")
    await turns()
    assert station.bus.calls == []
    station.gate.leave(1 << 20)
    await turns()
    assert station.bus.calls == ["a"]
    station.bus.acknowledge()
    await turns()
    assert station.answers == ["a"]
    assert station.gate.used == 0
    assert station.connection.idle
    await station.lose()


async def test_a_station_that_does_not_read_gets_its_answer_when_it_does(station: Station) -> None:
    station.socket.pause_writing()
    station.call("a", "b")
    station.bus.acknowledge()
    await turns()
    assert not station.connection.idle
    station.socket.resume_writing()
    await turns()
    station.bus.acknowledge()
    await turns()
    assert station.answers == ["a", "b"]
    await station.lose()


async def test_a_station_that_does_not_read_does_not_look_like_kafka_being_away(station: Station) -> None:
    station.socket.pause_writing()
    station.call("a")
    station.bus.acknowledge()
    await turns()
    waits_since = station.connection.waits_since()
    assert waits_since is None or waits_since > asyncio.get_running_loop().time()
    # And its connection can be ended all the same.
    station.connection.end(CloseCode.POLICY_VIOLATION, "not registered")
    await turns()
    assert transport_of(station.socket).closing
    await asyncio.wait_for(station.task, 1)
    assert isinstance(station.bus.records[-2], ClosedRecord)


async def test_a_station_that_never_reads_is_dropped(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_module, "UNREAD_S", 0.01)
    station.socket.pause_writing()
    station.call("a")
    station.bus.acknowledge()
    await asyncio.wait_for(station.task, 5)
    assert transport_of(station.socket).closing


async def test_an_answer_to_an_earlier_command_is_not_taken_for_this_one_s(station: Station) -> None:
    lane = station.connection.lane
    lane.offer(reset("y"))
    await turns()
    earlier, this = Call("x", "Reset", {"type": "Soft"}), Call("y", "Reset", {"type": "Soft"})
    reason = "payload is not an object"
    lane.settle(Refused(None, ErrorCode.FORMAT_VIOLATION, reason, "x", "Reset", earlier))
    lane.settle(ResultReceived("x", {"status": "Accepted"}, earlier))
    await turns()
    assert lane.busy
    lane.settle(ResultReceived("y", {"status": "Rejected"}, this))
    await lane.finished()
    ends = [record for record in station.bus.records if isinstance(record, OcppCallSent)]
    assert [(each.outcome, each.result) for each in ends] == [(CallOutcome.RESULT, '{"status":"Rejected"}')]
    await station.lose()


def reset(event_id: str) -> DispatchCommand:
    now = now_us()
    return DispatchCommand(
        event_id=event_id,
        occurred_at=now,
        recorded_at=now,
        cause_id=event_id,
        command_id=event_id,
        station_id="s",
        slot=0,
        connection_epoch=1,
        attempt=1,
        action="Reset",
        payload='{"type":"Soft"}',
        send_by=now + 60_000_000,
        call_timeout_ms=60_000,
    )


async def test_a_socket_lost_in_mid_call_leaves_nothing_behind(station: Station) -> None:
    station.call("a")
    await station.lose()
    station.bus.acknowledge()
    assert station.gate.used == 0
    assert station.answers == []


async def test_a_station_that_has_taken_its_share_waits_for_its_turn_and_loses_nothing() -> None:
    station = await Station.connected(Rates(messages=20, bytes=0, cpu=0, saved_s=0.1))
    station.call("a", "b", "c", "d")
    for _ in range(4):
        await turns()
        station.bus.acknowledge()
    assert station.bus.calls == ["a", "b", "c"]
    assert station.connection.conversation.resting
    assert station.connection.idle, "a drain need not wait for it"
    while len(station.answers) < 4:
        await asyncio.sleep(0.01)
        station.bus.acknowledge()
    assert station.answers == ["a", "b", "c", "d"]
    await station.lose()


async def test_what_a_station_sends_of_use_in_between_does_not_let_it_write_the_log() -> None:
    station = await Station.connected()
    for number in range(20):
        station.call(f"good{number}")
        await turns()
        station.bus.acknowledge()
        station.call(f"bad{number}", action="NoSuchAction")
        for _ in range(3):
            await turns()
            station.bus.acknowledge()
    assert len(station.answers) == 40
    assert sum(isinstance(record, FrameRejected) for record in station.bus.records) == 3
    await station.lose()
    last = [record for record in station.bus.records if isinstance(record, FrameRejected)][-1]
    assert "17 unusable frames" in last.reason


NAMED = Proof(3, None, Certificate(("SN-1",), (), b"", 1))


@pytest.mark.parametrize(
    ("version", "proof", "serial", "stays"),
    [
        (Version.V201, NAMED, "SN-1", True),
        (Version.V201, NAMED, " sn-1", True),
        (Version.V201, NAMED, None, True),
        (Version.V201, NAMED, "SN-2", False),
        (Version.V21, NAMED, "SN-2", False),
        (Version.V21, Proof(2), "SN-2", True),
        (Version.V16, NAMED, "SN-2", True),
    ],
)
async def test_a_boot_in_anothers_name_ends_the_connection(
    version: Version, proof: Proof, serial: str | None, stays: bool
) -> None:
    """B01.FR.11 and 12: with profile 3 the serial number is the certificate's common name."""
    station = await Station.connected(version=version, proof=proof)
    if version is Version.V16:
        payload: dict[str, Any] = {"chargePointVendor": "v", "chargePointModel": "m"}
        payload |= {} if serial is None else {"chargePointSerialNumber": serial}
    else:
        about = {"vendorName": "v", "model": "m"} | ({} if serial is None else {"serialNumber": serial})
        payload = {"reason": "PowerUp", "chargingStation": about}
    station.socket.data_received(sent(json.dumps([2, "b", "BootNotification", payload]).encode()))
    for _ in range(5):
        await turns()
        station.bus.acknowledge()
    rejected = [record for record in station.bus.records if isinstance(record, FrameRejected)]
    assert station.connection.ending is not stays
    assert bool(rejected) is not stays
    assert (station.bus.calls == ["b"]) is stays
    if not stays:
        assert rejected[0].code == "SecurityError"
        assert b"wrong serial number" in transport_of(station.socket).written
    station.socket.connection_lost(None)
    await asyncio.wait_for(station.task, 30)
