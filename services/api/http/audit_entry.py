"""The request that is being served, as the audit trail will tell of it.

`AuditedRequests` makes the entry. Whatever writes to Kafka calls `before_write` first, so that no request changes
anything without its event; `note` tells what else is known.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol
from urllib.parse import unquote

from msgspec.structs import replace
from starlette.types import Scope

from libs.access.principal import Principal
from libs.access.roles import Permission
from libs.events.audit import AuditKind, AuditOutcome, AuditPrincipalKind, AuditRecorded
from libs.events.ids import new_id
from libs.runtime.clock import now_us
from services.api.http.middleware import address_of

LONGEST_REASON: Final = 500
REASON: Final = "reason"
"""Header with the reason of a request: UTF-8, or percent-encoded."""

SHOWS_PERSONAL: Final = frozenset(
    {Permission.READ_FRAMES, Permission.READ_TOKENS, Permission.READ_AUDIT, Permission.EDIT_ACCESS}
)
"""Reads that need one of these are recorded: messages of chargers, id tokens, people, and the trail itself."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LONG: Final = 200
_LONGEST_QUERY: Final = 500
_TRACE: Final = 55
_REFUSED_AT_THE_DOOR: Final = frozenset({401, 403, 429})
_UNAUDITED: Final = frozenset({"/language"})
"""Routes that change nothing but a visitor's own cookie."""
_KINDS: Final = {"id_token": "token", "request_id": "certificate_request"}


class Trail(Protocol):
    """What writes the audit trail."""

    async def record(self, event: AuditRecorded) -> None:
        """Write an event. Raises BusUnavailableError if it was not acknowledged in time."""

    def later(self, event: AuditRecorded) -> None:
        """Write an event soon, without waiting."""

    def repeats(self, event: AuditRecorded, target: str) -> bool:
        """Whether it is recorded that the same one has read the same within the last minute."""

    def note_read(self, event: AuditRecorded, target: str) -> None:
        """Take note that the reading is recorded."""

    def refused(self, event: AuditRecorded) -> None:
        """Write the event of a refused request, or of one who is not known, soon, or count it if there are too many."""


