"""Input limits of the bodies."""

from typing import Any

import pytest
from pydantic import ValidationError

from libs.runtime.clock import micros
from services.api.commands.routes import CommandWish
from services.api.equipment.variables import VariablesWish
from services.api.http.fields import Input
from services.api.live.campaigns import NewCampaign
from services.api.registry.sites import NewSite
from services.api.registry.stations import NewStation, StationSettings
from services.api.registry.tariffs import NewTariff
from services.api.registry.tokens import NewToken
from services.api.settings import ApiSettings

TARIFF = {"tariff_id": "t", "currency": "EUR", "price_per_kwh_milli": 1}
CAMPAIGN = {"name": "n", "target_version": "1", "location": "https://example.org/x", "stations": ["a"]}


@pytest.mark.parametrize(
    ("kind", "body", "where"),
    [
        (NewStation, {"station_id": "a:b"}, "station_id"),
        (NewStation, {"station_id": "a", "name": "x\x1b[0m"}, "name"),
        (NewStation, {"station_id": "a", "name": "x\nlevel=info"}, "name"),
        (NewStation, {"station_id": "a", "name": "x" * 201}, "name"),
        (NewStation, {"station_id": "a", "name": None}, "name"),
        (NewStation, {"station_id": "a", "heartbeat_interval_s": 0}, "heartbeat_interval_s"),
        (NewStation, {"station_id": "a", "heartbeat_interval_s": "5"}, "heartbeat_interval_s"),
        (NewStation, {"station_id": "a", "evses": True}, "evses"),
        (NewStation, {"station_id": "a", "max_current_ma": 1e9}, "max_current_ma"),
        (NewStation, {"station_id": "a", "phases": 2}, "phases"),
        (NewStation, {"station_id": "a", "timezone": "../../etc/passwd"}, "timezone"),
        (NewStation, {"station_id": "a", "allow_no_subprotocol": "yes"}, "allow_no_subprotocol"),
        (
            NewStation,
            {"station_id": "a", "site_id": "s", "site_valid_from": 1_700_000_000},
            "site_valid_from",
        ),
        (NewStation, {"station_id": "a", "site_id": "s", "site_valid_from": "1700000000"}, "site_valid_from"),
        (
            NewStation,
            {"station_id": "a", "site_id": "s", "site_valid_from": "2026-01-01T00:00"},
            "site_valid_from",
        ),
        (
            NewStation,
            {"station_id": "a", "site_id": "s", "site_valid_from": "1969-01-01T00:00Z"},
            "site_valid_from",
        ),
        (NewStation, {"station_id": "a", "site_valid_from": "2026-01-01T00:00Z"}, None),
        (NewStation, {"station_id": "a", "site_id": "s", "sites": []}, None),
        (NewStation, {"station_id": "a", "nonsense": 1}, "nonsense"),
        (NewSite, {"site_id": "a/b"}, "site_id"),
        (NewSite, {"site_id": "=cmd()"}, "site_id"),
        (NewSite, {"site_id": "a", "latitude": 91}, "latitude"),
        (NewSite, {"site_id": "a", "longitude": float("nan")}, "longitude"),
        (NewToken, {"id_token": "a\tb"}, "id_token"),
        (NewToken, {"id_token": "a", "status": "accepted"}, "status"),
        (NewToken, {"id_token": "a", "type": "Magic"}, "type"),
        (NewTariff, TARIFF | {"currency": "eur"}, "currency"),
        (NewTariff, TARIFF | {"price_per_kwh_milli": 0.5}, "price_per_kwh_milli"),
        (NewTariff, TARIFF | {"price_per_kwh_milli": -1}, "price_per_kwh_milli"),
        (NewTariff, {"tariff_id": "t", "currency": "EUR"}, None),
        (NewTariff, TARIFF | {"terms": {"elements": []}}, None),
        (CommandWish, {"action": "Reset; rm"}, "action"),
        (CommandWish, {"action": "A", "command": "B"}, None),
        (CommandWish, {"action": "A", "wait_s": 61}, "wait_s"),
        (CommandWish, {"action": "A", "ttl_s": 604_801}, "ttl_s"),
        (CommandWish, {"action": "A", "payload": []}, "payload"),
        (CommandWish, {"action": "A", "version": "1.5"}, "version"),
        (NewCampaign, CAMPAIGN | {"location": "file:///etc/passwd"}, "location"),
        (NewCampaign, CAMPAIGN | {"stations": []}, "stations"),
        (NewCampaign, CAMPAIGN | {"name": ""}, "name"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(
    kind: type[Input], body: dict[str, Any], where: str | None
) -> None:
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(body)
    places = {error["loc"][0] if error["loc"] else None for error in refused.value.errors()}
    assert places == {where}


def test_moments_keep_their_microseconds() -> None:
    body = StationSettings.model_validate(
        {"site_id": "s", "site_valid_from": "2026-01-01T01:00:00.000001+01:00"}
    )
    assert body.site_valid_from is not None
    assert micros(body.site_valid_from) == 1_767_225_600_000_001


@pytest.mark.parametrize("key", [{}, {"api_key": ""}, {"api_key": "short"}])
def test_without_a_key_the_api_does_not_start(key: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOLTBUS_API_KEY", raising=False)
    with pytest.raises(ValidationError, match="api_key"):
        ApiSettings.model_validate(key)


def test_variables_are_asked_for_by_name_alone_or_as_objects() -> None:
    wish = VariablesWish.model_validate({"variables": ["A.B", {"name": "C", "evse_id": 1}]})
    assert [(each.name, each.evse_id) for each in wish.variables] == [("A.B", None), ("C", 1)]
    for wrong in ("", 5, {"evse_id": 1}, None):
        with pytest.raises(ValidationError):
            VariablesWish.model_validate({"variables": [wrong]})
