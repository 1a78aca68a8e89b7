"""The states of one partition's keys, as the transactional runtime keeps them."""

import struct
from typing import Final, Generic

from libs.bus.encoding import EncodedRecord
from libs.bus.message import Headers
from libs.bus.processor import Processor, S
from libs.bus.state_codec import SHAPE_HEADER, StateCodec
from libs.bus.state_sizes import StateSizes
from libs.bus.timers import Timers, due_of, has_timers

DECODED_STATES: Final = 4_096
"""How many states of a partition are kept ready for use; as objects they take several times their bytes."""
DUE_HEADER: Final = "due"
_DUE: Final = struct.Struct(">q")


def changelog_record(
    topic: str, key: str, value: bytes | None, partition: int | None, *, due: int | None, shape: bytes
) -> EncodedRecord:
    """A record of a state topic (as Kafka names it). `due`: when the key wants its next tick. `shape`: of the value.

    The headers say that to whoever restores the state without decoding it.
    """
    headers: Headers = []
    if value is not None:
        headers = [(DUE_HEADER, b"" if due is None else _DUE.pack(due)), (SHAPE_HEADER, shape)]
    return EncodedRecord(topic, key.encode(), value, partition, headers)


class States(Generic[S]):
    """Bytes of every key's state, the objects of those that were used last, and timers.

    What is `put` is encoded by `encode_changes`, once for a transaction however often it changed. A state of an earlier
    shape stays as it is until it is asked for.
    """

    def __init__(self, processor: Processor[S], codec: StateCodec[S]) -> None:
        self._processor = processor
        self._codec = codec
        self._timed = has_timers(processor)
        self._sizes = StateSizes(processor)
        self._encoded: dict[str, bytes] = {}
        self._other_shapes: dict[str, bytes | None] = {}
        self._decoded: dict[str, S] = {}
        self._changed: dict[str, S | None] = {}
        self._due_when_loaded: dict[str, bytes | None] = {}
        self._unarmed: dict[str, None] = {}
        self._timers = Timers(self._due)

    def __len__(self) -> int:
        """Keys with a state, as of the last `encode_changes`."""
        return len(self._encoded)

    @property
    def changed(self) -> bool:
        """Whether there is something to encode."""
        return bool(self._changed)

    def load(self, key: str, value: bytes | None, headers: Headers) -> None:
        """Take one record of the state topic."""
        if value is None:
            self._encoded.pop(key, None)
            self._other_shapes.pop(key, None)
            self._due_when_loaded.pop(key, None)
            return
        self._encoded[key] = value
        due = marked = None
        for name, content in headers:
            if name == DUE_HEADER and content is not None and len(content) in (0, _DUE.size):
                due = content
            elif name == SHAPE_HEADER:
                marked = content
        if self._timed:
            self._due_when_loaded[key] = due
        self._note_shape(key, marked if marked == self._codec.shape else self._codec.shape_in(marked))

    def loaded(self, topic: str, partition: int) -> None:
        """Check the shapes, and set the timers, after everything has been loaded.

        `topic`, `partition`: where from. Raises StateShapeError, or UnreadableStateError.
        """
        self._codec.check(topic, partition, self._other_shapes.values())
        for key, packed in self._due_when_loaded.items():
            if packed is None:
                self._timers.arm(key, self._due(key))
            elif packed:
                self._timers.arm(key, _DUE.unpack(packed)[0])
        self._due_when_loaded = {}

    def get(self, key: str) -> S | None:
        """The state of `key`. Raises StateError."""
        if key in self._changed:
            return self._changed[key]
        state = self._decoded.get(key)
        if state is None and key in self._encoded:
            shape = self._other_shapes.get(key) or self._codec.shape
            state = self._codec.decode(key, self._encoded[key], shape)
            self._keep_ready(key, state)
        return state

    def put(self, key: str, state: S | None) -> None:
        """Replace the state of `key`."""
        self._changed[key] = state
        if self._timed:
            self._unarmed[key] = None

    def encode(self, state: S | None) -> bytes | None:
        """The bytes of a state. Raises what msgspec raises, or RecordTooLargeError."""
        return None if state is None else self._codec.encode(state)

    def check(self, state: S | None) -> None:
        """Raise what `encode_changes` would raise of `state`."""
        self.encode(state)
        if state is not None:
            self._processor.due(state)

    def encode_changes(self, topic: str, partition: int) -> list[EncodedRecord]:
        """What changed since the last call, as records of the state topic; raises like `check`."""
        records = []
        shape = self._codec.shape
        for key, state in self._changed.items():
            value = self.encode(state)
            due = self._processor.due(state) if state is not None and self._timed else None
            records.append(changelog_record(topic, key, value, partition, due=due, shape=shape))
            self._decoded.pop(key, None)
            self._other_shapes.pop(key, None)
            if state is None or value is None:
                self._encoded.pop(key, None)
            else:
                self._sizes.measure(key, len(self._encoded.get(key, b"")), len(value))
                self._encoded[key] = value
                if self._codec.keeps_all:
                    self._keep_ready(key, state)
        self._changed = {}
        return records

    def take_due(self, now: int) -> list[str]:
        """Keys that are due at or before `now`, earliest first, each once. Raises StateError."""
        # Not with every change: most states change several times until somebody asks.
        for key in self._unarmed:
            self._timers.arm(key, self._due(key))
        self._unarmed = {}
        return self._timers.take_due(now)

    def retry(self, key: str, at: int) -> None:
        """Let `key` be due again at `at`."""
        self._timers.arm(key, at)

    def _note_shape(self, key: str, shape: bytes | None) -> None:
        if shape != self._codec.shape:
            self._other_shapes[key] = shape
        elif self._other_shapes:
            self._other_shapes.pop(key, None)

    def _keep_ready(self, key: str, state: S) -> None:
        self._decoded[key] = state
        if len(self._decoded) > DECODED_STATES:
            del self._decoded[next(iter(self._decoded))]

    def _due(self, key: str) -> int | None:
        state = self.get(key)
        return None if state is None else due_of(self._processor, state)
