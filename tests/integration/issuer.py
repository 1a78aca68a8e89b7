"""An OpenID provider on a real socket that says whatever a test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

from joserfc.jwk import Key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from libs.runtime.http import HttpBounds, serve_http
from tests.unit.api.id_tokens import rsa, said, signed

Form = dict[str, str]


class Issuer:
    """It signs everybody in at once, takes a code as often as it comes, and keeps what it was asked.

    `says`: claims over the right ones. `sign`: makes the ID token of claims. `answers`: what to answer at a path
    instead. `pauses`: seconds before the answer at a path. `back`: over what the browser is sent back with.
    """

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.says: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] = signed
        self.keys: list[Key] = [rsa()]
        self.answers: dict[str, Response] = {}
        self.pauses: dict[str, float] = {}
        self.back: Form = {}
        self.metadata: dict[str, Any] = {}
        self.user_info: dict[str, Any] = {}
        self.asked: list[tuple[str, Form]] = []
        self.nonce = ""

    def forms(self, path: str) -> list[Form]:
        return [form for asked, form in self.asked if asked == path]

    def token(self, **changes: Any) -> str:
        return self.sign(
            said(self.url, int(time.time()), nonce=self.nonce or None, **{**self.says, **changes})
        )

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/me",
            "device_authorization_endpoint": f"{self.url}/device",
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    async def _serve(self, request: Request) -> Response:
        path = request.url.path
        form = dict(request.query_params) | dict(parse_qsl((await request.body()).decode()))
        form |= {"_authorization": request.headers.get("authorization", "")}
        self.asked.append((path, form))
        await asyncio.sleep(self.pauses.get(path, 0))
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                return JSONResponse(self._document())
            case "/keys":
                return JSONResponse({"keys": [each.as_dict(private=False) for each in self.keys]})
            case "/authorize":
                self.nonce = form["nonce"]
                back = {"code": "the-code", "state": form["state"], "iss": self.url} | self.back
                told = {name: value for name, value in back.items() if value}
                return RedirectResponse(f"{form['redirect_uri']}?{urlencode(told)}", 303)
            case "/token":
                return JSONResponse(
                    {"id_token": self.token(), "access_token": "for-user-info", "token_type": "Bearer"}
                )
            case "/me":
                return JSONResponse(self.user_info)
            case _:
                return Response(status_code=404)

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[None]:
        app = Starlette(
            routes=[Route("/{path:path}", self._serve, methods=["GET", "POST"])],
        )
        async with serve_http(app, "127.0.0.1", port, HttpBounds()) as bound:
            self.url = f"http://127.0.0.1:{bound}"
            yield
