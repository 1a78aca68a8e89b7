"""A charger's connection: connecting, booting, heartbeats, and the delivery of its queue."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email.utils
import logging
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from services.simulator.clock import Clock
from services.simulator.domain.outbox import Entry, Outbox
from services.simulator.domain.scenario import Scenario, Station
from services.simulator.rpc import CallRefused, ConnectionLost, Payload, RpcMixin

log = logging.getLogger(__name__)

# Real seconds between attempts to connect: the first, and the most.
BACKOFF_S = (0.2, 5.0)
# A message that is refused this often is given up (1.6: TransactionMessageAttempts).
ATTEMPTS = 5
DEFAULT_HEARTBEAT_S = 300


class Message(NamedTuple):
    """An action and its payload."""

    action: str
    payload: Payload


class Answered(NamedTuple):
    """A call whose CALLRESULT a charger has received."""

    station_id: str
    message_id: str
    action: str


class Refused(NamedTuple):
    """A call that was answered with a CALLERROR."""

    station_id: str
    message_id: str
    action: str
    code: str


@dataclass
class Journal:
    """What all chargers of a fleet saw on the wire; `on_answered` is called for each answer as it arrives."""

    answered: list[Answered] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    # Transaction messages given up after repeated refusals: billing truth that the central system never got.
    lost: list[Refused] = field(default_factory=list)
    # StartTransactions sent again that were answered with another transaction id.
    mismatched: list[str] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    connections: int = 0
    reconnects: int = 0
    on_answered: Callable[[Answered], None] | None = None


@dataclass(frozen=True)
class World:
    """What the chargers of a fleet share; `timeout_s` is how long (real seconds) a call waits for its answer."""

    spec: Scenario
    url: str
    clock: Clock
    seed: int
    journal: Journal
    timeout_s: float


Commands = Callable[[Any, ClientConnection, float], RpcMixin]
"""Makes the handlers of the central system's calls: of a charger, its connection, and how long it waits for answers."""


