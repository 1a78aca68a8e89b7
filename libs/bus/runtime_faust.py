"""The Faust processor runtime: at least once, for idempotent projections of moderate rate that may lag.

Faust consumes, shares the partitions among the members, restores the table from the state topic and commits. What
it hands over is folded in batches, and the order of writing makes up for what it lacks: outputs first, then the
state with the offsets that it includes, then the commit. Whatever is repeated after a crash either finds its
offset in the state and is passed over, or is folded from the same state and gives the same records again.
"""

import asyncio
from collections import defaultdict
from typing import Generic

from aiokafka import AIOKafkaConsumer

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.errors import StateShapeError
from libs.bus.failures import FailureLimit
from libs.bus.faust_member import Member
from libs.bus.faust_states import FORM
from libs.bus.partitioning import check_partitions
from libs.bus.processor import Processor, S
from libs.bus.state_codec import StateCodec
from libs.bus.tables import TableSet
from libs.runtime.logging import get_logger

log = get_logger(__name__)

RESTART_BACKOFF_S = 1.0


class FaustRuntime(Generic[S]):
    """Runs `processor` in its consumer group until told to stop; any number of processes may do so.

    Guarantees: no input message is lost; after a crash some are handed over again, but none is counted twice in
    state, and what is emitted again carries the same event ids; messages of one key in the order of each topic; a
    message that raises is dead-lettered, up to a limit. A partition that must not go on stands still, and the others
    go on. A process that was frozen while its partitions moved is not fenced.
    """

    def __init__(self, bus: Bus, processor: Processor[S]) -> None:
        self.bus = bus
        self.processor = processor
        self.group = bus.settings.group(processor.name)
        self.tables = TableSet(bus, processor.name, processor.tables)
        self._codec = StateCodec(processor, bus.settings.state_release, FORM)
        self._limits = defaultdict[int, FailureLimit](self._new_limit)
        self._member: Member[S] | None = None

    def _new_limit(self) -> FailureLimit:
        return FailureLimit(self.bus.settings.dead_letter_limit, self.bus.settings.dead_letter_window_s)

    @property
    def ready(self) -> bool:
        """Whether this process is in the group, every partition that it was given restored, and its tables follow."""
        return self._member is not None and self._member.ready and self.tables.ready

    async def run(self, stop: asyncio.Event) -> None:
        """Process until `stop` is set, then finish the batch under way and leave the group.

        Faust gives up for good when Kafka fails it; it is then started anew from what is committed. Raises
        ContractMismatchError if the inputs are not partitioned alike, KafkaError if Kafka cannot be reached at the
        start, StateShapeError for states that this version cannot read, FollowerEndedError if the tables are not
        followed any more.
        """
        async with self.tables:
            await self._check()
            try:
                while not stop.is_set():
                    await self._take_part(stop)
            finally:
                self._member = None

    async def _take_part(self, stop: asyncio.Event) -> None:
        self._member = Member(
            self.bus, self.processor, self._codec, self.tables, group=self.group, limits=self._limits
        )
        try:
            await self._member.run(stop)
        except StateShapeError as error:
            metrics.STATE_ERRORS.labels(self.processor.name).inc()
            log.critical("state_unreadable", processor=self.processor.name, error=str(error))
            raise
        except Exception:
            metrics.TASK_RESTARTS.labels(self.processor.name).inc()
            log.exception("faust_restarts", processor=self.processor.name)
            await asyncio.sleep(RESTART_BACKOFF_S)

    async def _check(self) -> None:
        consumer = AIOKafkaConsumer(**connection(self.bus.settings))
        await consumer.start()
        try:
            await check_partitions(self.bus, self.processor, consumer)
        finally:
            await consumer.stop()
