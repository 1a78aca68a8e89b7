"""How large the states of a processor are."""

from libs.bus import metrics
from libs.bus.processor import Processor, S
from libs.runtime.logging import get_logger

log = get_logger(__name__)


class StateSizes:
    """Measures the states of `processor` as they are written, and warns of one that grows beyond its declared most."""

    def __init__(self, processor: Processor[S]) -> None:
        self._name = processor.name
        self._most = processor.max_state_bytes
        self._observe = metrics.STATE_BYTES.labels(processor.name).observe

    def measure(self, key: str, before: int, after: int) -> None:
        """The state of `key` had so many bytes, and has so many now."""
        self._observe(after)
        if before <= self._most < after:
            metrics.STATES_TOO_LARGE.labels(self._name).inc()
            log.warning("state_too_large", processor=self._name, key=key, bytes=after, declared=self._most)
