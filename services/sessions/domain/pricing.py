"""Which tariff applies to a session, and what it makes of what was used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from libs.bus.processor import Tables
from libs.events.record import Record
from libs.events.registry import SiteRegistered, StationRegistered, TariffRegistered, TokenRegistered
from libs.events.tariffs import billable
from libs.events.topics import REGISTRY_SITES, REGISTRY_STATIONS, REGISTRY_TARIFFS, REGISTRY_TOKENS
from libs.ocpp.semantics.received_calls import zone_named
from libs.tariffs.engine import NO_CONTRACT, DriverContract, bill, plan_of, terms_of
from libs.tariffs.months import month_at, month_text
from libs.tariffs.usage import Usage
from services.sessions.domain.charge import Charge, UnderPlan
from services.sessions.domain.session import Session


class _Dated(Protocol):
    @property
    def valid_from(self) -> int: ...


_D = TypeVar("_D", bound=_Dated)


def as_of(at: int, dated: Iterable[_D]) -> _D | None:
    """The one that was valid at `at`: the latest that is not later; None if all are."""
    best: _D | None = None
    for each in dated:
        if each.valid_from <= at and (best is None or each.valid_from >= best.valid_from):
            best = each
    return best


def site_of(station_id: str, at: int, tables: Tables) -> str | None:
    """The site that the station belonged to at `at`."""
    station = _lookup(tables, REGISTRY_STATIONS, station_id)
    assigned = as_of(at, station.sites) if isinstance(station, StationRegistered) else None
    return None if assigned is None else assigned.id


def most_w_of(station_id: str, at: int, tables: Tables) -> int | None:
    """What one of the station's connectors could deliver at `at`; None if operators have not said."""
    station = _lookup(tables, REGISTRY_STATIONS, station_id)
    rating = as_of(at, station.power_ratings) if isinstance(station, StationRegistered) else None
    return None if rating is None else rating.power_w


def group_of(id_token: str | None, at: int, tables: Tables) -> str | None:
    """The driver group that a token belonged to at `at`, whatever its status."""
    token = None if id_token is None else _lookup(tables, REGISTRY_TOKENS, id_token.casefold())
    if not isinstance(token, TokenRegistered):
        return None
    if not token.groups:
        return token.group_id
    member = as_of(at, token.groups)
    return None if member is None else member.group_id


def placed(station_id: str, session: Session, tables: Tables, token_before: str | None = None) -> Session:
    """`session` with what held when it began: its site, that one's clock, its connector's power, its driver's group.

    A station or token that was removed since says nothing: what the session has of it stays. `token_before`: the one
    that its group is of.
    """
    begun, id_token = session.begun_at, session.id_token
    site_id, most_w, group_id = session.site_id, session.most_w, session.group_id
    if _lookup(tables, REGISTRY_STATIONS, station_id) is not None:
        site_id, most_w = site_of(station_id, begun, tables), most_w_of(station_id, begun, tables)
    # What is registered of a site's clock has no date: the clock that was found first stays.
    kept = session.timezone if site_id == session.site_id else None
    key = "" if id_token is None else id_token.casefold()
    if key != (token_before or "").casefold() or _lookup(tables, REGISTRY_TOKENS, key) is not None:
        group_id = group_of(id_token, begun, tables)
    return msgspec.structs.replace(
        session,
        site_id=site_id,
        timezone=kept or timezone_of(site_id, tables),
        most_w=most_w,
        group_id=group_id,
    )


def timezone_of(site_id: str | None, tables: Tables) -> str | None:
    """IANA name of the clock of a site, UTC if it has none that is known; None if the site is not registered."""
    site = None if site_id is None else _lookup(tables, REGISTRY_SITES, site_id)
    return getattr(zone_named(site.timezone), "key", "UTC") if isinstance(site, SiteRegistered) else None


def charge(
    site_id: str | None,
    at: int,
    usage: Usage,
    tables: Tables,
    contract: DriverContract = NO_CONTRACT,
    *,
    timezone: str | None = None,
) -> Charge | None:
    """What `usage` costs at a site, by the version that was valid at `at`, its begin; None if no tariff was.

    None also for a version that prices what is not known here.

    By the clock of `timezone`, or of the site as it is registered now.
    """
    site = None if site_id is None else _lookup(tables, REGISTRY_SITES, site_id)
    if not isinstance(site, SiteRegistered):
        return None
    assigned = as_of(at, site.tariffs)
    tariff = None if assigned is None else _lookup(tables, REGISTRY_TARIFFS, assigned.id)
    version = as_of(at, tariff.versions) if isinstance(tariff, TariffRegistered) else None
    if assigned is None or version is None or not billable(terms_of(version)):
        return None
    zone = timezone or timezone_of(site_id, tables) or "UTC"
    under = None
    if contract.group_id is not None:
        plan = plan_of(version, contract.group_id)
        if plan is not None and (plan.prepaid_wh or plan.monthly_fee_minor):
            under = UnderPlan(plan.group_id, plan.prepaid_wh, month_text(month_at(at, zone)), zone)
    billed = bill(usage, version, zone, contract=contract)
    return Charge(assigned.id, version.version, version.currency, billed, under)


def _lookup(tables: Tables, topic: str, key: str) -> Record | None:
    table: Mapping[str, Record] = tables.get(topic, {})
    return table.get(key)
