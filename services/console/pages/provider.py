"""Signing in at the OpenID provider: the way there, and the way back."""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from services.api.domain.errors import Conflict, IdentityRefused
from services.api.http.middleware import address_of
from services.api.http.problems import Unavailable
from services.api.oidc.refusals import Reason
from services.api.oidc.service import LASTING_S, Answer, SignInsAtProvider
from services.console.pages.sign_in import asked_for, with_cookie
from services.console.web.visit import Visit, Visiting
from services.console.web.visitors import way_back

router = APIRouter()

COOKIE: Final = "__Host-voltbus-provider"
_LONGEST_BACK: Final = 1000
_LONGEST: Final = 4096


@router.get("/sign-in/provider")
async def leave(visit: Visiting, back: str = "/", fresh: str = "") -> Response:
    """Off to the provider. `fresh`: who is signed in gives the password there again."""
    provider = _provider(visit)
    back = way_back(back)
    former = visit.api.access.sign_in_of(visit.request.state.token) if fresh else None
    try:
        url, kept = await provider.begin(
            visit.request.app.state.callback, back if len(back) <= _LONGEST_BACK else "/", former
        )
    except Unavailable:
        return _unavailable(visit, back)
    response = RedirectResponse(url, 303)
    # Lax: the provider's page leads back here.
    response.set_cookie(COOKIE, kept, max_age=LASTING_S, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.get("/sign-in/callback", response_class=HTMLResponse)
async def come_back(
    visit: Visiting, state: str = "", code: str = "", iss: str = "", error: str = ""
) -> Response:
    """Signed in, and where the visitor came from; the form again if the provider's answer is refused."""
    provider, request = _provider(visit), visit.request
    former = visit.api.access.sign_in_of(request.state.token)
    answer = Answer(*(each[: _LONGEST + 1] for each in (state, code, iss, error)))
    try:
        token, back = await provider.finish(
            request.cookies.get(COOKIE, ""),
            answer,
            request.app.state.callback,
            former=former,
            address=address_of(request.scope),
            agent=request.headers.get("user-agent", ""),
        )
    except IdentityRefused as refused:
        return _without_cookie(asked_for(visit, 401, "/", _why(visit, refused.reason)))
    except Conflict as refused:
        return _without_cookie(asked_for(visit, 409, "/", refused.detail))
    except Unavailable:
        return _without_cookie(_unavailable(visit, "/"))
    if former is not None:
        await visit.api.sign_ins.sign_out(request.state.token)
    return _without_cookie(with_cookie(RedirectResponse(way_back(back), 303), token))


def _provider(visit: Visit) -> SignInsAtProvider:
    found = visit.api.provider
    if found is None or not visit.api.settings.oidc_client_id:
        raise HTTPException(404)
    return found


def _why(visit: Visit, reason: str) -> str:
    _ = visit.words.text
    match reason:
        case Reason.ACCOUNT:
            return _("There is no account for you. Who administers access can make one.")
        case Reason.GROUPS:
            return _("None of your groups has a role here. Who administers access can change that.")
        case Reason.OTHER_PERSON:
            return _("You signed in as somebody else. Sign out first.")
        case Reason.STATE | Reason.REPLAYED:
            return _("This sign-in was not begun in this browser, or too long ago. Try again.")
        case _:
            return _("The sign-in did not succeed. Try again.")


def _unavailable(visit: Visit, back: str) -> Response:
    _ = visit.words.text
    return asked_for(visit, 503, back, _("The sign-in service does not answer. Try again in a minute."))


def _without_cookie(response: Response) -> Response:
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response
