"""Faust as the Faust runtime needs it: read committed, no topics made, no directories, nothing committed unasked.

The overridden parts are Faust's own extension points or, where it has none, named here and nowhere else.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from faust import SASLCredentials, SSLCredentials
from faust.auth import Credentials
from faust.transport.drivers import aiokafka as faust_aiokafka
from faust.types import TP, EventT

from libs.bus.connection import connection
from libs.bus.membership import METADATA_AGE_MS, heartbeat_interval_s
from libs.bus.settings import BusSettings
from libs.runtime.logging import get_logger

log = get_logger(__name__)

COMMIT_INTERVAL_S = 1.0
FETCH_MIN_BYTES = 64 << 10
FETCH_MAX_WAIT_MS = 200
COMMIT_TIMEOUT_S = 5.0
RECOVERY_SILENCE_S = 5.0
CHECK_TIMEOUT_MS = 10_000


class _ConsumerThread(faust_aiokafka.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust reads uncommitted records unless it writes transactions itself; our inputs may be transactional.
        consumer._isolation_level = "read_committed"
        # Projections may lag: a trickle must not cost a request for each record.
        consumer._fetch_min_bytes = FETCH_MIN_BYTES
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer

    async def _fetch_records(
        self, consumer: AIOKafkaConsumer, active_partitions: set[TP], *args: Any, **options: Any
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """What is new in `active_partitions`, which Faust changes meanwhile: the position passes nothing else."""
        # aiokafka takes an empty set for all partitions, and this one is empty between restoring and taking up.
        asked = set(active_partitions)
        if not asked:
            return {}
        fetched = await super()._fetch_records(consumer, asked, *args, **options)
        # Faust throws away what is not active any more. Nothing may be awaited between the fetch and going back.
        wanted = {tp: records for tp, records in fetched.items() if tp in active_partitions}
        for tp in (fetched.keys() - wanted.keys()) & consumer.assignment():
            consumer.seek(tp, fetched[tp][0].offset)
        return wanted


class Consumer(faust_aiokafka.Consumer):
    """Reads inputs from `take_up` on, and commits what `processed` was called for.

    `started_at`: where each input partition was last taken up.
    """

    started_at: Mapping[TP, int] = MappingProxyType({})

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Read on, but not yet what are inputs."""
        # In a rebalance Faust throws away what it has read, some of it after it has gone back to where to begin.
        super().resume_partitions({tp for tp in tps if self._is_changelog_tp(tp)})

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Read no further, also where Faust has stopped reading because too much is under way, to go on later."""
        paused = set(tps)
        super().pause_partitions(paused)
        self._buffered_partitions -= paused

    async def take_up(self, except_for: Container[int]) -> None:
        """Read the inputs from where the group left them, `except_for` these partitions; after every rebalance.

        Raises IllegalStateError if the next rebalance takes the partitions away meanwhile.
        """
        inputs = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
        if inputs:
            await self.perform_seek()
        self.started_at = {tp: self._committed_offset[tp] or 0 for tp in inputs}
        super().resume_partitions({tp for tp in inputs if tp.partition not in except_for})

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to where the group left each partition."""
        committed = await super().seek_to_committed()
        # Faust leaves the position where it is, maybe past records that it threw away, if nothing is committed.
        begin = {tp: 0 for tp, offset in committed.items() if not offset and not self._is_changelog_tp(tp)}
        if begin:
            await self.seek_wait(begin)
        return committed

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Note which rebalance this is."""
        app: Any = self.app
        app.assigned_in = app.rebalancing_count
        # Faust would read on where too much had been under way, before the partition is taken up.
        self._buffered_partitions.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def ack(self, message: Any) -> bool:
        """Nothing."""
        # Faust acknowledges also what it passes over in a rebalance, and then commits what nobody has processed.
        return False

    def processed(self, message: Any) -> None:
        """Let Faust commit past `message`."""
        super().ack(message)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit what is under way, then let go."""
        # While what was acknowledged is still known: Faust forgets it next, and would hand it over again.
        app: Any = self.app
        await app.drain()
        try:
            await asyncio.wait_for(self.commit(), COMMIT_TIMEOUT_S)
        except TimeoutError:
            log.warning("offsets_not_committed", group=self.app.conf.id)
        await super().on_partitions_revoked(revoked)


class _Transport(faust_aiokafka.Transport):
    Consumer = Consumer


class App(faust.App):
    """A Faust app on these parts."""

    drain: Callable[[], Awaitable[None]]
    """Finishes what is being processed, so that nothing of it is written after the partitions have gone."""
    assigned_in: int = 0
    """The number of the rebalance that gave the partitions."""
    _settled: int = 0

    @property
    def settled(self) -> int | None:
        """The number of the last rebalance if it is over, tables restored; None in a rebalance and before the first."""
        return self._settled if 0 < self._settled == self.rebalancing_count else None

    def on_rebalance_end(self) -> None:
        """Note that the rebalance is over, if it is the last."""
        super().on_rebalance_end()
        # Faust may end one while the partitions of the next are being assigned, or their tables wait to be restored.
        tables: Any = self.tables
        recovery = tables.recovery
        if (
            recovery._generation_id == self.consumer_generation_id
            and not recovery.signal_recovery_start.is_set()
        ):
            self._settled = self.assigned_in

    def _create_directories(self) -> None:
        """Tables live in memory: nothing to put anywhere."""

    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)


def credentials(settings: BusSettings) -> Credentials | None:
    """What Faust calls what `connection` gives to other clients."""
    given = connection(settings)
    context = given.get("ssl_context")
    if "sasl_mechanism" in given:
        return SASLCredentials(
            username=given["sasl_plain_username"],
            password=given["sasl_plain_password"],
            ssl_context=context,
            mechanism=given["sasl_mechanism"],
        )
    return None if context is None else SSLCredentials(context)


