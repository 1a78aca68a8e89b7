"""Signing in and out, and what else a visitor chooses."""

from typing import Annotated, Final

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services.api.domain.errors import SignInRefused, TooMany
from services.api.http.middleware import address_of
from services.api.settings import OperatorSettings
from services.console.web.visit import LANGUAGE_COOKIE, Visit, Visiting
from services.console.web.visitors import COOKIE, SIGN_IN, way_back
from services.console.web.words import LANGUAGES

router = APIRouter()

_YEAR_S: Final = 365 * 24 * 3600
_LONGEST: Final = 2_000

Typed = Annotated[str, Form(max_length=_LONGEST)]
Back = Annotated[str, Form()]
"""Where to go then; `way_back` bounds it."""
FormToken = Annotated[str, Form(alias="_form", max_length=_LONGEST)]


@router.get("/sign-in", response_class=HTMLResponse)
async def ask(visit: Visiting, back: str = "/") -> Response:
    """The form for name and password."""
    return _form(visit, 200, back)


@router.post("/sign-in", response_class=HTMLResponse)
async def sign_in(visit: Visiting, name: Typed, password: Typed, back: Back = "/") -> Response:
    """Signed in, and back where the visitor came from; the form again if name and password do not fit."""
    api, request = visit.api, visit.request
    agent = request.headers.get("user-agent", "")
    _ = visit.words.text
    try:
        token = await api.sign_ins.sign_in(name, password, address_of(request.scope), agent)
    except SignInRefused:
        return _form(visit, 401, back, _("Name and password do not fit."), name)
    except TooMany:
        wait = _("Too many wrong passwords. Wait some minutes, then try again.")
        return _form(visit, 429, back, wait, name)
    response = with_cookie(RedirectResponse(way_back(back), 303), token)
    if visit.request.state.token:
        await api.sign_ins.sign_out(visit.request.state.token)
    return response


@router.get("/confirm", response_class=HTMLResponse)
async def ask_again(visit: Visiting, back: str = "/") -> Response:
    """The form for the password alone, before what needs a fresh sign-in."""
    return _again(visit, 200, back)


@router.post("/confirm", response_class=HTMLResponse)
async def confirm(visit: Visiting, password: Typed, form: FormToken = "", back: Back = "/") -> Response:
    """Back where the visitor came from, with a fresh sign-in."""
    visit.check_form(form)
    _ = visit.words.text
    try:
        token = await visit.api.sign_ins.confirm(
            visit.request.state.token, password, address_of(visit.request.scope)
        )
    except SignInRefused:
        refused = _("The password is wrong.")
        return _again(visit, 401, back, refused)
    except TooMany:
        refused = _("Too many wrong passwords. Wait some minutes, then try again.")
        return _again(visit, 429, back, refused)
    return with_cookie(RedirectResponse(way_back(back), 303), token)


@router.post("/sign-out")
async def sign_out(visit: Visiting, form: FormToken = "", everywhere: Typed = "") -> Response:
    """Signed out here, or everywhere."""
    visit.check_form(form)
    if everywhere:
        await visit.api.access_changes.sign_out_everywhere(visit.principal, visit.principal.name)
    else:
        await visit.api.sign_ins.sign_out(visit.request.state.token)
    response = RedirectResponse(SIGN_IN, 303)
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.post("/language")
async def choose_language(language: Typed, back: Back = "/") -> Response:
    """The same page in another language."""
    response = RedirectResponse(way_back(back), 303)
    if language in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=_YEAR_S, path="/", samesite="lax")
    return response


def asked_for(visit: Visit, status: int, back: str, refused: str) -> Response:
    """The form for signing in, or for doing it again, with why it has to be filled in."""
    return (_again if visit.principal.name else _form)(visit, status, back, refused)


def _form(visit: Visit, status: int, back: str, refused: str = "", name: str = "") -> Response:
    return visit.page(
        "sign_in.html", status, name=name, back=way_back(back), refused=refused, provider=_provider(visit)
    )


def _again(visit: Visit, status: int, back: str, refused: str = "") -> Response:
    account = visit.api.access.accounts[visit.principal.name]
    return visit.page(
        "confirm.html",
        status,
        back=way_back(back),
        refused=refused,
        provider=_provider(visit) if account.subject else "",
        password=account.password_hash is not None,
    )


def _provider(visit: Visit) -> str:
    """What the OpenID provider is called; "" if there is none."""
    settings: OperatorSettings = visit.request.app.state.context.settings
    return settings.oidc_name if settings.oidc_issuer and settings.oidc_client_id else ""


def with_cookie(response: Response, token: str) -> Response:
    """The response, which gives the browser its sign-in."""
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="lax")
    return response
