"""Which stations are where now."""

from hypothesis import given
from hypothesis import strategies as st

from libs.events.registry import Assignment
from services.api.domain.dated import in_force
from services.api.domain.places import NOWHERE, Places


class Clock:
    now = 100

    def __call__(self) -> int:
        return self.now


def at(site_id: str, since: int = 0) -> Assignment:
    return Assignment(id=site_id, valid_from=since)


def test_a_station_is_where_its_newest_assignment_says_and_moves_when_its_time_has_come() -> None:
    clock = Clock()
    places = Places(clock)
    places.register("a", (at("north"), at("south", 200)))
    assert (list(places.at("north")), list(places.at("south"))) == (["a"], [])
    clock.now = 199
    assert list(places.at("north")) == ["a"]
    clock.now = 200
    assert (list(places.at("north")), list(places.at("south"))) == ([], ["a"])


def test_stations_without_a_socket_are_away() -> None:
    places = Places(Clock())
    for each in ("a", "b", "c"):
        places.register(each, (at("north"),))
    places.register("d", ())
    places.locate("a", connected=True)
    places.locate("stranger", connected=False)
    assert sorted(places.away()) == [(NOWHERE, 1, 1), ("north", 2, 3)]
    assert list(places.away_at("north")) == ["b", "c"]
    places.locate("b", connected=True)
    places.locate("a", connected=False)
    assert list(places.away_at("north")) == ["a", "c"]
    for each in ("a", "c", "d"):
        places.register(each, None)
    assert (list(places.away()), list(places.at("north"))) == ([], ["b"])


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("register"),
            st.sampled_from("ab"),
            st.one_of(
                st.none(),
                st.lists(
                    st.tuples(st.sampled_from("xy"), st.integers(0, 50)), max_size=3, unique_by=lambda e: e[1]
                ),
            ),
        ),
        st.tuples(st.just("locate"), st.sampled_from("abc"), st.booleans()),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 20)),
    ),
    max_size=30,
)


@given(STEPS)
def test_it_is_always_as_if_every_station_were_looked_at(steps: list[tuple[str, str, object]]) -> None:
    clock = Clock()
    clock.now = 0
    places = Places(clock)
    known: dict[str, tuple[Assignment, ...]] = {}
    connected: dict[str, bool] = {}
    for what, key, value in steps:
        if what == "wait":
            assert isinstance(value, int)
            clock.now += value
        elif what == "locate":
            connected[key] = bool(value)
            places.locate(key, connected=bool(value))
        elif isinstance(value, list):
            known[key] = tuple(at(site, since) for site, since in value)
            places.register(key, known[key])
        else:
            known.pop(key, None)
            places.register(key, None)
        for site in ("x", "y", NOWHERE):
            there = [
                key for key, sites in sorted(known.items()) if (in_force(sites, clock.now) or "") == site
            ]
            assert list(places.at(site)) == there
            assert list(places.away_at(site)) == [key for key in there if not connected.get(key)]
