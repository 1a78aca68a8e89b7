"""The broker's side: logs with transaction markers, committed offsets, producer epochs, group membership."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced, UnknownTopicOrPartitionError

from libs.runtime.clock import now_us


class Member(Protocol):
    """A consumer of a group. `topics_wanted`: what it subscribed to."""

    topics_wanted: set[str]

    async def revoke(self) -> None:
        """Let go of its partitions, once what is under way is done."""

    async def take(self, places: set[TopicPartition]) -> None:
        """Go on with these partitions."""


Headers = tuple[tuple[str, bytes], ...]


@dataclass
class Entry:
    """One offset of a log. `writer`: the transaction that wrote it, None outside of one. A marker has no content."""

    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    writer: Transaction | None = None
    marker: bool = False


@dataclass(eq=False)
class Transaction:
    """What one transactional producer wrote since it began: where it began in each log, and offsets to commit."""

    begun: dict[TopicPartition, int] = field(default_factory=dict)
    offsets: dict[str, dict[TopicPartition, int]] = field(default_factory=lambda: defaultdict(dict))
    committed: bool | None = None


@dataclass
class Group:
    """A consumer group: who is in it, in the order of joining, and what it has committed."""

    members: list[Member] = field(default_factory=list)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    balanced: asyncio.Task[None] | None = None


class MemoryBroker:
    """A Kafka of one process and one event loop. Topics are created by hand, as on the platform.

    `clock`: milliseconds, for records without a timestamp and for answers.
    """

    def __init__(
        self, topics: Mapping[str, int] | None = None, clock: Callable[[], int] = lambda: now_us() // 1000
    ) -> None:
        self.clock = clock
        self.logs: dict[TopicPartition, list[Entry]] = {}
        self.groups: defaultdict[str, Group] = defaultdict(Group)
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}
        self._failures: defaultdict[str, deque[Exception]] = defaultdict(deque)
        self._news = asyncio.Event()
        for topic, partitions in (topics or {}).items():
            self.create(topic, partitions)

    def create(self, topic: str, partitions: int) -> None:
        """Make `topic`, or add partitions to it."""
        for number in range(partitions):
            self.logs.setdefault(TopicPartition(topic, number), [])

    def fail(self, call: str, *errors: Exception) -> None:
        """Let the next calls of `call` (a method's name, of any client) raise `errors`, one each."""
        self._failures[call].extend(errors)

    def raise_failure(self, call: str) -> None:
        """Raise what `fail` has set for `call`, if anything."""
        if self._failures[call]:
            raise self._failures[call].popleft()

    def log(self, place: TopicPartition) -> list[Entry]:
        """The entries of a partition. Raises UnknownTopicOrPartitionError."""
        try:
            return self.logs[place]
        except KeyError:
            raise UnknownTopicOrPartitionError(str(place)) from None

    def partitions(self, topic: str) -> set[int]:
        """Numbers of the partitions of `topic`; none if there is no such topic."""
        return {place.partition for place in self.logs if place.topic == topic}

    def last_stable_offset(self, place: TopicPartition) -> int:
        """The end of what transactions still under way leave untouched."""
        log = self.log(place)
        return min([len(log), *(t.begun[place] for t in self._open.values() if place in t.begun)])

    def append(self, place: TopicPartition, entry: Entry) -> int:
        """Write one record; gives its offset."""
        log = self.log(place)
        if entry.writer is not None:
            entry.writer.begun.setdefault(place, len(log))
        log.append(entry)
        self.tell()
        return len(log) - 1

    def tell(self) -> None:
        """Wake who waits for records."""
        self._news.set()
        self._news = asyncio.Event()

    async def news(self, timeout_s: float) -> None:
        """Wait until something is written or committed, at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)

    def take_over(self, transactional_id: str) -> int:
        """Fence whoever had `transactional_id`, end its transaction, and give the new epoch."""
        self._end(transactional_id, committed=False)
        self._epochs[transactional_id] = epoch = self._epochs.get(transactional_id, -1) + 1
        return epoch

    def check_epoch(self, transactional_id: str, epoch: int) -> None:
        """Raises ProducerFenced if somebody else has taken `transactional_id` over."""
        if self._epochs[transactional_id] != epoch:
            raise ProducerFenced

    def begin(self, transactional_id: str) -> Transaction:
        """Open a transaction."""
        transaction = self._open[transactional_id] = Transaction()
        return transaction

    def end(self, transactional_id: str, epoch: int, *, committed: bool) -> None:
        """Commit or abort. Raises ProducerFenced."""
        self.check_epoch(transactional_id, epoch)
        self._end(transactional_id, committed=committed)

    def _end(self, transactional_id: str, *, committed: bool) -> None:
        transaction = self._open.pop(transactional_id, None)
        if transaction is None:
            return
        transaction.committed = committed
        for place in transaction.begun:
            self.log(place).append(Entry(self.clock(), None, None, (), marker=True))
        if committed:
            for group, offsets in transaction.offsets.items():
                self.groups[group].committed.update(offsets)
        self.tell()

    def rebalance(self, name: str) -> asyncio.Task[None]:
        """Share the partitions out among the members of group `name`, once those under way are done."""
        group = self.groups[name]
        group.balanced = asyncio.create_task(self._rebalance(group, group.balanced))
        return group.balanced

    async def _rebalance(self, group: Group, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        members = list(group.members)
        for member in members:
            await member.revoke()
        for member, places in zip(members, self._ranges(members), strict=True):
            await member.take(places)

    def _ranges(self, members: list[Member]) -> list[set[TopicPartition]]:
        shares: list[set[TopicPartition]] = [set() for _ in members]
        for topic in sorted({topic for member in members for topic in member.topics_wanted}):
            takers = [index for index, member in enumerate(members) if topic in member.topics_wanted]
            numbers = sorted(self.partitions(topic))
            for at, number in enumerate(numbers):
                shares[takers[at * len(takers) // len(numbers)]].add(TopicPartition(topic, number))
        return shares

    def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Note offsets of `group`."""
        self.groups[group].committed.update(offsets)


def headers_of(headers: Iterable[tuple[str, bytes]] | None) -> Headers:
    """Headers as they are read back."""
    return tuple(headers or ())
