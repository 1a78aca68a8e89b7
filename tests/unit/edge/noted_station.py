"""A station's connection on a transport and a bus that only take notes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from pydantic import SecretStr
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from libs.bus.batching import OnAcknowledged
from libs.bus.errors import BusUnavailableError
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import TokenRegistered
from libs.ocpp.versions import Version
from services.edge.connection import StationConnection
from services.edge.context import Context
from services.edge.domain.admission import Admission
from services.edge.domain.authentication import NOTHING_PROVEN, Proof
from services.edge.domain.quota import Quota, Rates
from services.edge.domain.rules import ReadModels, Rules, UnknownStations, UnknownTokens
from services.edge.freshness import Freshness
from services.edge.gate import Gate
from services.edge.publisher import Publisher
from services.edge.settings import EdgeSettings
from services.edge.socket import StationSocket


class Transport:
    """Takes note of what is written and whether reading goes on."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.reading = True
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, _: str) -> None:
        return None

    def set_write_buffer_limits(self, *_: Any, **__: Any) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closing = True

    abort = close


def new_socket() -> StationSocket:
    server = cast(Server, SimpleNamespace(logger=logging.getLogger("test"), is_serving=lambda: True))
    socket = StationSocket(ServerProtocol(state=State.OPEN, max_size=1 << 20), server, ping_interval=None)
    Connection.connection_made(socket, cast(asyncio.Transport, Transport()))
    socket.request = cast(Any, object())
    # What the handshake does: the parser comes to wait for the first frame.
    socket.data_received(b"")
    return socket


def transport_of(socket: StationSocket) -> Transport:
    return cast(Transport, socket.transport)


def sent(text: bytes, *, fin: bool = True, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, text, fin=fin).serialize(mask=True)


class Bus:
    """Acknowledges what was sent when told to."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.waiting: list[OnAcknowledged] = []
        self.failing = False

    def try_send(self, topic: str, key: str, record: Record, on_acknowledged: OnAcknowledged) -> bool:
        if self.failing:
            raise BusUnavailableError("away")
        self.records.append(record)
        self.waiting.append(on_acknowledged)
        return True

    async def send(self, topic: str, key: str, record: Record) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.records.append(record)
        if topic in {"ocpp.lifecycle", "edge.connections"} and not isinstance(record, OcppCallReceived):
            future.set_result(None)
        else:
            self.waiting.append(lambda error: future.set_result(None))
        return future

    def post(self, topic: str, key: str, record: Record) -> None:
        self.records.append(record)

    def acknowledge(self, error: BusUnavailableError | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        for on_acknowledged in waiting:
            on_acknowledged(error)

    @property
    def calls(self) -> list[str]:
        return [record.message_id for record in self.records if isinstance(record, OcppCallReceived)]


NO_BOUNDS = Rates(messages=0, bytes=0, cpu=0, saved_s=1)
CatchUp = Callable[[], Awaitable[None]]


async def nothing_new() -> None:
    pass


class Station:
    """A connection under test; `answers` are the message ids answered so far.

    `tokens`: those that are accepted; all if not given. `catch_up`: reads on.
    """

    def __init__(
        self,
        rates: Rates = NO_BOUNDS,
        version: Version = Version.V16,
        proof: Proof = NOTHING_PROVEN,
        *,
        tokens: dict[str, TokenRegistered] | None = None,
        catch_up: CatchUp = nothing_new,
    ) -> None:
        self.bus = Bus()
        rules = Rules(
            transaction_key=b"k",
            unknown_stations=UnknownStations.ACCEPT,
            unknown_tokens=UnknownTokens.ACCEPT if tokens is None else UnknownTokens.REJECT,
        )
        models = ReadModels({}, {} if tokens is None else tokens, rules)
        self.gate = Gate(1 << 20)
        context = Context(
            edge_id="edge-0",
            slot=0,
            settings=EdgeSettings(transaction_key=SecretStr("only for this test")),
            models=models,
            publisher=cast(Publisher, self.bus),
            gate=self.gate,
            quota=Quota(rates, garbage_limit=3, window_us=60_000_000),
            loop=asyncio.get_running_loop(),
            freshness=Freshness(catch_up, 10),
        )
        self.socket = new_socket()
        standing = models.standing("s")
        assert standing is not None
        admission = Admission(station_id="s", version=version, echo=True, standing=standing, proof=proof)
        self.connection = StationConnection(context, self.socket, admission, epoch=1, now=1)
        self.task = asyncio.create_task(self.connection.run())

    @classmethod
    async def connected(
        cls,
        rates: Rates = NO_BOUNDS,
        version: Version = Version.V16,
        proof: Proof = NOTHING_PROVEN,
        *,
        tokens: dict[str, TokenRegistered] | None = None,
        catch_up: CatchUp = nothing_new,
    ) -> Station:
        station = cls(rates, version, proof, tokens=tokens, catch_up=catch_up)
        await turns()
        assert station.connection.idle
        return station

    def call(self, *message_ids: str, action: str = "Heartbeat") -> None:
        self.socket.data_received(b"".join(sent(f'[2,"{i}","{action}",{{}}]'.encode()) for i in message_ids))

    @property
    def answers(self) -> list[str]:
        found, data = [], bytes(transport_of(self.socket).written)
        while data:
            size = data[1] & 127
            if data[0] == 0x81:
                found.append(json.loads(data[2 : 2 + size])[1])
            data = data[2 + size :]
        return found

    async def lose(self) -> None:
        self.socket.connection_lost(None)
        await asyncio.wait_for(self.task, 1)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