class Entry:
    """One request. `scope`: as ASGI has it; who asks and which route it is are known once it was served."""

    def __init__(self, scope: Scope, trail_of: Callable[[], Trail], service: str, bootstrap: str) -> None:
        self._scope = scope
        self._trail_of = trail_of
        self._service = service
        self._bootstrap = bootstrap
        self._noted: dict[str, str] = {}
        self._permission: Permission | None = None
        self._personal = False
        self._started = False
        self._ended = False
        self._starting = asyncio.Lock()
        self.request_id = new_id()
        self.reason = _header(scope, REASON, LONGEST_REASON)

    def note(self, facts: Mapping[str, str]) -> None:
        """Fields of the event; of each the first that is said counts."""
        if reason := facts.get("reason", ""):
            self.reason = clean(reason, LONGEST_REASON)
        for name, value in facts.items():
            if value:
                self._noted.setdefault(name, clean(value, _LONG))

    def asked(self, permission: Permission) -> None:
        """Take note that the request needs this."""
        self._permission = permission
        self._personal = self._personal or permission in SHOWS_PERSONAL

    def shows_personal(self) -> None:
        """Take note that the answer shows personal data, whatever it needs."""
        self._personal = True

    async def start(self) -> None:
        """Record that something is about to be written. Raises BusUnavailableError: then nothing is to be written."""
        async with self._starting:
            if not self._started and not self._ended:
                await self._trail_of().record(self._event(AuditOutcome.STARTED, 0))
                self._started = True

    async def end(self, status: int) -> None:
        """Record what came of the request, if it is one to be recorded. Raises BusUnavailableError."""
        if self._ended:
            return
        self._ended = True
        outcome = self._outcome(status)
        if not self._recorded(status, outcome):
            return
        event = self._event(outcome, status)
        nobody = event.principal_kind is AuditPrincipalKind.NOBODY
        if self._started:
            self._trail_of().later(event)
        elif outcome is AuditOutcome.REFUSED or nobody:
            # However much they ask, those who are not known write only so much.
            self._trail_of().refused(event)
        elif outcome is AuditOutcome.FAILED:
            self._trail_of().later(event)
        elif self._changing:
            await self._trail_of().record(event)
        elif not self._trail_of().repeats(event, self._target):
            await self._trail_of().record(event)
            self._trail_of().note_read(event, self._target)

    def _outcome(self, status: int) -> AuditOutcome:
        if status >= 500:
            return AuditOutcome.FAILED
        # Who is sent to sign in has not done what he asked for.
        turned_away = self._changing and self._scope.get("route") is None
        return AuditOutcome.REFUSED if status >= 400 or turned_away else AuditOutcome.DONE

    def _recorded(self, status: int, outcome: AuditOutcome) -> bool:
        route = self._scope.get("route")
        if route is None:
            # Not let in. Of who was, and asks for what there is not, nothing is recorded.
            known = self._who()[1] is not AuditPrincipalKind.NOBODY
            return not known and (status in _REFUSED_AT_THE_DOOR or (self._changing and status < 400))
        if getattr(route, "path", "") in _UNAUDITED:
            return False
        return (
            self._started
            or self._changing
            or self._personal
            or status in (401, 403)
            or "account" in self._noted
        )

    @property
    def _target(self) -> str:
        return f"{self._scope['path']}?{self._scope.get('query_string', b'').decode('latin-1')}"

    @property
    def _changing(self) -> bool:
        return self._scope["method"] not in _SAFE

    def _event(self, outcome: AuditOutcome, status: int) -> AuditRecorded:
        now, event_id = now_us(), new_id()
        route = getattr(self._scope.get("route"), "path_format", "")
        query = self._scope.get("query_string", b"") if self._permission and not self._changing else b""
        name, kind, key_id = self._who()
        event = AuditRecorded(
            event_id=event_id,
            occurred_at=now,
            recorded_at=now,
            cause_id=event_id,
            writer_id="",
            sequence=0,
            kind=AuditKind.REQUEST,
            service=self._service,
            request_id=self.request_id,
            outcome=outcome,
            status=status,
            principal=clean(name, _LONG),
            principal_kind=kind,
            key_id=key_id,
            action=f"{self._scope['method']} {route}" if route else "",
            permission="" if self._permission is None else self._permission.value,
            address=clean(address_of(self._scope), _LONG),
            trace=_header(self._scope, "traceparent", _TRACE),
            query=clean(unquote(query.decode("latin-1")), _LONGEST_QUERY),
            reason=self.reason,
        )
        return replace(
            event, **{**self._subject(), **{k: v for k, v in self._noted.items() if k in _NOTABLE}}
        )

    def _who(self) -> tuple[str, AuditPrincipalKind, str]:
        found: Principal | None = self._scope.get("state", {}).get("principal")
        if found is not None and found.name:
            if found.authenticated_at is not None:
                return found.name, AuditPrincipalKind.PERSON, ""
            if found.name == self._bootstrap:
                return found.name, AuditPrincipalKind.BOOTSTRAP, ""
            return found.name, AuditPrincipalKind.KEY, found.key_id
        signing_in = self._noted.get("account", "")
        return signing_in, AuditPrincipalKind.PERSON if signing_in else AuditPrincipalKind.NOBODY, ""

    def _subject(self) -> dict[str, str]:
        """What the route's path names first."""
        for name, value in self._scope.get("path_params", {}).items():
            kind = _KINDS.get(name, name.removesuffix("_id"))
            return {"subject_kind": kind, "subject_id": clean(str(value), _LONG)}
        return {}


_NOTABLE: Final = frozenset(
    {"subject_kind", "subject_id", "organisation_id", "command", "command_id", "detail"}
)

CURRENT: Final[ContextVar[Entry | None]] = ContextVar("audit", default=None)
"""The entry of the request that is being served."""


def note(**facts: str) -> None:
    """Tell more of the request: `subject_kind`, `subject_id`, `organisation_id`, `command`, `command_id`, `reason`,
    `account` (who signs in), `detail`. Of each the first that is said counts, of reasons the last. A subject that is
    not told is what the route's path names first.
    """
    if (entry := CURRENT.get()) is not None:
        entry.note(facts)


def asked(permission: Permission) -> None:
    """Tell that the request needs this."""
    if (entry := CURRENT.get()) is not None:
        entry.asked(permission)


async def before_write(**facts: str) -> None:
    """Record that the request is about to write, unless it has been; nothing outside a request.

    Raises BusUnavailableError: then nothing is to be written.
    """
    if (entry := CURRENT.get()) is not None:
        entry.note(facts)
        await entry.start()


def clean(text: str, most: int) -> str:
    """`text` as it is kept: one line, nothing that cannot be printed, at most so many characters."""
    text = text[: 4 * most].encode("utf-8", "replace").decode()
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:most]


def _header(scope: Scope, name: str, most: int) -> str:
    for each, value in scope["headers"]:
        if each == name.encode():
            text: Any = bytes(value[: 12 * most]).decode("utf-8", "replace")
            return clean(unquote(text), most)
    return ""
