"""A bulk command as forms have it: which stations, which command, and with what care."""

from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from starlette.datastructures import QueryParams

from libs.ocpp import schemas
from libs.ocpp.routing import ROUTES
from libs.ocpp.versions import Version
from services.api.commands.bulk_bodies import NewBulkCommand
from services.api.domain.certificate_chains import SIGNED
from services.api.domain.errors import NotFound
from services.api.live.state import StationFilter
from services.console.editing import Sent, Trouble, fields_for
from services.console.forms import FormField, fields_of, payload_of
from services.console.pages.commands import VERSION_FREE
from services.console.pages.queries import asked

ANY: Final = "any"
OCPP: Final = "ocpp"
PAYLOAD: Final = "payload"
STATION: Final = "station"
SETTINGS: Final = (
    "reason",
    "concurrency",
    "stop_at_percent",
    "stop_after",
    "offline",
    "ttl_s",
    "call_timeout_s",
)
MOST_NAMED: Final = 500
"""Stations that are named in an address."""
_STEPS: Final = frozenset({"expected", "previewed", "start"})
"""Fields that are no values of the command."""
_PARTS: Final[Mapping[Version, str]] = MappingProxyType(
    {Version.V16: "v16", Version.V201: "v201", Version.V21: "v21"}
)
"""How the fields of a version's action begin."""


class Chosen(msgspec.Struct, frozen=True):
    """The stations that an address chooses: those named, or all that fit. `wrong`: what of the filter is none."""

    stations: tuple[str, ...]
    filter: StationFilter
    wrong: Mapping[str, str]
    none: bool = False
    """Stations were to be ticked, and none is."""
    too_many: bool = False
    """More are named than fit into an address."""

    @property
    def unfit(self) -> bool:
        """Whether nobody can tell which stations are meant."""
        return bool(self.wrong) or self.none or self.too_many

    @property
    def body(self) -> dict[str, Any]:
        """As the API is asked."""
        if self.stations:
            return {"stations": list(self.stations)}
        return {"filter": self.filter.model_dump(exclude_none=True)}

    @property
    def query(self) -> dict[str, Any]:
        """As an address has it."""
        return {STATION: list(self.stations)} if self.stations else dict(self.filter.words)


def chosen(params: QueryParams) -> Chosen:
    """The stations that the parameters choose."""
    found, wrong = asked(StationFilter, params)
    stations = tuple(dict.fromkeys(params.getlist(STATION)))
    none = "ticked" in params and not stations
    return Chosen(stations[:MOST_NAMED], found, wrong, none, len(stations) > MOST_NAMED)


def choices() -> dict[str, list[str]]:
    """The commands that can be chosen, by form; a certificate is one charger's alone."""
    actions = {action for version in Version for action, route in ROUTES[version].items() if route.to_station}
    return {ANY: sorted(VERSION_FREE.keys() - {SIGNED}), OCPP: sorted(actions - {SIGNED})}


def versions_with(action: str) -> list[Version]:
    """The OCPP versions that have this action to stations."""
    return [
        version for version in Version if action in ROUTES[version] and ROUTES[version][action].to_station
    ]


def command_fields(form: str, action: str) -> dict[str, tuple[FormField, ...]]:
    """The inputs by what they belong to: PAYLOAD, or the part of each version. Raises NotFound."""
    if form == ANY and action in VERSION_FREE:
        found = fields_of(msgspec.json.schema(VERSION_FREE[action]), frozenset({"type"}))
        return {PAYLOAD: _named(PAYLOAD, found)}
    versions = versions_with(action) if form == OCPP else []
    if not versions:
        raise NotFound(f"there is no command {action!r}")
    return {
        _PARTS[version]: _named(_PARTS[version], fields_of(schemas.request_schema(version, action)))
        for version in versions
    }


def setting_fields(labels: Mapping[str, str]) -> tuple[FormField, ...]:
    """The inputs for how carefully it is done."""
    return fields_for(NewBulkCommand, labels)


def version_of(part: str) -> Version:
    """The version whose fields begin so."""
    return next(version for version, each in _PARTS.items() if each == part)


def ticked(given: Sent, part: str) -> bool:
    """Whether stations of that version are to be sent it."""
    return bool(given.text(f"send.{part}"))


def body_of(
    form: str, action: str, selection: Chosen, settings: tuple[FormField, ...], given: Sent
) -> dict[str, Any]:
    """The body for the API. Raises FormError."""
    body: dict[str, Any] = {**selection.body, **payload_of(settings, given.entered)}
    if not given.text("stop_at_percent"):
        body["stop_at_percent"] = None
    fields = command_fields(form, action)
    if form == ANY:
        sent = payload_of(fields[PAYLOAD], given.entered)
        return body | {"command": action, "payload": sent.get(PAYLOAD, {})}
    body["actions"] = {
        _short(version_of(part)): {
            "action": action,
            "payload": payload_of(inputs, given.entered).get(part, {}),
        }
        for part, inputs in fields.items()
        if ticked(given, part)
    }
    return body


def digest_of(selection: Chosen, given: Sent) -> str:
    """What tells one choice of stations and one set of values from another."""
    typed = {name: text.strip() for name, text in given.entered.items() if name not in _STEPS}
    told = [selection.body, sorted((name, text) for name, text in typed.items() if text)]
    return sha256(msgspec.json.encode(told)).hexdigest()


def placed(trouble: Trouble) -> Trouble:
    """The same with the names of this form's fields for places in the API's body."""
    wrong = {}
    for name, text in trouble.wrong.items():
        field = name
        for version, part in _PARTS.items():
            begins = f"actions.{_short(version)}"
            field = field.replace(f"{begins}.payload", part).replace(begins, part)
        wrong[field] = text
    return replace(trouble, wrong=wrong)


def nothing_ticked(text: str) -> Trouble:
    """No version is to be sent it."""
    return Trouble({"": text}, HTTPStatus.UNPROCESSABLE_ENTITY)


def _named(part: str, fields: tuple[FormField, ...]) -> tuple[FormField, ...]:
    return tuple(replace(field, name=f"{part}.{field.name}") for field in fields)


def _short(version: Version) -> str:
    return version.value.removeprefix("ocpp")
