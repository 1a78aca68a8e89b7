"""Around every request: what the audit trail says of it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.bus.errors import BusUnavailableError
from libs.runtime.logging import get_logger
from services.api.http.audit_entry import CURRENT, Entry, Trail

log = get_logger(__name__)

REQUEST_ID: Final = "Request-Id"


class AuditedRequests:
    """Records what is done and shown, and what is refused; the answer has the id of the request in `Request-Id`.

    A request that changes something, and one that shows messages of chargers or personal data, is answered only once
    its event is in Kafka, and with `unavailable` if it cannot be written. To be the outermost that knows who asks.
    `trail_of`: the trail; `bootstrap`: name of the key of the settings.
    """

    def __init__(
        self,
        app: ASGIApp,
        trail_of: Callable[[], Trail],
        service: str,
        bootstrap: str,
        unavailable: Callable[[Request], ASGIApp],
    ) -> None:
        self._app = app
        self._trail_of = trail_of
        self._service = service
        self._bootstrap = bootstrap
        self._unavailable = unavailable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        entry = Entry(scope, self._trail_of, self._service, self._bootstrap)
        token = CURRENT.set(entry)
        withheld = False

        async def watched(message: Message) -> None:
            nonlocal withheld
            if withheld:
                return
            if message["type"] == "http.response.start":
                try:
                    await entry.end(message["status"])
                except BusUnavailableError as error:
                    withheld = True
                    log.warning("answer_withheld", path=scope["path"], error=str(error))
                    await self._unavailable(Request(scope))(scope, receive, send)
                    return
                MutableHeaders(scope=message)[REQUEST_ID] = entry.request_id
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except BaseException:
            await entry.end(HTTPStatus.INTERNAL_SERVER_ERROR)
            raise
        finally:
            CURRENT.reset(token)
