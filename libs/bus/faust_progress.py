"""How far a member of the Faust runtime is in its inputs."""

from collections.abc import Mapping

from faust.types import TP

from libs.bus.faust_app import Place
from libs.bus.watermark import Watermark


class Progress:
    """What is handled of each input partition. `watermarks`: up to which moments."""

    def __init__(self) -> None:
        self.watermarks: dict[TP, Watermark] = {}
        self._started_at: Mapping[TP, int] = {}
        self._handled: dict[TP, int] = {}
        self._positions: dict[TP, int] = {}

    def take_up(self, started_at: Mapping[TP, int]) -> None:
        """Begin with partitions at these offsets, unless more of them is handled."""
        self._started_at = started_at

    def expected(self, tp: TP) -> int:
        """The offset of the next record of `tp` to handle."""
        return self._handled.get(tp, self._started_at.get(tp, 0))

    def handled(self, tp: TP, offset: int) -> None:
        """The record at `offset` is handled."""
        self._handled[tp] = max(self.expected(tp), offset + 1)

    def lag(self, tp: TP, place: Place | None, *, idle: bool) -> int | None:
        """How many records of `tp` are not handled, None while that is not known; moves its watermark on.

        `place`: how far the consumer is, None if it has not been answered. `idle`: nothing has arrived that waits.
        """
        watermark = self.watermarks.setdefault(tp, Watermark())
        if place is None:
            return None
        # What the position has passed may still be on its way from there to here, unless it has not moved since the
        # last look. It also passes transaction markers, which are never handed over.
        unmoved = idle and self._positions.get(tp) == place.position
        self._positions[tp] = place.position
        handled = place.position if unmoved else self.expected(tp)
        watermark.observe(place.answered_at, place.end, handled)
        return max(0, place.end - handled)

    def clear(self) -> None:
        """Have no partitions any more."""
        self._handled.clear()
        self._positions.clear()
        self.watermarks.clear()
