"""What operators configured: read from memory, written to the log, and read back before the answer."""

import asyncio
import copy
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Final, Self, TypeVar, cast

from libs.bus.errors import BusUnavailableError
from libs.bus.tables import TableSet
from libs.events.ids import new_id
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    CredentialsRegistered,
    OrganisationDefined,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TokenRegistered,
)
from libs.events.stations import CapabilitiesLearned
from libs.events.topics import (
    EDGE_CONNECTIONS,
    REGISTRY_CREDENTIALS,
    REGISTRY_ORGANISATIONS,
    REGISTRY_SITES,
    REGISTRY_STATIONS,
    REGISTRY_TARIFFS,
    REGISTRY_TOKENS,
    STATIONS_CAPABILITIES,
)
from libs.ocpp.certificates import Owner
from libs.runtime.clock import SECOND, now_us
from services.api.domain.dated import in_force
from services.api.domain.errors import Conflict, NotFound
from services.api.domain.index import References, SortedKeys
from services.api.domain.places import Places
from services.api.domain.profiles import Profiles
from services.api.domain.renewal import TOPICS, Stamp
from services.api.domain.scope import Scope, Within
from services.api.http.problems import Unavailable
from services.api.registry.changes import Changes, Decide

TABLES = (*TOPICS, EDGE_CONNECTIONS, STATIONS_CAPABILITIES)

T = TypeVar("T")

_REMOVED: Final = 10_000
_CATCH_UP_S: Final = 5.0


