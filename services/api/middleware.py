"""Around every request: the key, the size of the body, the time it took."""

import hmac
import time
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api import metrics
from services.api.problems import problem

_REALM: Final = {"WWW-Authenticate": 'Bearer realm="voltbus"'}


class Guard:
    """Lets a request pass that has the bearer key or asks for one of the `public` paths; 401 otherwise."""

    def __init__(self, app: ASGIApp, key: str, public: frozenset[str]) -> None:
        self._app = app
        self._key = sha256(key.encode()).digest()
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._public or self._has_key(scope):
            await self._app(scope, receive, send)
            return
        metrics.REFUSED.inc()
        detail = "a bearer key is needed: send `Authorization: Bearer <VOLTBUS_API_KEY>`"
        await problem(Request(scope), HTTPStatus.UNAUTHORIZED, detail, headers=_REALM)(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(values) != 1:
            return False
        scheme, _, key = values[0].partition(b" ")
        # Digests, so that neither content nor length shows in the time that it takes.
        matches = hmac.compare_digest(sha256(key.strip()).digest(), self._key)
        return matches and bool(scheme.lower() == b"bearer")


class BodyLimit:
    """Answers 413 to bodies above `most` bytes, before or while they are read."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = [value for name, value in scope["headers"] if name == b"content-length"]
        if announced and announced[0].isdigit() and int(announced[0]) > self._most:
            response = problem(Request(scope), HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._detail())
            await response(scope, receive, send)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._detail())
            return message

        await self._app(scope, bounded, send)

    def _detail(self) -> str:
        return f"a body holds at most {self._most} bytes"


class Timing:
    """Observes every request by the template of its route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if route != "none" else "none"
            metrics.REQUESTS.labels(method, route, status).observe(time.perf_counter() - began)
