"""Who may open a websocket, with which version, and what is told to whom."""

from __future__ import annotations

import pytest

from libs.events.registry import BootStatus, StationRegistered
from libs.ocpp.versions import Version
from services.edge.domain.admission import Admission, Refusal, RefusalReason, admit
from services.edge.domain.authentication import Doubt
from services.edge.domain.rules import ReadModels, Rules, UnknownStations

KEY = b"k" * 16
NOW = 1_800_000_000_000_000


def station(station_id: str = "cp1", **fields: object) -> StationRegistered:
    base = {
        "event_id": "e",
        "occurred_at": NOW,
        "recorded_at": NOW,
        "cause_id": "e",
        "station_id": station_id,
    }
    return StationRegistered(**(base | fields))  # type: ignore[arg-type]


def models(*stations: StationRegistered, unknown: UnknownStations = UnknownStations.REJECT) -> ReadModels:
    rules = Rules(transaction_key=KEY, unknown_stations=unknown)
    return ReadModels({s.station_id: s for s in stations}, {}, rules)


def test_a_registered_station_is_admitted_with_the_first_version_that_both_speak() -> None:
    judged = admit("/ocpp/CP1", ["ocpp3.0", "ocpp2.0.1", "ocpp1.6"], models(station()))
    assert isinstance(judged, Admission)
    assert (judged.station_id, judged.version, judged.standing.registered) == ("cp1", Version.V201, True)


@pytest.mark.parametrize(
    "path", ["/ocpp/cp1", "/ocpp/CP1/", "//ocpp//cp1", "/steve/ocpp/cp1?x=1", "/ocpp/%63p1"]
)
def test_paths_of_real_chargers_lead_to_the_same_station(path: str) -> None:
    judged = admit(path, ["ocpp1.6"], models(station()))
    assert isinstance(judged, Admission)
    assert judged.station_id == "cp1"


@pytest.mark.parametrize(
    "path", ["/", "/ocpp", "/ocpp/", "/other/cp1", "/ocpp/a:b", "/ocpp/%00", "/ocpp/" + "x" * 49, "/ocpp/%ff"]
)
def test_a_path_without_a_proper_identity_is_not_found(path: str) -> None:
    judged = admit(path, ["ocpp1.6"], models(unknown=UnknownStations.ACCEPT))
    assert isinstance(judged, Refusal)
    assert (judged.reason, judged.status) == (RefusalReason.BAD_IDENTITY, 404)
    assert len(judged.identity) <= 48
    assert judged.identity.isprintable()


def test_no_common_subprotocol_is_a_bad_request_whoever_asks() -> None:
    for path in ("/ocpp/cp1", "/ocpp/stranger"):
        for offered in ([], ["mqtt"], [""]):
            judged = admit(path, offered, models(station()))
            assert isinstance(judged, Refusal)
            assert (judged.reason, judged.status) == (RefusalReason.NO_SUBPROTOCOL, 400)


def test_a_missing_subprotocol_is_1_6_where_the_registry_allows_it() -> None:
    allowing = models(station(allow_no_subprotocol=True))
    judged = admit("/ocpp/cp1", [], allowing)
    assert isinstance(judged, Admission)
    assert (judged.version, judged.echo) == (Version.V16, False)
    assert isinstance(admit("/ocpp/cp1", ["mqtt"], allowing), Refusal)


@pytest.mark.parametrize(
    ("policy", "boot"),
    [(UnknownStations.ACCEPT, BootStatus.ACCEPTED), (UnknownStations.PENDING, BootStatus.PENDING)],
)
def test_an_unknown_station_is_let_in_by_policy(policy: UnknownStations, boot: BootStatus) -> None:
    judged = admit("/ocpp/new", ["ocpp1.6"], models(unknown=policy))
    assert isinstance(judged, Admission)
    assert (judged.standing.boot_status, judged.standing.registered) == (boot, False)


def test_an_unknown_station_is_refused_by_default() -> None:
    judged = admit("/ocpp/new", ["ocpp1.6"], models(station()))
    assert isinstance(judged, Refusal)
    assert (judged.reason, judged.status) == (Doubt.UNKNOWN_STATION, 401)


def test_a_rejected_station_may_connect_to_be_told_so() -> None:
    judged = admit("/ocpp/cp1", ["ocpp1.6"], models(station(boot_status=BootStatus.REJECTED)))
    assert isinstance(judged, Admission)
    assert not judged.standing.accepted


def test_trouble_keeps_everybody_out_alike() -> None:
    for path in ("/ocpp/cp1", "/ocpp/stranger"):
        judged = admit(path, ["ocpp1.6"], models(station()), RefusalReason.NOT_READY)
        assert isinstance(judged, Refusal)
        assert judged.status == 503


def test_standing_follows_the_registry_entry() -> None:
    stations = {"cp1": station(heartbeat_interval_s=60, timezone="Europe/Berlin")}
    read = ReadModels(stations, {}, Rules(transaction_key=KEY, boot_retry_s=7))
    first = read.standing("cp1")
    assert first is not None
    assert (first.interval_s, str(first.zone)) == (60, "Europe/Berlin")
    assert read.standing("cp1") is first
    stations["cp1"] = station(boot_status=BootStatus.PENDING, timezone="Nowhere/None")
    second = read.standing("cp1")
    assert second is not None
    assert (second.boot_status, second.interval_s, str(second.zone)) == (BootStatus.PENDING, 7, "UTC")
    del stations["cp1"]
    assert read.standing("cp1") is None
