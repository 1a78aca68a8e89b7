"""Lists that people save under a name: links to them, and their end."""

from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from libs.access.roles import Permission
from services.api.domain.errors import Invalid
from services.api.http.permissions import needs
from services.console.pages.stations import PATH
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ))

_PAGES = frozenset({PATH})


@router.get("/views")
@router.get("/views/remove")
async def go_back() -> Response:
    """Where a refused form is shown, there is the list."""
    return RedirectResponse(PATH, HTTPStatus.SEE_OTHER)


@router.post("/views")
async def save(visit: Visiting) -> Response:
    """Save the list that the form tells, and show it."""
    entered = {name: str(value) for name, value in (await visit.request.form()).items()}
    visit.check_form(entered.get("_form", ""))
    page, query = entered.get("page", ""), entered.get("query", "").removeprefix("?")
    if page not in _PAGES:
        raise Invalid("nothing of this page can be saved")
    await visit.api.views.save(visit.principal.name, page, entered.get("name", ""), query)
    return RedirectResponse(f"{page}?{query}" if query else page, HTTPStatus.SEE_OTHER)


@router.post("/views/remove")
async def remove(visit: Visiting) -> Response:
    """Remove a view of who asks."""
    entered = {name: str(value) for name, value in (await visit.request.form()).items()}
    visit.check_form(entered.get("_form", ""))
    await visit.api.views.remove(visit.principal.name, entered.get("view", ""))
    return RedirectResponse(PATH, HTTPStatus.SEE_OTHER)
