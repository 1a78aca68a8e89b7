"""What changed rules would make of messages that are in the log already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.quirks.book import RuleBook
from libs.ocpp.semantics.received_calls import read_exchange


class FieldChange(msgspec.Struct, frozen=True):
    """One value that would be read otherwise.

    `field` names event and field, such as `TransactionStep.meter_wh` or `MeasurementsReported.samples.unit`; the
    values are JSON-like, None for what is not there.
    """

    field: str
    before: Any
    after: Any


class Changed(msgspec.Struct, frozen=True):
    """A message that would be read otherwise."""

    record: OcppCallReceived
    changes: tuple[FieldChange, ...]


class FieldSummary(msgspec.Struct):
    """How many messages would have this field read otherwise, and the first of the changes."""

    first: FieldChange
    messages: int = 0


class Trial:
    """Reads messages with two books of rules and counts what differs. The first `kept` that differ are kept."""

    def __init__(self, before: RuleBook, after: RuleBook, kept: int) -> None:
        self._before = before
        self._after = after
        self._kept = kept
        self.messages = 0
        self.changed = 0
        self.unreadable_before = 0
        self.unreadable_after = 0
        self.fields: dict[str, FieldSummary] = {}
        self.examples: list[Changed] = []

    def add(self, record: OcppCallReceived, zone: tzinfo) -> None:
        """Read one more message; `zone` is where its charger's local times are."""
        before, after = _read(record, zone, self._before), _read(record, zone, self._after)
        self.messages += 1
        self.unreadable_before += isinstance(before, str)
        self.unreadable_after += isinstance(after, str)
        changes = tuple(_changes(before, after))
        if not changes:
            return
        self.changed += 1
        if len(self.examples) < self._kept:
            self.examples.append(Changed(record, changes))
        seen: set[str] = set()
        for change in changes:
            summary = self.fields.setdefault(change.field, FieldSummary(change))
            if change.field not in seen:
                seen.add(change.field)
                summary.messages += 1


def _read(record: OcppCallReceived, zone: tzinfo, book: RuleBook) -> list[dict[str, Any]] | str:
    try:
        events: list[dict[str, Any]] = msgspec.to_builtins(read_exchange(record, zone, book))
    except ValueError as error:
        return str(error)
    return events


def _changes(before: list[dict[str, Any]] | str, after: list[dict[str, Any]] | str) -> Iterator[FieldChange]:
    if isinstance(before, str) or isinstance(after, str):
        if before != after:
            yield FieldChange("readable", _or_kinds(before), _or_kinds(after))
        return
    if _kinds(before) != _kinds(after):
        yield FieldChange("events", _kinds(before), _kinds(after))
        return
    for one, two in zip(before, after, strict=True):
        yield from _differences(one["type"], one, two)


def _kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def _or_kinds(events: list[dict[str, Any]] | str) -> str | list[str]:
    return events if isinstance(events, str) else _kinds(events)


def _differences(field: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            yield from _differences(f"{field}.{name}", before.get(name), after.get(name))
    elif _is_parts(before) and _is_parts(after) and len(before) == len(after):
        for one, two in zip(before, after, strict=True):
            yield from _differences(field, one, two)
    elif before != after:
        yield FieldChange(field, before, after)


def _is_parts(value: Any) -> bool:
    """Whether it is a list of structures, to be compared one by one."""
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict)
