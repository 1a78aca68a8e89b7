"""Tariffs: prices, by version."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from fastapi import Query, Response, status
from pydantic import Field, ValidationInfo, field_validator, model_validator

from libs.access.roles import Permission
from libs.events.record import UNWRITTEN
from libs.events.registry import TariffRegistered
from libs.events.tariffs import TariffTerms, base_price_milli
from libs.events.topics import REGISTRY_TARIFFS
from libs.runtime.clock import micros, now_us
from libs.tariffs.documents import parse, render
from libs.tariffs.validation import TariffError
from services.api.context import Api
from services.api.domain.dated import version_in_force
from services.api.domain.errors import Conflict, Invalid
from services.api.domain.renewal import Stamp, renewed, reprice
from services.api.http.fields import (
    Currency,
    Folded,
    Label,
    Moment,
    Output,
    Price,
    Terms,
    Text,
    Time,
)
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import needs
from services.api.http.routing import routes
from services.api.registry.entries import CONDITIONAL, Entries, IfMatch, Owned, among
from services.api.registry.table import Registry

router = routes("tariffs")

_TERMS_TEXT = (
    "Elements, limits, taxes, rounding and plans, instead of one price per kWh: see the page on tariffs."
)


class TariffChange(Owned):
    """A new name, or a new price or terms: that makes a new version, and the earlier ones stay as they are."""

    name: Text | None = None
    currency: Currency | None = None
    price_per_kwh_milli: Price | None = None
    terms: Terms | None = Field(None, description=_TERMS_TEXT)
    valid_from: Moment | None = Field(
        None, description="Sessions that start from this moment on. Default: a few seconds from now."
    )

    @model_validator(mode="after")
    def _one_way_to_price(self) -> Self:
        if self.terms is not None and self.price_per_kwh_milli is not None:
            raise ValueError("either price_per_kwh_milli or terms, not both")
        return self


class TariffSettings(Owned):
    """A tariff's name and price, or terms."""

    name: Text = ""
    currency: Currency
    price_per_kwh_milli: Price | None = None
    terms: Terms | None = Field(None, description=_TERMS_TEXT)
    valid_from: Moment | None = Field(
        None, description="Sessions that start from this moment on. Default: a few seconds from now."
    )

    @model_validator(mode="after")
    def _one_way_to_price(self) -> Self:
        if (self.terms is None) == (self.price_per_kwh_milli is None):
            raise ValueError("either price_per_kwh_milli or terms")
        return self


class NewTariff(TariffSettings):
    """A tariff to be created, with its first version."""

    tariff_id: Label


