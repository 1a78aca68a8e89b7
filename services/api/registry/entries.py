"""What is the same for everything that operators configure: create, read, replace, change, forget."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

from fastapi import Header, Response, status
from pydantic import BaseModel, Field

from libs.access.roles import Permission
from libs.events.record import Record
from libs.events.registry import (
    OrganisationDefined,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TokenRegistered,
)
from libs.runtime.clock import now_us
from services.api.context import Context
from services.api.domain.errors import Conflict, Invalid, NotFound, Outdated
from services.api.domain.renewal import Stamp, removal, renewed
from services.api.http.fields import Input, OrganisationOrNone
from services.api.http.problems import Problem
from services.api.http.routing import location
from services.api.registry.changes import Written
from services.api.registry.table import Registry

R = TypeVar(
    "R",
    bound=StationRegistered | SiteRegistered | TokenRegistered | TariffRegistered | OrganisationDefined,
)
Body = TypeVar("Body", bound=BaseModel)
Shown = TypeVar("Shown", bound=BaseModel)

_TAG: Final = re.compile(r'(W/)?"([^"]*)"')

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="Only if the entry is still the one that was answered with this `ETag`; 412 otherwise.",
    ),
]
CONDITIONAL: Final[dict[int | str, dict[str, Any]]] = {
    412: {"model": Problem, "description": "The entry was changed since."}
}
"""Responses of a handler that takes `IfMatch`."""


class Owned(Input):
    """What is configured of an entry that may belong to an organisation."""

    organisation_id: OrganisationOrNone | None = Field(
        None,
        description="Organisation that it belongs to; empty: to none. null leaves it as it is; a new entry belongs to"
        " the only organisation in which who makes it may, or to none.",
    )


class Entries(ABC, Generic[R, Body, Shown]):
    """One kind of entry. Subclasses say how it is kept and shown.

    `topic`: where it is written. `path`: its segment of the URL. `kind`: its name in messages. `edits`: what a change
    needs, in the organisation that the entry belongs to before it and after it. Every answer with an entry has its
    ETag: the id of the record that the entry is.
    """

    topic: ClassVar[str]
    path: ClassVar[str]
    kind: ClassVar[str]
    edits: ClassVar[Permission]

    @abstractmethod
    def table(self, registry: Registry) -> Mapping[str, R]:
        """The entries by key."""

    @abstractmethod
    def blank(self, key: str) -> R:
        """An entry of which nothing is configured, never written."""

    @abstractmethod
    def changed(self, registry: Registry, old: R, body: Body, stamp: Stamp, *, partly: bool) -> R:
        """`old` as `body` wants it; `partly`: only what it names. `old` itself if that is no change.

        Raises Conflict or Invalid if it cannot be.
        """

    @abstractmethod
    def shown(self, registry: Registry, entry: R, now: int) -> Shown:
        """The body of an answer."""

    def owners(self, registry: Registry, entry: R, before: R | None = None) -> frozenset[str]:
        """The organisations that have a say in the entry ("": none has), as it is now or follows `before`."""
        return frozenset((entry.organisation_id,))

    def home(self, registry: Registry, entry: R) -> str | None:
        """The organisation that a new entry belongs to by what it refers to; None: nothing of that kind."""
        return None

    def must_suit(self, registry: Registry, entry: R, organisation_id: str) -> None:
        """Raises Conflict if the entry cannot belong to an organisation ("": to none)."""

    def must_be_free(self, api: Context, key: str) -> None:
        """Raises Forbidden if who asks may not make a new entry of this key."""

    def must_be_unused(self, registry: Registry, key: str) -> None:
        """Raises Conflict if something else refers to the entry."""

    def beside(self, registry: Registry, key: str) -> Written:
        """What ends with the entry, and must not be there when it begins: removed in the same transaction."""
        return {}

    def existing(self, registry: Registry, key: str) -> R:
        """The entry. Raises NotFound if there is none."""
        entry = self.table(registry).get(key)
        if entry is None:
            raise NotFound(f"there is no {self.kind} {key!r}")
        return entry

    def get(self, api: Context, response: Response, key: str) -> Shown:
        """The entry. Raises NotFound."""
        return self._answer(api, response, self.existing(api.registry, key))

    async def create(self, api: Context, response: Response, key: str, body: Body) -> Shown:
        """A new entry. Raises Conflict if there is one."""

        def blank(old: R | None) -> R:
            if old is not None:
                raise Conflict(f"there is a {self.kind} {key!r} already")
            return self.blank(key)

        shown = await self._change(api, response, key, blank, body)
        response.headers["Location"] = location(self.path, key)
        return shown

    async def put(
        self, api: Context, response: Response, key: str, body: Body, if_match: str | None
    ) -> Shown:
        """The entry, created (201) or replaced."""

        def current(old: R | None) -> R:
            must_match(old, if_match)
            response.status_code = status.HTTP_201_CREATED if old is None else status.HTTP_200_OK
            return old or self.blank(key)

        return await self._change(api, response, key, current, body)

    async def patch(
        self, api: Context, response: Response, key: str, body: Body, if_match: str | None
    ) -> Shown:
        """The entry, changed in what the body names."""

        def current(_: R | None) -> R:
            old = self.existing(api.registry, key)
            must_match(old, if_match)
            return old

        return await self._change(api, response, key, current, body, partly=True)

    async def delete(self, api: Context, key: str, if_match: str | None) -> None:
        """Forget the entry. Raises Conflict if it is in use."""

        def decide() -> Written:
            old = self.existing(api.registry, key)
            api.scope.must(self.edits, self.owners(api.registry.whole, old))
            must_match(old, if_match)
            self.must_be_unused(api.registry, key)
            gone = removal(old, api.registry.stamp(api.requester))
            return {self.topic: gone, **self.beside(api.registry, key)}

        await api.registry.change(self.topic, key, decide)

    async def _change(
        self,
        api: Context,
        response: Response,
        key: str,
        base: Callable[[R | None], R],
        body: Body,
        *,
        partly: bool = False,
    ) -> Shown:
        """What `base` makes of the entry that is there, as `body` wants it."""
        made: list[R] = []

        def decide() -> Written:
            found = self.table(api.registry).get(key)
            old = base(found)
            if found is None and key in self.table(api.registry.whole):
                # Ids are of the whole platform. Whose it is, is not said.
                raise Conflict(f"there is a {self.kind} {key!r} already")
            if found is not None:
                api.scope.must(self.edits, self.owners(api.registry.whole, found))
            else:
                self.must_be_free(api, key)
            stamp = api.registry.stamp(api.requester)
            new = self.changed(api.registry, old, body, stamp, partly=partly)
            new = renewed(new, {"organisation_id": self._organisation(api, found, new, body)}, stamp)
            api.scope.must(self.edits, self.owners(api.registry.whole, new, old))
            made[:] = [new]
            if new is old:
                return {}
            return {self.topic: new} if found else {self.topic: new, **self.beside(api.registry, key)}

        await api.registry.change(self.topic, key, decide)
        return self._answer(api, response, made[0])

    def _organisation(self, api: Context, found: R | None, new: R, body: Body) -> str:
        """What the entry belongs to. Raises Invalid, Conflict."""
        if not isinstance(body, Owned):
            return new.organisation_id
        whole, wanted = api.registry.whole, body.organisation_id
        if wanted is None and found is not None:
            return found.organisation_id
        if wanted is None:
            home = self.home(whole, new)
            if home is not None:
                return home
            mine = api.principal.organisations(self.edits)
            return next(iter(mine)) if mine is not None and len(mine) == 1 else ""
        if wanted and wanted not in api.registry.organisations:
            raise Invalid(f"there is no organisation {wanted!r}", "/organisation_id")
        self.must_suit(whole, new, wanted)
        return wanted

    def _answer(self, api: Context, response: Response, entry: R) -> Shown:
        response.headers["ETag"] = f'"{entry.event_id}"'
        return self.shown(api.registry, entry, now_us())


def among(users: Iterable[str], shown: Container[str]) -> str:
    """Words that name the first of those who use an entry that is `shown` to who asks."""
    first = next((key for key in users if key in shown), None)
    return "" if first is None else f", {first} among them"


def must_match(entry: Record | None, if_match: str | None) -> None:
    """Raises Outdated if the header (RFC 9110 §13.1.1) names other entries than this one; a weak tag names none."""
    if if_match is None:
        return
    tags = {tag for weak, tag in _TAG.findall(if_match) if not weak}
    if entry is None or (if_match.strip() != "*" and entry.event_id not in tags):
        raise Outdated("it is not the one that If-Match names: read it again, and decide anew")
