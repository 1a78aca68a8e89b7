"""What one principal reaches: what belongs to organisations in which a grant permits it, and nothing else.

What is out of reach is treated as if it did not exist. Handlers get tables, live state and a reader that hold only
what is in reach, so that they need not ask; `Scope` answers what is left to ask.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

from libs.access.principal import Principal
from libs.access.roles import Permission
from services.api.domain.errors import Forbidden

V = TypeVar("V")

OF_ORGANISATIONS: Final = (
    "station_id IN (SELECT station_id FROM organisation_stations WHERE organisation_id IN %(organisations)s)"
)
"""The condition on rows of ClickHouse; `organisations` is filled in by the reader of the request."""
EVERYTHING: Final = "1"
_NOWHERE: Final = ("*",)


class Belongings(Protocol):
    """Which organisation things belong to now; "": none, or there is no such thing."""

    def of_station(self, station_id: str) -> str:
        """Of the site where the station is now; its own if it is at none."""

    def of_site(self, site_id: str) -> str:
        """The site's own."""

    def of_tariff(self, tariff_id: str) -> str:
        """The tariff's own."""

    def of_token(self, id_token: str) -> str:
        """The token's own."""


class Scope:
    """What `who` reaches; `whole`: where things belong."""

    def __init__(self, who: Principal, whole: Belongings) -> None:
        self.who = who
        self._whole = whole
        self._reads = who.organisations(Permission.READ)
        self._tokens = who.organisations(Permission.READ_TOKENS)

    @property
    def everywhere(self) -> bool:
        """Whether it reads in all organisations, and what belongs to none."""
        return self._reads is None

    @property
    def all_tokens(self) -> bool:
        """Whether it reads the tokens of all organisations, and those of none."""
        return self._tokens is None

    @property
    def organisations(self) -> tuple[str, ...]:
        """Where it reads, if not everywhere; never empty, so that it can be put into a statement."""
        return tuple(sorted(self._reads or ())) or _NOWHERE

    @property
    def within(self) -> str:
        """The SQL condition that a row's `station_id` is in reach."""
        return EVERYTHING if self.everywhere else OF_ORGANISATIONS

    def sees(self, organisation_id: str) -> bool:
        """Whether it reads what belongs to this organisation ("": to none)."""
        return self._reads is None or organisation_id in self._reads

    def sees_tokens(self, organisation_id: str) -> bool:
        """Whether it reads the tokens of this organisation."""
        return self._tokens is None or organisation_id in self._tokens

    def sees_station(self, station_id: str) -> bool:
        """Whether it reads the station and all that belongs to it."""
        return self._reads is None or self._whole.of_station(station_id) in self._reads

    def sees_site(self, site_id: str) -> bool:
        """Whether it reads the site."""
        return self._reads is None or self._whole.of_site(site_id) in self._reads

    def sees_stations(self, stations: Iterable[str]) -> bool:
        """Whether it reads what concerns all these stations together."""
        return self._reads is None or all(map(self.sees_station, stations))

    def organisation_at(self, named: Mapping[str, Any]) -> str | None:
        """The organisation of what a path names, by the path's parameters; None if it names nothing in reach."""
        match named:
            case {"station_id": str(key)}:
                found = self._whole.of_station(key.casefold())
            case {"site_id": str(key)}:
                found = self._whole.of_site(key)
            case {"tariff_id": str(key)}:
                found = self._whole.of_tariff(key)
            case {"id_token": str(key)}:
                found = self._whole.of_token(key.casefold())
                return found if self.sees_tokens(found) else None
            case {"organisation_id": str(found)}:
                pass
            case _:
                return None
        return found if self.sees(found) else None

    def must(self, permission: Permission, organisations: Collection[str]) -> None:
        """Raise Forbidden unless it may do this in each of these organisations ("": to what belongs to none)."""
        for each in sorted(organisations):
            if not self.who.may(permission, each):
                where = f"in the organisation {each}" if each else "in all organisations"
                raise Forbidden(f"this needs the permission {permission} {where}", permission.value)

    def must_at(self, permission: Permission, stations: Iterable[str]) -> None:
        """Raise Forbidden unless it may do this at each of these stations."""
        if not self.who.may(permission):
            self.must(permission, set(map(self._whole.of_station, stations)))


class Within(Mapping[str, V]):
    """The entries of `whole` that are in reach; `sees` tells of key and entry. Counting them looks at all."""

    def __init__(self, whole: Mapping[str, V], sees: Callable[[str, V], bool]) -> None:
        self._whole = whole
        self._sees = sees

    def __getitem__(self, key: str) -> V:
        found = self._whole[key]
        if not self._sees(key, found):
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return (key for key, value in self._whole.items() if self._sees(key, value))

    def __len__(self) -> int:
        return sum(1 for _ in self)
