"""What can be registered, changed and removed on pages, each by the API's own routes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec
from fastapi import Response
from pydantic import BaseModel

from libs.access.roles import Permission
from services.api.context import Context
from services.api.http.permissions import Must
from services.api.registry import sites, stations, tariffs, tokens
from services.console.web.rendering import address

Labels = Callable[[Callable[..., str]], Mapping[str, str]]


class EntryKind(msgspec.Struct, frozen=True):
    """One kind of entry. `labels`: the words beside its fields; the first is its id.

    `lasting`: fields that can be replaced and never emptied. `together`: fields that mean nothing without another.
    `get`, `change`, `remove` take the id; `home`: the address of the entry's page.
    """

    permission: Permission
    reading: Permission
    new: type[BaseModel]
    settings: type[BaseModel]
    labels: Labels
    get: Callable[[Context, Response, str], Awaitable[BaseModel]]
    create: Callable[[Context, Must, Any], Awaitable[BaseModel]]
    change: Callable[[Context, Must, str, Any, str | None], Awaitable[BaseModel]]
    remove: Callable[[Context, str, str | None], Awaitable[None]]
    home: Callable[[str], str]
    list_at: str
    together: Mapping[str, str] = {}
    lasting: frozenset[str] = frozenset()


def _station_labels(_: Callable[..., str]) -> Mapping[str, str]:
    return {
        "station_id": _("Station id"),
        "name": _("Name"),
        "site_id": _("Site"),
        "site_valid_from": _("At the site from"),
        "boot_status": _("Boot answer"),
        "heartbeat_interval_s": _("Seconds between heartbeats"),
        "evses": _("EVSEs"),
        "max_current_ma": _("Largest current per phase, mA"),
        "phases": _("Phases"),
        "max_power_w": _("Largest power of a connector, W"),
        "timezone": _("Time zone"),
        "organisation_id": _("Organisation"),
        "security_profile": _("Least security profile"),
        "allow_security_downgrade": _("Let the security profile sink"),
        "certificate_name": _("Common name of its certificate"),
        "allow_no_subprotocol": _("Let it connect without a subprotocol"),
        "certification": _("Send nothing that nobody asked for"),
    }


def _site_labels(_: Callable[..., str]) -> Mapping[str, str]:
    return {
        "site_id": _("Site id"),
        "name": _("Name"),
        "timezone": _("Time zone"),
        "limit_ma": _("Limit per phase, mA"),
        "tariff_id": _("Tariff"),
        "tariff_valid_from": _("Tariff holds from"),
        "latitude": _("Latitude"),
        "longitude": _("Longitude"),
        "organisation_id": _("Organisation"),
    }


def _token_labels(_: Callable[..., str]) -> Mapping[str, str]:
    return {
        "id_token": _("Token"),
        "type": _("Type"),
        "status": _("Status"),
        "valid_until": _("Valid until"),
        "group_id": _("Group"),
        "driver": _("Driver"),
        "organisation_id": _("Organisation"),
    }


def _tariff_labels(_: Callable[..., str]) -> Mapping[str, str]:
    return {"tariff_id": _("Tariff id"), "name": _("Name")}


KINDS: Final[Mapping[str, EntryKind]] = {
    "station": EntryKind(
        permission=Permission.EDIT_STATIONS,
        reading=Permission.READ,
        new=stations.NewStation,
        settings=stations.StationSettings,
        labels=_station_labels,
        get=lambda api, response, key: stations.get_station(api, response, key.casefold()),
        create=lambda api, must, body: stations.create_station(api, Response(), must, body),
        change=lambda api, must, key, body, if_match: stations.change_station(
            api=api, response=Response(), must=must, station_id=key.casefold(), body=body, if_match=if_match
        ),
        remove=lambda api, key, if_match: stations.delete_station(api, key.casefold(), if_match),
        home=lambda key: f"/stations/{quote(key, safe='')}/papers",
        list_at="/stations",
        together={"site_valid_from": "site_id", "allow_security_downgrade": "security_profile"},
        lasting=frozenset({"site_id", "max_power_w"}),
    ),
    "site": EntryKind(
        permission=Permission.EDIT_STATIONS,
        reading=Permission.READ,
        new=sites.NewSite,
        settings=sites.SiteSettings,
        labels=_site_labels,
        get=sites.get_site,
        create=lambda api, _must, body: sites.create_site(api, Response(), body),
        change=lambda api, _must, key, body, if_match: sites.change_site(
            api, Response(), key, body, if_match
        ),
        remove=sites.delete_site,
        home=lambda key: f"/sites/{quote(key, safe='')}",
        list_at="/sites",
        together={"tariff_valid_from": "tariff_id"},
        lasting=frozenset({"tariff_id"}),
    ),
    "token": EntryKind(
        permission=Permission.EDIT_TOKENS,
        reading=Permission.READ_TOKENS,
        new=tokens.NewToken,
        settings=tokens.TokenSettings,
        labels=_token_labels,
        get=lambda api, response, key: tokens.get_token(api, response, key.casefold()),
        create=lambda api, _must, body: tokens.create_token(api, Response(), body),
        change=lambda api, _must, key, body, if_match: tokens.change_token(
            api, Response(), key.casefold(), body, if_match
        ),
        remove=lambda api, key, if_match: tokens.delete_token(api, key.casefold(), if_match),
        home=lambda key: address("/tokens", {}, q=key),
        list_at="/tokens",
    ),
    # Its own editor makes and changes one: services.console.pages.tariff_editor.
    "tariff": EntryKind(
        permission=Permission.EDIT_TARIFFS,
        reading=Permission.READ,
        new=tariffs.NewTariff,
        settings=tariffs.TariffChange,
        labels=_tariff_labels,
        get=tariffs.get_tariff,
        create=lambda api, _must, body: tariffs.create_tariff(api, Response(), body),
        change=lambda api, _must, key, body, if_match: tariffs.change_tariff(
            api, Response(), key, body, if_match
        ),
        remove=tariffs.delete_tariff,
        home=lambda key: f"/tariffs/{quote(key, safe='')}",
        list_at="/tariffs",
    ),
}
