"""Changes of what operators configured, as the records that replace the earlier ones."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    GroupMembership,
    PowerRating,
    TariffRegistered,
    TariffVersion,
    TokenRegistered,
)
from libs.events.tariffs import TariffTerms
from libs.events.topics import (
    REGISTRY_CREDENTIALS,
    REGISTRY_ORGANISATIONS,
    REGISTRY_SITES,
    REGISTRY_STATIONS,
    REGISTRY_TARIFFS,
    REGISTRY_TOKENS,
)
from libs.runtime.clock import iso
from services.api.domain.errors import Conflict

TOPICS: Final = (
    REGISTRY_STATIONS,
    REGISTRY_CREDENTIALS,
    REGISTRY_SITES,
    REGISTRY_TOKENS,
    REGISTRY_TARIFFS,
    REGISTRY_ORGANISATIONS,
)

R = TypeVar("R", bound=Record)


class Stamp(msgspec.Struct, frozen=True):
    """Id and moment (microseconds) of a new record, and how long (microseconds) every reader gets to learn it.

    `author`: who makes the change.
    """

    event_id: str
    now: int
    settle: int
    author: str = ""

    def fields(self) -> dict[str, Any]:
        """The fields that every record has."""
        return {
            "event_id": self.event_id,
            "occurred_at": self.now,
            "recorded_at": self.now,
            "cause_id": self.event_id,
            "changed_by": self.author,
        }

    def start(self, wanted: int | None) -> int:
        """From when on something new holds: the moment wanted, else when every reader will know of it."""
        return self.now + self.settle if wanted is None else wanted


class Removal(msgspec.Struct, frozen=True):
    """The end of an entry. `last` is written before it, in the same transaction: the entry, with who removed it."""

    last: Record


def removal(old: Record, stamp: Stamp) -> Removal:
    """The end of `old`."""
    return Removal(replace(old, **stamp.fields()))


def renewed(old: R, changes: Mapping[str, Any], stamp: Stamp) -> R:
    """`old` with `changes` as a new record; `old` itself if it was written (has an id) and nothing differs."""
    new = replace(old, **changes)
    return old if old.event_id and new == old else replace(new, **stamp.fields())


def joined(old: TokenRegistered, group_id: str | None, stamp: Stamp) -> tuple[GroupMembership, ...]:
    """The token's groups by time, with `group_id` after the settle delay if that is another one than now."""
    if group_id == old.group_id:
        return old.groups
    known = old.groups
    if not known and old.event_id:
        known = (GroupMembership(group_id=old.group_id, valid_from=0),)
    return (*known, GroupMembership(group_id=group_id, valid_from=stamp.start(None)))


def assign(
    old: tuple[Assignment, ...], target: str, valid_from: int | None, stamp: Stamp
) -> tuple[Assignment, ...]:
    """`old` with `target` assigned from `valid_from` (default: after the settle delay) on, by time.

    Nothing changes if `target` is the last assigned and no moment is asked for. Raises Conflict if another one is
    assigned from that very moment.
    """
    last = max(old, key=lambda each: each.valid_from, default=None)
    if valid_from is None and last is not None and last.id == target:
        return old
    start = stamp.start(valid_from)
    for each in old:
        if each.valid_from == start:
            if each.id == target:
                return old
            raise Conflict(f"{each.id} is assigned from that moment; assignments are not rewritten")
    return ordered((*old, Assignment(id=target, valid_from=start)))


def rated(old: tuple[PowerRating, ...], power_w: int | None, stamp: Stamp) -> tuple[PowerRating, ...]:
    """`old` with a connector's power from after the settle delay on; `old` itself if it is None or the last one."""
    last = max(old, key=lambda each: each.valid_from, default=None)
    if power_w is None or (last is not None and last.power_w == power_w):
        return old
    return (*old, PowerRating(power_w=power_w, valid_from=stamp.start(None)))


def ordered(assignments: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
    """`assignments` by time. Raises Conflict if two begin at one moment: readers could not tell which counts."""
    if len({each.valid_from for each in assignments}) < len(assignments):
        raise Conflict("two assignments begin at the same moment")
    return tuple(sorted(assignments, key=lambda each: each.valid_from))


def priced_from(assigned: Assignment, tariff: TariffRegistered, path: str) -> None:
    """Raises Conflict, at `path`, if the tariff has no version yet at the moment from which it is assigned."""
    first = tariff.versions[0].valid_from
    if assigned.valid_from < first:
        raise Conflict(
            f"the first version of tariff {tariff.tariff_id} begins at {iso(first)}: sessions that start before, from"
            f" {iso(assigned.valid_from)} on, would be charged nothing; assign it from {iso(first)} on,"
            " or a tariff that begins earlier",
            path,
        )


def reprice(
    old: tuple[TariffVersion, ...],
    currency: str,
    price_per_kwh_milli: int,
    valid_from: int | None,
    stamp: Stamp,
    *,
    terms: TariffTerms | None = None,
) -> tuple[TariffVersion, ...]:
    """`old` with one version more; as it is if price and terms stay and no moment is asked for.

    Versions are immutable, so the new one must begin after the last: raises Conflict otherwise.
    """
    last = old[-1] if old else None
    if last is not None:
        before = (last.currency, last.price_per_kwh_milli, last.terms)
        unchanged = before == (currency, price_per_kwh_milli, terms)
        if unchanged and valid_from in (None, last.valid_from):
            return old
        if stamp.start(valid_from) <= last.valid_from:
            raise Conflict(
                f"version {last.version} begins at or after that moment; versions are not rewritten"
            )
    version = TariffVersion(
        version=1 if last is None else last.version + 1,
        valid_from=stamp.start(valid_from),
        currency=currency,
        price_per_kwh_milli=price_per_kwh_milli,
        terms=terms,
    )
    return (*old, version)
