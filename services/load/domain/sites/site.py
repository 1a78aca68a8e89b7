"""A site's charging EVSEs and the plan by which its limit is shared.

The plan is a target: a charger draws its old current until it got its command. Decreases are therefore emitted
before increases; as commands of different stations travel independently, the sum may exceed the limit for the
moment that a command takes.

A limit counts per phase. On which phase a single-phase EVSE hangs is not known, so it counts on all three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from libs.events.load import Allocation, EvseObserved
from libs.runtime.clock import SECOND
from services.load.domain.sites.allocation import MIN_SHARE_MA, STEP_MA, share
from services.load.domain.sites.newcomers import Member

CHECK_EVERY = 30 * SECOND
"""While anything charges: how often unused shares and commands without effect are looked for."""

CALM = 10 * SECOND
"""Least time between two plans, unless an EVSE started or ended or the limit changed."""

UNUSED_AFTER = 60 * SECOND
"""A share that was well above the measured current for so long is cut to what is used."""

UNUSED_MA = 3_000
HEADROOM_MA = 2_000
NEARLY_MA = 1_000
"""Cut if the current is 3 A below the share, to 2 A above it; given back once within 1 A of the share."""

REPEAT_AFTER = 120 * SECOND
"""Commands expire after this; one that had no effect by then is given again."""

OBEYS_WITHIN = 30 * SECOND
"""An EVSE that draws more than its share for longer counts with what it draws, until it is seen to keep to it."""

ASK_AGAIN: Final = 900 * SECOND
"""One that refused its limit and measures nothing is told again after so long, if its share stays the same."""

MOST_EVSES: Final = 1_000
"""EVSEs of a site, and its stations, that are kept; what starts or comes beyond has no part in its plans."""


class SiteEvse(msgspec.Struct, frozen=True):
    """An EVSE of the site. `transaction_id` None: it does not charge. `share_ma` None: nothing commanded yet.

    `cap_ma`: what it was seen to use, with headroom. `unused_since`: when its share became well more than that.
    `extra`: its station is registered with fewer EVSEs; it gets what the others leave. `disobeys`: it was measured
    above its share after it had been told, and not within it since. `command_id`: of the limit that it was told last.
    `again_at`: it did not take one, and has neither taken one nor measured anything since: when it is told again.
    """

    station_id: str
    evse_id: int
    transaction_id: str | None = None
    ended_transaction_id: str | None = None
    changed_at: int = 0
    max_ma: int = 0
    phases: int = 3
    measured_ma: int | None = None
    measured_at: int = 0
    share_ma: int | None = None
    commanded_at: int = 0
    cap_ma: int | None = None
    unused_since: int | None = None
    extra: bool = False
    disobeys: bool = False
    command_id: str = ""
    again_at: int | None = None

    @property
    def usable_ma(self) -> int:
        """The most that it can use as far as is known."""
        return self.max_ma if self.cap_ma is None else min(self.max_ma, self.cap_ma)

    @property
    def ignores_share(self) -> bool:
        """Whether it draws more than it was given."""
        drawn, given = self.measured_ma, self.share_ma
        return drawn is not None and given is not None and drawn > given + NEARLY_MA

    @property
    def unheard(self) -> bool:
        """Whether it takes no limit and measures nothing: it may draw all that it can give."""
        return self.again_at is not None and self.measured_ma is None

    def counted_ma(self, given: int) -> int:
        """What it counts with if it is given so much: 0 for as much, else what it draws, as far as it can give that.

        Where nobody can tell what it draws, that is what it can give. One that its station should not have takes
        nothing from the others.
        """
        drawn = self.max_ma if self.unheard else min(self.measured_ma or 0, self.max_ma)
        beyond = (self.disobeys or self.unheard) and not self.extra and drawn > given + NEARLY_MA
        return drawn if beyond else 0

    def is_told_again(self, given: int, now: int) -> bool:
        """Whether it is to be told the same again, since the last time had no effect, as far as is known."""
        if self.again_at is not None and self.unheard:
            return self.again_at <= now and self.counted_ma(given) > 0
        return self.ignores_share and self.commanded_at + REPEAT_AFTER <= now


class Site(msgspec.Struct, frozen=True):
    """What is known of a site. `limit_ma` and `allocations` are those of the plan in force.

    `given_limit_ma`: the limit that operators gave it last; None for none. `members`: its stations.

    `checked_at`: when the periodic look was taken last. `waits_for_calm`: a change is put off.
    """

    site_id: str
    evses: tuple[SiteEvse, ...] = ()
    plan_no: int = 0
    limit_ma: int | None = None
    allocations: tuple[Allocation, ...] = ()
    planned_at: int = 0
    checked_at: int = 0
    waits_for_calm: bool = False
    given_limit_ma: int | None = None
    members: tuple[Member, ...] = ()

    @property
    def limited(self) -> bool:
        """Whether operators gave it a limit."""
        return self.given_limit_ma is not None

    def member(self, station_id: str) -> Member:
        """The station as a member; nothing is known of a new one."""
        known = (member for member in self.members if member.station_id == station_id)
        return next(known, Member(station_id))

    def with_members(self, changed: Iterable[Member]) -> Site:
        """This site with some members changed; without those that are over."""
        members = {member.station_id: member for member in (*self.members, *changed)}
        kept = [members[station_id] for station_id in sorted(members) if not members[station_id].over]
        return replace(self, members=tuple(kept))

    def has_room_for(self, station_id: str) -> bool:
        """Whether the station can be a member."""
        return len(self.members) < MOST_EVSES or any(m.station_id == station_id for m in self.members)

    def with_room(self, station_id: str, evse_id: int) -> Site | None:
        """This site with room for that EVSE: the one that is idle for longest makes it. None if all of them charge."""
        name = (station_id, evse_id)
        if len(self.evses) < MOST_EVSES or any((e.station_id, e.evse_id) == name for e in self.evses):
            return self
        idle = [evse for evse in self.evses if evse.transaction_id is None]
        if not idle:
            return None
        gone = min(idle, key=lambda evse: evse.changed_at)
        return replace(self, evses=tuple(evse for evse in self.evses if evse is not gone))

    @property
    def busy(self) -> bool:
        """Whether anything charges."""
        return any(evse.transaction_id is not None for evse in self.evses)

    def charging(self) -> list[SiteEvse]:
        """The EVSEs that charge, in order of arrival, those that are `extra` last."""
        busy = [evse for evse in self.evses if evse.transaction_id is not None]
        return sorted(busy, key=lambda evse: (evse.extra, evse.changed_at, evse.station_id, evse.evse_id))

    def with_evses(self, changed: Iterable[SiteEvse]) -> Site:
        """This site with some EVSEs changed."""
        evses = {(evse.station_id, evse.evse_id): evse for evse in (*self.evses, *changed)}
        return replace(self, evses=tuple(evses[name] for name in sorted(evses)))

    def with_commands(self, ids: Mapping[tuple[str, int], str]) -> Site:
        """This site with the ids of the commands that EVSEs (station and number) were given last."""
        told = [
            replace(evse, command_id=ids[evse.station_id, evse.evse_id])
            for evse in self.evses
            if (evse.station_id, evse.evse_id) in ids
        ]
        return self.with_evses(told)


class Observed(msgspec.Struct, frozen=True):
    """What an observation did: the site afterwards, and whether an EVSE started or ended."""

    site: Site
    arrival_or_end: bool


def observe(site: Site, seen: EvseObserved, *, extra: bool = False) -> Observed | None:
    """Fold an observation; None if it says nothing new (repeated, or of a transaction that is over)."""
    name = (seen.station_id, seen.evse_id)
    evse = next((each for each in site.evses if (each.station_id, each.evse_id) == name), SiteEvse(*name))
    if not seen.charging:
        if evse.transaction_id is None or seen.transaction_id != evse.transaction_id:
            return None
        over = SiteEvse(*name, ended_transaction_id=evse.transaction_id, changed_at=seen.recorded_at)
        return Observed(site.with_evses([over]), True)
    if seen.transaction_id is None or (
        seen.transaction_id == evse.ended_transaction_id and not seen.reopened
    ):
        return None
    if seen.transaction_id == evse.transaction_id:
        return _measure(site, evse, seen)
    if seen.recorded_at < evse.changed_at:
        return None
    if not site.busy:
        site = replace(site, checked_at=seen.recorded_at)
    before = evse.transaction_id or evse.ended_transaction_id
    arrived = SiteEvse(
        *name,
        transaction_id=seen.transaction_id,
        ended_transaction_id=None if before == seen.transaction_id else before,
        changed_at=seen.recorded_at,
        max_ma=seen.max_current_ma,
        phases=seen.phases,
        measured_ma=seen.current_ma,
        measured_at=seen.recorded_at,
        extra=extra,
    )
    return Observed(site.with_evses([arrived]), True)


def _measure(site: Site, evse: SiteEvse, seen: EvseObserved) -> Observed | None:
    if seen.current_ma is None or seen.recorded_at < evse.measured_at:
        return None
    nearly = evse.share_ma is not None and seen.current_ma > evse.share_ma - NEARLY_MA
    measured = replace(
        evse,
        max_ma=seen.max_current_ma,
        phases=seen.phases,
        measured_ma=seen.current_ma,
        measured_at=seen.recorded_at,
        cap_ma=None if nearly else evse.cap_ma,
        again_at=None,
    )
    measured = replace(measured, disobeys=evse.disobeys and measured.ignores_share)
    return Observed(site.with_evses([_note_unused(measured, seen.recorded_at)]), False)


def note_answer(site: Site, seen: EvseObserved) -> Site | None:
    """Take in what became of a limit; None if it is not the last one of an EVSE that charges, or that is known."""
    told = (seen.station_id, seen.evse_id, seen.transaction_id, seen.limit_command_id)
    known = ((e.station_id, e.evse_id, e.transaction_id, e.command_id) for e in site.evses)
    evse = next((evse for evse, each in zip(site.evses, known, strict=True) if each == told), None)
    if evse is None or evse.share_ma is None:
        return None
    again_at = None
    if not seen.limit_taken:
        again_at = seen.recorded_at + (REPEAT_AFTER if seen.limit_taken is None else ASK_AGAIN)
    return None if again_at == evse.again_at else site.with_evses([replace(evse, again_at=again_at)])


def _note_unused(evse: SiteEvse, now: int) -> SiteEvse:
    """Set or unset since when the EVSE leaves much of its share unused."""
    given, drawn = evse.share_ma, evse.measured_ma
    unused = given is not None and drawn is not None and given > MIN_SHARE_MA and drawn < given - UNUSED_MA
    if unused == (evse.unused_since is not None):
        return evse
    return replace(evse, unused_since=now if unused else None)


def may_disobey(evse: SiteEvse) -> bool:
    """Whether it was measured above its share after it was told of it, and has not been found to disobey yet."""
    return evse.ignores_share and not evse.disobeys and evse.commanded_at < evse.measured_at


def obeys_by(evse: SiteEvse) -> int:
    """Until when it has the time to obey what it was told last."""
    return evse.commanded_at + OBEYS_WITHIN


def find_disobedient(site: Site, now: int) -> Site:
    """Mark the EVSEs that have had the time to obey and do not."""
    found = [evse for evse in site.evses if may_disobey(evse) and obeys_by(evse) <= now]
    return site.with_evses(replace(evse, disobeys=True) for evse in found) if found else site


def cut_unused(site: Site, now: int) -> Site:
    """Cap the EVSEs that have left much of their share unused for long enough."""
    capped = []
    for evse in site.evses:
        since, drawn = evse.unused_since, evse.measured_ma
        if since is not None and drawn is not None and since + UNUSED_AFTER <= now:
            cap = max(MIN_SHARE_MA, -(-(drawn + HEADROOM_MA) // STEP_MA) * STEP_MA)
            capped.append(replace(evse, cap_ma=cap, unused_since=None))
    return site.with_evses(capped) if capped else site


class Plan(msgspec.Struct, frozen=True):
    """A new plan: the site with it in force, and the EVSEs to be commanded, decreases first."""

    site: Site
    commanded: tuple[SiteEvse, ...]


def make_plan(site: Site, limit_ma: int, now: int) -> Plan | None:
    """Share the limit anew; None if that changes nothing and every command seems to have had its effect."""
    charging = site.charging()
    if not charging and not site.allocations:
        return None
    shares, counted = _shares(limit_ma, charging)
    allocations = tuple(
        Allocation(
            station_id=evse.station_id,
            evse_id=evse.evse_id,
            transaction_id=evse.transaction_id or "",
            current_ma=given,
            drawn_ma=drawn,
        )
        for evse, given, drawn in zip(charging, shares, counted, strict=True)
    )
    commanded = [
        (evse, given)
        for evse, given in zip(charging, shares, strict=True)
        if evse.share_ma != given or evse.is_told_again(given, now)
    ]
    if (limit_ma, allocations) == (site.limit_ma, site.allocations) and not commanded:
        return None
    # An EVSE without a share yet may draw its maximum: whatever it is given is no increase.
    commanded.sort(
        key=lambda pair: pair[1] > (pair[0].max_ma if pair[0].share_ma is None else pair[0].share_ma)
    )
    told = [
        replace(
            evse,
            share_ma=given,
            commanded_at=now,
            disobeys=evse.disobeys and evse.counted_ma(given) > 0,
            again_at=None if evse.again_at is None else max(evse.again_at, now + REPEAT_AFTER),
        )
        for evse, given in commanded
    ]
    site = replace(
        site.with_evses(_note_unused(evse, now) for evse in told),
        plan_no=site.plan_no + 1,
        limit_ma=limit_ma,
        allocations=allocations,
        planned_at=now,
        waits_for_calm=False,
    )
    return Plan(site, tuple(told))


def _shares(limit_ma: int, charging: list[SiteEvse]) -> tuple[list[int], list[int]]:
    """Shares of EVSEs in order of arrival, and what those that disobey are counted with (0: the share).

    These are told the share that they would have, and the others share what they leave.
    """
    fair = _fair(limit_ma, charging)
    counted = [evse.counted_ma(given) for evse, given in zip(charging, fair, strict=True)]
    if not any(counted):
        return fair, counted
    obedient = [evse for evse, drawn in zip(charging, counted, strict=True) if not drawn]
    left = iter(_fair(limit_ma - sum(counted), obedient))
    return [given if drawn else next(left) for given, drawn in zip(fair, counted, strict=True)], counted


def _fair(limit_ma: int, charging: list[SiteEvse]) -> list[int]:
    shares = share(limit_ma, [evse.usable_ma for evse in charging if not evse.extra])
    return shares + share(limit_ma - sum(shares), [evse.usable_ma for evse in charging if evse.extra])


def calm(site: Site, now: int) -> bool:
    """Whether the last plan is old enough for another."""
    return now >= site.planned_at + CALM


def lift_plan(site: Site, now: int) -> Plan | None:
    """The site has no limit (any more): free the EVSEs that were limited. None if none is."""
    if site.limit_ma is None:
        return None
    freed = tuple(evse for evse in site.charging() if evse.share_ma is not None)
    site = site.with_evses(
        replace(evse, share_ma=None, cap_ma=None, unused_since=None, disobeys=False, again_at=None)
        for evse in freed
    )
    plan_no = site.plan_no + 1
    return Plan(replace(site, plan_no=plan_no, limit_ma=None, allocations=(), planned_at=now), freed)
