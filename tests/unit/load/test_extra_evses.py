"""A station that starts on more EVSEs than it is registered with takes nothing from others, and grows nothing."""

from __future__ import annotations

from msgspec import msgpack

from libs.bus.message import Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.load import EvseObserved, StationNews, StationObserved
from libs.events.registry import StationRegistered
from services.load.domain.sites.processor import LoadProcessor
from services.load.domain.sites.site import MOST_EVSES as MOST_OF_SITE
from services.load.domain.stations.processor import LoadObserver
from services.load.domain.stations.station import DEFAULT_EVSES, MOST_EVSES, MOST_EXTRAS
from tests.unit.load.records import STATION, at
from tests.unit.load.sites.test_plans import SITE, LoadedSite, observed
from tests.unit.load.stations.test_observer import Observer, ended, measured, registered, started


def station(station_id: str, evses: int) -> StationRegistered:
    return StationRegistered(
        event_id=station_id,
        occurred_at=0,
        recorded_at=0,
        cause_id=station_id,
        station_id=station_id,
        evses=evses,
    )


def site_of(limit_ma: int | None, *stations: StationRegistered) -> LoadedSite:
    site = LoadedSite(limit_ma)
    site.runtime.tables["registry.stations"].update({each.station_id: each for each in stations})
    return site


def given(site: LoadedSite) -> dict[tuple[str, int], int]:
    return {(a.station_id, a.evse_id): a.current_ma for a in site.plans[-1].allocations}


def on(station_id: str, evse_id: int, seconds: float) -> EvseObserved:
    return observed(station_id, seconds, transaction=f"{station_id}-{evse_id}", evse_id=evse_id)


def test_a_station_with_two_evses_that_starts_on_twelve_connectors_leaves_the_honest_car_its_share() -> None:
    site = site_of(63_000, station("liar", 2), station("honest", 1))
    for number in range(1, 13):
        site.feed(on("liar", number, number))
    site.feed(on("honest", 1, 20))
    shares = given(site)
    assert shares["honest", 1] == shares["liar", 1] == shares["liar", 2] == 21_000
    assert sum(shares[("liar", number)] for number in range(3, 13)) == 0


def test_what_nobody_else_needs_goes_to_evses_that_operators_did_not_register() -> None:
    site = site_of(63_000, station("grown", 1))
    site.feed(on("grown", 1, 1))
    site.feed(on("grown", 2, 2))
    assert given(site) == {("grown", 1): 32_000, ("grown", 2): 31_000}


def test_a_station_of_which_nobody_said_how_many_evses_it_has_counts_with_a_few() -> None:
    site = site_of(63_000)
    for number in range(1, 13):
        site.feed(on("liar", number, number))
    site.feed(on("honest", 1, 20))
    assert DEFAULT_EVSES == 4
    assert given(site)["honest", 1] == given(site)["liar", 4] == 12_600


def test_a_full_site_leaves_out_what_starts_beyond_and_counts_it() -> None:
    site = site_of(None)
    for number in range(MOST_OF_SITE + 3):
        site.feed(on(f"s{number}", 1, number / 100))
    assert site.runtime.bounded == {"evses": 3}
    site.feed(observed("s0", 20, transaction="s0-1", charging=False))
    site.feed(on("late", 1, 21))
    assert site.runtime.bounded == {"evses": 3}


def test_a_full_site_has_no_more_members() -> None:
    runtime = MemoryRuntime(LoadProcessor())
    for number in range(MOST_OF_SITE + 2):
        name = f"s{number}"
        news = StationObserved(
            event_id=name, occurred_at=at(0), recorded_at=at(number), cause_id=name, site_id=SITE, station_id=name,
            news=StationNews.BOOTED,
        )  # fmt: skip
        runtime.handle(Message("load.stations", 0, number, SITE, news, 0))
    assert runtime.bounded == {"members": 2}


def test_ever_new_connectors_and_unknown_transactions_leave_a_station_of_bounded_size() -> None:
    observer = Observer(station=registered(("depot", 0), evses=2))
    for number in range(1, 1_000):
        observer.feed(measured(9_000, number, f"unknown-{number}", evse_id=number))
        observer.feed(started(f"t{number}", number, evse_id=2_000 + number))
    state = observer.runtime.state_of(STATION)
    assert state is not None
    assert len(state.evses) <= 2 + MOST_EXTRAS
    assert len(msgpack.encode(state)) <= LoadObserver.max_state_bytes
    assert observer.runtime.bounded["evses"] > 0
    assert observer.observe(started("honest", 1_001, evse_id=2)).evse_id == 2


def test_an_extra_evse_that_is_idle_makes_room_for_another() -> None:
    observer = Observer(station=registered(("depot", 0), evses=2))
    for number in range(MOST_EXTRAS):
        observer.feed(started(f"t{number}", number, evse_id=100 + number))
    observer.feed(started("refused", 50, evse_id=99))
    assert observer.runtime.bounded == {"evses": 1}
    observer.feed(ended("t7", 60, evse_id=107))
    assert observer.observe(started("next", 61, evse_id=99)).evse_id == 99


def test_a_station_may_have_as_many_evses_as_operators_say() -> None:
    observer = Observer(station=registered(("depot", 0), evses=MOST_EVSES))
    for number in range(1, MOST_EVSES + 1):
        assert observer.observe(started(f"t{number}", number, evse_id=number)).evse_id == number
