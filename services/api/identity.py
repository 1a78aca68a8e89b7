"""Whose key it is."""

from libs.access.roles import Permission
from services.api.http.fields import Output
from services.api.http.permissions import Asks, needs
from services.api.http.routing import routes

router = routes("identity")


class Identity(Output):
    """Whose key a request has; what is asked for with it carries this name. `permissions`: what it may do somewhere.

    `organisations`: where it reads; null: everywhere.
    """

    name: str
    permissions: list[Permission]
    organisations: list[str] | None


@router.get("/me", dependencies=needs(Permission.READ))
async def get_identity(who: Asks) -> Identity:
    """Whose key this request has: the operator's name, or `api` for the platform's key."""
    reads = who.organisations(Permission.READ)
    return Identity(
        name=who.name,
        permissions=sorted(who.permissions),
        organisations=None if reads is None else sorted(reads),
    )
