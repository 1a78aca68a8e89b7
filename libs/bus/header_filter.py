"""Records that a processor does not want are told by their headers, before they are decoded."""

from collections.abc import Iterable
from functools import lru_cache, partial

from libs.bus.message import SUBJECT_HEADER, TYPE_HEADER, TYPE_PREFIX
from libs.bus.processor import Processor, S
from libs.events.catalogue import RECORDS
from libs.events.record import Record


class HeaderFilter:
    """Tells from headers alone whether `processor` wants a record, before it is decoded."""

    def __init__(self, processor: Processor[S]) -> None:
        # Bounded: headers come from whoever may write to the topic.
        self._asked = lru_cache(maxsize=1024)(partial(_asks, processor))
        self._picky = type(processor).wants is not Processor.wants

    def wants(self, topic: str, headers: Iterable[tuple[str, bytes]]) -> bool:
        """Whether to decode a record of the contract's `topic`; what has no readable headers has to be."""
        if not self._picky:
            return True
        known = dict(headers)
        kind = known.get(TYPE_HEADER)
        if kind is None or not kind.startswith(TYPE_PREFIX):
            return True
        try:
            return self._asked(topic, kind, known.get(SUBJECT_HEADER))
        # Also what a faulty `wants` raises: the record is decoded, and then goes the way of all records.
        except Exception:
            return True


def _asks(processor: Processor[S], topic: str, raw_kind: bytes, raw_subject: bytes | None) -> bool:
    kind = raw_kind.removeprefix(TYPE_PREFIX).decode()
    subject = None if raw_subject is None else raw_subject.decode()
    record = RECORDS.get(kind)
    if subject is None and record is not None and record.subject is not Record.subject:
        # It has a subject, but whoever wrote it did not say so.
        return True
    return processor.wants(topic, kind, subject)
