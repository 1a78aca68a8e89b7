"""Whose key it is."""

from services.api.context import Requester
from services.api.http.fields import Output
from services.api.http.routing import routes

router = routes("identity")


class Identity(Output):
    """Whose key a request has; what is asked for with it carries this name."""

    name: str


@router.get("/me")
async def get_identity(requester: Requester) -> Identity:
    """Whose key this request has: the operator's name, or `api` for the platform's key."""
    return Identity(name=requester)
