"""The HTTP application: routes, guard, errors."""

from typing import Final

from fastapi import APIRouter, FastAPI

from libs.access.principal import Principal
from libs.runtime.service import Health
from services.api import identity
from services.api.access import accounts, keys, signing_in
from services.api.access.callers import Callers
from services.api.billing import decisions, documents, reconciliation, sessions
from services.api.commands import bulk
from services.api.commands import routes as commands
from services.api.context import Context
from services.api.equipment import certificates, local_list, logs, passwords, variables
from services.api.http.audit_requests import AuditedRequests
from services.api.http.docs import docs_routes
from services.api.http.middleware import BodyLimit, Guard, Timing
from services.api.http.problems import add_handlers, unaudited
from services.api.http.routing import ROOT
from services.api.live import campaigns, load, state, stream
from services.api.registry import organisations, security, sites, stations, tariffs, tokens
from services.api.settings import PLATFORM
from services.api.worklist import entries as worklist

OPENAPI: Final = f"{ROOT}/openapi.json"
DOCS: Final = f"{ROOT}/docs"

_ROUTERS: Final[tuple[APIRouter, ...]] = (
    state.router,  # before the stations: /stations/{id}/state
    commands.router,
    bulk.router,
    variables.router,
    local_list.router,
    certificates.router,
    logs.router,
    stations.router,
    passwords.router,
    sites.router,
    load.router,
    tokens.router,
    tariffs.router,
    organisations.router,
    sessions.router,
    documents.router,
    decisions.router,
    reconciliation.router,
    campaigns.router,
    security.router,
    stream.router,
    worklist.router,
    accounts.router,
    keys.router,
    signing_in.router,
    identity.router,
)


def create_application(context: Context, health: Health) -> FastAPI:
    """The application over these parts; `health` is served beside it, without a key."""
    app = FastAPI(
        title="Voltbus",
        version="1",
        summary="Operators' API: the registry, commands, sessions and charge records, live state.",
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context

    def of_table(key: str) -> Principal | None:
        return context.access.principal_of_key(key)

    api = APIRouter(prefix=ROOT)
    for router in _ROUTERS:
        api.include_router(router)
    app.include_router(api)
    open_to_all = [*health.routes(), *docs_routes(DOCS, OPENAPI, app.title)]
    app.router.routes.extend(open_to_all)
    add_handlers(app)
    public = frozenset({OPENAPI, *signing_in.OPEN, *(route.path for route in open_to_all)})
    # The last added is the outermost.
    app.add_middleware(BodyLimit, most=context.settings.max_body_bytes)
    callers = Callers(context.settings.keys, of_table)
    app.add_middleware(
        Guard,
        principal_of_key=callers.principal_of_key,
        public=public,
        wrong_keys=context.settings.wrong_keys,
    )
    app.add_middleware(
        AuditedRequests,
        trail_of=lambda: context.trail,
        service="api",
        bootstrap=PLATFORM,
        unavailable=unaudited,
    )
    app.add_middleware(Timing)
    return app
