"""Bytes of a processor's states: written in one shape, read in each that the processor knows."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Generic

import msgspec

from libs.bus.effects import checked_size
from libs.bus.errors import ContractMismatchError, StateError, StateShapeError
from libs.bus.processor import Processor, S
from libs.bus.shapes import FormerState, fingerprint

SHAPE_HEADER: Final = "shape"
"""Header of a record of a state topic: the fingerprint of its value's type."""

_SHAPES_NAMED: Final = 5
_RELEASE: Final = re.compile(r"\d+(\.\d+)*")


class StateCodec(Generic[S]):
    """Encodes and decodes the states of `processor`.

    `release`: an earlier release that has to be able to read what is written, empty for none. `form`: precedes
    fingerprints where values hold more than the state. Raises ContractMismatchError without a way back to `release`.
    """

    def __init__(self, processor: Processor[S], release: str = "", form: str = "") -> None:
        self._processor = processor
        self._form = form
        self._readers: dict[bytes, Callable[[bytes], S]] = {}
        self._downcast: Callable[[S], Any] | None = None
        self.shape: Final = self._add_shapes(release)
        unmarked = processor.unmarked_state
        self._unmarked = None if unmarked is None else self._form.encode() + unmarked.encode()
        self._known = {shape: shape for shape in self._readers}

    def _add_shapes(self, release: str) -> bytes:
        if self._processor.state is None:
            return b""
        for former in self._processor.former_states:
            self._readers[self._header(former.type)] = partial(_upcast, former, _decoder(former.type))
        current = self._header(self._processor.state)
        self._readers[current] = _decoder(self._processor.state)
        written = _as_of(self._processor, release)
        if written is None:
            return current
        self._downcast = written.downcast
        return self._header(written.type)

    def _header(self, state: Any) -> bytes:
        return f"{self._form}{fingerprint(state)}".encode()

    def shape_in(self, header: bytes | None) -> bytes | None:
        """The shape that a record's header tells, or that states without a header have; None if nobody knows."""
        # Not the header itself: there is one for each key.
        return self._unmarked if header is None else self._known.get(header, header)

    def check(self, topic: str, partition: int, shapes: Iterable[bytes | None]) -> None:
        """Raise StateShapeError if states of a partition have `shapes` that cannot be read."""
        unknown = Counter(shape for shape in shapes if shape not in self._readers)
        if unknown:
            stored = {
                None if shape is None else shape.decode(errors="replace"): keys
                for shape, keys in unknown.most_common(_SHAPES_NAMED)
            }
            expected = [shape.decode() for shape in self._readers]
            raise StateShapeError(self._processor.name, topic, partition, stored, expected)

    def decode(self, key: str, value: bytes, shape: bytes) -> S:
        """The state of `key`, which `value` holds in a shape that was checked. Raises StateError."""
        try:
            return self._readers[shape](value)
        # Whatever an upcast raises, too.
        except Exception as error:
            raise StateError(f"{self._processor.name}: the state of {key!r}: {error!r}") from error

    def encode(self, state: S) -> bytes:
        """The bytes of a state in the shape that is written. Raises what msgspec raises, or RecordTooLargeError."""
        written = state if self._downcast is None else self._downcast(state)
        return checked_size(msgspec.msgpack.encode(written))

    @property
    def keeps_all(self) -> bool:
        """Whether what is written is all that the state holds: not so while an earlier release has to read it."""
        return self._downcast is None


def _decoder(state: type[Any]) -> Callable[[bytes], Any]:
    return msgspec.msgpack.Decoder(state).decode


def _upcast(former: FormerState[S], decode: Callable[[bytes], Any], value: bytes) -> S:
    return former.upcast(decode(value))


def _as_of(processor: Processor[S], release: str) -> FormerState[S] | None:
    """How `release` kept the states of `processor`; None if as today."""
    if not release:
        return None
    wanted = _parsed(release)
    later = [each for each in processor.former_states if _parsed(each.release) >= wanted]
    former = min(later, key=lambda each: _parsed(each.release), default=None)
    if former is not None and former.downcast is None:
        raise ContractMismatchError(
            f"{processor.name} cannot write its states for release {release}: there is no way back to them"
        )
    return former


def _parsed(release: str) -> tuple[int, ...]:
    if not _RELEASE.fullmatch(release):
        raise ContractMismatchError(f"{release!r} is no release, as 1.4.0 is")
    return tuple(map(int, release.split(".")))