class Link(ABC):
    """Keeps one charger connected to `world.url`/<station id> and delivers what it has to say.

    Transaction messages wait in `outbox` until they are answered, in order and unchanged, over any number of
    connections. Everything else is sent only while connected and accepted. Each connection is answered by `commands`.
    """

    subprotocol: str

    def __init__(self, station: Station, world: World, commands: Commands) -> None:
        self.station, self.world = station, world
        self._commands = commands
        self.clock, self.journal = world.clock, world.journal
        self.make = station.make
        self.firmware = self.make.firmware
        self.outbox = Outbox()
        self.heartbeat_s = DEFAULT_HEARTBEAT_S
        # Why the last boot happened (in the words of 2.0.1), and whether its states are still to be told.
        self.boot_reason = "PowerUp"
        self.fresh = True
        self.random = random.Random(f"{world.seed}:{station.id}:run")  # noqa: S311 a simulation, not a secret
        self._url = f"{world.url.rstrip('/')}/{quote(station.id, safe='')}"
        self._rpc: RpcMixin | None = None
        self._accepted = False
        self._online = asyncio.Event()
        self._network = asyncio.Event()
        self._network.set()
        self._downs = 0
        self._queued = asyncio.Event()
        self._answered_since_connect = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def online(self) -> bool:
        """Connected, and accepted by the central system."""
        return self._online.is_set()

    @property
    def connected(self) -> bool:
        """A websocket is open."""
        return self._rpc is not None

    @abstractmethod
    def boot_message(self) -> Message:
        """The BootNotification to send now."""

    @abstractmethod
    async def greet(self) -> None:
        """Send what is due after connecting (and booting): states that changed meanwhile."""

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` as a task of this charger; a lost connection ends it, any other failure is recorded."""
        task = asyncio.create_task(work, name=self.station.id)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, ConnectionLost | CallRefused):
            log.error("%s: %s", task.get_name(), error, exc_info=error)
            self.journal.failures.append(error)

    async def close(self) -> None:
        """Disconnect for good and end every task."""
        if self._rpc is not None:
            await self._rpc.hang_up()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def network_down(self) -> None:
        """Lose the network abruptly, until a matching `network_up`."""
        self._downs += 1
        self._network.clear()
        if self._rpc is not None:
            self._rpc.lose()

    def network_up(self) -> None:
        """Undo one `network_down`."""
        self._downs -= 1
        if self._downs == 0:
            self._network.set()

    async def reboot(self, reason: str, seconds: float) -> None:
        """Be off for simulated `seconds`, then connect and boot again."""
        self.boot_reason, self._accepted, self.fresh = reason, False, True
        self.network_down()
        try:
            await self.clock.sleep(seconds)
        finally:
            self.network_up()

    def queue(self, entry: Entry) -> None:
        """Queue a transaction message."""
        self.outbox.put(entry)
        self._queued.set()

    async def wait_online(self, seconds: float) -> None:
        """Wait until online, at most real `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._online.wait()

    async def request(self, message: Message) -> Payload:
        """Send a call that is not worth a retry. Raises ConnectionLost (also when offline) and CallRefused."""
        if self._rpc is None or not self.online:
            raise ConnectionLost("offline")
        return await self._call(self._rpc, message, str(uuid.uuid4()))

    async def tell(self, message: Message) -> None:
        """Send a call as soon as there is a connection, again if that is lost; a refusal is accepted."""
        while True:
            await self._online.wait()
            try:
                await self.request(message)
            except CallRefused:
                return
            except ConnectionLost:
                await asyncio.sleep(0)
            else:
                return

    async def send_boot(self, triggered: bool = False) -> bool:
        """Send one BootNotification; whether it was accepted, and the interval, are kept."""
        if self._rpc is None:
            raise ConnectionLost("offline")
        message = self.boot_message()
        if triggered and "reason" in message.payload:
            message.payload["reason"] = "Triggered"
        answer = await self._call(self._rpc, message, str(uuid.uuid4()))
        interval = answer.get("interval", 0)
        self.heartbeat_s = interval if interval > 0 else DEFAULT_HEARTBEAT_S
        self._accepted = answer.get("status") == "Accepted"
        return self._accepted

    async def run_connection(self) -> None:
        """Connect, serve, and reconnect with jittered exponential backoff in real time, for ever."""
        failures, first = 0, True
        while True:
            await self._network.wait()
            pause = 0.0
            try:
                connection = await self._connect()
            except InvalidStatus as error:
                pause = _retry_after(error.response.headers.get("Retry-After"))
            except (OSError, TimeoutError, WebSocketException) as error:
                log.debug("%s cannot connect: %s", self.station.id, error)
            else:
                self.journal.reconnects += not first
                first = False
                await self._serve(connection)
                if self._answered_since_connect:
                    failures = 0
            least, most = BACKOFF_S
            backoff = min(most, least * 2 ** min(failures, 10)) * self.random.uniform(0.5, 1.0)
            failures += 1
            await asyncio.sleep(max(pause, backoff))

    async def _connect(self) -> ClientConnection:
        headers = {}
        if (password := self.station.group.password) is not None:
            credentials = base64.b64encode(f"{self.station.id}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {credentials}"
        return await connect(
            self._url,
            subprotocols=[Subprotocol(self.subprotocol)],
            additional_headers=headers,
            compression=None,
            proxy=None,
            ping_interval=30,
            close_timeout=0.5,
        )

    async def _serve(self, connection: ClientConnection) -> None:
        """Serve one connection until it ends."""
        self._rpc = rpc = self._commands(self, connection, self.world.timeout_s)
        self.journal.connections += 1
        self._answered_since_connect = False
        reader = asyncio.create_task(rpc.serve())
        talk = asyncio.create_task(self._talk(rpc))
        try:
            await asyncio.wait({reader, talk}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._online.clear()
            self._rpc = None
            self.journal.connections -= 1
            rpc.lose()
            for task in (reader, talk):
                task.cancel()
            for error in await asyncio.gather(reader, talk, return_exceptions=True):
                if isinstance(error, Exception) and not isinstance(error, ConnectionLost | CallRefused):
                    log.error("%s: connection failed", self.station.id, exc_info=error)
                    self.journal.failures.append(error)

    async def _talk(self, rpc: RpcMixin) -> None:
        """Boot if need be, then heartbeat and deliver; boots again whenever the central system demands it."""
        if self.make.boots_on_connect:
            self._accepted = False
        if self.make.ended_first:
            self.outbox.end_first()
        while True:
            while not self._accepted:
                if not await self.send_boot():
                    await self.clock.sleep_own(self.heartbeat_s)
            self._online.set()
            self.spawn(self.greet())
            beats = asyncio.create_task(self._heartbeats())
            try:
                await self._deliver(rpc)
            finally:
                beats.cancel()
                self._online.clear()

    async def _heartbeats(self) -> None:
        while True:
            await self.clock.sleep_own(self.heartbeat_s)
            try:
                await self.request(Message("Heartbeat", {}))
            except CallRefused:
                continue
            except ConnectionLost:
                return

    async def _deliver(self, rpc: RpcMixin) -> None:
        """Deliver the queue in order. Returns when the central system wants a BootNotification first."""
        while self._accepted:
            entry = self.outbox.head()
            if entry is None:
                self._queued.clear()
                await self._queued.wait()
                continue
            if not entry.sent and entry.finish is not None:
                entry.finish(entry.payload)
            if not (entry.sent and self.station.group.reuse_message_ids):
                entry.message_id = str(uuid.uuid4())
            try:
                answer = await self._call(rpc, Message(entry.action, entry.payload), entry.message_id)
            except CallRefused as error:
                entry.refusals += 1
                if not self._accepted:
                    await asyncio.sleep(min(5.0, 0.2 * entry.refusals))
                    return
                if entry.refusals < ATTEMPTS:
                    await asyncio.sleep(0.2 * entry.refusals)
                    continue
                self.journal.lost.append(Refused(self.station.id, entry.message_id, entry.action, error.code))
                answer = {}
            if entry.answered is not None:
                entry.answered(answer)
            self.outbox.done(entry)

    async def _call(self, rpc: RpcMixin, message: Message, message_id: str) -> Payload:
        try:
            answer = await rpc.request(message.action, message.payload, message_id)
        except CallRefused as error:
            self.journal.refused.append(Refused(self.station.id, message_id, message.action, error.code))
            if error.code == "SecurityError":
                # The central system does not, or no longer, count this charger as accepted: boot again.
                self._accepted = False
                self._queued.set()
            raise
        self._answered_since_connect = True
        seen = Answered(self.station.id, message_id, message.action)
        self.journal.answered.append(seen)
        if self.journal.on_answered is not None:
            self.journal.on_answered(seen)
        return answer


def _retry_after(header: str | None) -> float:
    """Real seconds that a Retry-After header asks for: a number, or an HTTP date; 0 without one."""
    if header is None:
        return 0.0
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0