class Registry:
    """The registry's tables (by folded id), and changes to them. `tables` holds TABLES.

    `least_profile`: the OCPP security profile below which a station needs an exemption.
    `keys`: those of each table. `stations_by_site`, `sites_by_tariff`: which have it among their assignments of any
    time; `places`: which are there now; `tokens_by_group`: which are in it now.
    `removed_tokens`: the last ones that were removed, and when that was read (microseconds).
    `whole`: the registry with the entries of all organisations, of which a request may get a part.
    """

    def __init__(self, tables: TableSet, changes: Changes, settle_s: float, least_profile: int) -> None:
        self.least_profile = least_profile
        self.profiles = Profiles(least_profile)
        self.places = Places(now_us)
        self.stations = cast(Mapping[str, StationRegistered], tables[REGISTRY_STATIONS])
        self.credentials = cast(Mapping[str, CredentialsRegistered], tables[REGISTRY_CREDENTIALS])
        self.sites = cast(Mapping[str, SiteRegistered], tables[REGISTRY_SITES])
        self.tokens = cast(Mapping[str, TokenRegistered], tables[REGISTRY_TOKENS])
        self.tariffs = cast(Mapping[str, TariffRegistered], tables[REGISTRY_TARIFFS])
        self.locations = cast(Mapping[str, StationLocated], tables[EDGE_CONNECTIONS])
        self.organisations = cast(Mapping[str, OrganisationDefined], tables[REGISTRY_ORGANISATIONS])
        self.capabilities = cast(Mapping[str, CapabilitiesLearned], tables[STATIONS_CAPABILITIES])
        self.whole: Registry = self
        self._tables = tables
        self._changes = changes
        self._settle = int(settle_s * SECOND)
        self.keys = {topic: SortedKeys() for topic in TABLES}
        self.stations_by_site = References()
        self.sites_by_tariff = References()
        self.tokens_by_group = References()
        self.removed_tokens: dict[str, int] = {}
        for topic in TABLES:
            tables.on_change(topic, partial(self._note, topic))

    def within(self, scope: Scope) -> Self:
        """The registry as far as `scope` reaches: entries of others are not in its tables. Indexes are of all."""
        part = copy.copy(self)
        if not scope.all_tokens:
            part.tokens = Within(self.tokens, lambda _, entry: scope.sees_tokens(entry.organisation_id))
        if not scope.everywhere:
            part.stations = Within(self.stations, lambda key, _: scope.sees_station(key))
            part.credentials = Within(self.credentials, lambda key, _: scope.sees_station(key))
            part.locations = Within(self.locations, lambda key, _: scope.sees_station(key))
            part.capabilities = Within(self.capabilities, lambda key, _: scope.sees_station(key))
            part.sites = Within(self.sites, lambda _, entry: scope.sees(entry.organisation_id))
            part.tariffs = Within(self.tariffs, lambda _, entry: scope.sees(entry.organisation_id))
            part.organisations = Within(self.organisations, lambda key, _: scope.sees(key))
        return part

    def of_station(self, station_id: str) -> str:
        """The organisation of the site where the station is now; its own if it is at none; "" for none."""
        station = self.whole.stations.get(station_id)
        return "" if station is None else self.organisation_of(station)

    def organisation_of(self, station: StationRegistered) -> str:
        """The same for an entry, which may not be in the table."""
        site_id = in_force(station.sites, now_us())
        return station.organisation_id if site_id is None else self.of_site(site_id)

    def of_site(self, site_id: str) -> str:
        """The site's organisation; "" for none."""
        site = self.whole.sites.get(site_id)
        return "" if site is None else site.organisation_id

    def of_tariff(self, tariff_id: str) -> str:
        """The tariff's organisation; "" for none."""
        tariff = self.whole.tariffs.get(tariff_id)
        return "" if tariff is None else tariff.organisation_id

    def of_token(self, id_token: str) -> str:
        """The token's organisation; "" for none."""
        token = self.whole.tokens.get(id_token)
        return "" if token is None else token.organisation_id

    def owners(self, operator: str) -> Callable[[str], Owner]:
        """Whom certificates of a station (by id) name; `operator`: their organisation, "" for any.

        Looks at every entry once.
        """
        stations = self.whole.stations
        named = {each.certificate_name.casefold() for each in stations.values() if each.certificate_name}
        others = _Names(stations, self.whole.locations, named)

        def owner(station_id: str) -> Owner:
            entry = stations.get(station_id)
            return Owner(station_id, (entry and entry.certificate_name) or station_id, operator, others)

        return owner

    def stamp(self, author: str) -> Stamp:
        """Identity and moment of a new record, which `author` has made."""
        return Stamp(new_id(), now_us(), self._settle, author)

    async def surely(self, decide: Callable[[], T]) -> T:
        """What `decide` makes of the tables. It refuses only by all that was committed before this call.

        A station is answered once its connection is committed, so nobody knows it sooner than a caller of this. Raises
        what `decide` raises, and Unavailable if it would refuse and nobody can tell whether the tables are complete.
        """
        try:
            return decide()
        except (NotFound, Conflict):
            try:
                async with asyncio.timeout(_CATCH_UP_S):
                    await self._tables.catch_up()
            except (BusUnavailableError, TimeoutError) as error:
                raise Unavailable("Kafka does not tell now what there is: repeat later") from error
        return decide()

    async def change(self, topic: str, key: str, decide: Decide) -> None:
        """Change the entry `key` of `topic`, and what else has that key: see `Changes.make`."""
        await self._changes.make(topic, key, decide)

    def _note(self, topic: str, key: str, record: Record | None) -> None:
        if record is None:
            self.keys[topic].discard(key)
        else:
            self.keys[topic].add(key)
        if topic == EDGE_CONNECTIONS:
            located = record if isinstance(record, StationLocated) else None
            self.profiles.locate(key, located)
            self.places.locate(key, connected=located is not None and located.connected)
        elif topic == REGISTRY_STATIONS:
            station = record if isinstance(record, StationRegistered) else None
            sites = None if station is None else station.sites
            self.profiles.register(key, station)
            self.places.register(key, sites)
            self.stations_by_site.put(key, _ids(sites or ()))
        elif topic == REGISTRY_SITES:
            self.sites_by_tariff.put(key, _ids(record.tariffs) if isinstance(record, SiteRegistered) else ())
        elif topic == REGISTRY_TOKENS:
            group = record.group_id if isinstance(record, TokenRegistered) else None
            self.tokens_by_group.put(key, () if group is None else (group,))
            self._note_removal(key, record)

    def _note_removal(self, id_token: str, record: Record | None) -> None:
        self.removed_tokens.pop(id_token, None)
        if record is None:
            self.removed_tokens[id_token] = now_us()
            if len(self.removed_tokens) > _REMOVED:
                del self.removed_tokens[next(iter(self.removed_tokens))]


class _Names(Container[str]):
    """What is in any of these."""

    def __init__(self, *kinds: Container[str]) -> None:
        self._kinds = kinds

    def __contains__(self, name: object) -> bool:
        return any(name in kind for kind in self._kinds)


def _ids(assignments: tuple[Assignment, ...]) -> frozenset[str]:
    return frozenset(each.id for each in assignments)
