"""Which tariff applies to a session, and what it makes of what was used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from libs.bus.processor import Tables
from libs.events.record import Record
from libs.events.registry import SiteRegistered, StationRegistered, TariffRegistered
from libs.ocpp.semantics.exchange import zone_named
from libs.tariffs.bill import Bill
from libs.tariffs.engine import bill
from libs.tariffs.usage import Usage

STATIONS: Final = "registry.stations"
SITES: Final = "registry.sites"
TARIFFS: Final = "registry.tariffs"
TOKENS: Final = "registry.tokens"


class Charge(msgspec.Struct, frozen=True):
    """The tariff version that applies, and the bill by it."""

    tariff_id: str
    version: int
    currency: str
    bill: Bill


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
    station = _lookup(tables, STATIONS, station_id)
    assigned = as_of(at, station.sites) if isinstance(station, StationRegistered) else None
    return None if assigned is None else assigned.id


def most_w_of(station_id: str, at: int, tables: Tables) -> int | None:
    """What one of the station's connectors could deliver at `at`; None if operators have not said."""
    station = _lookup(tables, STATIONS, station_id)
    rating = as_of(at, station.power_ratings) if isinstance(station, StationRegistered) else None
    return None if rating is None else rating.power_w


def charge(site_id: str | None, at: int, usage: Usage, tables: Tables) -> Charge | None:
    """What `usage` costs at a site, by the version that was valid at `at`, its begin; None if no tariff was."""
    site = None if site_id is None else _lookup(tables, SITES, site_id)
    if not isinstance(site, SiteRegistered):
        return None
    assigned = as_of(at, site.tariffs)
    tariff = None if assigned is None else _lookup(tables, TARIFFS, assigned.id)
    version = as_of(at, tariff.versions) if isinstance(tariff, TariffRegistered) else None
    if assigned is None or version is None:
        return None
    zone = getattr(zone_named(site.timezone), "key", "UTC")
    return Charge(assigned.id, version.version, version.currency, bill(usage, version, zone))


def _lookup(tables: Tables, topic: str, key: str) -> Record | None:
    table: Mapping[str, Record] = tables.get(topic, {})
    return table.get(key)
