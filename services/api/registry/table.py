"""What operators configured: read from memory, written to the log, and read back before the answer."""

import asyncio
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Final, TypeVar, cast

from libs.bus.errors import BusUnavailableError
from libs.bus.tables import TableSet
from libs.events.ids import new_id
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    CredentialsRegistered,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TokenRegistered,
)
from libs.events.stations import CapabilitiesLearned
from libs.events.topics import (
    EDGE_CONNECTIONS,
    REGISTRY_CREDENTIALS,
    REGISTRY_SITES,
    REGISTRY_STATIONS,
    REGISTRY_TARIFFS,
    REGISTRY_TOKENS,
    STATIONS_CAPABILITIES,
)
from libs.ocpp.certificates import Owner
from libs.runtime.clock import SECOND, now_us
from services.api.domain.errors import Conflict, NotFound
from services.api.domain.index import References, SortedKeys
from services.api.domain.places import Places
from services.api.domain.profiles import Profiles
from services.api.domain.renewal import TOPICS, Stamp
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
        self.capabilities = cast(Mapping[str, CapabilitiesLearned], tables[STATIONS_CAPABILITIES])
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

    def owners(self, operator: str) -> Callable[[str], Owner]:
        """Whom certificates of a station (by id) name; `operator`: their organisation, "" for any.

        Looks at every entry once.
        """
        stations = self.stations
        named = {each.certificate_name.casefold() for each in stations.values() if each.certificate_name}
        others = _Names(stations, self.locations, named)

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
