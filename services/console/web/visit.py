"""One request to the console: who asks, in which language, and the page that answers."""

from collections.abc import Awaitable, Mapping
from functools import cached_property
from hmac import compare_digest
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote, unquote

import msgspec
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from markupsafe import Markup

from libs.access.principal import Principal
from libs.access.roles import Permission
from libs.clickhouse.client import ClickHouseError
from libs.runtime.clock import SECOND, moment_of, now_us
from libs.runtime.logging import get_logger
from services.api.context import Context
from services.api.domain.errors import Forbidden, Invalid
from services.api.domain.permitted import must_be_permitted
from services.api.http import metrics
from services.api.http.audit_entry import asked
from services.api.http.permissions import named_by
from services.api.live.parts import is_part
from services.console.sections import sections_for
from services.console.web.assets import Assets
from services.console.web.visitors import form_token, way_back
from services.console.web.words import LANGUAGES, Words, words_for

log = get_logger(__name__)

T = TypeVar("T")

LANGUAGE_COOKIE: Final = "language"
ZONE_COOKIE: Final = "zone"
_SEVERAL: Final = ("column", "station")


class Live(msgspec.Struct, frozen=True):
    """What a page shows, so that it is told of changes. `parts`: as `services.api.live.parts` names them.

    `late`: it shows what ClickHouse keeps, which has a change a little after the log. `every_s`: it shows what nobody
    tells of, and is to be fetched that often. `after`: how far the event stream was before anything was read for it.
    """

    parts: tuple[str, ...]
    late: bool
    every_s: int
    after: str


class Visit:
    """A request and what its page is made of."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.principal: Principal = request.state.principal
        self.now = moment_of(now_us())
        self._after: str = request.app.state.context.hub.position
        cookies = request.cookies
        zone = unquote(cookies.get(ZONE_COOKIE, ""))
        self.words: Words = words_for(
            cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""), zone
        )

    @cached_property
    def api(self) -> Context:
        """What the API's routes work with, as far as who asks reaches."""
        context: Context = self.request.app.state.context
        return context.of(self.principal)

    def must(self, permission: Permission) -> None:
        """Raise Forbidden unless who asks may do that, and has signed in a short while ago where that is needed.

        The audit trail says that the request needs this.
        """
        asked(permission)
        try:
            self._check(permission)
        except Forbidden:
            metrics.FORBIDDEN.labels(permission.value).inc()
            raise

    def _check(self, permission: Permission) -> None:
        fresh = int(self.api.settings.fresh_s * SECOND)
        at = named_by(self.request, self.principal, permission)
        must_be_permitted(self.principal, permission, now_us(), fresh, at=at)

    def is_stale(self, permission: Permission) -> bool:
        """Whether who asks may do that once the password was given again."""
        try:
            self._check(permission)
        except Forbidden:
            return self.may(permission)
        return False

    def check_form(self, given: str) -> None:
        """Raise Invalid unless a form of this very sign-in was sent."""
        if not compare_digest(given.encode(), form_token(self.request.state.token).encode()):
            raise Invalid("the form is of an earlier sign-in: load the page and send it again")

    def may(self, permission: Permission) -> bool:
        """Whether who asks may do that to what the page is about; if its address names nothing, anywhere."""
        at = named_by(self.request, self.principal, permission)
        return self.principal.may_somewhere(permission) if at is None else self.principal.may(permission, at)

    def _query(self) -> dict[str, Any]:
        """The parameters of the address; of those that may come several times, all."""
        params = self.request.query_params
        several = {name: params.getlist(name) for name in _SEVERAL if name in params}
        return {**dict(params), **several}

    def live(self, *parts: str, late: bool = False, every_s: int = 0) -> Live | None:
        """What keeps this page up to date; None if it shows what was, or a further page of a list."""
        fixed = self.request.query_params
        is_fixed = any(map(fixed.get, ("until", "cursor", "at"))) or not all(map(is_part, parts))
        return None if is_fixed else Live(parts, late, every_s, self._after)

    def page(
        self, template: str, http_status: int = HTTPStatus.OK, *, live: Live | None = None, **values: Any
    ) -> HTMLResponse:
        """The page made of `template`, a file of templates/pages, and `values`; `live`: what keeps it up to date."""
        environment: Environment = self.request.app.state.templates
        assets: Assets = self.request.app.state.assets
        nonce = self.request.state.nonce
        text = environment.get_template(f"pages/{template}").render(
            _=self.words.text,
            words=self.words,
            languages=LANGUAGES,
            now=self.now,
            asset=assets.url,
            nonce=nonce,
            hx=lambda **attributes: _attributes(attributes, nonce),
            path=way_back(quote(self.request.scope["path"])),
            query=self._query(),
            principal=self.principal,
            menu=sections_for(self.principal),
            form=form_token(self.request.state.token) if self.request.state.token else "",
            may=self.may,
            live=live,
            **values,
        )
        return HTMLResponse(text, http_status)


def _attributes(attributes: Mapping[str, str], nonce: str) -> Markup:
    """htmx's attributes: `get="/x"` is `hx-get="/x"`. They count only with the nonce of the page."""
    parts = [Markup('hx-{}="{}"').format(name.replace("_", "-"), value) for name, value in attributes.items()]
    return Markup(" ").join([*parts, Markup('hx-nonce="{}"').format(nonce)])


async def stored(rows: Awaitable[T]) -> T | None:
    """What ClickHouse keeps; None while it is away, so that a page can show what the log still knows."""
    try:
        return await rows
    except ClickHouseError as error:
        log.warning("page_without_history", error=str(error)[:300])
        return None


async def visit_of(request: Request) -> Visit:
    """The visit of a request; a coroutine, so that no thread is asked."""
    return Visit(request)


Visiting = Annotated[Visit, Depends(visit_of)]
