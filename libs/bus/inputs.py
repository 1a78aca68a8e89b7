"""The records of one partition, of every input topic of a processor, in the order in which they are handled."""

from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from math import inf

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError

from libs.bus import metrics
from libs.bus.fetching import value_bytes_of
from libs.bus.settings import BusSettings
from libs.bus.watermark import Watermark

ENOUGH_RECORDS = 1_000
"""Records buffered per input. More costs memory and GC scans without raising throughput."""
ENOUGH_BYTES = 2 << 20
"""As `ENOUGH_RECORDS`: what Kafka holds compressed may be hundreds of times as large."""


class Inputs:
    """What `consumer` has fetched of partition `number` of `topics`, and how far behind the rest is.

    `topics`: names as in the contract by Kafka's place. `placed`: whether it is known where to read on.
    """

    def __init__(
        self,
        settings: BusSettings,
        consumer: AIOKafkaConsumer,
        processor: str,
        topics: Collection[str],
        number: int,
    ) -> None:
        self._consumer = consumer
        self.topics = {TopicPartition(settings.topic(topic), number): topic for topic in topics}
        self._lag_gauges = {
            place: metrics.LAG.labels(processor, topic, number) for place, topic in self.topics.items()
        }
        self._buffers: dict[TopicPartition, deque[ConsumerRecord]] = {place: deque() for place in self.topics}
        self._bytes: dict[TopicPartition, int] = dict.fromkeys(self.topics, 0)
        self._next: dict[TopicPartition, int] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._exhausted: set[TopicPartition] = set()
        self._watermarks: dict[TopicPartition, Watermark] = {}
        self.placed = False

    async def seek_to_committed(self) -> None:
        """Begin where the group has committed, or at the beginning. Raises KafkaError."""
        for place in self.topics:
            committed = await self._consumer.committed(place)
            if committed is None:
                committed = (await self._consumer.beginning_offsets([place]))[place]
            self._next[place] = committed
        self._positions.update(self._next)
        self._watermarks = {place: Watermark() for place in self.topics}
        for place, offset in self._next.items():
            self._consumer.seek(place, offset)
        self._consumer.resume(*self.topics)
        self.placed = True

    def hold(self) -> None:
        """Let nothing more be fetched, until it is placed again."""
        self.clear()
        with suppress(IllegalStateError):  # the group took it away meanwhile
            self._consumer.pause(*self.topics)

    def clear(self) -> None:
        """Forget what was fetched, and where."""
        self.placed = False
        for place, buffer in self._buffers.items():
            buffer.clear()
            self._bytes[place] = 0

    def add_fetched(self, fetched: Mapping[TopicPartition, list[ConsumerRecord]]) -> bool:
        """Buffer our part of `fetched`; False if there is none. Records fetched before `placed` are fetched again."""
        if not self.placed:
            return False
        taken = False
        for place, buffer in self._buffers.items():
            if place not in fetched:
                continue
            taken = True
            expected, new = self._next[place], fetched[place]
            if new and new[0].offset < expected:
                new = [record for record in new if record.offset >= expected]
            if new:
                buffer.extend(new)
                self._bytes[place] += value_bytes_of(new)
                expected = new[-1].offset + 1
            self._next[place] = self._positions[place] = expected
        return taken

    @property
    def needs_fetch(self) -> list[TopicPartition]:
        """Partitions to fetch: fewer than `ENOUGH_RECORDS` and `ENOUGH_BYTES` are buffered; none until `placed`."""
        if not self.placed:
            return []
        return [
            place
            for place, buffer in self._buffers.items()
            if len(buffer) < ENOUGH_RECORDS and self._bytes[place] < ENOUGH_BYTES
        ]

    @property
    def filled(self) -> list[TopicPartition]:
        """Partitions of which `ENOUGH_BYTES` are buffered."""
        return [place for place, size in self._bytes.items() if size >= ENOUGH_BYTES]

    @property
    def reached(self) -> int:
        """The moment (microseconds) up to which all that was written has been taken, of every input; 0 for none."""
        return min((each.reached for each in self._watermarks.values()), default=0)

    async def observe(self) -> None:
        """Note how far behind the inputs are. Raises KafkaError."""
        for place in self.topics:
            # Unlike the last record's offset, the position also moves past transaction markers.
            position = await self._consumer.position(place)
            if not self.placed:
                return
            self._positions[place] = position
            lag = self._lag(place)
            if lag is not None:
                self._lag_gauges[place].set(lag)
            buffer, answered_at = self._buffers[place], self._consumer.last_poll_timestamp(place)
            self._watermarks[place].observe(
                None if answered_at is None else answered_at * 1000,
                self._end(place),
                buffer[0].offset if buffer else position,
            )

    def leave(self) -> None:
        """Show no lag any more: from now on that is another process's."""
        for gauge in self._lag_gauges.values():
            gauge.set(0)

    def _lag(self, place: TopicPartition) -> int | None:
        """Records of `place` that are not processed; None while it has not been fetched from."""
        end = self._end(place)
        if end is None:
            return None
        return len(self._buffers[place]) + max(0, end - self._positions[place])

    def _end(self, place: TopicPartition) -> int | None:
        """Where `place` ended when it was last fetched from; None while it has not been."""
        end = self._consumer.last_stable_offset(place)
        return None if end is None or end < 0 else int(end)

    def reset_exhausted(self) -> None:
        """Ask exhausted inputs for records again, after other tasks have run."""
        self._exhausted.clear()

    def take(self, most: int) -> tuple[TopicPartition, list[ConsumerRecord]] | None:
        """The oldest records at hand, at most `most`, all of one input.

        None if there is none, or an input that has more has nothing at hand.
        """
        best: TopicPartition | None = None
        # The first of several inputs that are equally old comes first, and goes on while it is no younger.
        before: float = inf
        for place, buffer in self._buffers.items():
            if buffer:
                time = buffer[0].timestamp
                if best is None:
                    best, best_time = place, time
                elif time < best_time:
                    best, best_time, before = place, time, best_time
                else:
                    before = min(before, time + 1)
            elif place not in self._exhausted:
                if self._lag(place) != 0:
                    return None
                self._exhausted.add(place)
        if best is None:
            return None
        buffer = self._buffers[best]
        run: list[ConsumerRecord] = []
        while buffer and len(run) < most and buffer[0].timestamp < before:
            run.append(buffer.popleft())
        self._bytes[best] -= value_bytes_of(run)
        return best, run
