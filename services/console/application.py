"""The console's HTTP application: pages, errors, and headers."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.bus.errors import BusUnavailableError
from libs.clickhouse.client import ClickHouseUnavailableError, NotMigratedError
from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from services.api.context import Context
from services.api.domain.errors import Forbidden, Refusal
from services.api.http.audit_requests import AuditedRequests
from services.api.http.middleware import BodyLimit
from services.api.http.problems import STATUS_OF, Unavailable
from services.api.settings import PLATFORM
from services.console.pages import (
    access,
    bulk,
    campaigns,
    commands,
    configuration,
    dead_letters,
    entries,
    events,
    live,
    messages,
    passwords,
    provider,
    reconciliation,
    registry,
    sessions,
    sign_in,
    sites,
    station,
    stations,
    tariff_editor,
    views,
    why,
    worklist,
)
from services.console.settings import ConsoleSettings
from services.console.web.assets import Assets
from services.console.web.headers import PageHeaders
from services.console.web.rendering import environment
from services.console.web.visit import Visit
from services.console.web.visitors import Visitors

log = get_logger(__name__)

_ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    provider.router,
    worklist.router,
    stations.router,
    sites.router,
    station.router,
    messages.router,
    events.router,
    why.router,
    commands.router,
    configuration.router,
    sessions.router,
    reconciliation.router,
    registry.router,
    tariff_editor.router,
    entries.router,
    passwords.router,
    access.router,
    campaigns.router,
    bulk.router,
    views.router,
    dead_letters.router,
    live.router,
)


def create_application(context: Context, health: Health) -> FastAPI:
    """The application over these parts; `health` is served beside it, to anybody."""
    app = FastAPI(
        title="Voltbus console", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    assert isinstance(context.settings, ConsoleSettings)
    app.state.context = context
    app.state.callback = context.settings.callback
    app.state.templates = environment()
    app.state.assets = Assets()
    for router in _ROUTERS:
        app.include_router(router)
    app.router.routes.extend([*health.routes(), app.state.assets.route()])
    app.add_exception_handler(Forbidden, _forbidden)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(HTTPException, _http)
    for kind in (Unavailable, BusUnavailableError, ClickHouseUnavailableError, NotMigratedError):
        app.add_exception_handler(kind, _later)
    open_to_all = [route.path for route in health.routes()]
    # The last added is the outermost.
    app.add_middleware(Failures)
    app.add_middleware(BodyLimit, most=context.settings.max_body_bytes)
    app.add_middleware(
        Visitors,
        principal_of=context.access.principal_of_sign_in,
        public=("/assets/", "/sign-in", "/language", *open_to_all),
    )
    app.add_middleware(
        AuditedRequests,
        trail_of=lambda: context.trail,
        service="console",
        bootstrap=PLATFORM,
        unavailable=lambda request: _error(request, HTTPStatus.SERVICE_UNAVAILABLE, ""),
    )
    app.add_middleware(PageHeaders)
    return app


class Failures:
    """Shows a page where nobody expected an error, and logs it. Innermost, so that the page has all headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            request = Request(scope)
            log.error("page_failed", path=request.url.path, exc_info=error)
            await _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, "")(scope, receive, send)


async def _refused(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, Refusal)
    return _error(request, STATUS_OF[type(error)], error.detail)


async def _wrong(request: Request, error: Exception) -> HTMLResponse:
    # What is wrong is not told: it may be a password.
    return _error(request, HTTPStatus.UNPROCESSABLE_ENTITY, "")


async def _forbidden(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, Forbidden)
    return Visit(request).page("refused.html", HTTPStatus.FORBIDDEN, permission=error.permission)


async def _http(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, HTTPException)
    return _error(request, error.status_code, str(error.detail))


async def _later(request: Request, error: Exception) -> HTMLResponse:
    log.warning("page_unavailable", path=request.url.path, error=str(error)[:300])
    return _error(request, HTTPStatus.SERVICE_UNAVAILABLE, "")


def _error(request: Request, status: int, detail: str) -> HTMLResponse:
    return Visit(request).page("error.html", status, status=status, detail=detail)
