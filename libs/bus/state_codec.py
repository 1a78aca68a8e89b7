"""Bytes of a processor's states: written in one shape, read in each that the processor knows."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic

import msgspec

from libs.bus.encoding import checked_size
from libs.bus.errors import ContractMismatchError, StateError, StateShapeError
from libs.bus.processor import Processor, S
from libs.bus.shapes import FormerState, Shapes

SHAPE_HEADER: Final = "shape"
"""Header of a record of a state topic: the fingerprint of its value's type."""

_SHAPES_NAMED: Final = 5
_RELEASE: Final = re.compile(r"\d+(\.\d+)*")


class StateCodec(Generic[S]):
    """Encodes and decodes the states of `processor`.

    `release`: an earlier release that has to be able to read what is written, empty for none. `form`: precedes
    fingerprints where values hold more than the state. `keeps_all`: what is written is all that a state holds, which a
    downcast may change. Raises ContractMismatchError without a way back to `release`.
    """

    def __init__(self, processor: Processor[S], release: str = "", form: str = "") -> None:
        self._processor = processor
        self._shapes: Shapes[S] | None = None
        self._downcast: Callable[[S], Any] | None = None
        self.keeps_all = True
        written = ""
        if processor.state is not None:
            self._shapes = Shapes(processor.state, processor.former_states)
            written = self._shapes.current
            former = _as_of(processor, release)
            if former is not None:
                written, self._downcast = former.fingerprint, former.downcast
                self.keeps_all = bool(former.grown_from)
        self._known = {f"{form}{shape}".encode(): shape for shape in self._shapes or ()}
        self.shape: Final = f"{form}{written}".encode()
        unmarked = processor.unmarked_state
        self._unmarked = None if unmarked is None else f"{form}{unmarked}".encode()
        self._interned = {shape: shape for shape in self._known}

    def shape_in(self, header: bytes | None) -> bytes | None:
        """The shape that a record's header tells, or that states without a header have; None if nobody knows."""
        # Not the header itself: there is one for each key.
        return self._unmarked if header is None else self._interned.get(header, header)

    def check(self, topic: str, partition: int, shapes: Iterable[bytes | None]) -> None:
        """Raise StateShapeError if states of a partition have `shapes` that cannot be read."""
        unknown = Counter(shape for shape in shapes if shape not in self._known)
        if unknown:
            stored = {
                None if shape is None else shape.decode(errors="replace"): keys
                for shape, keys in unknown.most_common(_SHAPES_NAMED)
            }
            expected = [shape.decode() for shape in self._known]
            raise StateShapeError(self._processor.name, topic, partition, stored, expected)

    def decode(self, key: str, value: bytes, shape: bytes) -> S:
        """The state of `key`, which `value` holds in a shape that was checked. Raises StateError."""
        assert self._shapes is not None
        try:
            return self._shapes.decode(value, self._known[shape])
        # Whatever an upcast raises, too.
        except Exception as error:
            raise StateError(f"{self._processor.name}: the state of {key!r}: {error!r}") from error

    def encode(self, state: S) -> bytes:
        """The bytes of a state in the shape that is written. Raises what msgspec raises, or RecordTooLargeError."""
        written = state if self._downcast is None else self._downcast(state)
        return checked_size(msgspec.msgpack.encode(written))


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