class TariffVersion(Output):
    """Prices from a moment on, until the next version's; never changed.

    `price_per_kwh_milli`: where there are terms, what a kWh costs where nothing restricts.
    """

    version: int
    valid_from: Time
    currency: str
    price_per_kwh_milli: int
    terms: Terms | None = None

    @field_validator("terms", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        return render(value, info.data["currency"]) if isinstance(value, TariffTerms) else value


class Tariff(Output):
    """A tariff with all its versions. `version`: the one in force now."""

    tariff_id: str
    name: str
    version: int | None = None
    versions: list[TariffVersion]
    organisation_id: str
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class TariffQuery(ListQuery):
    """Filters of tariffs."""

    q: Folded | None = Field(None, description="Part of the id or name.")


class Tariffs(Entries[TariffRegistered, TariffChange | TariffSettings, Tariff]):
    """The tariffs."""

    topic, path, kind, edits = REGISTRY_TARIFFS, "tariffs", "tariff", Permission.EDIT_TARIFFS

    def table(self, registry: Registry) -> Mapping[str, TariffRegistered]:
        """By id."""
        return registry.tariffs

    def blank(self, key: str) -> TariffRegistered:
        """Without a version."""
        return TariffRegistered(**UNWRITTEN, tariff_id=key, versions=())

    def changed(
        self,
        registry: Registry,
        old: TariffRegistered,
        body: TariffChange | TariffSettings,
        stamp: Stamp,
        *,
        partly: bool,
    ) -> TariffRegistered:
        """Another price, or other terms, make a new version; what a TariffChange leaves out stays."""
        last = old.versions[-1] if old.versions else None
        currency = body.currency or (last.currency if last else None)
        price, terms = body.price_per_kwh_milli, None
        if currency is not None and body.terms is not None:
            terms = _parsed(body.terms, currency)
            price = base_price_milli(terms)
        elif price is None and last is not None:
            if last.terms is not None and currency != last.currency:
                raise Invalid("another currency needs terms in it", "/terms")
            price, terms = last.price_per_kwh_milli, last.terms
        if currency is None or price is None:
            raise Invalid(
                "a tariff without versions needs currency, and price_per_kwh_milli or terms",
                "/price_per_kwh_milli",
            )
        moment = None if body.valid_from is None else micros(body.valid_from)
        versions = reprice(old.versions, currency, price, moment, stamp, terms=terms)
        name = old.name if body.name is None else body.name
        return renewed(old, {"name": name, "versions": versions}, stamp)

    def shown(self, registry: Registry, entry: TariffRegistered, now: int) -> Tariff:
        """With the version in force."""
        shown = Tariff.model_validate(entry)
        shown.version = version_in_force(entry.versions, now)
        return shown

    def must_be_unused(self, registry: Registry, key: str) -> None:
        """Sites refer to tariffs."""
        users = registry.sites_by_tariff.to(key)
        if users:
            raise Conflict(f"{len(users)} sites charge or charged by it{among(users, registry.sites)}")


def _parsed(written: dict[str, Any], currency: str) -> TariffTerms:
    try:
        return parse(written, currency)
    except TariffError as error:
        place = re.sub(r"[.\[\]]+", "/", error.problems[0].path).rstrip("/")
        raise Invalid(str(error), f"/terms/{place}".rstrip("/")) from None


_TARIFFS = Tariffs()


@router.get("/tariffs", dependencies=needs(Permission.READ))
async def list_tariffs(api: Api, query: Annotated[TariffQuery, Query()]) -> Page[Tariff]:
    """Tariffs by id."""
    now = now_us()

    def found(key: str) -> Tariff | None:
        tariff = api.registry.tariffs.get(key)
        if tariff is None or not matches(query.q, tariff.tariff_id, tariff.name):
            return None
        return _TARIFFS.shown(api.registry, tariff, now)

    items, cursor = await page_of([api.registry.keys[REGISTRY_TARIFFS]], found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.post("/tariffs", dependencies=needs(Permission.EDIT_TARIFFS), status_code=status.HTTP_201_CREATED)
async def create_tariff(api: Api, response: Response, body: NewTariff) -> Tariff:
    """Create a tariff with its first version; 409 if there is one with this id."""
    return await _TARIFFS.create(api, response, body.tariff_id, body)


@router.get("/tariffs/{tariff_id}", dependencies=needs(Permission.READ))
async def get_tariff(api: Api, response: Response, tariff_id: str) -> Tariff:
    """One tariff."""
    return _TARIFFS.get(api, response, tariff_id)


@router.put("/tariffs/{tariff_id}", dependencies=needs(Permission.EDIT_TARIFFS), responses=CONDITIONAL)
async def put_tariff(
    api: Api, response: Response, tariff_id: Label, body: TariffSettings, if_match: IfMatch = None
) -> Tariff:
    """Create a tariff, or give it this name and price or terms; other ones make a new version."""
    return await _TARIFFS.put(api, response, tariff_id, body, if_match)


@router.patch("/tariffs/{tariff_id}", dependencies=needs(Permission.EDIT_TARIFFS), responses=CONDITIONAL)
async def change_tariff(
    api: Api, response: Response, tariff_id: str, body: TariffChange, if_match: IfMatch = None
) -> Tariff:
    """Change name, price or terms; another price or other terms make a new version."""
    return await _TARIFFS.patch(api, response, tariff_id, body, if_match)


@router.delete(
    "/tariffs/{tariff_id}",
    dependencies=needs(Permission.EDIT_TARIFFS),
    status_code=status.HTTP_204_NO_CONTENT,
    responses=CONDITIONAL,
)
async def delete_tariff(api: Api, tariff_id: str, if_match: IfMatch = None) -> None:
    """Forget a tariff; 409 while sites have it among their tariffs, be it in the past: sessions are billed by it."""
    await _TARIFFS.delete(api, tariff_id, if_match)
