"""Who asks: the sign-in that the browser's cookie belongs to. Without one there are only the pages for signing in."""

import hmac
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.access.principal import Principal
from services.api.context import NOBODY

COOKIE: Final = "__Host-voltbus"
"""Sent over TLS only (browsers take loopback for that, too), to this host only, and not shown to scripts."""
SIGN_IN: Final = "/sign-in"

_LONGEST_BACK: Final = 2_000
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Visitors:
    """Gives each request its `state.principal` and `state.token`; who is not signed in is sent to do so.
    `state.again` asks anew who it is.

    `principal_of`: whose sign-in a token belongs to, None if it does not count. `public`: beginnings of paths that
    need none. A change is refused unless the browser says that a page of this host asks for it.
    """

    def __init__(
        self, app: ASGIApp, principal_of: Callable[[str], Principal | None], public: tuple[str, ...]
    ) -> None:
        self._app = app
        self._principal_of = principal_of
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        found = self._principal_of(token) if token else None
        state = scope.setdefault("state", {})
        state["token"] = token if found else ""
        state["principal"] = found or NOBODY
        state["again"] = partial(self._principal_of, token)
        refusal = self._refusal(scope, headers, found)
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers, found: Principal | None) -> Response | None:
        if scope["method"] not in _SAFE and not _from_here(headers):
            return PlainTextResponse("a page of another site asked for this", HTTPStatus.FORBIDDEN)
        path = str(scope["path"])
        if found is not None or path.startswith(self._public):
            return None
        if headers.get("hx-request") == "true":
            # A whole page, not a part of this one.
            return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": SIGN_IN})
        if scope["method"] not in _SAFE:
            return RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
        query = scope.get("query_string", b"").decode("latin-1")
        back = f"{quote(path)}?{query}" if query else quote(path)
        return RedirectResponse(f"{SIGN_IN}?back={quote(back, safe='')}", HTTPStatus.SEE_OTHER)


def _from_here(headers: Headers) -> bool:
    """Whether a page of this host asks. Browsers say so; what is no browser has no cookie that others could use."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] == headers.get("host")


def form_token(token: str) -> str:
    """What every form of a sign-in carries, so that no other page can send it: of the sign-in's own `token`."""
    return hmac.new(token.encode(), b"form", sha256).hexdigest()


def way_back(path: str) -> str:
    """`path` if it is one of this host's and not too long for a form, else the first page."""
    # Browsers take a backslash for a slash, and two of them for another host.
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if inside and "\\" not in path and len(path) <= _LONGEST_BACK else "/"
