"""Around every request: the key, the size of the body, the time it took."""

import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.access.principal import Principal
from libs.runtime.clock import now_us
from services.api.http import metrics
from services.api.http.problems import problem
from services.api.http.wrong_keys import WrongKeys

_REALM: Final = {"WWW-Authenticate": 'Bearer realm="voltbus"'}


class Guard:
    """Lets a request pass that has a bearer key or asks for one of the `public` paths; 401 otherwise.

    `principal_of_key`: whose key it is, None for a wrong one. The request's `state` has the `principal`, the
    `requester`, who is its name, and `again`, which asks whose key it is anew. `wrong_keys`: so many wrong ones in a
    minute from one address, and the answer is 429, and the connection is closed.
    """

    def __init__(
        self,
        app: ASGIApp,
        principal_of_key: Callable[[bytes], Principal | None],
        public: frozenset[str],
        wrong_keys: int,
    ) -> None:
        self._app = app
        self._principal_of_key = principal_of_key
        self._public = public
        self._wrong_keys = WrongKeys(wrong_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._public:
            await self._app(scope, receive, send)
            return
        key = bearer_of(scope)
        principal = None if key is None else self._principal_of_key(key)
        if key is not None and principal is not None:
            state = scope.setdefault("state", {})
            state["principal"], state["requester"] = principal, principal.name
            state["again"] = partial(self._principal_of_key, key)
            await self._app(scope, receive, send)
            return
        metrics.REFUSED.inc()
        given = any(name == b"authorization" for name, _ in scope["headers"])
        wait_s = self._wrong_keys.wait_s(address_of(scope), now_us()) if given else 0
        if wait_s:
            response = problem(
                Request(scope),
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many wrong keys from this address",
                headers={"Retry-After": str(wait_s), "Connection": "close"},
            )
        else:
            detail = "a bearer key is needed: send `Authorization: Bearer <VOLTBUS_API_KEY>`"
            response = problem(Request(scope), HTTPStatus.UNAUTHORIZED, detail, headers=_REALM)
        await response(scope, receive, send)


def bearer_of(scope: Scope) -> bytes | None:
    """The bearer key of a request; None if it has none, or several."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, key = values[0].partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else None


def address_of(scope: Scope) -> str:
    """Where a request comes from, as far as that is known."""
    client = scope.get("client")
    return str(client[0]) if client else ""


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