def make_app(
    group: str,
    settings: BusSettings,
    inputs: Collection[str],
    take: Callable[[EventT[Any]], Awaitable[None]],
    drain: Callable[[], Awaitable[None]],
) -> App:
    """An app of `group` that hands every event of `inputs` to `take`, and calls `drain` before partitions go."""
    app = App(
        group,
        broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        broker_credentials=credentials(settings),
        store="memory://",
        processing_guarantee="at_least_once",
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_session_timeout=settings.kafka_session_timeout_s,
        broker_heartbeat_interval=heartbeat_interval_s(settings),
        broker_request_timeout=max(
            30.0, settings.kafka_session_timeout_s
        ),  # Faust refuses less than a session
        broker_commit_interval=COMMIT_INTERVAL_S,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=2 << 20,
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        stream_recovery_delay=0.0,
        # What is not finished is handed over again; waiting for it can take as long as Kafka is away.
        stream_wait_empty=False,
    )
    app.drain = drain
    source = app.topic(
        *(settings.topic(topic) for topic in inputs),
        key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True,
    )  # fmt: skip

    async def pass_on(stream: Any) -> None:
        async for event in stream.noack().events():
            await take(event)

    app.agent(source, name=f"{group}-take")(pass_on)
    return app


def make_table(app: App, topic: str) -> Any:
    """The store (bytes by bytes) that Faust restores from Kafka's `topic`, its changelog.

    What a rebalance made Faust throw away is missing in it.
    """
    changelog = app.topic(
        topic,
        key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True,
        acks=False, internal=True, maxsize=131_072,
    )  # fmt: skip
    return app.Table("state", key_type=bytes, value_type=bytes, changelog_topic=changelog).data


class RecoveryWatch:
    """Ends a recovery that waits for a record that is not there.

    Faust waits for the last offset of the changelog, which may be a transaction marker or a tombstone that has
    been compacted away. If the position is past it and nothing has arrived for a while, nothing more will. Whether
    the table is whole is another matter: the runtime reads the topic again before it relies on it.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._have: dict[TP, int] = {}
        self._since = 0.0

    async def look(self) -> None:
        """Call often while the app is not ready."""
        tables: Any = self._app.tables
        recovery = tables.recovery
        now = asyncio.get_running_loop().time()
        if not recovery.in_recovery or recovery.active_offsets != self._have:
            self._have, self._since = dict(recovery.active_offsets), now
        if now - self._since < RECOVERY_SILENCE_S:
            return
        self._since = now
        for tp, last in list(recovery.active_highwaters.items()):
            have = recovery.active_offsets.get(tp)
            if have is not None and have < last and (await self._app.consumer.position(tp) or 0) > last:
                log.info("recovery_complete_before_its_end", topic=tp.topic, partition=tp.partition)
                recovery.active_offsets[tp] = last


def in_order(runs: Mapping[TP, Sequence[EventT[Any]]], topics: Sequence[str]) -> Iterable[EventT[Any]]:
    """The events of `runs` by time, of equal times by the order of `topics`; that within each run is not disturbed."""
    ranked = sorted(runs, key=lambda tp: topics.index(tp.topic))
    return heapq.merge(*(runs[tp] for tp in ranked), key=lambda event: event.message.timestamp)


class RecordsMissedError(RuntimeError):
    """Faust passed over records in a rebalance; they are read again."""


async def check_gaps(checker: AIOKafkaConsumer, tp: TP, expected: int, offsets: Iterable[int]) -> None:
    """Raise RecordsMissedError if Faust, which hands over `offsets`, has left out records of `tp` from `expected` on.

    Where offsets jump there may be transaction markers or expired records; the log itself, read by `checker`, tells.
    """
    for offset in offsets:
        if offset > expected:
            checker.assign([TopicPartition(*tp)])
            checker.seek(TopicPartition(*tp), expected)
            found = await checker.getmany(timeout_ms=CHECK_TIMEOUT_MS, max_records=1)
            first = [record.offset for records in found.values() for record in records]
            if first != [offset]:
                raise RecordsMissedError(f"{tp}: {first} comes after {expected}, Faust goes on at {offset}")
        expected = max(expected, offset + 1)


class Place(NamedTuple):
    """How far Faust's consumer is in a partition. `position`: the next offset that it will hand over.

    `end`: where the partition ended in the last answer to a fetch, which came at `answered_at` (microseconds).
    """

    position: int
    end: int
    answered_at: int


def place_of(kafka: AIOKafkaConsumer, tp: TP) -> Place | None:
    """How far the consumer is; None while it has not got `tp`, or has not been answered yet.

    Faust asks the consumer's own thread, and wakes it up each time; the numbers may as well be read from here.
    """
    subscription = kafka._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    if assignment is None or tp not in assignment.tps:
        return None
    state = assignment.state_value(tp)
    # The moment first: it is written last, and must not be later than the end.
    answered_at, end, position = state.timestamp, state.lso, state._position
    if answered_at is None or end is None or end < 0 or position is None:
        return None
    return Place(position, end, answered_at * 1000)


def source_record(message: Any) -> ConsumerRecord:
    """Faust's message as the consumer gave it."""
    headers = message.headers or ()
    return ConsumerRecord(
        message.topic,
        message.partition,
        message.offset,
        round(message.timestamp * 1000),
        message.timestamp_type,
        message.key,
        message.value,
        message.checksum,
        message.serialized_key_size,
        message.serialized_value_size,
        tuple(headers.items() if isinstance(headers, Mapping) else headers),
    )
