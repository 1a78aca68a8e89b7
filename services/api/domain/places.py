"""Which stations are at which site now, and which of them have no socket."""

import heapq
from collections.abc import Callable, Iterator
from typing import Final

from libs.events.registry import Assignment
from services.api.domain.dated import in_force
from services.api.domain.index import References, SortedKeys

NOWHERE: Final = ""
"""The site of stations that are registered and at none."""


class Places:
    """Kept up with every change, so that no request looks at all stations. `clock`: the moment now, microseconds.

    What is assigned for a later moment counts from then on, without anybody being told.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._sites: dict[str, tuple[Assignment, ...]] = {}
        self._connected: set[str] = set()
        self._all = References()
        self._away = References()
        self._later: list[tuple[int, str]] = []
        self._planned: set[tuple[int, str]] = set()

    def register(self, station_id: str, sites: tuple[Assignment, ...] | None) -> None:
        """Take note of a station's sites; None: it is not registered."""
        if sites is None:
            self._sites.pop(station_id, None)
        else:
            self._sites[station_id] = sites
            now = self._clock()
            for each in sites:
                if each.valid_from > now and (each.valid_from, station_id) not in self._planned:
                    self._planned.add((each.valid_from, station_id))
                    heapq.heappush(self._later, (each.valid_from, station_id))
        self._place(station_id)

    def locate(self, station_id: str, *, connected: bool) -> None:
        """Take note of whether a station has a socket."""
        if connected:
            self._connected.add(station_id)
        else:
            self._connected.discard(station_id)
        self._place(station_id)

    def at(self, site_id: str) -> SortedKeys:
        """The stations that are there now; to be read only."""
        self._advance()
        return self._all.to(site_id)

    def away_at(self, site_id: str) -> SortedKeys:
        """Those of them that have no socket; to be read only."""
        self._advance()
        return self._away.to(site_id)

    def away(self) -> Iterator[tuple[str, int, int]]:
        """Each site at which stations have no socket: its id, or NOWHERE, how many they are, and how many there are."""
        self._advance()
        for site_id in list(self._away.targets()):
            yield site_id, len(self._away.to(site_id)), len(self._all.to(site_id))

    def _advance(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due = heapq.heappop(self._later)
            self._planned.discard(due)
            self._place(due[1])

    def _place(self, station_id: str) -> None:
        sites = self._sites.get(station_id)
        place = () if sites is None else (in_force(sites, self._clock()) or NOWHERE,)
        self._all.put(station_id, place)
        self._away.put(station_id, () if station_id in self._connected else place)
