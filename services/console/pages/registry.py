"""What operators configured besides stations and sites: id tokens and tariffs."""

import json

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from libs.access.roles import Permission
from services.api.http.permissions import needs
from services.api.registry.tariffs import TariffQuery, get_tariff, list_tariffs
from services.api.registry.tokens import TokenQuery, list_tokens
from services.console.pages.queries import PAGE_SIZE, asked
from services.console.web.visit import Visiting

router = APIRouter()


@router.get("/tokens", response_class=HTMLResponse, dependencies=needs(Permission.READ_TOKENS))
async def show_tokens(visit: Visiting) -> HTMLResponse:
    """Id tokens, by id."""
    query, wrong = asked(TokenQuery, visit.request.query_params, limit=PAGE_SIZE)
    return visit.page("tokens.html", page=await list_tokens(visit.api, query), wrong=wrong)


@router.get("/tariffs", response_class=HTMLResponse, dependencies=needs(Permission.READ))
async def show_tariffs(visit: Visiting) -> HTMLResponse:
    """Tariffs, by id."""
    query, wrong = asked(TariffQuery, visit.request.query_params, limit=PAGE_SIZE)
    return visit.page("tariffs.html", page=await list_tariffs(visit.api, query), wrong=wrong)


@router.get("/tariffs/{tariff_id}", response_class=HTMLResponse, dependencies=needs(Permission.READ))
async def show_tariff(visit: Visiting, tariff_id: str) -> HTMLResponse:
    """One tariff with all its versions, the newest first."""
    tariff = await get_tariff(visit.api, Response(), tariff_id)
    terms = {
        each.version: json.dumps(each.terms, indent=2, ensure_ascii=False)
        for each in tariff.versions
        if each.terms is not None
    }
    return visit.page("tariff.html", tariff=tariff, terms=terms)
