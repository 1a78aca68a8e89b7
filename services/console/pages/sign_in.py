"""Signing in and out, and what else a visitor chooses."""

from typing import Annotated, Final

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services.api.domain.errors import SignInRefused, TooMany
from services.api.http.middleware import address_of
from services.console.web.visit import LANGUAGE_COOKIE, Visiting
from services.console.web.visitors import COOKIE, SIGN_IN, way_back
from services.console.web.words import LANGUAGES

router = APIRouter()

_YEAR_S: Final = 365 * 24 * 3600
_LONGEST: Final = 2_000

Typed = Annotated[str, Form(max_length=_LONGEST)]
FormToken = Annotated[str, Form(alias="_form", max_length=_LONGEST)]


@router.get("/sign-in", response_class=HTMLResponse)
async def ask(visit: Visiting, back: str = "/") -> Response:
    """The form for name and password."""
    return visit.page("sign_in.html", name="", back=way_back(back), refused="")


@router.post("/sign-in", response_class=HTMLResponse)
async def sign_in(visit: Visiting, name: Typed, password: Typed, back: Typed = "/") -> Response:
    """Signed in, and back where the visitor came from; the form again if name and password do not fit."""
    api, request = visit.api, visit.request
    agent = request.headers.get("user-agent", "")
    _ = visit.words.text
    try:
        token = await api.sign_ins.sign_in(name, password, address_of(request.scope), agent)
    except SignInRefused:
        return visit.page(
            "sign_in.html", 401, name=name, back=way_back(back), refused=_("Name and password do not fit.")
        )
    except TooMany:
        wait = _("Too many wrong passwords. Wait some minutes, then try again.")
        return visit.page("sign_in.html", 429, name=name, back=way_back(back), refused=wait)
    response = _with_cookie(RedirectResponse(way_back(back), 303), token)
    if visit.request.state.token:
        await api.sign_ins.sign_out(visit.request.state.token)
    return response


@router.get("/confirm", response_class=HTMLResponse)
async def ask_again(visit: Visiting, back: str = "/") -> Response:
    """The form for the password alone, before what needs a fresh sign-in."""
    return visit.page("confirm.html", back=way_back(back), refused="")


@router.post("/confirm", response_class=HTMLResponse)
async def confirm(visit: Visiting, password: Typed, form: FormToken = "", back: Typed = "/") -> Response:
    """Back where the visitor came from, with a fresh sign-in."""
    visit.check_form(form)
    _ = visit.words.text
    try:
        token = await visit.api.sign_ins.confirm(
            visit.request.state.token, password, address_of(visit.request.scope)
        )
    except SignInRefused:
        refused = _("The password is wrong.")
        return visit.page("confirm.html", 401, back=way_back(back), refused=refused)
    except TooMany:
        refused = _("Too many wrong passwords. Wait some minutes, then try again.")
        return visit.page("confirm.html", 429, back=way_back(back), refused=refused)
    return _with_cookie(RedirectResponse(way_back(back), 303), token)


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
async def choose_language(language: Typed, back: Typed = "/") -> Response:
    """The same page in another language."""
    response = RedirectResponse(way_back(back), 303)
    if language in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=_YEAR_S, path="/", samesite="lax")
    return response


def _with_cookie(response: Response, token: str) -> Response:
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="lax")
    return response
