"""The processor runtime without Kafka, for given-when-then tests and backtests.

Passes the same conformance suite as the real ones: what they refuse to write, it refuses too.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Generic

import msgspec

from libs.bus.encoding import declared, encode_value
from libs.bus.errors import StateError
from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, S, advance, ticks_until
from libs.bus.state_codec import StateCodec
from libs.events.codec import Codec
from libs.events.contract import load_contract
from libs.events.record import Record


class DeadLettered(msgspec.Struct, frozen=True):
    """A message that the processor could not handle, and why."""

    message: Message
    error: Exception


class MemoryRuntime(Generic[S]):
    """Runs one partition of `processor` in memory.

    `emitted` and `dead` collect what came out, in order; `bounded` counts the bounds at which something was left out.
    `tables` may be changed between messages. What is emitted must be declared in the processor's `outputs` and fit the
    platform's contract; states are kept as bytes.
    """

    def __init__(
        self, processor: Processor[S], tables: Mapping[str, dict[str, Record]] | None = None
    ) -> None:
        self.processor = processor
        self.tables = {topic: dict((tables or {}).get(topic, {})) for topic in processor.tables}
        self.emitted: list[Emit] = []
        self.dead: list[DeadLettered] = []
        self.bounded: Counter[str] = Counter()
        self._state_codec = StateCodec(processor)
        self._states: dict[str, tuple[bytes, bytes]] = {}
        self._offsets: dict[str, int] = {}

    def restore(self, states: Mapping[str, tuple[bytes, bytes | None]]) -> None:
        """Take over stored states: value and `shape` header by key. Raises StateShapeError."""
        shapes = {key: self._state_codec.shape_in(header) for key, (_, header) in states.items()}
        self._state_codec.check(self.processor.state_topic, 0, shapes.values())
        self._states |= {key: (states[key][0], shape) for key, shape in shapes.items() if shape is not None}

    def feed(self, topic: str, key: str, record: Record) -> list[Emit]:
        """Hand over one record as the next of `topic`; returns what it led to."""
        offset = self._offsets.get(topic, 0)
        self._offsets[topic] = offset + 1
        return self.handle(Message(topic, 0, offset, key, record, record.recorded_at))

    def handle(self, message: Message) -> list[Emit]:
        """Hand over one message; returns what it led to.

        It is dead-lettered if the processor raises, or if what it led to cannot be written. Raises StateError.
        """
        record = message.record
        if record is not None and not self.processor.wants(
            message.topic, type(record).__name__, record.subject
        ):
            return []
        try:
            key = self.processor.key(message)
            if key is None:
                return []
            step = advance(self.processor, self.state_of(key), message, self.tables)
            emitted = self._apply(key, step.state, step.out)
        except StateError:
            raise
        except Exception as error:
            self.dead.append(DeadLettered(message, error))
            return []
        self.bounded.update(step.bounded)
        return emitted

    def tick(self, now: int) -> list[Emit]:
        """Hand every key the ticks that are due at or before `now`; returns what they led to."""
        out: list[Emit] = []
        for key in list(self._states):
            emitted: list[Emit] = []
            state = ticks_until(self.processor, self.state_of(key), now, self.tables, emitted)
            out.extend(self._apply(key, state, emitted))
        return out

    def state_of(self, key: str) -> S | None:
        """The state of `key`, None if there is none. Raises StateError if it cannot be read."""
        stored = self._states.get(key)
        return None if stored is None else self._state_codec.decode(key, *stored)

    def _apply(self, key: str, state: S | None, out: Iterable[Emit]) -> list[Emit]:
        """Take over what a step decided; changes nothing if any of it cannot be written."""
        emitted = list(out)
        for emit in declared(self.processor, emitted):
            encode_value(_codec(), emit, emit.key.encode())
        if state is None or self.processor.state is None:
            self._states.pop(key, None)
        else:
            encoded = self._state_codec.encode(state)
            self.processor.due(state)
            self._states[key] = encoded, self._state_codec.shape
        self.emitted.extend(emitted)
        return emitted


@cache
def _codec() -> Codec:
    return Codec.without_registry(load_contract())
