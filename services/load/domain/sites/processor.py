"""What is observed at a site, and its limit, to plans and the commands that carry them out."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import grown
from libs.events.commands import CommandDialect, RequestCommand
from libs.events.ids import derive_id
from libs.events.load import EvseObserved, LoadPlanMade, StationObserved
from libs.events.registry import SiteRegistered
from libs.events.topics import (
    COMMANDS_REQUESTED,
    LOAD_OBSERVATIONS,
    LOAD_PLANS,
    LOAD_STATIONS,
    REGISTRY_SITES,
    REGISTRY_STATIONS,
)
from libs.ocpp.semantics.commands import ClearLimit, Command, SetDefaultLimit, SetLimit
from libs.ocpp.semantics.dialect import to_request
from libs.runtime.clock import SECOND
from services.load.domain.sites.newcomers import (
    DEFAULT_LIMIT_MA,
    Ask,
    Heard,
    Member,
    asked,
    hear,
    limit_changed,
    sign_of_life,
)
from services.load.domain.sites.site import (
    CALM,
    CHECK_EVERY,
    REPEAT_AFTER,
    Plan,
    Site,
    SiteEvse,
    calm,
    cut_unused,
    find_disobedient,
    lift_plan,
    make_plan,
    may_disobey,
    note_answer,
    obeys_by,
    observe,
)
from services.load.domain.stations.station import is_extra, registered_station

PROFILE_ID_BASE = 1_000
"""An EVSE's charging profile has this plus its number as id: a new limit replaces the old one. A station's default
limit, which is for all of its EVSEs, has this."""

DEFAULT_LIMIT_WAITS = 24 * 3600 * SECOND
"""How long a command about a default limit may wait for a station that is not connected."""


class LoadProcessor(Processor[Site]):
    """Observations and sites' limits to plans and the commands that carry them out, keyed by site.

    A site without a limit gets neither.
    """

    name = "load"
    inputs = (LOAD_OBSERVATIONS, LOAD_STATIONS, REGISTRY_SITES)
    tables = (REGISTRY_STATIONS,)
    outputs = (LOAD_PLANS, COMMANDS_REQUESTED)
    state = Site
    former_states = (grown("0.1.0", "182653b05846489d"),)
    unmarked_state = "182653b05846489d"
    max_state_bytes = 2 << 20

    def key(self, message: Message) -> str | None:
        """The site."""
        ours = message.topic == REGISTRY_SITES or isinstance(message.record, EvseObserved | StationObserved)
        return message.key if ours else None

    def step(self, state: Site | None, event: Message | Tick, tables: Tables) -> Step[Site]:
        """Fold an observation or a limit, or look again at a tick; plan anew where that changes something."""
        match event:
            case Tick(at=now) if state is not None:
                looked = now >= state.checked_at + CHECK_EVERY
                site = replace(state, checked_at=now if looked else state.checked_at, waits_for_calm=False)
                return _plan(site, now, derive_id(site.site_id, f"tick:{now}"), at_once=False)
            case Message(record=EvseObserved() as seen):
                return _evse_observed(state, seen, tables)
            case Message(record=StationObserved() as seen):
                return _station_observed(state, seen, tables)
            case Message(topic=topic, record=SiteRegistered() | None) if topic == REGISTRY_SITES:
                return _site_given(state, event, tables)
            case _:
                return Step(state)

    def due(self, state: Site) -> int | None:
        """The next periodic look, a plan that was put off, or the end of the time to obey; nothing while nothing
        charges."""
        if not state.busy:
            return None
        moments = [state.checked_at + CHECK_EVERY, *map(obeys_by, filter(may_disobey, state.evses))]
        if state.waits_for_calm:
            moments.append(state.planned_at + CALM)
        return min(moments)


def _evse_observed(state: Site | None, seen: EvseObserved, tables: Tables) -> Step[Site]:
    if seen.limit_command_id is not None:
        answered = note_answer(state, seen) if state is not None else None
        if answered is None:
            return Step(state)
        return _plan(answered, seen.recorded_at, seen.event_id, at_once=True)
    before = (state or Site(seen.site_id)).with_room(seen.station_id, seen.evse_id)
    if before is None:
        return Step(state, bounded=("evses",))
    registered = registered_station(seen.station_id, tables)
    observed = observe(before, seen, extra=is_extra(seen.evse_id, registered))
    if observed is None:
        return Step(state)
    site = observed.site
    member = site.member(seen.station_id)
    out: tuple[Emit, ...] = ()
    if observed.arrival_or_end and (ask := sign_of_life(member, site.limited)) is not None:
        site, out = _ask(site, (Heard(member, ask),), seen.recorded_at, seen.event_id, tables)
    planned = _plan(site, seen.recorded_at, seen.event_id, at_once=observed.arrival_or_end)
    return Step(planned.state, (*out, *planned.out))


def _station_observed(state: Site | None, seen: StationObserved, tables: Tables) -> Step[Site]:
    site = state or Site(seen.site_id)
    if not site.has_room_for(seen.station_id):
        return Step(state, bounded=("members",))
    heard = hear(site.member(seen.station_id), seen, site.limited)
    told, out = _ask(site, (heard,), seen.recorded_at, seen.event_id, tables)
    return Step(state) if told.members == site.members else Step(told, out)


def _site_given(state: Site | None, message: Message, tables: Tables) -> Step[Site]:
    """Operators entered or changed the site, or removed it."""
    record = message.record
    if isinstance(record, SiteRegistered):
        limit_ma, at, cause_id = record.limit_ma, record.recorded_at, record.event_id
    else:
        limit_ma, at = None, message.timestamp_us
        cause_id = derive_id(f"{message.topic}/{message.partition}", str(message.offset))
    site = state or Site(message.key)
    if limit_ma == site.given_limit_ma:
        return Step(state)
    changed = replace(site, given_limit_ma=limit_ma)
    out: tuple[Emit, ...] = ()
    if changed.limited != site.limited:
        heard = [limit_changed(member, changed.limited) for member in site.members]
        # Before the limits of transactions go, lest these fall to the default.
        changed, out = _ask(changed, heard, at, cause_id, tables)
    planned = _plan(changed, at, cause_id, at_once=True)
    return Step(planned.state, (*out, *planned.out))


def _ask(
    site: Site, heard: Iterable[Heard], at: int, cause_id: str, tables: Tables
) -> tuple[Site, tuple[Emit, ...]]:
    """Keep what was heard of members, and give the commands that follow from it."""
    members: list[Member] = []
    out: list[Emit] = []
    for each in heard:
        member, ask = each.member, each.ask
        if ask is not None:
            command = _request(
                derive_id(cause_id, f"default-limit:{member.station_id}"),
                member.station_id,
                SetDefaultLimit(
                    evse_id=0,
                    limit_milliamp=DEFAULT_LIMIT_MA,
                    profile_id=PROFILE_ID_BASE,
                    stack_level=0,
                    phases=registered_station(member.station_id, tables).phases,
                )
                if ask is Ask.HOLD
                else ClearLimit(profile_id=PROFILE_ID_BASE),
                at=at,
                cause_id=cause_id,
                waits=DEFAULT_LIMIT_WAITS,
                replaces="default-limit",
            )
            member = asked(member, ask, command.event_id)
            out.append(Emit(COMMANDS_REQUESTED, member.station_id, command))
        members.append(member)
    return site.with_members(members), tuple(out)


def _plan(site: Site, now: int, cause_id: str, *, at_once: bool) -> Step[Site]:
    """Share the limit anew if that changes something; measurements alone wait for calm."""
    site = cut_unused(find_disobedient(site, now), now)
    limit_ma = site.given_limit_ma
    if limit_ma is None:
        lifted = lift_plan(site, now)
        return Step(site) if lifted is None else _carry_out(lifted, now, cause_id)
    plan = make_plan(site, limit_ma, now)
    if plan is None:
        return Step(site)
    if not (at_once or calm(site, now)):
        return Step(replace(site, waits_for_calm=True))
    return _carry_out(plan, now, cause_id)


def _carry_out(plan: Plan, now: int, cause_id: str) -> Step[Site]:
    """The plan's record, then its commands in their order."""
    site = plan.site
    made = LoadPlanMade(
        event_id=derive_id(cause_id, "plan"),
        occurred_at=now,
        recorded_at=now,
        cause_id=cause_id,
        site_id=site.site_id,
        plan_no=site.plan_no,
        limit_ma=site.limit_ma,
        allocations=site.allocations,
        waiting=sum(allocation.current_ma == 0 for allocation in site.allocations),
    )
    lift = site.limit_ma is None
    commands = [_command(evse, lift, made) for evse in plan.commanded]
    if not lift:
        site = site.with_commands(
            {
                (evse.station_id, evse.evse_id): each.event_id
                for evse, each in zip(plan.commanded, commands, strict=True)
            }
        )
    out = [Emit(COMMANDS_REQUESTED, command.station_id, command) for command in commands]
    return Step(site, (Emit(LOAD_PLANS, site.site_id, made), *out))


