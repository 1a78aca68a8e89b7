"""The states of one partition's keys, as the transactional runtime keeps them."""

import struct
from typing import Final, Generic

import msgspec

from libs.bus.effects import Encoded, Timers, checked_size, due_of, has_timers
from libs.bus.errors import StateError
from libs.bus.message import Headers
from libs.bus.processor import Processor, S

DECODED_STATES: Final = 4_096
"""How many states of a partition are kept ready for use; as objects they take several times their bytes."""
DUE_HEADER: Final = "due"
_DUE: Final = struct.Struct(">q")


def changelog_record(
    topic: str, key: str, value: bytes | None, partition: int | None, due: int | None
) -> Encoded:
    """A record of a state topic (as Kafka names it). `due`: when the key wants its next tick.

    The header says that to whoever restores the state without decoding it.
    """
    headers = [] if value is None else [(DUE_HEADER, b"" if due is None else _DUE.pack(due))]
    return Encoded(topic, key.encode(), value, partition, headers)


def encode_state(state: object) -> bytes:
    """The bytes of a state. Raises what msgspec raises, or RecordTooLargeError."""
    return checked_size(msgspec.msgpack.encode(state))


class States(Generic[S]):
    """Bytes of every key's state, the objects of those that were used last, and timers.

    What is `put` is encoded by `encode_changes`, once for a transaction however often it changed.
    """

    def __init__(self, processor: Processor[S]) -> None:
        self._processor = processor
        self._timed = has_timers(processor)
        self._encoded: dict[str, bytes] = {}
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
            self._due_when_loaded.pop(key, None)
            return
        self._encoded[key] = value
        if self._timed:
            self._due_when_loaded[key] = next((due for name, due in headers if name == DUE_HEADER), None)

    def loaded(self) -> None:
        """Set the timers after everything has been loaded."""
        for key, packed in self._due_when_loaded.items():
            if packed is None:
                self._timers.arm(key, self._due(key))
            elif packed:
                self._timers.arm(key, _DUE.unpack(packed)[0])
        self._due_when_loaded = {}

    def get(self, key: str) -> S | None:
        """The state of `key`. Raises StateError if it cannot be read."""
        if key in self._changed:
            return self._changed[key]
        state = self._decoded.get(key)
        if state is None and key in self._encoded and self._processor.state is not None:
            try:
                state = msgspec.msgpack.decode(self._encoded[key], type=self._processor.state)
            except Exception as error:
                raise StateError(f"{self._processor.name}: the state of {key!r}: {error!r}") from error
            self._keep_ready(key, state)
        return state

    def put(self, key: str, state: S | None) -> None:
        """Replace the state of `key`."""
        self._changed[key] = state
        if self._timed:
            self._unarmed[key] = None

    def encode(self, state: S | None) -> bytes | None:
        """The bytes of a state. Raises like `encode_state`."""
        return None if state is None else encode_state(state)

    def check(self, state: S | None) -> None:
        """Raise what `encode_changes` would raise of `state`."""
        self.encode(state)
        if state is not None:
            self._processor.due(state)

    def encode_changes(self, topic: str, partition: int) -> list[Encoded]:
        """What changed since the last call, as records of the state topic; raises like `check`."""
        records = []
        for key, state in self._changed.items():
            value = self.encode(state)
            due = self._processor.due(state) if state is not None and self._timed else None
            records.append(changelog_record(topic, key, value, partition, due))
            self._decoded.pop(key, None)
            if state is None or value is None:
                self._encoded.pop(key, None)
            else:
                self._encoded[key] = value
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

    def _keep_ready(self, key: str, state: S) -> None:
        self._decoded[key] = state
        if len(self._decoded) > DECODED_STATES:
            del self._decoded[next(iter(self._decoded))]

    def _due(self, key: str) -> int | None:
        state = self.get(key)
        return None if state is None else due_of(self._processor, state)
