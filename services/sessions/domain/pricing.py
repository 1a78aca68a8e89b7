"""The flat tariff per kWh: which one applies, and what it makes of a session's energy. Integers only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from libs.bus.processor import Tables
from libs.events.record import Record
from libs.events.registry import SiteRegistered, StationRegistered, TariffRegistered, TariffVersion

STATIONS: Final = "registry.stations"
SITES: Final = "registry.sites"
TARIFFS: Final = "registry.tariffs"

_VOLT: Final = 230
_WH_MILLI_PER_MINOR: Final = 1_000_000


class Price(msgspec.Struct, frozen=True):
    """The tariff version that applies. `price_per_kwh_milli`: thousandths of a minor currency unit per kWh."""

    tariff_id: str
    version: int
    currency: str
    price_per_kwh_milli: int


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


def most_w_of(station_id: str, tables: Tables) -> int | None:
    """What one of the station's connectors can deliver, by its registered current; None if it is not registered."""
    station = _lookup(tables, STATIONS, station_id)
    if not isinstance(station, StationRegistered):
        return None
    return station.max_current_ma * station.phases * _VOLT // 1000


def price_of(site_id: str | None, at: int, tables: Tables) -> Price | None:
    """The price at a site at `at`; None if no tariff applied."""
    site = None if site_id is None else _lookup(tables, SITES, site_id)
    assigned = as_of(at, site.tariffs) if isinstance(site, SiteRegistered) else None
    tariff = None if assigned is None else _lookup(tables, TARIFFS, assigned.id)
    if not isinstance(tariff, TariffRegistered):
        return None
    version: TariffVersion | None = as_of(at, tariff.versions)
    if version is None:
        return None
    return Price(tariff.tariff_id, version.version, version.currency, version.price_per_kwh_milli)


def amount_minor(energy_wh: int, price_per_kwh_milli: int) -> int:
    """What the energy costs in minor currency units, rounded half to even."""
    whole, rest = divmod(energy_wh * price_per_kwh_milli, _WH_MILLI_PER_MINOR)
    half = 2 * rest - _WH_MILLI_PER_MINOR
    return whole + (1 if half > 0 or (half == 0 and whole & 1) else 0)


def _lookup(tables: Tables, topic: str, key: str) -> Record | None:
    table: Mapping[str, Record] = tables.get(topic, {})
    return table.get(key)