def _command(evse: SiteEvse, lift: bool, plan: LoadPlanMade) -> RequestCommand:
    profile_id = PROFILE_ID_BASE + evse.evse_id
    return _request(
        derive_id(plan.event_id, f"limit:{evse.station_id}:{evse.evse_id}"),
        evse.station_id,
        ClearLimit(evse_id=evse.evse_id, profile_id=profile_id)
        if lift
        else SetLimit(
            evse_id=evse.evse_id,
            transaction_id=evse.transaction_id,
            limit_milliamp=evse.share_ma or 0,
            profile_id=profile_id,
            stack_level=0,
            phases=evse.phases,
        ),
        at=plan.recorded_at,
        cause_id=plan.event_id,
        waits=REPEAT_AFTER,
        replaces=f"limit:{evse.evse_id}",
    )


def _request(
    command_id: str,
    station_id: str,
    command: Command,
    *,
    at: int,
    cause_id: str,
    waits: int,
    replaces: str,
) -> RequestCommand:
    action, payload = to_request(command)
    return RequestCommand(
        event_id=command_id,
        occurred_at=at,
        recorded_at=at,
        cause_id=cause_id,
        station_id=station_id,
        action=action,
        payload=payload,
        dialect=CommandDialect.VOLTBUS,
        requested_by="load",
        expires_at=at + waits,
        # A charger slower than the plans gets the newest limit, not all of them one after the other.
        replaces=replaces,
    )
