"""Tariffs: prices, by version."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from libs.events.registry import TariffRegistered
from libs.runtime.clock import now_us
from services.api.context import Api, Context
from services.api.domain.dated import version_in_force
from services.api.domain.errors import Conflict, Invalid
from services.api.domain.paging import page_of
from services.api.domain.registry import TARIFFS, in_use, renewed, reprice
from services.api.fields import Label, micros
from services.api.models import NewTariff, Page, Tariff, TariffChange, TariffQuery, TariffSettings
from services.api.routes.shared import ERRORS, existing, location, matches, must_be_new

router = APIRouter(tags=["tariffs"], responses=ERRORS)


@router.get("/tariffs")
async def list_tariffs(api: Api, query: Annotated[TariffQuery, Query()]) -> Page[Tariff]:
    """Tariffs by id."""
    now = now_us()
    found, cursor = page_of(
        api.registry.tariffs, lambda t: matches(query.q, t.tariff_id, t.name), query.limit, query.cursor
    )
    return Page(items=[_shown(tariff, now) for tariff in found], next_cursor=cursor)


@router.post("/tariffs", status_code=status.HTTP_201_CREATED)
async def create_tariff(api: Api, response: Response, body: NewTariff) -> Tariff:
    """Create a tariff with its first version; 409 if there is one with this id."""
    async with api.registry.changing(TARIFFS, body.tariff_id):
        must_be_new(api.registry.tariffs, body.tariff_id, "tariff")
        tariff = await _write(api, _blank(body.tariff_id), body)
    response.headers["Location"] = location("tariffs", body.tariff_id)
    return tariff


@router.get("/tariffs/{tariff_id}")
async def get_tariff(api: Api, tariff_id: str) -> Tariff:
    """One tariff."""
    return _shown(existing(api.registry.tariffs, tariff_id, "tariff"), now_us())


@router.put("/tariffs/{tariff_id}")
async def put_tariff(api: Api, response: Response, tariff_id: Label, body: TariffSettings) -> Tariff:
    """Create a tariff, or give it this name and price; another price makes a new version."""
    async with api.registry.changing(TARIFFS, tariff_id):
        old = api.registry.tariffs.get(tariff_id)
        if old is None:
            response.status_code = status.HTTP_201_CREATED
        return await _write(api, old or _blank(tariff_id), body)


@router.patch("/tariffs/{tariff_id}")
async def change_tariff(api: Api, tariff_id: str, body: TariffChange) -> Tariff:
    """Change name or price; another price makes a new version."""
    async with api.registry.changing(TARIFFS, tariff_id):
        return await _write(api, existing(api.registry.tariffs, tariff_id, "tariff"), body)


@router.delete("/tariffs/{tariff_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_tariff(api: Api, tariff_id: str) -> None:
    """Forget a tariff; 409 while sites charge by it, now or from a later moment on."""
    async with api.registry.changing(TARIFFS, tariff_id):
        existing(api.registry.tariffs, tariff_id, "tariff")
        now = now_us()
        users = [s.site_id for s in api.registry.sites.values() if in_use(s.tariffs, tariff_id, now)]
        if users:
            raise Conflict(f"{len(users)} sites charge by it, {min(users)} among them")
        await api.registry.write(TARIFFS, tariff_id, None)


async def _write(api: Context, old: TariffRegistered, body: TariffChange | TariffSettings) -> Tariff:
    stamp = api.registry.stamp()
    versions = old.versions
    last = versions[-1] if versions else None
    currency = body.currency or (last.currency if last else None)
    price = body.price_per_kwh_milli
    if price is None and last is not None:
        price = last.price_per_kwh_milli
    if currency is None or price is None:
        raise Invalid(
            "a tariff without versions needs currency and price_per_kwh_milli", "/price_per_kwh_milli"
        )
    moment = None if body.valid_from is None else micros(body.valid_from)
    versions = reprice(versions, currency, price, moment, stamp)
    name = old.name if body.name is None else body.name
    new = renewed(old, {"name": name, "versions": versions}, stamp)
    if new is not old:
        await api.registry.write(TARIFFS, new.tariff_id, new)
    return _shown(new, stamp.now)


def _blank(tariff_id: str) -> TariffRegistered:
    return TariffRegistered(
        event_id="", occurred_at=0, recorded_at=0, cause_id="", tariff_id=tariff_id, versions=()
    )


def _shown(tariff: TariffRegistered, now: int) -> Tariff:
    shown = Tariff.model_validate(tariff)
    shown.version = version_in_force(tariff.versions, now)
    return shown
