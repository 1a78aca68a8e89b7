"""Load management's two folds: stations' EVSEs as observed, and sites' plans."""

from __future__ import annotations

from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.commands import CommandDialect, RequestCommand
from libs.events.ids import derive_id
from libs.events.load import EvseObserved, LoadPlanMade
from libs.events.registry import SiteRegistered
from libs.ocpp.semantics.commands import ClearLimit, SetLimit
from libs.ocpp.semantics.dialect import to_request
from services.load.domain.observer import LoadObserver, Station
from services.load.domain.site import (
    CALM,
    CHECK_EVERY,
    REPEAT_AFTER,
    Evse,
    Plan,
    Site,
    calm,
    cut_unused,
    lift_plan,
    make_plan,
    observe,
)

__all__ = ["LoadObserver", "LoadProcessor", "Site", "Station"]

PROFILE_ID_BASE = 1_000
"""An EVSE's charging profile has this plus its number as id: a new limit replaces the old one."""


class LoadProcessor(Processor[Site]):
    """Observations to plans and the commands that carry them out, keyed by site.

    A site without a limit gets neither. A changed limit counts from the next observation, or within half a
    minute while anything charges.
    """

    name = "load"
    inputs = ("load.observations",)
    outputs = ("load.plans", "commands.requested")
    tables = ("registry.sites",)
    state = Site

    def key(self, message: Message) -> str | None:
        """The site."""
        return message.key if isinstance(message.record, EvseObserved) else None

    def step(self, state: Site | None, event: Message | Tick, tables: Tables) -> Step[Site]:
        """Fold an observation, or look again at a tick; plan anew where that changes something."""
        if isinstance(event, Tick):
            if state is None:
                return Step(None)
            now, cause_id, at_once = event.at, derive_id(state.site_id, f"tick:{event.at}"), False
            looked = now >= state.checked_at + CHECK_EVERY
            site = replace(state, checked_at=now if looked else state.checked_at, waits_for_calm=False)
        else:
            assert isinstance(event.record, EvseObserved)
            observed = observe(state or Site(event.key), event.record)
            if observed is None:
                return Step(state)
            now, cause_id, at_once = event.record.recorded_at, event.record.event_id, observed.arrival_or_end
            site = observed.site
        site = cut_unused(site, now)
        limit_ma = _limit_of(site.site_id, tables)
        if limit_ma is None:
            lifted = lift_plan(site, now)
            return Step(site) if lifted is None else _carry_out(lifted, now, cause_id)
        plan = make_plan(site, limit_ma, now)
        if plan is None:
            return Step(site)
        if not (at_once or limit_ma != site.limit_ma or calm(site, now)):
            return Step(replace(site, waits_for_calm=True))
        return _carry_out(plan, now, cause_id)

    def due(self, state: Site) -> int | None:
        """The next periodic look, or a plan that was put off; nothing while nothing charges."""
        if not state.charging():
            return None
        look = state.checked_at + CHECK_EVERY
        return min(look, state.planned_at + CALM) if state.waits_for_calm else look


def _limit_of(site_id: str, tables: Tables) -> int | None:
    record = tables["registry.sites"].get(site_id)
    return record.limit_ma if isinstance(record, SiteRegistered) else None


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
    commands = [
        Emit("commands.requested", evse.station_id, _command(evse, site.limit_ma is None, made))
        for evse in plan.commanded
    ]
    return Step(site, (Emit("load.plans", site.site_id, made), *commands))


def _command(evse: Evse, lift: bool, plan: LoadPlanMade) -> RequestCommand:
    profile_id = PROFILE_ID_BASE + evse.evse_id
    action, payload = to_request(
        ClearLimit(evse_id=evse.evse_id, profile_id=profile_id)
        if lift
        else SetLimit(
            evse_id=evse.evse_id,
            transaction_id=evse.transaction_id,
            limit_milliamp=evse.share_ma or 0,
            profile_id=profile_id,
            stack_level=0,
            phases=evse.phases,
        )
    )
    return RequestCommand(
        event_id=derive_id(plan.event_id, f"limit:{evse.station_id}:{evse.evse_id}"),
        occurred_at=plan.recorded_at,
        recorded_at=plan.recorded_at,
        cause_id=plan.event_id,
        station_id=evse.station_id,
        action=action,
        payload=payload,
        dialect=CommandDialect.VOLTBUS,
        requested_by="load",
        expires_at=plan.recorded_at + REPEAT_AFTER,
        # A charger slower than the plans gets the newest limit, not all of them one after the other.
        replaces=f"limit:{evse.evse_id}",
    )
