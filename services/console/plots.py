"""Pictures that the server draws: points of a line and of a map, in the coordinates of an SVG."""

from collections.abc import Mapping, Sequence
from math import cos, radians
from typing import Final

import msgspec

WIDTH: Final = 720
HEIGHT: Final = 240
_MARGIN: Final = 24
_DECIMALS: Final = 1


class Line(msgspec.Struct, frozen=True):
    """A line over time. `points`: as an SVG polyline has them. `limit_y`: where the limit is; None: there is none."""

    points: str
    most: float
    limit_y: float | None = None


class Dot(msgspec.Struct, frozen=True):
    """A place on a map."""

    key: str
    x: float
    y: float


def line(values: Sequence[tuple[float, float]], start: float, end: float, limit: float | None = None) -> Line:
    """(Seconds, value) from `start` to `end`; the axis ends a little above the highest value and the limit."""
    most = max([value for _, value in values] + ([] if limit is None else [limit]) + [1.0]) * 1.1

    def y(value: float) -> float:
        return round(HEIGHT - _MARGIN - value / most * (HEIGHT - 2 * _MARGIN), _DECIMALS)

    span = max(end - start, 1.0)
    points = " ".join(
        f"{round(_MARGIN + (at - start) / span * (WIDTH - 2 * _MARGIN), _DECIMALS)},{y(value)}"
        for at, value in values
    )
    return Line(points, most, None if limit is None else y(limit))


def dots(places: Mapping[str, tuple[float, float]]) -> list[Dot]:
    """Places by latitude and longitude, north up, spread over the picture; one scale in both directions."""
    if not places:
        return []
    north, south = max(lat for lat, _ in places.values()), min(lat for lat, _ in places.values())
    east, west = max(lon for _, lon in places.values()), min(lon for _, lon in places.values())
    # A degree of longitude is shorter away from the equator.
    squeeze = max(cos(radians((north + south) / 2)), 0.01)
    wide, high = max((east - west) * squeeze, 1e-6), max(north - south, 1e-6)
    scale = min((WIDTH - 2 * _MARGIN) / wide, (HEIGHT * 2 - 2 * _MARGIN) / high)
    left = (WIDTH - (east - west) * squeeze * scale) / 2
    top = (HEIGHT * 2 - (north - south) * scale) / 2
    return [
        Dot(
            key,
            round(left + (lon - west) * squeeze * scale, _DECIMALS),
            round(top + (north - lat) * scale, _DECIMALS),
        )
        for key, (lat, lon) in places.items()
    ]
