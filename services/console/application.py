"""The console's HTTP application: pages, errors, and headers."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from libs.bus.errors import BusUnavailableError
from libs.clickhouse.client import ClickHouseError
from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from services.api.context import Context
from services.api.domain.errors import Conflict, Forbidden, Invalid, NotFound, Refusal
from services.api.http.middleware import BodyLimit
from services.api.http.problems import Unavailable
from services.console.pages import commands, sessions, sign_in, sites, station, stations, worklist
from services.console.web.assets import Assets
from services.console.web.headers import PageHeaders
from services.console.web.rendering import environment
from services.console.web.visit import Visit
from services.console.web.visitors import Visitors

log = get_logger(__name__)

_ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    worklist.router,
    stations.router,
    sites.router,
    station.router,
    commands.router,
    sessions.router,
)


def create_application(context: Context, health: Health) -> FastAPI:
    """The application over these parts; `health` is served beside it, to anybody."""
    app = FastAPI(
        title="Voltbus console", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.context = context
    app.state.templates = environment()
    app.state.assets = Assets()
    for router in _ROUTERS:
        app.include_router(router)
    app.router.routes.extend([*health.routes(), app.state.assets.route()])
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Forbidden, _forbidden)
    app.add_exception_handler(HTTPException, _http)
    for kind in (Unavailable, BusUnavailableError, ClickHouseError):
        app.add_exception_handler(kind, _later)
    app.add_exception_handler(Exception, _unexpected)
    open_to_all = [route.path for route in health.routes()]
    # The last added is the outermost.
    app.add_middleware(BodyLimit, most=context.settings.max_body_bytes)
    app.add_middleware(
        Visitors,
        principal_of=context.access.principal_of_sign_in,
        public=("/assets/", "/sign-in", "/language", *open_to_all),
    )
    app.add_middleware(PageHeaders)
    return app


async def _refused(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, Refusal)
    status = {NotFound: 404, Invalid: 422, Conflict: 409}.get(type(error), 400)
    return _error(request, status, error.detail)


async def _forbidden(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, Forbidden)
    return Visit(request).page("refused.html", HTTPStatus.FORBIDDEN, permission=error.permission)


async def _http(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, HTTPException)
    return _error(request, error.status_code, str(error.detail))


async def _later(request: Request, error: Exception) -> HTMLResponse:
    log.warning("page_unavailable", path=request.url.path, error=str(error)[:300])
    return _error(request, HTTPStatus.SERVICE_UNAVAILABLE, "")


async def _unexpected(request: Request, error: Exception) -> HTMLResponse:
    log.error("page_failed", path=request.url.path, exc_info=error)
    return _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, "")


def _error(request: Request, status: int, detail: str) -> HTMLResponse:
    return Visit(request).page("error.html", status, status=status, detail=detail)
