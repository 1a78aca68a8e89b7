"""What each route needs of who asks. Every route names it with `needs`; the OpenAPI document shows it as a scope."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from libs.access.principal import Principal
from libs.access.roles import Permission
from libs.runtime.clock import SECOND, now_us
from services.api.domain.errors import Forbidden
from services.api.domain.permitted import must_be_permitted, must_be_permitted_everywhere
from services.api.domain.scope import Scope
from services.api.http import metrics
from services.api.http.audit_entry import CURRENT, asked

# Only so that the key is named in the OpenAPI document; `Guard` demands it.
_KEY: Final = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="VOLTBUS_API_KEY, an operator's own key, or one of `POST /keys`. The scopes are permissions.",
)

_READING: Final = frozenset({"GET", "HEAD"})


def named_by(request: Request, who: Principal, permission: Permission) -> str | None:
    """The organisation of what the path names, if `who` may not do this everywhere; None if nothing in reach."""
    if who.may(permission) or not who.may_somewhere(permission):
        return None
    return Scope(who, request.app.state.context.registry).organisation_at(request.path_params)


Must = Callable[[Permission], None]
"""Raises Forbidden if who asks may not do that."""


async def principal_of(request: Request) -> Principal:
    """Who asks, as `Guard` found out."""
    found: Principal = request.state.principal
    return found


async def must_of(request: Request, who: Annotated[Principal, Depends(principal_of)]) -> Must:
    """What refuses a request whose content needs more than its route does."""
    changes = request.method not in _READING
    fresh = int(request.app.state.context.settings.fresh_s * SECOND) if changes else None

    def must(permission: Permission) -> None:
        asked(permission)
        try:
            must_be_permitted(who, permission, now_us(), fresh, at=named_by(request, who, permission))
        except Forbidden:
            metrics.FORBIDDEN.labels(permission.value).inc()
            raise

    return must


Asks = Annotated[Principal, Depends(principal_of)]
Permitted = Annotated[Must, Depends(must_of)]


async def _declared(
    scopes: SecurityScopes,
    must: Permitted,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_KEY)],
) -> None:
    for scope in scopes.scopes:
        must(Permission(scope))


async def _of_all(
    scopes: SecurityScopes,
    who: Annotated[Principal, Depends(principal_of)],
    must: Permitted,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_KEY)],
) -> None:
    for scope in scopes.scopes:
        must(Permission(scope))
        must_be_permitted_everywhere(who, Permission(scope))


async def _shows_personal() -> None:
    if (entry := CURRENT.get()) is not None:
        entry.shows_personal()


def needs(permission: Permission, *, personal: bool = False) -> list[Any]:
    """Dependencies of a route that needs this; 403 before anything of the request is looked at but its form.

    It is needed in the organisation of what the path names; if it names nothing in reach, in any: the handler then
    has tables and a reader that hold nothing else. The audit trail has each request that changes something, and each
    that needs a permission of SHOWS_PERSONAL. `personal`: the answer shows id tokens or messages of chargers although
    the route needs another permission.
    """
    return [
        Security(_declared, scopes=[permission.value]),
        *([Depends(_shows_personal)] if personal else []),
    ]


def needs_everywhere(permission: Permission) -> list[Any]:
    """Dependencies of a route about what belongs to the platform: this is needed in all organisations."""
    return [Security(_of_all, scopes=[permission.value])]
