"""How many stations need, and how many connections have proved, which OCPP security profile."""

from collections import Counter
from typing import Final

from libs.events.ocpp_log import StationLocated
from libs.events.registry import StationRegistered

PROFILES: Final = range(4)


def required(station: StationRegistered, least: int) -> int:
    """The profile that a connection of the station needs; `least`: the platform's."""
    return station.security_profile if station.profile_exempt else max(station.security_profile, least)


class Profiles:
    """Counts by profile: `stations` by what they need, `connections` by what the open ones proved."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.stations: Counter[int] = Counter()
        self.connections: Counter[int] = Counter()
        self._needed: dict[str, int] = {}
        self._proved: dict[str, int] = {}

    def register(self, station_id: str, station: StationRegistered | None) -> None:
        """Take note of a registry entry, or of its end."""
        needed = None if station is None else required(station, self.least)
        _move(self._needed, self.stations, station_id, needed)

    def locate(self, station_id: str, located: StationLocated | None) -> None:
        """Take note of where a station is."""
        proved = None if located is None or not located.connected else located.security_profile
        _move(self._proved, self.connections, station_id, proved)


def _move(known: dict[str, int], counts: Counter[int], key: str, now: int | None) -> None:
    before = known.pop(key, None)
    if before is not None:
        counts[before] -= 1
    if now is not None:
        known[key] = now
        counts[now] += 1
