"""The processor interface: a pure fold per key, run by any of the runtimes.

A processor reads co-partitioned topics, keeps one state per key, and emits records. It sees no Kafka, clock or
I/O: time reaches it as the `recorded_at` of messages and as `Tick`s. `runtime_memory`, `runtime_transactional`
and `runtime_faust` run it; `docs/processors.md` says what each of them guarantees.
"""

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.shapes import FormerState
from libs.events.record import Record

S = TypeVar("S")

MOST_STATE_BYTES: Final = 64 << 10
"""What a key's state may take unless its processor declares more."""

Tables = Mapping[str, Mapping[str, Record]]
"""Read-only copies of compacted topics, by topic and key; caught up before the first message is handled."""


class Tick(msgspec.Struct, frozen=True, gc=False):
    """A moment that a state asked for by `due` has come. `at` is that moment, not the wall clock's."""

    at: int


class Step(msgspec.Struct, Generic[S], frozen=True):
    """What a processor decided: the key's next state (None: forget the key), and what to emit, in order.

    `bounded`: names of the bounds at which something was left out; the runtimes count them. Of a tick they are not.
    """

    state: S | None
    out: tuple[Emit, ...] = ()
    bounded: tuple[str, ...] = ()


class Processor(Generic[S]):
    """Base of every stream processor. Subclasses set the class attributes and implement `step`.

    `name`: consumer group, transactional ids and metrics. `inputs`: topics keyed and partitioned alike; of messages of
    the same millisecond those of the first come first. `tables`: compacted topics that it looks things up in.
    `outputs`: topics it may emit to.
    `state`: the msgspec type of a key's state, None for a stateless processor. State is kept in the compacted
    topic `state_topic`. `former_states`: how earlier releases kept it; states of any other shape stop the process.
    `unmarked_state`: the fingerprint of states that were stored before records carried one. `linger_s`: least time
    between two transactions (on Faust: batches). A transaction costs far more than a message, so whoever need not be
    quick when much happens should let effects come together; the first ones after a pause are committed at once.
    `max_state_bytes`: the most that a key's state takes in bytes, whatever chargers and operators do.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tables: tuple[str, ...] = ()
    state: type[S] | None = None
    former_states: tuple[FormerState[S], ...] = ()
    unmarked_state: str | None = None
    linger_s: float = 0.0
    max_state_bytes: int = MOST_STATE_BYTES

    @property
    def state_topic(self) -> str:
        """The compacted topic that holds this processor's state."""
        return f"state.{self.name}"

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Whether records of `topic` that are of `kind` (the record's name) and about `subject` can matter at all.

        Asked of a record's headers: what is not wanted is passed over without being decoded. Headers may be
        missing, so `key` gets such records too. Must not depend on anything but its arguments.
        """
        return True

    def key(self, message: Message) -> str | None:
        """The state key that `message` belongs to; None to pass over it. Must not depend on state."""
        return message.key

    def step(self, state: S | None, event: Message | Tick, tables: Tables) -> Step[S]:
        """Fold one message or tick into a key's state (None: nothing known of the key yet).

        Pure: same arguments, same result. Return the state object itself where nothing changed. Ids of what is
        emitted are derived from their causes. An exception sends the message to dead letters and changes nothing.
        """
        raise NotImplementedError

    def due(self, state: S) -> int | None:
        """The next moment (microseconds) at which this key wants a Tick, or None.

        A tick with that moment must lead to a state that wants a later one or none.
        """
        return None


class TimerLoopError(RuntimeError):
    """A tick did not move the key's next due moment forward."""


def ticks_until(
    processor: Processor[S], state: S | None, now: int, tables: Tables, out: list[Emit]
) -> S | None:
    """Hand `state` every tick that is due at or before `now`, in order; emitted records are added to `out`.

    Raises TimerLoopError if a tick asks for itself again.
    """
    while state is not None and (at := processor.due(state)) is not None and at <= now:
        step = processor.step(state, Tick(at), tables)
        out.extend(step.out)
        if step.state is not None and (later := processor.due(step.state)) is not None and later <= at:
            raise TimerLoopError(f"{processor.name}: tick at {at} asks for {later}")
        state = step.state
    return state


def advance(processor: Processor[S], state: S | None, message: Message, tables: Tables) -> Step[S]:
    """What every runtime does with a message: ticks that were due before it was recorded, then the message.

    Deadlines are thus decided by when things were recorded, not by when they were read, and a replay decides
    them alike.
    """
    out: list[Emit] = []
    if message.record is not None:
        state = ticks_until(processor, state, message.record.recorded_at, tables, out)
    step = processor.step(state, message, tables)
    return Step(step.state, (*out, *step.out), step.bounded) if out else step
