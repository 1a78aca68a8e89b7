"""Pictures that the server draws: every point lies within, and says what it stands for."""

import pytest

from services.console.plots import HEIGHT, WIDTH, dots, line
from services.console.site_past import kilowatts


def test_a_line_stays_within_the_picture_and_below_its_limit_as_its_values_do() -> None:
    found = line([(0.0, 0.0), (50.0, 11.0), (100.0, 22.0)], 0.0, 100.0, limit=44.0)
    points = [tuple(map(float, each.split(","))) for each in found.points.split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert found.limit_y is not None
    assert found.limit_y < points[2][1] < points[1][1] < points[0][1]


@pytest.mark.parametrize("values", [[], [(0.0, 0.0)], [(0.0, 1e9)]])
def test_a_line_can_be_drawn_of_anything(values: list[tuple[float, float]]) -> None:
    assert len(line(values, 0.0, 0.0).points.split()) == len(values)


def test_a_map_has_north_up_and_east_right() -> None:
    found = {
        each.key: each for each in dots({"hamburg": (53.5, 10.0), "munich": (48.1, 11.6), "x": (50.0, 8.0)})
    }
    assert found["hamburg"].y < found["munich"].y
    assert found["x"].x < found["hamburg"].x < found["munich"].x
    assert all(0 <= each.x <= WIDTH and 0 <= each.y <= 2 * HEIGHT for each in found.values())


@pytest.mark.parametrize(
    "places",
    [
        {},
        {"one": (0.0, 0.0)},
        {"pole": (90.0, 180.0), "other": (-90.0, -180.0)},
        {"a": (1.0, 1.0), "b": (1.0, 1.0)},
    ],
)
def test_a_map_can_be_drawn_of_any_places(places: dict[str, tuple[float, float]]) -> None:
    found = dots(places)
    assert [each.key for each in found] == list(places)
    assert all(0 <= each.x <= WIDTH and 0 <= each.y <= 2 * HEIGHT for each in found)


def test_a_limit_per_phase_is_worth_three_phases() -> None:
    assert kilowatts(63_000) == pytest.approx(43.47)
    assert kilowatts(None) is None
