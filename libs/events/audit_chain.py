"""The chain of audit events: each has the hash of the one before it, so that it shows if one is changed or missing.

A writer has a chain of its own: a `writer_id`, sequence numbers from 0, and for each event the SHA-256 of its
canonical form, which holds the hash of the event before. Ends of chains are named by the anchors of others.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from libs.events.audit import AuditKind, AuditRecorded, ChainHead

FIRST: Final = 0

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DEFAULTS: Final = {
    field.name: field.default
    for field in msgspec.structs.fields(AuditRecorded)
    if field.default is not msgspec.NODEFAULT
}


def canonical(event: AuditRecorded) -> bytes:
    """What the hash of an event is over: JSON with sorted names, without `hash`, and without what has its default.

    So a field that a later release adds changes no older hash.
    """
    fields: dict[str, Any] = {
        name: value
        for name in event.__struct_fields__
        if name != "hash" and ((value := getattr(event, name)) != _DEFAULTS.get(name, msgspec.NODEFAULT))
    }
    return _ENCODER.encode(fields)


def digest(event: AuditRecorded) -> str:
    """The hash that an event has to have, hexadecimal."""
    return sha256(canonical(event)).hexdigest()


def chained(event: AuditRecorded, former: AuditRecorded | None) -> AuditRecorded:
    """`event` as the one after `former` of its writer; None: as the first."""
    place = FIRST if former is None else former.sequence + 1
    linked = replace(event, sequence=place, previous_hash="" if former is None else former.hash, hash="")
    return replace(linked, hash=digest(linked))


def head_of(event: AuditRecorded) -> ChainHead:
    """`event` as the end of its chain."""
    return ChainHead(
        writer_id=event.writer_id, sequence=event.sequence, hash=event.hash, recorded_at=event.recorded_at
    )


def line_of(event: AuditRecorded) -> str:
    """An event as a line of an export."""
    return msgspec.json.encode(event).decode()


def event_of(line: str | bytes) -> AuditRecorded:
    """The event of a line of an export. Raises ValueError for anything else."""
    return msgspec.json.decode(line, type=AuditRecorded)


class Finding(msgspec.Struct, frozen=True, order=True):
    """What is wrong with an event or its place; `at`: microseconds."""

    at: int
    writer_id: str
    sequence: int
    what: str


class Chain(msgspec.Struct, frozen=True):
    """A chain as far as it was given. `first` above 0: what was before was not given."""

    writer_id: str
    service: str
    first: int
    last: int
    since: int
    until: int


class Verdict(msgspec.Struct, frozen=True):
    """What a check found. `findings`: the earliest first. `duplicates`: events that were given again, unchanged."""

    events: int
    duplicates: int
    chains: tuple[Chain, ...]
    anchored: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


class _Place(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an event; hashes as bytes, since there may be millions."""

    hash: bytes
    previous: bytes
    at: int


class _Known(msgspec.Struct):
    service: str
    places: dict[int, _Place] = msgspec.field(default_factory=dict)


class Check:
    """Checks events, given in any order; keeps some 300 bytes of each."""

    def __init__(self) -> None:
        self._chains: dict[str, _Known] = {}
        self._heads: dict[tuple[str, int, bytes], tuple[ChainHead, AuditRecorded]] = {}
        self._findings: list[Finding] = []
        self._events = 0
        self._duplicates = 0
        self._since: int | None = None

    def take(self, event: AuditRecorded) -> None:
        """Look at one event."""
        known = self._chains.setdefault(event.writer_id, _Known(event.service))
        place = _Place(_raw(event.hash), _raw(event.previous_hash), event.recorded_at)
        there = known.places.get(event.sequence)
        if digest(event) != event.hash:
            self._find(event, "the event was changed: it does not have the hash that it says")
        elif there == place:
            self._duplicates += 1
            return
        elif there is not None:
            self._find(event, "two different events have this place")
        if event.sequence == FIRST and (event.previous_hash or event.kind is not AuditKind.CHAIN_STARTED):
            self._find(event, "the first event of the chain is not that of its start")
        self._events += 1
        if there is None:
            known.places[event.sequence] = place
        self._since = event.recorded_at if self._since is None else min(self._since, event.recorded_at)
        for head in event.heads:
            self._heads.setdefault((head.writer_id, head.sequence, _raw(head.hash)), (head, event))

    def verdict(self) -> Verdict:
        """What is to be said of all that was given."""
        findings = [*self._findings, *self._gaps(), *self._ends()]
        chains = tuple(
            Chain(
                writer_id,
                known.service,
                first := min(known.places),
                last := max(known.places),
                known.places[first].at,
                known.places[last].at,
            )
            for writer_id, known in self._chains.items()
        )
        return Verdict(
            self._events,
            self._duplicates,
            tuple(sorted(chains, key=lambda each: each.since)),
            len(self._heads),
            tuple(sorted(findings)),
        )

    def _find(self, event: AuditRecorded, what: str) -> None:
        self._findings.append(Finding(event.recorded_at, event.writer_id, event.sequence, what))

    def _gaps(self) -> Iterator[Finding]:
        for writer_id, known in self._chains.items():
            former: int | None = None
            for sequence in sorted(known.places):
                place = known.places[sequence]
                if former is not None and sequence != former + 1:
                    missing = str(former + 1) if sequence == former + 2 else f"{former + 1} to {sequence - 1}"
                    yield Finding(place.at, writer_id, sequence, f"missing before it: {missing}")
                elif former is not None and place.previous != known.places[former].hash:
                    yield Finding(place.at, writer_id, sequence, "it does not follow the event before it")
                former = sequence

    def _ends(self) -> Iterator[Finding]:
        """What anchors say of chains and is not so. Of the time before the first event nothing is known."""
        for head, anchor in self._heads.values():
            known = self._chains.get(head.writer_id)
            named = f"as {anchor.writer_id} says in its event {anchor.sequence}"
            if known is None:
                if self._since is not None and head.recorded_at >= self._since:
                    what = f"the whole chain is missing, {named}"
                    yield Finding(head.recorded_at, head.writer_id, head.sequence, what)
            elif head.sequence in known.places:
                if known.places[head.sequence].hash != _raw(head.hash):
                    yield Finding(
                        head.recorded_at, head.writer_id, head.sequence, f"it was another event, {named}"
                    )
            elif head.sequence > (last := max(known.places)):
                what = f"missing at the end of the chain: {last + 1} to {head.sequence}, {named}"
                yield Finding(head.recorded_at, head.writer_id, head.sequence, what)


def check(events: Iterable[AuditRecorded]) -> Verdict:
    """What is to be said of these events."""
    found = Check()
    for event in events:
        found.take(event)
    return found.verdict()


def _raw(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        # No hash: whoever wrote that is told so by the event's own.
        return digits.encode("utf-8", "replace")
